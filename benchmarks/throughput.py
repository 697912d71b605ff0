"""How much of the limit is left when 1,000 runs of 10 steps go through the whole engine?

Async steps on the loop, sync steps inline, and sync steps on threads; each beside the limit measured
in the same process, before and after.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

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


async def work(flow: Any, runs: int, steps: int, path: str) -> float:
    """Seconds from the first start to the last result."""
    async with AsyncEngine(path, workflows=[flow]) as engine:
        began = anyio.current_time()

        async def one() -> None:
            run = await engine.start(flow(steps))
            assert await run.result() == steps

        async with anyio.create_task_group() as group:
            for _ in range(runs):
                group.start_soon(one)
        return anyio.current_time() - began


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    parser.add_argument("--only", choices=("async", "inline", "thread"))
    arguments = parser.parse_args()
    runs, steps = arguments.runs, arguments.steps
    before = limit(runs, steps)
    rates = {}
    for flow in (by_async, by_inline, by_thread):
        kind = flow.name.removeprefix("by_")
        if arguments.only in (None, kind):
            with store() as path:
                seconds = anyio.run(partial(work, flow, runs, steps, path), backend=arguments.backend)
            rates[kind] = runs * steps / seconds
    top = (before + limit(runs, steps)) / 2
    results: dict[str, Any] = {"limit, steps a second": top}
    for kind, rate in rates.items():
        results[f"{kind} steps a second"] = rate
        results[f"{kind} steps, ratio to the limit"] = rate / top
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
