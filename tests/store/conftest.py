"""What the tests of the backends share: a path for a store, and children to share it with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

import continuum

Script = Callable[..., "subprocess.Popen[str]"]

PREAMBLE = """
import os, signal, sys
from continuum.errors import *
from continuum.store import Batch, LmdbStore
path = sys.argv[1]
def say(*words): print(*words, flush=True)
def die(): os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a store may be made."""
    return str(tmp_path / "store")


@pytest.fixture
def script() -> Iterator[Script]:
    """Start Python code in a process of its own; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        root = os.path.dirname(os.path.dirname(os.path.abspath(continuum.__file__)))
        child = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + dedent(code), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": root},
        )
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def output(script: Script) -> Callable[..., str]:
    """Run Python code in a process of its own and give what it printed."""

    def run(code: str, *arguments: str) -> str:
        child = script(code, *arguments)
        printed, _ = child.communicate(timeout=120)
        assert child.returncode == 0, f"the child ended with {child.returncode} and had said {printed!r}"
        return printed.strip()

    return run
