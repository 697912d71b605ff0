"""Does the time grow with the work? One run ten times as long, or as wide, beside a run of the size.

Each line gives the time for an item in the larger run to that in the smaller one, through a whole engine
in memory: 1 where it grows linearly, 10 where it grows with the square. The last line is about many runs, in LMDB:
a worker finds a backlog of them, and one that is ten times as long; it gives the time for a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import anyio
from measure import inline_step, options, show, store

from continuum import All, AsyncEngine, Ensure, Handle, Map, Race, Receive, Save, workflow

Body = Generator[Any, Any, Any]
TIMES = 10


@workflow
def saves(size: int) -> Body:
    for number in range(size):
        yield Save(inline_step, number)


@workflow
def branches(size: int) -> Body:
    yield All(*(Save(inline_step, number) for number in range(size)))


@workflow
def mapped(size: int) -> Body:
    yield Map(inline_step, range(size), limit=100)


@workflow
def raced(size: int) -> Body:
    yield Race(Save(inline_step, 0), *(Receive("word") for _ in range(size)))


@workflow
def conditions(size: int) -> Body:
    """Each branch lets the next one go on."""
    passed: list[int] = []

    def waits(number: int) -> Body:
        yield Ensure(lambda: len(passed) >= number)
        passed.append(number)

    yield All(*(waits(number) for number in range(size)))


@workflow
def receives(size: int) -> Body:
    for _ in range(size):
        yield Receive("word")


@workflow
def handled(size: int) -> Body:
    words: list[int] = []
    yield Handle("word", words.append)
    yield Receive("end")


SIZES: dict[Any, int] = {
    saves: 1_000,
    branches: 1_000,
    mapped: 1_000,
    raced: 1_000,
    conditions: 1_000,
    receives: 100,
    handled: 100,
}


async def work(flow: Any, size: int) -> float:
    """Seconds from the first event, or the start, to the result."""
    async with AsyncEngine("memory://", workflows=[flow]) as engine:
        began = time.perf_counter()
        run = await engine.start(flow(size), id="run")
        for number in range(size if flow in (receives, handled) else 0):
            await run.send("word", number)
        if flow is handled:
            await run.send("end")
        await run.result()
        return time.perf_counter() - began


BACKLOG = 1_000


async def work_off(path: str, size: int) -> float:
    """Seconds that a worker takes for so many runs that wait in the store when it comes."""
    async with (
        AsyncEngine(path, workflows=[saves], work=False, durability="process") as client,
        anyio.create_task_group() as group,
    ):
        for _ in range(size):
            group.start_soon(client.start, saves(1))
    async with AsyncEngine(path, workflows=[saves], durability="process") as engine:
        began = time.perf_counter()
        await engine.until_idle()
        return time.perf_counter() - began


def backlog(size: int) -> float:
    """The same, in a store of its own."""
    with store() as path:
        return anyio.run(work_off, path, size)


def growth(measured: Callable[[int], float], size: int) -> float:
    """The time for an item in the larger run, to that in the smaller one; the best of three each."""
    small, large = (min(measured(each) for _ in range(3)) / each for each in (size, TIMES * size))
    return large / small


def main() -> None:
    arguments = options(__doc__).parse_args()
    results: dict[str, Any] = {}
    for flow, size in SIZES.items():
        ratio = growth(lambda each, flow=flow: anyio.run(partial(work, flow, each)), size)  # type: ignore[misc]
        results[f"{flow.name}, {TIMES * size:,} to {size:,}, time an item"] = ratio
    results[f"backlog, {TIMES * BACKLOG:,} to {BACKLOG:,} runs, time a run"] = growth(backlog, BACKLOG)
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
