"""How long does a task wait for its turn on a loop that an engine works on, too?

Beside many short steps, beside inline steps that take long, and beside the replay of many runs after a restart. The
unit is the time after which an engine gives way to others.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Any, Final

import anyio
from anyio.lowlevel import checkpoint
from measure import inline_step, options, show, store

from continuum import AsyncEngine, Receive, Save, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.scheduler import TURN

SLOW: Final = 0.002
"""Seconds of a step that takes long, for an inline one."""


def slow_step() -> None:
    until = time.perf_counter() + SLOW
    while time.perf_counter() < until:
        pass


@workflow
def short(steps: int) -> Generator[Any, Any, None]:
    for number in range(steps):
        yield Save(inline_step, number)


@workflow
def slow(steps: int) -> Generator[Any, Any, None]:
    for _ in range(steps):
        yield Save(slow_step, executor="inline")


@workflow
def long(steps: int) -> Generator[Any, Any, None]:
    for number in range(steps):
        yield Save(inline_step, number)
    yield Receive("go on")


async def at_once(calls: list[Callable[[], Awaitable[Any]]]) -> None:
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(call)


async def waits(engine: AsyncEngine) -> list[float]:
    """Seconds from each turn of a task to its next, the shortest first, until the engine has nothing to do."""
    taken: list[float] = []

    async def take_turns() -> None:
        while True:
            before = time.perf_counter()
            await checkpoint()
            taken.append(time.perf_counter() - before)

    gc.collect()
    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        await engine.until_idle()
        group.cancel_scope.cancel()
    return sorted(taken)


async def beside(flow: Any, runs: int, steps: int, path: str) -> list[float]:
    """The waits while so many runs go through."""
    async with AsyncEngine(path, workflows=[flow]) as engine:
        await engine.until_idle()
        await at_once([partial(engine.start, flow(steps)) for _ in range(runs)])
        return await waits(engine)


async def beside_a_restart(runs: int, steps: int, path: str) -> list[float]:
    """The waits while so many runs with such a history are replayed, and end."""
    async with AsyncEngine(path, workflows=[long]) as engine:
        await at_once([partial(engine.start, long(steps), f"run {number}") for number in range(runs)])
        await engine.until_idle()
    async with AsyncEngine(path, workflows=[long], work=False) as client:
        await at_once([partial(client.run(f"run {number}").send, "go on") for number in range(runs)])
    async with AsyncEngine(path, workflows=[long]) as engine:
        return await waits(engine)


def met(waits: list[float], share: float) -> float:
    """How long the wait is at the most that is met in that share of the time."""
    left = share * sum(waits)
    for wait in waits:
        left -= wait
        if left <= 0:
            return wait
    return waits[-1]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--steps", type=int, default=300, help="of the runs that are replayed")
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    arguments = parser.parse_args()
    runs, steps = arguments.runs, arguments.steps
    cases = {
        "short steps": partial(beside, short, runs, 50),
        "slow steps": partial(beside, slow, runs, 3),
        "a restart": partial(beside_a_restart, runs, steps),
    }
    results: dict[str, Any] = {"the unit, ms": TURN / NANOSECONDS * 1e3}
    for name, case in cases.items():
        with store() as path:
            taken = anyio.run(case, path, backend=arguments.backend)
        for share, which in ((0.5, "half of the time"), (0.9, "90 % of it"), (1.0, "longest")):
            results[f"beside {name}, {which}, units"] = met(taken, share) * NANOSECONDS / TURN
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
