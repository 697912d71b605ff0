"""What the benchmarks share: the limit to compare with, a store to work in, and how a result is shown."""

from __future__ import annotations

import argparse
import gc
import json
import pickle
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from continuum import step as attach


def step(number: int) -> dict[str, Any]:
    """The step that every benchmark runs: it does nothing, and gives a small value."""
    return {"number": number, "done": True}


@attach(executor="inline")
def inline_step(number: int) -> dict[str, Any]:
    """The same, on the loop at once."""
    return {"number": number, "done": True}


async def async_step(number: int) -> dict[str, Any]:
    """The same, for the loop."""
    return {"number": number, "done": True}


def limit(runs: int, steps: int) -> float:
    """Steps a second of the bare loop: generator send, call, pickle, one durable putmulti a round.

    What is pickled is what any journal has to say of a step: where, what, when and its result.
    """

    def body() -> Generator[tuple[Callable[[int], Any], int], Any, None]:
        for number in range(steps):
            yield step, number

    with store() as path, lmdb.open(path, map_size=1 << 40, lib_version=0) as environment:
        bodies = [body() for _ in range(runs)]
        waiting = [(run, next(generator), generator) for run, generator in enumerate(bodies)]
        began = time.perf_counter()
        for number in range(steps):
            puts, going_on = [], []
            for run, (fn, argument), generator in waiting:
                result = fn(argument)
                line = pickle.dumps((run, number, "save", "step", time.time_ns(), result), 5)
                puts.append((b"j%08d%08d" % (run, number), line))
                try:
                    going_on.append((run, generator.send(result), generator))
                except StopIteration:
                    pass
            with environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(puts)
            waiting = going_on
        return runs * steps / (time.perf_counter() - began)


def commit_time(commits: int = 500) -> float:
    """Seconds of one durable LMDB commit of one small record."""
    with store() as path, lmdb.open(path, map_size=1 << 40, lib_version=0) as environment:
        began = time.perf_counter()
        for number in range(commits):
            with environment.begin(write=True) as transaction:
                transaction.put(b"%08d" % number, b"x" * 60)
        return (time.perf_counter() - began) / commits


@contextmanager
def store() -> Iterator[str]:
    """A directory for a store, beside the benchmark's own working directory's disk."""
    with tempfile.TemporaryDirectory(prefix="continuum-bench-", dir=Path.cwd()) as directory:
        yield str(Path(directory) / "store")


def timed(work: Callable[[], Any]) -> float:
    """Seconds that it takes."""
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def options(question: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=question)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser


def show(results: dict[str, Any], *, as_json: bool) -> None:
    """Print the results, ratios first to be quoted."""
    if as_json:
        print(json.dumps(results))
        return
    for name, value in results.items():
        print(f"{name:<44} {value:>12,.3f}" if isinstance(value, float) else f"{name:<44} {value:>12,}")
