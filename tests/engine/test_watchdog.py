"""Who holds up a worker's loop: seen from a thread, told to the other workers, and counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import Ensure, Handle, Save, workflow
from continuum.engine import lease
from continuum.engine.watchdog import HELD, LOOKS, Busy, Watchdog, busy_with
from continuum.journal import RunId

LEASE = 20.0
PERIOD = LEASE / LOOKS


class Watched:
    """A watchdog, a clock that is moved by hand, and what is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], object]] = []
        self.told: list[str] = []
        self.watchdog = Watchdog(
            LEASE,
            self.calls.append,
            lambda busy: self.told.append(busy.run_id),
            lambda: self.told.append("goes on"),
            monotonic=lambda: self.now,
        )

    def look(self, run_id: str | None, times: int = 1, after: float = PERIOD) -> None:
        """Look so many times, and find the loop at work on that run."""
        for _ in range(times):
            self.now += after
            self.watchdog.look(None if run_id is None else Busy(RunId(run_id), "somewhere"))

    def come_round(self) -> None:
        """The loop makes the calls that it was asked for."""
        for call in self.calls:
            call()


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_run_that_the_loop_is_always_at_work_on_holds_it_up_until_it_is_not(watched: Watched) -> None:
    watched.look("r", HELD)
    assert watched.told == []
    watched.look("r", 2)
    assert watched.told == ["r", "r"]
    watched.come_round()
    watched.look(None, 2)
    assert watched.told == ["r", "r", "goes on"]


def test_a_loop_that_comes_round_is_not_held_up(watched: Watched) -> None:
    for _ in range(5 * HELD):
        watched.look("r")
        watched.come_round()
    assert watched.told == []


def test_runs_that_take_turns_do_not_hold_up_the_loop(watched: Watched) -> None:
    for _ in range(5 * HELD):
        watched.look("r")
        watched.look("s")
    assert watched.told == []


def test_time_in_which_the_process_stood_still_does_not_count(watched: Watched) -> None:
    watched.look("r", HELD - 1)
    watched.look("r", 5, after=2 * LEASE)
    assert watched.told == []


# What may hold up the loop, and what becomes of it

released: threading.Event
begun: list[str] = []
loops: list[int] = []


@pytest.fixture(autouse=True)
def _released_at_the_end() -> Iterator[None]:
    global released
    released = threading.Event()
    begun.clear()
    loops.clear()
    yield
    released.set()


def spin(*_: object) -> bool:
    """Come back when the test is over."""
    begun.append("bad")
    loops.append(threading.get_ident())
    until = time.monotonic() + 10 * TOO_LONG
    while not released.is_set() and time.monotonic() < until:
        time.sleep(0.0005)
    return True


async def spin_in_a_task() -> None:
    spin()


@workflow
def in_the_workflow() -> Any:
    spin()
    yield Save(int)


@workflow
def behind_a_step() -> Any:
    yield Save(int)
    yield Save(int)
    spin()


@workflow
def inline() -> Any:
    yield Save(spin, executor="inline")


@workflow
def in_an_async_step() -> Any:
    yield Save(spin_in_a_task)


@workflow
def in_a_predicate() -> Any:
    yield Ensure(spin)


@workflow
def in_a_handler() -> Any:
    yield Handle("word", spin)
    yield Ensure(lambda: False)


@workflow
def quick() -> Any:
    yield Save(int)
    return "quick"


@workflow
def given(value: object) -> Any:
    yield Save(int)


class Spinning:
    """A value that is loaded by calling `spin`."""

    def __reduce__(self) -> Any:
        return spin, ()


BAD = [in_the_workflow, behind_a_step, inline, in_an_async_step, in_a_predicate, in_a_handler]


@pytest.mark.parametrize("bad", BAD, ids=lambda each: each.name)
def test_it_is_seen_of_which_run_the_code_is_that_the_loop_executes(open_engine: OpenEngine, bad: Any) -> None:
    with open_engine(work=False) as client, open_engine(bad), ExitStack() as stack:
        stack.callback(lambda: released.set())
        client.start(bad(), id="bad").send("word", "whatever")
        eventually(lambda: begun)
        busy = busy_with(loops[0])
        assert busy is not None
        assert busy.run_id == "bad"
        assert "in spin" in busy.place
        released.set()
        eventually(lambda: busy_with(loops[0]) is None)


def test_it_is_seen_of_which_run_the_arguments_are_that_are_loaded_as_it_begins(open_engine: OpenEngine) -> None:
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(given))
        starting = threading.Thread(target=lambda: engine.start(given(Spinning()), id="bad"))
        stack.callback(starting.join)
        stack.callback(lambda: released.set())
        starting.start()
        eventually(lambda: begun)
        busy = busy_with(loops[0])
        assert busy is not None
        assert busy.run_id == "bad"
        assert "in spin" in busy.place


@pytest.mark.parametrize("where", ["memory"], indirect=True)
def test_a_run_that_holds_up_three_workers_is_laid_aside(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "CALM", 0.0)
    given_up: list[int] = []
    with ExitStack() as stack:
        client = stack.enter_context(open_engine(work=False))
        run = client.start(in_the_workflow(), id="bad")
        for number in range(4):
            engine = open_engine(in_the_workflow, quick, lease=1.0)
            engine._engine.when_given_up = partial(given_up.append, number)
            stack.enter_context(engine)
        stack.callback(lambda: released.set())
        eventually(lambda: run.status() == "blocked", 10 * TOO_LONG)
        assert "continuum retry bad" in run.describe().reason
        assert begun == ["bad"] * 3
        eventually(lambda: len(given_up) == 3)
        assert client.start(quick()).result(TOO_LONG) == "quick"


def test_a_loop_that_is_held_up_for_a_while_by_a_worker_that_is_alone_is_its_own_affair(
    open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    with open_engine(work=False) as client, open_engine(inline, lease=1.0), ExitStack() as stack:
        stack.callback(lambda: released.set())
        run = client.start(inline(), id="slow")
        eventually(lambda: "run slow holds up this worker" in caplog.text)
        assert "in spin" in caplog.text
        released.set()
        assert run.result(TOO_LONG) is None
        assert "others go on" not in caplog.text
