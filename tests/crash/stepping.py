"""A worker that is killed: 50 steps, each of which writes a line to a file, in one of several ways to run them.

usage: stepping.py STORE LIFE RUN

It says "ready" when it is about to work, and "done" when the run has ended; then it ends by itself.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from at_once import take_over_at_once

from continuum import Compact, ContinueUsing, Engine, Map, Publish, Receive, Save, Sleep, workflow
from continuum.engine.keeping import changeover, keeper, upkeep
from continuum.store import leavings

STEPS = 50
LIMIT = 5
EVENTS = 5
GENERATION = 6  # steps after which a run goes on with a new history, which does not fit into STEPS


def make(effects: str, number: int) -> int:
    """Leave a trace: which step, in which life of the program."""
    life = os.environ["LIFE"]
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{life} {number}\n".encode())
    finally:
        os.close(file)
    return number * number


async def make_later(effects: str, number: int) -> int:
    """The same on the loop."""
    return make(effects, number)


@workflow
def one_by_one(effects: str, executor: str) -> Any:
    results = []
    for number in range(STEPS):
        if executor == "async":
            results.append((yield Save(make_later, effects, number)))
        else:
            results.append((yield Save(make, effects, number, executor=executor)))  # type: ignore[arg-type]
    return results


@workflow
def side_by_side(effects: str, executor: str) -> Any:
    def branch(number: int) -> Any:
        if executor == "async":
            return (yield Save(make_later, effects, number))
        return (yield Save(make, effects, number, executor=executor))  # type: ignore[arg-type]

    return (yield Map(branch, range(STEPS), limit=LIMIT))


@workflow
def with_pauses(effects: str, executor: str) -> Any:
    received, results = [], []
    for number in range(STEPS):
        results.append((yield Save(make, effects, number, executor=executor)))  # type: ignore[arg-type]
        if number % (STEPS // EVENTS) == 0:
            yield Sleep(0.005)
            received.append((yield Receive("go")))
    return results, received


@workflow
def in_generations(effects: str, executor: str, results: tuple[int, ...] = ()) -> Any:
    for number in range(len(results), min(len(results) + GENERATION, STEPS)):
        results = (*results, (yield Save(make, effects, number, executor=executor)))  # type: ignore[arg-type]
        yield Sleep(0)
    if len(results) < STEPS:
        yield ContinueUsing(in_generations(effects, executor, results))
    return list(results)


@workflow
def compacting(effects: str, executor: str) -> Any:
    """Its history is deleted again and again, with what it has published to tell what was in it."""
    results: list[int] = []
    for number in range(STEPS):
        results.append((yield Save(make, effects, number, executor=executor)))  # type: ignore[arg-type]
        yield Sleep(0)
        if number % GENERATION == 0:
            yield Publish(results=results)
            yield Compact()
    return results


@workflow(history="since_continuation")
def kept(effects: str, executor: str) -> Any:
    """The same without being asked for."""
    results: list[int] = []
    for number in range(STEPS):
        results.append((yield Save(make, effects, number, executor=executor)))  # type: ignore[arg-type]
        yield Publish(results=results)
    return results


WORKFLOWS = {each.name: each for each in (one_by_one, side_by_side, with_pauses, in_generations, compacting, kept)}


def keep_often() -> None:
    """Keep continuations all the time, and delete what lies behind in pieces."""
    keeper.LONG = upkeep.LONG = 2  # type: ignore[misc]
    upkeep.ENTRIES = 4  # type: ignore[misc]
    upkeep.COST = 1 << 60  # type: ignore[misc]
    upkeep.BYTES = 1  # type: ignore[misc]
    changeover.REST = 0  # type: ignore[misc]
    leavings.ENTRIES = 2  # type: ignore[misc]


def main(store: str, life: str, run: str) -> None:
    """Work on the store until the run has ended."""
    os.environ["LIFE"] = life
    keep_often()
    take_over_at_once(store)
    with Engine(store, workflows=WORKFLOWS.values()) as engine:
        print("ready", flush=True)
        engine.run(run).result()
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
