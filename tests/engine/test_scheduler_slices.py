"""Other tasks of the loop have their turn while the code of many runs takes long, wherever that code is."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hosts import TOO_LONG

from continuum import All, AsyncEngine, Race, Receive, Save, Sleep, workflow
from continuum.engine import scheduler
from continuum.engine.scheduler import TURN
from continuum.store import keys
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch

pytestmark = pytest.mark.anyio

RUNS = 20
SECOND = 1_000_000_000


class Work:
    """What takes long, by a clock of its own."""

    def __init__(self) -> None:
        self.now = 1_700_000_000 * SECOND
        self.done = 0
        self.flowing = threading.Event()  # commits
        self.flowing.set()
        self.gate = anyio.Event()

    def clock(self) -> int:
        return self.now

    def do(self) -> None:
        self.now += TURN + 1
        self.done += 1

    async def until_done(self) -> None:
        with anyio.fail_after(TOO_LONG):
            while self.done < RUNS:
                await checkpoint()


work = Work()


@workflow
def begins() -> Any:
    work.do()
    yield Receive("never")


@workflow
def steps_inline() -> Any:
    yield Save(lambda: work.do(), executor="inline")


@workflow
def fans_out() -> Any:
    yield All(*[Save(lambda: work.do(), executor="inline") for _ in range(RUNS)])


@workflow
def goes_on() -> Any:
    yield Save(pass_gate)
    work.do()


@workflow
def sleeps() -> Any:
    yield Sleep(1)
    work.do()


@workflow
def sleeps_or_not() -> Any:
    yield Race(Sleep(1), Receive("word"))


@workflow
def nothing() -> Any:
    return
    yield


async def pass_gate() -> None:
    await work.gate.wait()


@pytest.fixture(autouse=True)
def _new_work() -> None:
    global work
    work = Work()


def engine(space: Space, **options: Any) -> AsyncEngine:
    workflows = [begins, steps_inline, fans_out, goes_on, sleeps, sleeps_or_not, nothing]
    return AsyncEngine(MemoryStore(space), workflows=workflows, clock=work.clock, grace=0.0, **options)


async def start_all(engine: AsyncEngine, kind: Any) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(RUNS):
            group.start_soon(partial(engine.start, kind()))


async def started(space: Space) -> None:
    async with engine(space) as new:
        await new.until_idle()
        await start_all(new, begins)
        await work.until_done()


async def taken_up(space: Space) -> None:
    async with engine(space, work=False) as client:
        await start_all(client, begins)
    async with engine(space):
        await work.until_done()


async def stepped(space: Space) -> None:
    async with engine(space) as new:
        await new.until_idle()
        await start_all(new, steps_inline)
        await work.until_done()


async def fanned_out(space: Space) -> None:
    async with engine(space) as new:
        await new.start(fans_out())
        await work.until_done()


async def gone_on(space: Space) -> None:
    async with engine(space) as new:
        await start_all(new, goes_on)
        while len(await new.runs(status="running")) < RUNS:
            await checkpoint()
        work.gate.set()
        await work.until_done()


async def woken(space: Space) -> None:
    async with engine(space) as new:
        await start_all(new, sleeps)
        await new.until_idle()
        work.now += SECOND
        await new.start(nothing())
        await work.until_done()


@pytest.mark.parametrize(
    "scenario", [started, taken_up, stepped, fanned_out, gone_on, woken], ids=lambda each: each.__name__
)
async def test_others_have_their_turn_while_runs_take_long(scenario: Callable[[Space], Awaitable[None]]) -> None:
    between_turns = []

    async def take_turns() -> None:
        while True:
            before = work.done
            await checkpoint()
            between_turns.append(work.done - before)

    async with anyio.create_task_group() as group:
        group.start_soon(take_turns)
        await scenario(Space())
        group.cancel_scope.cancel()
    # One, but on trio a task may come first in this round, and last in the next.
    assert max(between_turns) <= 2
    assert work.done == RUNS


class StoppedStore(MemoryStore):
    """Commits nothing while the work is begun and not done."""

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        assert work.flowing.wait(TOO_LONG), "the work waits for the commit"
        return super().commit(batches)


@pytest.mark.parametrize("scenario", [started, taken_up], ids=lambda each: each.__name__)
async def test_the_next_slice_does_not_wait_for_a_commit(
    scenario: Callable[[Space], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def do() -> None:
        work.flowing.clear()
        Work.do(work)
        if work.done == RUNS:
            work.flowing.set()

    monkeypatch.setattr(work, "do", do)
    monkeypatch.setattr("test_scheduler_slices.MemoryStore", StoppedStore)
    await scenario(Space())


async def test_an_engine_is_not_idle_as_long_as_a_timer_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "SLICE", 1)
    async with engine(Space()) as new:
        hurried = await new.start(sleeps_or_not())
        await new.until_idle()
        await hurried.send("word")
        await hurried.result()  # and leaves its timer
        await new.start(sleeps())
        await new.until_idle()
        work.now += SECOND
        await new.until_idle()
        assert work.done == 1


async def test_an_engine_that_closes_hands_back_every_run_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler, "WINDOW", 1)
    space = Space()
    async with engine(space, concurrency=1) as new:
        await new.until_idle()
        await start_all(new, begins)
        assert work.done < RUNS
    with MemoryStore(space).view() as view:
        assert not [*view.scan(keys.claims())]
