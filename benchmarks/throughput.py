"""How much of the limit is left when 1,000 runs of 10 steps go through the whole engine?

Async steps on the loop, sync steps inline, and sync steps on threads; each beside the limit, which is measured
in the same process, in turn with them.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from functools import partial
from statistics import median
from typing import Any, Final

import anyio
from measure import async_step, inline_step, limit, options, show, step, store

from continuum import AsyncEngine, Save, workflow


@workflow
def by_async(steps: int) -> Generator[Any, Any, int]:
    for number in range(steps):
        yield Save(async_step, number)
    return steps


@workflow
def by_inline(steps: int) -> Generator[Any, Any, int]:
    for number in range(steps):
        yield Save(inline_step, number)
    return steps


@workflow
def by_thread(steps: int) -> Generator[Any, Any, int]:
    for number in range(steps):
        yield Save(step, number)
    return steps


FLOWS: Final = {"async": by_async, "inline": by_inline, "thread": by_thread}


async def work(flow: Any, runs: int, steps: int, path: str) -> float:
    """Seconds from the first start to the last result; that each run has a task that waits for it comes before."""
    started: list[float] = []
    async with AsyncEngine(path, workflows=[flow]) as engine:

        async def one() -> None:
            if not started:
                started.append(anyio.current_time())
            run = await engine.start(flow(steps))
            assert await run.result() == steps

        gc.collect()
        async with anyio.create_task_group() as group:
            for _ in range(runs):
                group.start_soon(one)
        return anyio.current_time() - started[0]


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured; the medians are shown")
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    parser.add_argument("--only", choices=("async", "inline", "thread"))
    arguments = parser.parse_args()
    runs, steps = arguments.runs, arguments.steps
    flows = {kind: flow for kind, flow in FLOWS.items() if arguments.only in (None, kind)}
    limits: list[float] = []
    rates: dict[str, list[float]] = {kind: [] for kind in flows}
    for _ in range(arguments.rounds):
        limits.append(limit(runs, steps))
        for kind, flow in flows.items():
            with store() as path:
                seconds = anyio.run(partial(work, flow, runs, steps, path), backend=arguments.backend)
            rates[kind].append(runs * steps / seconds)
    top = median(limits)
    results: dict[str, Any] = {"limit, steps a second": top}
    for kind, each in rates.items():
        results[f"{kind} steps a second"] = median(each)
        results[f"{kind} steps, ratio to the limit"] = median(each) / top
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
