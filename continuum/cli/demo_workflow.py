"""The workflow of the demo: it reads every Python file under a directory, each in a step of its own.

It is executed by an ordinary worker, ``continuum run continuum.cli.demo_workflow``; how that is killed and
what is counted then is told in :mod:`continuum.cli.demo_proof`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import stat
import threading
import time
import warnings
from collections.abc import Generator, Iterable, Iterator
from functools import partial
from typing import Any, Final, NamedTuple

from continuum.commands import Command, Map, Publish, Save
from continuum.workflow import workflow

__all__ = ["Facts", "Mark", "python_files", "read_marks", "survey"]

BATCHES: Final = 50  # progress is published once a batch, not once a file
SKIPPED: Final = ("site-packages", "dist-packages", "__pycache__")


class Facts(NamedTuple):
    """What a step found out about one file. Recorded as a plain tuple, which anyone can be shown."""

    path: str
    digest: str
    lines: int
    verdict: str  # parsed, not Python, or unreadable


class Mark(NamedTuple):
    """What a step leaves outside of the store when it begins, so that it can be counted how often it ran."""

    process: int
    at: int  # nanoseconds of a clock that all processes share
    path: str


@workflow(name="continuum-demo")
def survey(root: str, marks: str, limit: int) -> Generator[Command[Any], Any, dict[str, Any]]:
    """Read all files, at most `limit` at a time, and add up what was found."""
    files: list[str] = yield Save(python_files, root)
    read = partial(read_file, root, marks)
    verdicts: dict[str, int] = {}
    lines = 0
    whole = hashlib.sha256()
    size = max(1, len(files) // BATCHES)
    for start in range(0, len(files), size):
        yield Publish(done=start, total=len(files))
        found: list[tuple[str, str, int, str]] = yield Map(read, files[start : start + size], limit=limit)
        for facts in map(Facts._make, found):
            verdicts[facts.verdict] = verdicts.get(facts.verdict, 0) + 1
            lines += facts.lines
            whole.update(facts.digest.encode())
    yield Publish(done=len(files), total=len(files))
    return {"files": len(files), "lines": lines, "digest": whole.hexdigest(), "verdicts": verdicts}


def python_files(root: str) -> list[str]:
    """The Python files under a directory, without those of installed packages; paths are relative to it."""
    return sorted(_python_files(root))


def _python_files(root: str) -> Iterator[str]:
    for directory, below, names in os.walk(root):
        below[:] = [name for name in below if name not in SKIPPED]
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".py") and _is_regular(path):
                yield os.path.relpath(path, root)


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def read_file(root: str, marks: str, path: str) -> tuple[str, str, int, str]:
    """The step: hash a file, count its lines, and parse it."""
    _leave(marks, Mark(os.getpid(), time.monotonic_ns(), path))
    try:
        with open(os.path.join(root, path), "rb") as file:
            data = file.read()
    except OSError:
        return path, "", 0, "unreadable"
    return path, hashlib.sha256(data).hexdigest(), data.count(b"\n"), _verdict(data)


def _verdict(data: bytes) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the library holds bad files for its tests
        return "not Python"
    return "parsed"


# Marks


_leaving = threading.Lock()


def _leave(marks: str, mark: Mark) -> None:
    # In one write, since the process may be killed at any moment; Windows finds the end of the file in another step.
    with _leaving:
        descriptor = os.open(marks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(mark).encode() + b"\n")
        finally:
            os.close(descriptor)


def read_marks(marks: str) -> list[Mark]:
    """The marks that steps left, in the order in which they began."""
    try:
        with open(marks, "rb") as file:
            lines: Iterable[bytes] = file.readlines()
    except FileNotFoundError:
        return []
    return [Mark(*json.loads(line)) for line in lines]
