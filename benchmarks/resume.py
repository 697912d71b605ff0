"""Does it cost more to resume a run that has done more? And can a run go on for ever in a store of constant size?

Runs of some sizes are recorded, each waits, and is taken up by a new engine: the time from opening the store
until it has done something more. With continuations it is to be flat, without it grows with the history.

A loop that compacts itself now and then shows the size of its store, and of the process, at a tenth of the way and
at its end.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
from measure import inline_step, options, show, store

from continuum import AsyncEngine, Compact, Publish, Receive, Save, workflow

Mode = Literal["auto", "off"]


@workflow
def recorded(steps: int) -> Generator[Any, Any, None]:
    total = 0
    for number in range(steps):
        total += (yield Save(inline_step, number))["number"]
    while True:
        yield Publish(total=total, seen=(yield Receive("go on")))


@workflow
def compacted(steps: int, each: int) -> Generator[Any, Any, int]:
    total = 0
    for number in range(steps):
        total += (yield Save(inline_step, number))["number"]
        if number % each == each - 1:
            yield Compact()
        if number == steps // 10:
            yield Receive("go on")
    return total


async def record(sizes: Sequence[int], path: str, mode: Mode) -> None:
    """Have a run of each size executed up to its wait."""
    async with AsyncEngine(path, workflows=[recorded], durability="process", continuations=mode) as engine:
        for steps in sizes:
            await engine.start(recorded(steps), id=str(steps))
        await engine.until_idle()


async def resume(steps: int, number: int, path: str, mode: Mode) -> float:
    """Seconds from opening the store until the run has done what it was asked for."""
    began = time.perf_counter()
    async with AsyncEngine(path, workflows=[recorded], durability="process", continuations=mode) as engine:
        run = engine.run(str(steps))
        await run.send("go on", number)
        await engine.until_idle()
        seconds = time.perf_counter() - began
        assert await run.state() == {"total": steps * (steps - 1) // 2, "seen": number}
    return seconds


def resumed(sizes: Sequence[int], rounds: int, mode: Mode) -> dict[int, float]:
    """How long it takes to go on with a run of each size."""
    with store() as path:
        anyio.run(record, sizes, path, mode)
        return {
            steps: statistics.median(anyio.run(resume, steps, number, path, mode) for number in range(rounds))
            for steps in sizes
        }


async def loop(steps: int, each: int, path: str) -> dict[str, Any]:
    """What the store and the process take up at a tenth of a long loop, and at its end."""
    async with AsyncEngine(path, workflows=[compacted], durability="process") as engine:
        run = await engine.start(compacted(steps, each), id="run")
        await engine.until_idle()
        early = _sizes(path)
        began = time.perf_counter()
        await run.send("go on")
        assert await run.result() == steps * (steps - 1) // 2
        seconds = time.perf_counter() - began
        late = _sizes(path)
    return {
        f"loop of {steps:,}, steps a second": 0.9 * steps / seconds,
        "store at a tenth of it, KiB": early[0],
        "store at its end, KiB": late[0],
        "process at a tenth of it, KiB": early[1],
        "process at its end, KiB": late[1],
    }


def _sizes(path: str) -> tuple[int, int]:
    return (Path(path) / "data.mdb").stat().st_blocks // 2, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--loop", type=int, default=1_000_000)
    parser.add_argument("--each", type=int, default=1_000, help="steps of the loop between two Compact()")
    parser.add_argument("--rounds", type=int, default=7, help="how often each run is resumed")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with store() as path:
        looped = anyio.run(loop, arguments.loop, arguments.each, path)
    modes: list[Mode] = ["auto", "off"]
    for mode in modes:
        times = resumed(arguments.steps, arguments.rounds, mode)
        kept = "with continuations" if mode == "auto" else "by replay"
        results |= {f"{steps:,} steps {kept}, milliseconds": seconds * 1e3 for steps, seconds in times.items()}
        results[f"the largest to the smallest {kept}"] = times[max(times)] / times[min(times)]
    show({**results, **looped}, as_json=arguments.json)


if __name__ == "__main__":
    main()
