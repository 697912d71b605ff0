"""What does it cost to replay a run? The time from its recorded journal to where it was, step by step.

A run of many steps is recorded, waits, and is taken up by a new engine. The machine's replay alone is
measured too, without the store. Both are compared with the time in which the limit's bare loop would
have done the steps themselves: that is what a replay saves nothing of.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import anyio
from measure import inline_step, limit, options, show, store, timed

from continuum import AsyncEngine, Receive, Save, workflow
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Started
from continuum.store import open_store
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger


@workflow
def recorded(steps: int) -> Generator[Any, Any, int]:
    for number in range(steps):
        yield Save(inline_step, number)
    yield Receive("go on")
    return steps


async def record(steps: int, path: str) -> None:
    """Have the run executed up to its wait."""
    async with AsyncEngine(path, workflows=[recorded], durability="process") as engine:
        await engine.start(recorded(steps), id="run")
        await engine.until_idle()


async def resume(steps: int, path: str) -> float:
    """Seconds from opening the store to the end of the run."""
    began = time.perf_counter()
    async with AsyncEngine(path, workflows=[recorded], durability="process") as engine:
        run = engine.run("run")
        await run.send("go on")
        assert await run.result() == steps
        return time.perf_counter() - began


def replay(steps: int, path: str) -> float:
    """Seconds of the machine alone, given the decoded journal."""
    opened = open_store(path, durability="process")
    with opened.view() as view:
        journal = [entry for _, entry in Ledger(Codec()).entries(view, "run")]
    opened.close()
    machine = Machine("run", recorded(steps).body(), seed=bytes(16))
    seconds = timed(lambda: machine.feed(Started(journal), 0))
    machine.discard()
    return seconds


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    arguments = parser.parse_args()
    steps = arguments.steps
    bare = steps / limit(1_000, 10)
    with store() as path:
        anyio.run(record, steps, path)
        machine = replay(steps, path)
        whole = anyio.run(resume, steps, path)
    results: dict[str, Any] = {
        "steps": steps,
        "replay by the machine, microseconds a step": machine / steps * 1e6,
        "replay by the machine, ratio to the limit": bare / machine,
        "take up and finish, microseconds a step": whole / steps * 1e6,
        "take up and finish, ratio to the limit": bare / whole,
    }
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
