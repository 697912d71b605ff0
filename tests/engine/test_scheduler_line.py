"""Runs that an engine starts for itself: they wait in line in its memory until there is room for them."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from continuum import AsyncEngine, Engine, Receive, Save, workflow
from continuum.engine import scheduler
from continuum.errors import RunCancelled
from continuum.store.memory import MemoryStore, Space

pytestmark = pytest.mark.anyio

begun: list[str] = []
gate: anyio.Event


@workflow
def gated(name: str) -> Any:
    begun.append(name)
    yield Save(pass_gate)
    return name


@workflow
def listening(name: str) -> Any:
    begun.append(name)
    return (yield Receive("word"))


async def pass_gate() -> None:
    await gate.wait()


@pytest.fixture(autouse=True)
def _one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    global gate
    monkeypatch.setattr(scheduler, "WINDOW", 1)
    gate = anyio.Event()
    begun.clear()


def engine(space: Space) -> AsyncEngine:
    return AsyncEngine(MemoryStore(space), workflows=[gated, listening], concurrency=1, grace=0.0)


async def fill(engine: AsyncEngine) -> None:
    """Start as many runs as are worked on at once with concurrency 1, and let them begin."""
    await engine.until_idle()  # it has seen that there is nothing in the store
    for name in ("first", "second"):
        await engine.start(gated(name), id=name)
    while len(begun) < 2:
        await checkpoint()


async def test_runs_in_line_begin_in_the_order_of_their_start() -> None:
    async with engine(Space()) as started:
        await fill(started)
        names = [f"run {number}" for number in range(10)]
        runs = [await started.start(gated(name), id=name) for name in names]
        for _ in range(20):
            await checkpoint()
        assert begun == ["first", "second"]
        gate.set()
        assert [await run.result() for run in runs] == names
        assert begun == ["first", "second", *names]


@pytest.mark.parametrize("how", ["send", "cancel"])
async def test_a_run_in_line_begins_at_once_when_something_comes_for_it(how: str) -> None:
    async with engine(Space()) as started:
        await fill(started)
        run = await started.start(listening("third"))
        if how == "send":
            await run.send("word", "hello")
            assert await run.result() == "hello"
        else:
            await run.cancel("no more")
            with pytest.raises(RunCancelled, match="no more"):
                await run.result()
        gate.set()


async def test_what_is_in_line_when_the_engine_closes_is_done_by_the_next() -> None:
    space = Space()
    async with engine(space) as started:
        await fill(started)
        third = await started.start(gated("third"), id="third")
    gate.set()
    async with engine(space) as started:
        for name in ("first", "second", "third"):
            assert await started.run(name).result() == name
    assert third.id == "third"


async def test_what_is_in_line_when_the_engine_dies_is_done_by_the_next() -> None:
    space = Space()
    with pytest.raises(ZeroDivisionError):
        async with engine(space) as started:
            await fill(started)
            await started.start(gated("third"), id="third")
            1 / 0  # noqa: B018
    gate.set()
    async with engine(space) as started:
        assert await started.run("third").result() == "third"


async def test_a_run_whose_starter_was_cancelled_is_worked_on_all_the_same() -> None:
    async with engine(Space()) as started:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await started.start(listening("mine"), id="mine")
        assert scope.cancelled_caught
        await started.until_idle()
        if not begun:  # the cancellation came before anything was asked
            return
        await started.run("mine").send("word", 1)
        assert await started.run("mine").result() == 1


def test_a_run_that_another_has_started_meanwhile_is_not_begun_twice() -> None:
    with Engine("memory://", workflows=[listening]) as started:
        runs = [started.start(listening("same"), id="same") for _ in range(3)]
        started.until_idle()
        assert begun == ["same"]
        runs[0].send("word", 5)
        assert [run.result() for run in runs] == [5, 5, 5]


async def test_a_run_for_another_queue_is_for_others_though_its_workflow_is_done_here() -> None:
    async with engine(Space()) as started:
        await started.until_idle()
        await started.start(listening("mine"))
        others = await started.start(listening("others'"), queue="elsewhere")
        await started.until_idle()
        assert begun == ["mine"]
        assert await others.status() == "pending"
