"""What does a step cost a run that goes alone, one step after the other? Nothing can be grouped here.

Each step needs its result committed before the next may start, so the time of one durable commit is
the unit: measured before and after, in the same process.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import anyio
from measure import async_step, commit_time, inline_step, options, show, step, store

from continuum import AsyncEngine, Save, workflow


@workflow
def sequence(steps: int, kind: str) -> Generator[Any, Any, int]:
    for number in range(steps):
        match kind:
            case "async":
                yield Save(async_step, number)
            case "inline":
                yield Save(inline_step, number)
            case _:
                yield Save(step, number)
    return steps


async def work(kind: str, steps: int, path: str) -> float:
    """Seconds a step."""
    async with AsyncEngine(path, workflows=[sequence]) as engine:
        began = anyio.current_time()
        run = await engine.start(sequence(steps, kind))
        assert await run.result() == steps
        return (anyio.current_time() - began) / steps


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--backend", default="asyncio", choices=("asyncio", "trio"))
    arguments = parser.parse_args()
    before = commit_time()
    taken = {}
    for kind in ("async", "inline", "thread"):
        with store() as path:
            taken[kind] = anyio.run(partial(work, kind, arguments.steps, path), backend=arguments.backend)
    unit = (before + commit_time()) / 2
    results: dict[str, Any] = {"one commit, microseconds": unit * 1e6}
    for kind, seconds in taken.items():
        results[f"{kind} step, microseconds"] = seconds * 1e6
        results[f"{kind} step, commits' time"] = seconds / unit
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
