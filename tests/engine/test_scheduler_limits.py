"""Limits: who begins, who waits, who is called, and that every slot comes back."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from anyio import sleep
from anyio.lowlevel import checkpoint
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, OpenEngine, dump, eventually
from virtual import engine_on, in_virtual_time

from continuum import (
    All,
    Call,
    Cancelled,
    ContinueUsing,
    Engine,
    Limit,
    Race,
    Receive,
    Retry,
    Revert,
    Run,
    Save,
    Sleep,
    step,
    workflow,
)
from continuum.errors import RunCancelled, RunEnded, RunFailed, RunFinished, RunTimedOut, StepUncertain
from continuum.store import limits as rules
from continuum.store.limits import Limits, Round
from continuum.store.memory import MemoryStore, Space

LIVES = pytest.mark.parametrize("lives", [1, 2])


class Desk:
    """A step that notes who is at it, and keeps everybody until they are let go."""

    def __init__(self) -> None:
        self.__name__ = self.__qualname__ = "serve"
        self.begun: list[Any] = []
        self.at_it: set[Any] = set()
        self.most = 0
        self._gates: dict[Any, threading.Event] = {}
        self._lock = threading.Lock()
        self.open = False

    def gate(self, who: Any) -> threading.Event:
        with self._lock:
            return self._gates.setdefault(who, threading.Event())

    def let_go(self, *whom: Any) -> None:
        for who in whom:
            self.gate(who).set()

    def __call__(self, who: Any) -> Any:
        with self._lock:
            self.begun.append(who)
            self.at_it.add(who)
            self.most = max(self.most, len(self.at_it))
        try:
            assert self.open or self.gate(who).wait(TOO_LONG)
        finally:
            with self._lock:
                self.at_it.discard(who)
        return who


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.open = True
    desk.let_go(*desk.begun)


@pytest.fixture(autouse=True)
def no_patrol(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks at a line without cause."""
    monkeypatch.setattr(rules, "PATROL", 3600 * 1_000_000_000)


def results(runs: list[Run[Any]]) -> list[Any]:
    return [run.result(TOO_LONG) for run in runs]


def in_line(run: Run[Any]) -> bool:
    return "a slot of limit" in run.describe().waiting_for


def left_over(pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    """What is there of slots and of places in line."""
    return [key for key, _ in pairs if key[:2] in (b"fr", b"fs", b"fw")]


# How many at a time


def test_no_more_steps_are_under_way_than_the_limit_allows_and_all_get_their_turn(
    open_engine: OpenEngine, where: str, desk: Desk
) -> None:
    desk.open = True

    @workflow
    def served(who: int) -> Any:
        return (yield All(*(Save(desk, (who, each), limit=Limit(3)) for each in range(4))))

    with open_engine(served) as engine:
        runs = [engine.start(served(number)) for number in range(10)]
        assert results(runs) == [[(number, each) for each in range(4)] for number in range(10)]
        engine.until_idle()
    assert desk.most <= 3
    assert len(desk.begun) == 40
    assert left_over(dump(where)) == []


def test_limits_attached_to_async_functions_and_shared_by_name(open_engine: OpenEngine) -> None:
    at_it, most = 0, 0
    api = Limit(2, name="api")

    async def work(what: str) -> str:
        nonlocal at_it, most
        at_it += 1
        most = max(most, at_it)
        for _ in range(3):
            await checkpoint()
        at_it -= 1
        return what

    @step(limit=api)
    async def ask(what: str) -> str:
        return await work(what)

    @step(limit=api)
    async def tell(what: str) -> str:
        return await work(what)

    @workflow
    def talks() -> Any:
        return (yield All(*(Save(each, "x") for each in (ask, tell) * 4)))

    with open_engine(talks) as engine:
        assert results([engine.start(talks()) for _ in range(3)]) == [["x"] * 8] * 3
    assert most <= 2


@pytest.fixture
def lines(desk: Desk) -> Any:
    """A workflow whose step has a limit of one."""

    @workflow
    def stands_in_line(who: Any) -> Any:
        return (yield Save(desk, who, limit=Limit(1)))

    return stands_in_line


def start_in_line(engine: Engine, desk: Desk, lines: Any, names: str) -> list[Run[Any]]:
    """Runs of which the first is served and the others are in line, in this order."""
    runs = []
    for name in names:
        runs.append(engine.start(lines(name), id=name))
        eventually(lambda: desk.begun == [names[0]] if len(runs) == 1 else in_line(runs[-1]))
    return runs


def test_runs_are_served_in_the_order_in_which_they_came(open_engine: OpenEngine, desk: Desk, lines: Any) -> None:
    with open_engine(lines) as engine:
        runs = start_in_line(engine, desk, lines, "abcde")
        desk.let_go(*"abcde")
        assert results(runs) == list("abcde")
    assert desk.begun == list("abcde")


def test_a_run_in_line_waits_and_shows_for_what(open_engine: OpenEngine, desk: Desk, lines: Any) -> None:
    with open_engine(lines) as engine:
        _, run = start_in_line(engine, desk, lines, "ab")
        assert (run.status(), run.describe().waiting_for) == ("waiting", "save 'serve' (a slot of limit 'serve')")


def test_nobody_is_at_work_for_those_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def noted(self: Limits, *args: Any, **options: Any) -> Any:
        looks.append(args)
        return call(self, *args, **options)

    async def stay(number: int) -> None:
        await gates[0].wait()

    @workflow
    def stays(number: int) -> Any:
        yield Save(stay, number, limit=Limit(1))

    async def scenario() -> None:
        gates.append(anyio.Event())
        async with engine_on(Space(), stays) as engine:
            runs = [await engine.start(stays(number)) for number in range(6)]
            await anyio.sleep(1)
            monkeypatch.setattr(Limits, "call", noted)
            await anyio.sleep(20)
            assert not looks
            gates[0].set()
            for run in runs:
                await run.result()
        assert 5 <= len(looks) <= 20

    call = Limits.call
    gates: list[anyio.Event] = []
    in_virtual_time(scenario)


def test_a_run_in_line_can_be_cancelled_and_the_next_gets_its_turn(
    open_engine: OpenEngine, where: str, desk: Desk, lines: Any
) -> None:
    with open_engine(lines) as engine:
        runs = start_in_line(engine, desk, lines, "abc")
        runs[1].cancel("enough")
        with pytest.raises(RunCancelled):
            runs[1].result(TOO_LONG)
        desk.let_go("a", "c")
        assert runs[2].result(TOO_LONG) == "c"
        engine.until_idle()
    assert desk.begun == ["a", "c"]
    assert left_over(dump(where)) == []


def how_it_ends(how: str, desk: Desk) -> Any:
    """A workflow whose run "a" loses its slot in that way."""

    async def asleep(who: str) -> str:
        desk.begun.append(who)
        if who != "b":
            await sleep(TOO_LONG)
        return who

    def fails(who: str) -> str:
        desk(who)
        if who != "b":
            raise ValueError("no")
        return who

    limit = Limit(1, name="desk")

    @workflow(timeout=0.3 if how == "deadline" else None)
    def ends(who: str) -> Any:
        match how:
            case "failure":
                return (yield Save(fails, who, limit=limit))
            case "timeout":
                return (yield Save(asleep, who, limit=limit, timeout=0.05))
            case "cancel" | "deadline":
                return (yield Save(asleep, who, limit=limit))
            case "race":
                return (yield Race(Sleep(0.05 if who == "a" else 60), Save(asleep, who, limit=limit)))

    return ends


@pytest.mark.parametrize("how", ["failure", "timeout", "cancel", "deadline", "race"])
def test_a_slot_comes_back_however_the_attempt_ends(open_engine: OpenEngine, where: str, desk: Desk, how: str) -> None:
    ends = how_it_ends(how, desk)
    with open_engine(ends) as engine:
        first = engine.start(ends("a"))
        eventually(lambda: desk.begun == ["a"])
        second = engine.start(ends("b"), timeout=60)
        eventually(lambda: in_line(second) or desk.begun == ["a", "b"])
        desk.let_go("a", "b")
        if how == "cancel":
            first.cancel()
        with suppress(RunEnded):
            first.result(TOO_LONG)
        assert second.result(TOO_LONG) in ("b", (1, "b"))
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_between_attempts_a_step_has_no_slot(open_engine: OpenEngine, desk: Desk) -> None:
    desk.open = True
    failed = []
    now = time.time_ns()

    def fails_once(who: str) -> str:
        desk(who)
        if who == "a" and not failed:
            failed.append(who)
            raise ValueError("not yet")
        return who

    @workflow
    def tries(who: str) -> Any:
        return (yield Save(fails_once, who, limit=Limit(1), retry=Retry(2, delay=3600, max_delay=3600, jitter=0)))

    with open_engine(tries, clock=lambda: now) as engine:
        first = engine.start(tries("a"))
        eventually(lambda: failed)
        assert engine.start(tries("b")).result(TOO_LONG) == "b"
        now += 3600 * 1_000_000_000
        first.send("look at the clock")
        assert first.result(TOO_LONG) == "a"
    assert desk.begun == ["a", "b", "a"]


def test_a_step_of_a_run_that_was_taken_up_again_is_first(
    open_engine: OpenEngine, where: str, desk: Desk, lines: Any
) -> None:
    with open_engine(lines) as engine:
        start_in_line(engine, desk, lines, "abc")
        desk.open = True  # what is cut off by the end of the engine is done again
    desk.let_go(*"abc")
    desk.begun.clear()
    with open_engine(lines) as engine:
        assert results([engine.run(name) for name in "abc"]) == list("abc")
        engine.until_idle()
    assert sorted(desk.begun) == list("abc")
    assert desk.begun.index("b") < desk.begun.index("c")
    assert left_over(dump(where)) == []


def test_a_run_in_line_that_is_cancelled_while_nobody_works_leaves_its_place(
    open_engine: OpenEngine, where: str, desk: Desk, lines: Any
) -> None:
    with open_engine(lines) as engine:
        start_in_line(engine, desk, lines, "abc")
        desk.open = True
    desk.let_go(*"abc")
    with open_engine(work=False) as client:
        for _ in range(2):
            client.run("a").cancel()
        assert client.run("a").status() == "cancelled"
    with open_engine(lines) as engine:
        assert results([engine.run(name) for name in "bc"]) == ["b", "c"]
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_a_step_that_is_called_off_while_it_is_answered_gives_the_slot_back(
    open_engine: OpenEngine, where: str, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    called_off = threading.Event()
    ask = Round.ask

    def answered_late(self: Round, *args: Any) -> Any:
        answer = ask(self, *args)
        assert called_off.wait(TOO_LONG)
        return answer

    def fails() -> None:
        raise ValueError("no")

    @workflow
    def calls_off(who: str) -> Any:
        try:
            return (yield All(Save(desk, who, limit=Limit(1)), Save(fails, executor="inline")))
        except ValueError:
            called_off.set()
            return "called off"

    desk.open = True
    monkeypatch.setattr(Round, "ask", answered_late)
    with open_engine(calls_off) as engine:
        assert engine.start(calls_off("a")).result(TOO_LONG) == "called off"
        engine.until_idle()
    assert desk.begun == []
    assert left_over(dump(where)) == []


def test_a_run_that_blocks_beside_its_step_gives_the_slot_back(open_engine: OpenEngine, where: str, desk: Desk) -> None:
    plan = ["right"]

    @workflow
    def changes(who: str) -> Any:
        yield Save(len, "x", name=plan[0])
        return (yield Save(desk, who, limit=Limit(1)))

    with open_engine(changes) as engine:
        engine.start(changes("a"), id="a")
        eventually(lambda: desk.begun == ["a"])
    plan[0] = "wrong"
    desk.let_go("a", "b")
    with open_engine(changes) as engine:
        eventually(lambda: engine.run("a").status() == "blocked")
        plan[0] = "right"
        assert engine.start(changes("b")).result(TOO_LONG) == "b"
    with open_engine(changes) as engine:
        assert engine.run("a").result(TOO_LONG) == "a"
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_an_at_most_once_step_whose_outcome_is_uncertain_gives_the_slot_back(
    open_engine: OpenEngine, where: str, desk: Desk
) -> None:
    @workflow
    def careful(who: str) -> Any:
        try:
            return (yield Save(desk, who, limit=Limit(1), at_most_once=True))
        except StepUncertain:
            return "uncertain"

    with open_engine(careful) as engine:
        engine.start(careful("a"), id="a")
        eventually(lambda: desk.begun == ["a"])
    desk.let_go("a", "b")
    with open_engine(careful) as engine:
        runs = [engine.run("a"), engine.start(careful("b"))]
        assert results(runs) == ["uncertain", "b"]
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_a_step_that_is_made_once_for_a_key_may_have_a_limit(open_engine: OpenEngine, desk: Desk) -> None:
    desk.open = True

    @workflow
    def pays(who: str) -> Any:
        return (yield Save(desk, who, once="key", limit=Limit(1)))

    with open_engine(pays) as engine:
        paid = results([engine.start(pays(name)) for name in "abc"])
    assert len(set(paid)) == len(desk.begun) == 1


def test_compensations_have_their_limit_too(open_engine: OpenEngine, desk: Desk) -> None:
    desk.open = True

    @step(limit=Limit(1))
    def undo(who: str) -> None:
        desk(f"undo {who}")

    @workflow
    def reverts(who: str) -> Any:
        yield Save(desk, who, compensate=undo)
        yield Revert("as planned")

    with open_engine(reverts) as engine:
        runs = [engine.start(reverts(name)) for name in "abc"]
        for run in runs:
            with pytest.raises(RunEnded):
                run.result(TOO_LONG)
            assert run.status() == "reverted"
    assert {each for each in desk.begun if str(each).startswith("undo")} == {"undo a", "undo b", "undo c"}


# How many in a time


def test_so_many_attempts_begin_in_a_time_of_all_runs_together() -> None:
    begun: list[tuple[float, int]] = []

    async def ping(number: int) -> None:
        begun.append((trio.current_time(), number))

    @workflow
    def pings(number: int) -> Any:
        yield Save(ping, number, limit=Limit(rate=10, per="1m"))

    async def scenario() -> None:
        space = Space()
        async with engine_on(space, pings) as engine:
            start = trio.current_time()
            runs = [await engine.start(pings(number)) for number in range(35)]
            for run in runs:
                await run.result()
            assert [round(at - start) // 60 for at, _ in sorted(begun)] == [0] * 10 + [1] * 10 + [2] * 10 + [3] * 5
            await engine.until_idle()
        with MemoryStore(space).view() as view:
            assert left_over(list(view.scan(b""))) == []

    in_virtual_time(scenario)


def test_every_attempt_counts_and_waits_beyond_its_delay() -> None:
    begun: list[float] = []

    async def ping() -> None:
        begun.append(trio.current_time())
        if len(begun) < 3:
            raise ValueError("again")

    @workflow
    def pings() -> Any:
        yield Save(ping, limit=Limit(rate=1, per=60), retry=Retry(3, delay=1, jitter=0))

    async def scenario() -> None:
        async with engine_on(Space(), pings) as engine:
            await (await engine.start(pings())).result()
        assert [round(at - begun[0]) for at in begun] == [0, 60, 120]

    in_virtual_time(scenario)


def test_runs_in_line_leave_memory_and_come_back_when_it_is_their_turn() -> None:
    alive: list[weakref.ref[Any]] = []

    class Big:
        """Something that a waiting run holds on to."""

    async def ping() -> None:
        pass

    @workflow
    def pings() -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        yield Save(ping, limit=Limit(rate=1, per="1h"))
        return big is not None

    async def scenario() -> None:
        async with engine_on(Space(), pings) as engine:
            start = trio.current_time()
            runs = [await engine.start(pings()) for _ in range(3)]
            await trio.sleep(60)
            gc.collect()
            assert [each() for each in alive[1:]] == [None, None]
            for run in runs:
                await run.result()
            assert round(trio.current_time() - start) == 7200

    in_virtual_time(scenario)


def test_a_limit_of_both_kinds() -> None:
    begun: list[float] = []
    at_it, most = 0, 0

    async def ping() -> None:
        nonlocal at_it, most
        begun.append(trio.current_time())
        at_it += 1
        most = max(most, at_it)
        await trio.sleep(10)
        at_it -= 1

    @workflow
    def pings() -> Any:
        yield Save(ping, limit=Limit(2, rate=3, per=60))

    async def scenario() -> None:
        async with engine_on(Space(), pings) as engine:
            runs = [await engine.start(pings()) for _ in range(6)]
            for run in runs:
                await run.result()
        assert [round(at - begun[0]) for at in begun] == [0, 0, 10, 60, 60, 70]
        assert most == 2

    in_virtual_time(scenario)


def test_runs_in_line_are_called_by_the_next_worker(open_engine: OpenEngine, where: str) -> None:
    now = time.time_ns()

    @workflow
    def pings(name: str) -> Any:
        return (yield Save(len, name, limit=Limit(rate=1, per="1h")))

    with open_engine(pings, clock=lambda: now) as engine:
        runs = [engine.start(pings("x" * number), id=f"{number}") for number in (1, 2)]
        assert runs[0].result(TOO_LONG) == 1
        engine.until_idle()
        assert in_line(runs[1])
    now += 3601 * 1_000_000_000
    with open_engine(pings, clock=lambda: now) as engine:
        assert engine.run("2").result(TOO_LONG) == 2
        engine.until_idle()
    assert left_over(dump(where)) == []


# Runs


def test_as_many_runs_begin_as_the_limit_allows_and_the_others_are_pending(open_engine: OpenEngine, where: str) -> None:
    @workflow(limit=Limit(2))
    def counted(name: str) -> Any:
        return (yield Receive("go"))

    with open_engine(counted) as engine:
        runs = [engine.start(counted(name), id=name) for name in "abcde"]
        engine.until_idle()
        assert [run.status() for run in runs] == ["waiting"] * 2 + ["pending"] * 3
        assert runs[4].describe().waiting_for == "a slot of limit 'counted'"
        for number, run in enumerate(runs):
            run.send("go", number)
            assert run.result(TOO_LONG) == number
            engine.until_idle()
            begun = [each.id for each in runs if each.status() == "waiting"]
            assert begun == list("abcde")[number + 1 : number + 3], "a run that waits counts, and they begin in order"
    assert left_over(dump(where)) == []


@pytest.mark.parametrize("how", ["cancel", "cancel before", "deadline", "failure", "continue", "client"])
def test_a_runs_slot_comes_back_however_it_ends(open_engine: OpenEngine, where: str, how: str) -> None:
    @workflow
    def other() -> Any:
        return (yield Receive("never", timeout=60))

    @workflow(limit=Limit(1))
    def counted(name: str) -> Any:
        if how == "failure" and name == "a":
            raise ValueError("no")
        if how == "continue" and name == "a":
            yield ContinueUsing(other())
        return (yield Receive("go", timeout=TOO_LONG * 2 if name == "a" else 0, default=name))

    with open_engine(counted, other) as engine:
        runs = [
            engine.start(counted(name), id=name, timeout=0.3 if how == "deadline" and name == "a" else None)
            for name in "abc"
        ]
        if how == "cancel":
            eventually(lambda: runs[0].status() == "waiting")
            runs[0].cancel()
        elif how == "cancel before":
            eventually(lambda: runs[0].status() == "waiting" and in_line(runs[1]))
            runs[1].cancel()
            assert runs[1].status() == "cancelled"
            runs[0].cancel()
        elif how == "client":
            eventually(lambda: runs[0].status() == "waiting")
            with open_engine(work=False) as client:
                client.run("a").cancel()
        assert runs[2].result(TOO_LONG) == "c"
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_a_run_whose_deadline_passes_in_line_is_timed_out_there(open_engine: OpenEngine, where: str) -> None:
    @workflow(limit=Limit(1))
    def counted() -> Any:
        return (yield Receive("go"))

    with open_engine(counted) as engine:
        first = engine.start(counted())
        eventually(lambda: first.status() == "waiting")
        with pytest.raises(RunTimedOut):
            engine.start(counted(), timeout=0.3).result(TOO_LONG)
        assert first.status() == "waiting"
        engine.until_idle()
    assert len(left_over(dump(where))) == 2, "the slot of the first run"


def test_what_ends_while_nobody_works_gives_its_slot_and_its_place_back(open_engine: OpenEngine, where: str) -> None:
    @workflow(limit=Limit(1))
    def counted() -> Any:
        return (yield Receive("go"))

    with open_engine(counted) as engine:
        for name in "abc":
            engine.start(counted(), id=name)
        engine.until_idle()
    with open_engine(work=False) as client:
        client.run("b").cancel()
        for _ in range(2):
            client.run("a").cancel()
        assert [client.run(name).status() for name in "abc"] == ["cancelled", "cancelled", "pending"]
    pairs = dump(where)
    assert len(left_over(pairs)) == 2, "the place of the last run"
    assert any(key[:1] == b"q" and key.endswith(b"c") for key, _ in pairs), "which is called"


def test_a_child_in_line_ends_with_its_parent(open_engine: OpenEngine) -> None:
    @workflow(limit=Limit(1))
    def counted() -> Any:
        return (yield Receive("go"))

    @workflow
    def parent() -> Any:
        return (yield Call(counted(), id="child"))

    with open_engine(counted, parent) as engine:
        first = engine.start(counted())
        eventually(lambda: first.status() == "waiting")
        run = engine.start(parent())
        engine.until_idle()
        assert engine.run("child").status() == "pending"
        run.cancel()
        with pytest.raises(RunCancelled):
            run.result(TOO_LONG)
        engine.until_idle()
        assert engine.run("child").status() == "cancelled"
        first.send("go", 1)
        assert first.result(TOO_LONG) == 1


def test_a_retry_waits_for_a_slot_again(open_engine: OpenEngine, where: str) -> None:
    mended = []

    @workflow(limit=Limit(1))
    def counted(name: str) -> Any:
        if name == "a" and not mended:
            raise ValueError("not yet")
        return (yield Receive("go"))

    with open_engine(counted) as engine:
        first, second = (engine.start(counted(name)) for name in "ab")
        with pytest.raises(RunFailed):
            first.result(TOO_LONG)
        eventually(lambda: second.status() == "waiting")
        mended.append(True)
        first.retry()
        engine.until_idle()
        assert first.status() == "pending"
        second.send("go", 2)
        first.send("go", 1)
        assert results([first, second]) == [1, 2]
        engine.until_idle()
    assert left_over(dump(where)) == []


def test_a_run_that_goes_on_as_itself_keeps_its_slot_and_as_another_takes_one(open_engine: OpenEngine) -> None:
    @workflow(limit=Limit(1))
    def counted(generation: int = 0) -> Any:
        word = yield Receive("go")
        if word == "on":
            yield ContinueUsing(counted(generation + 1))
        return generation

    @workflow
    def begins() -> Any:
        yield ContinueUsing(counted(10))

    with open_engine(counted, begins) as engine:
        first, second = engine.start(counted(), id="a"), engine.start(counted(), id="b")
        engine.until_idle()
        first.send("go", "on")
        engine.until_idle()
        assert (first.status(), second.status()) == ("waiting", "pending")
        third = engine.start(begins())
        engine.until_idle()
        assert third.status() == "pending"
        for run in (first, second, third):
            run.send("go", "")
        assert results([first, second, third]) == [1, 0, 10]


def test_a_high_priority_begins_first(open_engine: OpenEngine) -> None:
    order: list[str] = []

    @workflow(limit=Limit(1))
    def counted(name: str) -> Any:
        order.append(name)
        return (yield Receive("go"))

    with open_engine(counted) as engine:
        runs = [engine.start(counted("first"))]
        eventually(lambda: order)
        runs += [engine.start(counted(name), priority=priority) for name, priority in (("low", 0), ("high", 1))]
        for run in runs:
            run.send("go")
        results(runs)
    assert order == ["first", "high", "low"]


def test_so_many_runs_begin_in_a_time() -> None:
    begun: list[float] = []

    @workflow(limit=Limit(rate=2, per=60))
    def counted() -> Any:
        begun.append(trio.current_time())
        yield Sleep(0)

    async def scenario() -> None:
        async with engine_on(Space(), counted) as engine:
            runs = [await engine.start(counted(), delay=1) for _ in range(5)]
            for run in runs:
                await run.result()
        assert [round(at - begun[0]) // 60 for at in begun] == [0, 0, 1, 1, 2]

    in_virtual_time(scenario)


# Crashes


@LIVES
@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_over_crashes_everybody_gets_a_turn_and_no_slot_is_lost(lives: int, executor: Any) -> None:
    def charge(who: str) -> str:
        return f"paid by {who}"

    @workflow(limit=Limit(2))
    def charges(who: str) -> Any:
        paid = yield Save(charge, who, limit=Limit(1), executor=executor)
        yield Sleep(0)
        return paid

    def scenario(engine: Engine) -> Any:
        paid = results([engine.start(charges(name), id=name) for name in "abc"])
        engine.until_idle()
        return paid

    def prepare() -> tuple[Crashes, Callable[[Any], None]]:
        crashes = Crashes(charges)

        def check(paid: Any) -> None:
            assert paid == [f"paid by {who}" for who in "abc"]
            assert [key for key in crashes.everything() if key[:2] == b"fs"] == []

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_over_crashes_a_cancelled_run_loses_no_slot(lives: int) -> None:
    @workflow
    def charges(who: str) -> Any:
        try:
            return (yield Race(Save(len, who, limit=Limit(1)), Save(len, who, limit=Limit(1))))
        except Cancelled:
            return (yield Save(len, "", limit=Limit(1)))

    def scenario(engine: Engine) -> Any:
        runs = [engine.start(charges(name), id=name) for name in "abc"]
        with suppress(RunFinished):
            runs[1].cancel()
        for run in runs:
            with suppress(RunEnded):
                run.result(TOO_LONG)
        engine.until_idle()
        return [run.status() for run in runs]

    def prepare() -> tuple[Crashes, Callable[[Any], None]]:
        crashes = Crashes(charges)

        def check(statuses: Any) -> None:
            assert (statuses[0], statuses[2]) == ("completed", "completed")
            assert [key for key in crashes.everything() if key[:2] == b"fs"] == []

        return crashes, check

    crash_everywhere(prepare, scenario, lives)
