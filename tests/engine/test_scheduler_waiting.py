"""Runs that wait: what they cost, how they leave memory and come back, by a clock that the test turns."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
import trio.testing
from hosts import opened
from virtual import in_virtual_time

from continuum import AsyncEngine, Ensure, Handle, Race, Receive, Retry, Save, Send, Sleep, Workflow, current, workflow
from continuum.durations import NANOSECONDS
from continuum.errors import EnsureTimeout, RunFailed, RunTimedOut
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch, Hold, View, Watch

HOUR = 3600
DAY = 24 * HOUR
LONG_AGO = 1_700_000_000


class CountingStore:
    """Counts what it is asked."""

    def __init__(self, space: Space) -> None:
        self._inner = MemoryStore(space)
        self.location = self._inner.location
        self.views = 0
        self.commits = 0

    def view(self) -> AbstractContextManager[View]:
        self.views += 1
        return self._inner.view()

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        self.commits += 1
        return self._inner.commit(batches)

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._inner.watch(wake)

    def hold(self, name: str) -> Hold | None:
        return self._inner.hold(name)

    def close(self) -> None:
        self._inner.close()


class World:
    """A store, and engines whose time is that of trio's clock, which jumps when all tasks sleep."""

    def __init__(self) -> None:
        self.space = Space()
        self.store = CountingStore(self.space)

    def engine(self, *workflows: Any, **options: Any) -> AsyncEngine:
        self.store = CountingStore(self.space)
        return AsyncEngine(self.store, workflows=workflows, clock=clock(), **{"grace": 0.0, **options})


def clock() -> Callable[[], int]:
    """Trio's own clock, for any thread."""
    current_time = trio.lowlevel.current_clock().current_time
    return lambda: round((LONG_AGO + current_time()) * 1e9)


class Big:
    """Something that a waiting run holds on to."""


def test_an_idle_engine_does_nothing_however_long_it_waits() -> None:
    @workflow
    def waits() -> Any:
        yield Receive("event")

    async def scenario() -> None:
        world = World()
        async with world.engine(waits) as engine:
            for _ in range(20):
                await engine.start(waits())
            await engine.until_idle()
            await trio.sleep(HOUR)  # by then they have left memory
            before = world.store.views, world.store.commits
            wakes: list[int] = []
            mailbox, drain = engine.client.mailbox, engine.client.mailbox.drain
            mailbox.drain = lambda limit=None: wakes.append(1) or drain(limit)  # type: ignore[method-assign, func-returns-value]
            await trio.sleep(30 * DAY)
            assert (world.store.views, world.store.commits) == before
            assert wakes == []

    in_virtual_time(scenario)


def test_a_waiting_run_leaves_memory_and_comes_back_on_an_event() -> None:
    alive: list[weakref.ref[Big]] = []

    @workflow
    def waits() -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        first = yield Receive("first")
        second = yield Receive("second")
        return first, second, big is not None

    async def scenario() -> None:
        world = World()
        async with world.engine(waits) as engine:
            run = await engine.start(waits())
            for name in ("first", "second"):
                await engine.until_idle()
                assert alive[-1]() is not None
                await trio.sleep(60)
                gc.collect()
                assert alive[-1]() is None
                await run.send(name, name)
            assert await run.result(timeout=HOUR) == ("first", "second", True)
        assert len(alive) == 3

    in_virtual_time(scenario)


def test_a_sleeping_run_leaves_memory_and_comes_back_when_it_is_due() -> None:
    begun: list[float] = []

    @workflow
    def sleeps() -> Any:
        begun.append(trio.current_time())
        yield Sleep(DAY)
        yield Sleep(until=datetime.fromtimestamp(LONG_AGO + 3 * DAY, UTC))

    async def scenario() -> None:
        world = World()
        async with world.engine(sleeps) as engine:
            run = await engine.start(sleeps())
            await run.result()
            assert trio.current_time() == pytest.approx(3 * DAY, abs=5)
        assert len(begun) == 3

    in_virtual_time(scenario)


def test_a_sleep_keeps_its_due_time_over_a_restart() -> None:
    @workflow
    def sleeps() -> Any:
        yield Sleep(DAY)

    async def scenario() -> None:
        world = World()
        async with world.engine(sleeps) as engine:
            await engine.start(sleeps(), id="r")
            await engine.until_idle()
            await trio.sleep(HOUR)
        await trio.sleep(10 * HOUR)
        async with world.engine(sleeps) as engine:
            await engine.run("r").result()
            assert trio.current_time() == pytest.approx(DAY, abs=5)

    in_virtual_time(scenario)


def test_a_sleep_that_was_due_while_no_engine_was_there_ends_at_once() -> None:
    @workflow
    def sleeps() -> Any:
        yield Sleep(DAY)

    async def scenario() -> None:
        world = World()
        async with world.engine(sleeps) as engine:
            await engine.start(sleeps(), id="r")
            await engine.until_idle()
        await trio.sleep(10 * DAY)
        async with world.engine(sleeps) as engine:
            await engine.run("r").result()
            assert trio.current_time() == pytest.approx(10 * DAY, abs=5)

    in_virtual_time(scenario)


def test_a_backoff_keeps_its_attempts_and_its_due_time_over_a_restart() -> None:
    calls: list[float] = []

    def fail() -> None:
        calls.append(trio.current_time())
        raise ValueError("not yet")

    @workflow
    def persists() -> Any:
        try:
            yield Save(fail, retry=Retry(attempts=3, delay=HOUR, factor=2, max_delay=DAY, jitter=0), executor="inline")
        except ValueError:
            return "gave up"

    async def scenario() -> None:
        world = World()
        async with world.engine(persists) as engine:
            await engine.start(persists(), id="r")
            await engine.until_idle()
            await trio.sleep(HOUR / 2)
        async with world.engine(persists) as engine:
            await trio.sleep(HOUR)
        async with world.engine(persists) as engine:
            assert await engine.run("r").result() == "gave up"
            assert [step.attempts for step in await engine.run("r").history()] == [3]
        assert [round(at / HOUR, 2) for at in calls] == [0, 1, 3]

    in_virtual_time(scenario)


def test_a_run_in_a_long_backoff_leaves_memory_and_comes_back_when_it_is_due() -> None:
    alive: list[weakref.ref[Big]] = []
    calls: list[float] = []

    def fail_twice() -> int:
        calls.append(trio.current_time())
        if len(calls) < 3:
            raise ValueError("not yet")
        return len(calls)

    @workflow
    def persists() -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        made = yield Save(fail_twice, retry=Retry(attempts=3, delay=DAY, factor=1, max_delay=DAY), executor="inline")
        return made, big is not None

    async def is_gone() -> None:
        assert alive[-1]() is not None
        await trio.sleep(60)
        gc.collect()
        assert alive[-1]() is None

    async def scenario() -> None:
        world = World()
        async with world.engine(persists) as engine:
            await engine.start(persists(), id="r")
            await engine.until_idle()
            await is_gone()
            await trio.sleep(1.5 * DAY)  # the second attempt
        assert len(calls) == 2
        async with world.engine(persists) as engine:
            await trio.sleep(60)
            assert len(alive) == 2, "a restart alone does not bring it back"
            assert await engine.run("r").result() == (3, True)
        assert [round(at / DAY, 1) for at in calls] == [0, pytest.approx(1, abs=0.11), pytest.approx(2, abs=0.21)]

    in_virtual_time(scenario)


def test_the_time_for_all_attempts_goes_on_over_a_restart() -> None:
    calls: list[float] = []

    def fail() -> None:
        calls.append(trio.current_time())
        raise ValueError("not yet")

    policy = Retry(attempts=100, delay=HOUR, factor=1, max_delay=DAY, max_elapsed="3h30m", jitter=0)

    @workflow
    def persists() -> Any:
        yield Save(fail, retry=policy, executor="inline")

    async def scenario(away: float) -> list[int]:
        calls.clear()
        start, world = trio.current_time(), World()
        async with world.engine(persists) as engine:
            await engine.start(persists(), id="r")
            await engine.until_idle()
            await trio.sleep(HOUR / 2)
        await trio.sleep(away)
        async with world.engine(persists) as engine:
            with pytest.raises(RunFailed) as caught:
                await engine.run("r").result()
            assert "max_elapsed" in str(caught.value.__cause__.__notes__)  # type: ignore[union-attr]
            assert [step.attempts for step in await engine.run("r").history()] == [len(calls)]
        return [round((at - start) / HOUR) for at in calls]

    async def both() -> None:
        assert await scenario(away=0) == [0, 1, 2, 3]
        assert await scenario(away=DAY) == [0]

    in_virtual_time(both)


def test_the_first_of_a_timer_and_an_event_wins_over_a_restart() -> None:
    @workflow
    def races() -> Any:
        return (yield Race(Receive("event"), Sleep(DAY)))

    async def scenario() -> None:
        world = World()
        async with world.engine(races) as engine:
            late, soon = await engine.start(races()), await engine.start(races())
            await engine.until_idle()
            await trio.sleep(DAY / 2)
        async with world.engine(races) as engine:
            await engine.run(soon.id).send("event", "in time")
            assert await engine.run(soon.id).result() == (0, "in time")
            assert await engine.run(late.id).result() == (1, None)
            assert trio.current_time() == pytest.approx(DAY, abs=5)

    in_virtual_time(scenario)


def test_handlers_and_conditions_come_back_with_the_run() -> None:
    @workflow
    def counts() -> Any:
        seen: list[int] = []
        yield Handle("number", seen.append)
        yield Ensure(lambda: len(seen) >= 3)
        return seen

    async def scenario() -> None:
        world = World()
        async with world.engine(counts) as engine:
            run = await engine.start(counts())
            for number in range(3):
                await run.send("number", number)
                await engine.until_idle()
                await trio.sleep(60)
            assert await run.result(timeout=HOUR) == [0, 1, 2]

    in_virtual_time(scenario)


def test_a_deadline_ends_a_run_that_has_left_memory() -> None:
    @workflow(timeout=timedelta(days=1))
    def waits() -> Any:
        yield Receive("event")

    async def scenario() -> None:
        world = World()
        async with world.engine(waits) as engine:
            run = await engine.start(waits())
            with pytest.raises(RunTimedOut):
                await run.result()
            assert trio.current_time() == pytest.approx(DAY, abs=5)

    in_virtual_time(scenario)


def test_a_delayed_run_starts_when_it_is_due() -> None:
    begun: list[float] = []

    @workflow
    def starts() -> Any:
        begun.append(trio.current_time())
        yield Sleep(0)

    async def scenario() -> None:
        world = World()
        async with world.engine(starts) as engine:
            await engine.start(starts(), delay=2 * DAY)
            early = await engine.start(starts(), delay=DAY)
            await early.result()
            await trio.sleep(2 * DAY)
        assert [round(at / DAY, 2) for at in begun] == [1, 2]

    in_virtual_time(scenario)


def test_events_do_not_begin_a_delayed_run_before_it_is_due() -> None:
    @workflow
    def listens() -> Any:
        begun = trio.current_time()
        return begun, (yield Receive("word")), (yield Receive("word"))

    @workflow
    def sends() -> Any:
        yield Send("late", "word", "two")

    async def scenario() -> None:
        world = World()
        async with world.engine(listens, sends) as engine:
            run = await engine.start(listens(), id="late", delay=DAY)
            await run.send("word", "one")
            await (await engine.start(sends())).result()
            await trio.sleep(DAY / 2)
            assert await run.status() == "pending"
            begun, *words = await run.result()
            assert (round(begun / DAY, 2), words) == (1, ["one", "two"])
            run = await engine.start(listens(), delay=DAY, timeout=2 * DAY)
            await run.send("word", "one")
            await run.send("word", "two")
            begun, *words = await run.result()
            assert (round(begun / DAY, 2), words) == (2, ["one", "two"])

    in_virtual_time(scenario)


def test_the_deadline_of_a_delayed_run_counts_from_the_end_of_the_delay() -> None:
    @workflow(timeout=DAY / 2)
    def waits() -> Any:
        yield Receive("word")

    async def scenario() -> None:
        world = World()
        async with world.engine(waits) as engine:
            answered = await engine.start(waits(), delay=DAY)
            late = await engine.start(waits(), delay=DAY)
            await trio.sleep(1.25 * DAY)
            await answered.send("word")
            await answered.result()
            assert await late.status() == "waiting"
            with pytest.raises(RunTimedOut):
                await late.result()
            assert round(trio.current_time() / DAY, 2) == 1.5

    in_virtual_time(scenario)


def test_a_timer_that_a_client_sets_in_the_store_wakes_an_idle_engine() -> None:
    @workflow
    def starts() -> Any:
        yield Sleep(0)

    async def scenario() -> None:
        world = World()
        async with world.engine(starts) as engine:
            await engine.until_idle()
            await trio.sleep(HOUR)
            async with AsyncEngine(MemoryStore(world.space), work=False, clock=clock()) as client:
                await client.start(starts(), id="r", delay=DAY)
            await engine.run("r").result()
            assert trio.current_time() == pytest.approx(DAY + HOUR, abs=5)

    in_virtual_time(scenario)


def test_a_run_that_sleeps_in_a_loop_is_woken_each_time() -> None:
    @workflow
    def ticks() -> Any:
        for _ in range(10):
            yield Sleep(HOUR)
        return "done"

    async def scenario() -> None:
        world = World()
        async with world.engine(ticks) as engine:
            assert await (await engine.start(ticks())).result() == "done"
            assert trio.current_time() == pytest.approx(10 * HOUR, rel=0.01)

    in_virtual_time(scenario)


# On every store, by a clock that is set forward while no engine is there


def fails_at_first() -> str:
    if current().attempt == 1:
        raise ValueError("not yet")
    return "made"


@workflow
def sleeps_an_hour() -> Any:
    yield Sleep(HOUR)
    return "slept"


@workflow
def tries_again_after_an_hour() -> Any:
    return (yield Save(fails_at_first, retry=Retry(attempts=2, delay=HOUR, max_delay=DAY, jitter=0)))


@workflow
def waits_an_hour_for_an_event() -> Any:
    return (yield Receive("event", timeout=HOUR, default="none came"))


@workflow
def waits_an_hour_for_a_condition() -> Any:
    told: list[str] = []
    yield Handle("event", told.append)
    try:
        yield Ensure(lambda: len(told) > 1, timeout=HOUR)
    except EnsureTimeout:
        return told


@workflow
def races_with_an_hour() -> Any:
    return (yield Race(Receive("another"), Sleep(HOUR)))


@pytest.mark.parametrize(
    ("waits", "result"),
    [
        (sleeps_an_hour, "slept"),
        (tries_again_after_an_hour, "made"),
        (waits_an_hour_for_an_event, "none came"),
        (waits_an_hour_for_a_condition, ["sent"]),
        (races_with_an_hour, (1, None)),
    ],
)
def test_what_is_waited_for_is_due_in_whatever_engine_is_there_then(
    where: str, waits: Workflow[[], Any], result: object
) -> None:
    now = LONG_AGO * NANOSECONDS

    def clock() -> int:
        return now

    with opened(where, waits, clock=clock) as engine:
        run = engine.start(waits(), id="r")
        if waits is waits_an_hour_for_a_condition:
            run.send("event", "sent")
        engine.until_idle()
        assert run.status() == "waiting"
    for passed, status in ((HOUR - 1, "waiting"), (1, "completed")):
        now += passed * NANOSECONDS
        with opened(where, waits, clock=clock) as engine:
            engine.until_idle()
            assert engine.run("r").status() == status
    with opened(where, work=False) as client:
        assert client.run("r").result() == result
