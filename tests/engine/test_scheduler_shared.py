"""Results that runs share, by time and by key: who performs the step, who waits, and what becomes of them."""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import anyio
import pytest
import trio
import trio.testing
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, OpenEngine, dump, eventually
from virtual import engine_on, in_virtual_time

from continuum import All, Engine, Map, Receive, Retry, Revert, Run, Save, Sleep, step, workflow
from continuum.errors import (
    BadValue,
    Cancelled,
    RunCancelled,
    RunFailed,
    RunFinished,
    RunReverted,
    StepUncertain,
    UnpicklableValue,
)
from continuum.store.memory import MemoryStore, Space

HOUR = 3600
DAY = 24 * HOUR
LIVES = pytest.mark.parametrize("lives", [1, 2])

Prepared = tuple[Crashes, Callable[[Any], None]]


class Step:
    """A step that counts its calls, and is held up until it is let go."""

    def __init__(self, failures: int = 0, *, held: bool = False) -> None:
        self.__name__ = self.__qualname__ = "pay"
        self.calls: list[Any] = []
        self.failures = failures
        self.released = threading.Event()
        if not held:
            self.released.set()

    def __call__(self, who: Any) -> str:
        self.calls.append(who)
        number = len(self.calls)
        assert self.released.wait(TOO_LONG)
        if number <= self.failures:
            raise ValueError(f"failure {number}")
        return f"paid by {who}"


def results(runs: list[Run[Any]]) -> list[Any]:
    return [run.result(TOO_LONG) for run in runs]


def until_waiting(*runs: Run[Any]) -> None:
    eventually(lambda: all(run.status() == "waiting" for run in runs))


def kinds(where: str, letters: bytes = b"mehw") -> Counter[str]:
    """How many records a store holds about shared results."""
    return Counter(key[:1].decode() for key, _ in dump(where) if key[:1] in letters)


# For a while


@dataclass
class Point:
    x: int
    y: int


looked_up: list[Any] = []


def look_up(what: Any, where: str = "here") -> Any:
    looked_up.append((what, where))
    return [what, where]


async def look_up_later(what: Any, where: str = "here") -> Any:
    await anyio.sleep(0)
    return look_up(what, where)


@workflow
def looks(*whats: Any) -> Any:
    return (yield All(*(Save(look_up, what, cache="1h") for what in whats)))


@pytest.fixture(autouse=True)
def nothing_looked_up_yet() -> None:
    looked_up.clear()


@pytest.mark.parametrize("fn", [look_up, look_up_later])
@pytest.mark.parametrize("executor", [None, "inline"])
def test_a_kept_result_serves_other_runs_also_after_a_restart(open_engine: OpenEngine, fn: Any, executor: Any) -> None:
    @workflow
    def looks_twice(what: Any) -> Any:
        first = yield Save(fn, what, cache="1h", executor=executor)
        return first, (yield Save(fn, what, cache="1h", executor=executor))

    expected = ([{"a": Point(1, 2)}, "here"],) * 2
    for _ in range(2):
        with open_engine(looks_twice) as engine:
            for _ in range(2):
                run = engine.start(looks_twice({"a": Point(1, 2)}))
                assert run.result(TOO_LONG) == expected
            attempts = [entry.attempts for entry in run.history()]
    assert len(looked_up) == 1
    assert attempts == [0, 0], "the history tells that it was not made here"


def test_other_arguments_another_name_or_another_function_are_another_result(open_engine: OpenEngine) -> None:
    @workflow
    def looks_about() -> Any:
        for _ in range(2):
            yield Save(look_up, 1, cache="1h")
            yield Save(look_up, 2, cache="1h")
            yield Save(look_up, 1, "there", cache="1h")
            yield Save(look_up, 1, cache="1h", name="other")
            yield Save(look_up_later, 1, cache="1h", name="look_up")
            yield Save(look_up, 1)

    with open_engine(looks_about) as engine:
        engine.start(looks_about()).result(TOO_LONG)
    assert len(looked_up) == 5 + 2


def test_failures_are_not_kept(open_engine: OpenEngine) -> None:
    pay = Step(failures=2)

    def steady() -> str:
        return pay("a")

    @workflow
    def steadily() -> Any:
        return (yield Save(steady, cache="1h", retry=Retry(2, delay=0.001)))

    with open_engine(steadily) as engine:
        with pytest.raises(RunFailed, match="failure 2"):
            engine.start(steadily()).result(TOO_LONG)
        assert results([engine.start(steadily()) for _ in range(2)]) == ["paid by a"] * 2
    assert 3 <= len(pay.calls) <= 4  # two runs may look at the same time


def test_attached_to_a_function_it_holds_for_map_too(open_engine: OpenEngine) -> None:
    @step(cache="1h")
    def square(number: int) -> int:
        looked_up.append(number)
        return number * number

    @workflow
    def squares() -> Any:
        return (yield Map(square, [1, 2, 3], limit=1))

    with open_engine(squares) as engine:
        for _ in range(2):
            assert engine.start(squares()).result(TOO_LONG) == [1, 4, 9]
    assert looked_up == [1, 2, 3]


def test_arguments_that_cannot_be_told_apart_are_the_steps_error_at_once(open_engine: OpenEngine) -> None:
    @workflow
    def looks_at_a_lock() -> Any:
        try:
            yield Save(look_up, threading.Lock(), cache="1h", retry=Retry(5, delay=60))
        except UnpicklableValue as error:
            return str(error)

    with open_engine(looks_at_a_lock) as engine:
        said = engine.start(looks_at_a_lock()).result(TOO_LONG)
    assert "step 'look_up'" in said
    assert looked_up == []


class Gone:
    """Not there any more when it is asked for."""


def test_a_kept_result_that_cannot_be_loaded_is_made_anew(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = [Gone(), "something else"]

    def make() -> Any:
        return made[0]

    @workflow
    def makes() -> Any:
        yield Save(make, cache="1h")

    with open_engine(makes) as engine:
        engine.start(makes()).result(TOO_LONG)
        monkeypatch.delattr(sys.modules[__name__], "Gone")
        del made[0]
        run = engine.start(makes())
        run.result(TOO_LONG)
        assert [entry.value for entry in run.history()] == ["something else"]


def test_a_replay_does_not_look(open_engine: OpenEngine) -> None:
    value = ["old"]

    def read() -> str:
        return value[0]

    @workflow
    def reads(cache: float) -> Any:
        first = yield Save(read, cache=cache)
        yield Receive("go on")
        return first

    with open_engine(reads) as engine:
        run = engine.start(reads(0.001), id="first")
        until_waiting(run)
        value[0] = "new"
        until_waiting(engine.start(reads(HOUR), id="second"))
    with open_engine(reads) as engine:
        for run_id in ("first", "second"):
            engine.run(run_id).send("go on")
        assert results([engine.run("first"), engine.run("second")]) == ["old", "new"]


def held(space: Space) -> Counter[str]:
    with MemoryStore(space).view() as view:
        return Counter(key[:1].decode() for key, _ in view.scan(b"") if key[:1] in b"mehw")


def test_a_result_is_kept_as_long_as_it_was_said_and_then_taken_away() -> None:
    async def scenario() -> None:
        space = Space()
        async with engine_on(space, looks) as engine:
            await (await engine.start(looks(*range(100)))).result()
            await trio.sleep(HOUR - 60)
            await (await engine.start(looks(7))).result()
            assert len(looked_up) == 100
            await trio.sleep(120)
        async with engine_on(space, looks) as engine:
            await (await engine.start(looks(7))).result()
            assert len(looked_up) == 101
            await engine.until_idle()
            assert held(space) == {"m": 1, "e": 1}
            await trio.sleep(2 * HOUR)
            await (await engine.start(looks(8))).result()
            await engine.until_idle()
            assert held(space) == {"m": 1, "e": 1}

    in_virtual_time(scenario)


@LIVES
def test_a_kept_result_is_whole_or_not_there_after_a_crash(lives: int) -> None:
    scenario_runs = ("a", "b", "c")

    def scenario(engine: Engine) -> Any:
        return [engine.start(looks(1, 2), id=run_id).result(TOO_LONG) for run_id in scenario_runs]

    def prepare() -> Prepared:
        looked_up.clear()
        crashes = Crashes(looks)

        def check(found: Any) -> None:
            assert found == [[[1, "here"], [2, "here"]]] * 3
            assert set(looked_up) == {(1, "here"), (2, "here")}
            assert len(looked_up) <= 2 * (1 + crashes.count)
            assert held(crashes.space)["m"] == 2

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


# Once


@workflow
def pays(who: str) -> Any:
    return (yield Save(the_step[0], who, once="order 1"))


the_step: list[Any] = [None]


@pytest.fixture
def pay() -> Step:
    """The step of the workflow `pays`."""
    the_step[0] = pay = Step()
    return pay


def start(engine: Engine, *names: str) -> list[Run[Any]]:
    """Start runs one after the other: the first has the key."""
    return [engine.start(pays(name), id=name) for name in names]


def test_of_many_runs_one_performs_the_step_and_all_get_its_result(open_engine: OpenEngine, pay: Step) -> None:
    pay.released.clear()
    with open_engine(pays) as engine:
        first, *others = start(engine, *map(str, range(20)))
        until_waiting(*others)
        assert first.status() == "running"
        assert others[0].describe().waiting_for == "save 'pay' (once 'order 1')"
        pay.released.set()
        assert set(results([first, *others])) == {"paid by 0"}
        assert start(engine, "late")[0].result(TOO_LONG) == "paid by 0"
        attempts = [[entry.attempts for entry in run.history()] for run in (first, others[0])]
    assert pay.calls == ["0"]
    assert attempts == [[1], [0]]


def test_the_result_outlives_the_engine(open_engine: OpenEngine, where: str, pay: Step) -> None:
    with open_engine(pays) as engine:
        assert results(start(engine, "a")) == ["paid by a"]
        engine.until_idle()
    assert where.startswith("memory:") or kinds(where) == {"m": 1}
    with open_engine(pays) as engine:
        assert results(start(engine, "b")) == ["paid by a"]
    assert pay.calls == ["a"]


def test_async_steps_share_as_well(open_engine: OpenEngine) -> None:
    @workflow
    def looks_once(what: Any) -> Any:
        return (yield Save(look_up_later, what, once="one", executor="inline"))

    with open_engine(looks_once) as engine:
        found = results([engine.start(looks_once(number)) for number in range(10)])
    assert found == [[looked_up[0][0], "here"]] * 10
    assert len(looked_up) == 1


def test_who_waits_for_another_run_holds_no_place_among_the_steps(open_engine: OpenEngine, pay: Step) -> None:
    pay.released.clear()

    @workflow
    def other() -> Any:
        return (yield Save(look_up, "other", executor="inline"))

    with open_engine(pays, other, concurrency=2) as engine:
        runs = start(engine, *map(str, range(10)))
        until_waiting(*runs[1:])
        assert engine.start(other()).result(TOO_LONG) == ["other", "here"]
        pay.released.set()
        assert set(results(runs)) == {"paid by 0"}


def test_branches_of_one_run_share_too(open_engine: OpenEngine, pay: Step) -> None:
    @workflow
    def pays_twice() -> Any:
        return (yield All(*(Save(pay, name, once="order 1") for name in "abc")))

    with open_engine(pays_twice) as engine:
        assert engine.start(pays_twice()).result(TOO_LONG) == ["paid by a"] * 3
    assert pay.calls == ["a"]


def test_a_key_that_failed_for_good_goes_to_the_next(open_engine: OpenEngine, pay: Step) -> None:
    pay.failures = 2
    pay.released.clear()
    with open_engine(pays) as engine:
        runs = start(engine, *"abcde")
        until_waiting(*runs[1:])
        pay.released.set()
        eventually(lambda: all(run.status() in ("completed", "failed") for run in runs))
        failed = [run for run in runs if run.status() == "failed"]
        assert len(failed) == 2
        assert len({run.result(TOO_LONG) for run in runs if run not in failed}) == 1
        assert len(pay.calls) == 3
        for run in failed:
            run.retry()
        assert len(set(results(runs))) == 1
    assert len(pay.calls) == 3


def test_between_attempts_the_key_is_held(open_engine: OpenEngine, pay: Step) -> None:
    pay.failures = 1
    now = time.time_ns()

    @workflow
    def persists(who: str) -> Any:
        return (yield Save(pay, who, once="order 1", retry=Retry(3, delay=HOUR, max_delay=HOUR, jitter=0)))

    with open_engine(persists, clock=lambda: now) as engine:
        first = engine.start(persists("a"), id="a")
        eventually(lambda: pay.calls and first.status() == "waiting")
        second = engine.start(persists("b"), id="b")
        until_waiting(second)
        now += HOUR * 1_000_000_000
        first.send("look at the clock")
        assert results([first, second]) == ["paid by a"] * 2
    assert pay.calls == ["a", "a"]


def test_a_run_in_backoff_that_is_cancelled_after_a_restart_leaves_the_key_to_the_next(
    open_engine: OpenEngine, pay: Step
) -> None:
    pay.failures = 1

    @workflow
    def persists(who: str) -> Any:
        return (yield Save(pay, who, once="order 1", retry=Retry(3, delay=HOUR, max_delay=HOUR)))

    with open_engine(persists) as engine:
        engine.start(persists("a"), id="a")
        eventually(lambda: pay.calls and engine.run("a").status() == "waiting")
        until_waiting(engine.start(persists("b"), id="b"))
    with open_engine(work=False) as client:
        client.run("a").cancel()
    with open_engine(persists) as engine:
        assert engine.run("b").result(TOO_LONG) == "paid by b"
        assert engine.run("a").status() == "cancelled"


@pytest.mark.parametrize("times", [1, 2])
def test_a_cancelled_run_leaves_the_key_to_the_next(open_engine: OpenEngine, pay: Step, times: int) -> None:
    pay.released.clear()
    with open_engine(pays) as engine:
        first, second, third = start(engine, *"abc")
        until_waiting(second, third)
        second.cancel()
        first.cancel()
        if times == 2:
            with suppress(RunFinished):
                first.cancel()
        with pytest.raises(RunCancelled):
            first.result(TOO_LONG)
        eventually(lambda: len(pay.calls) == 2)
        pay.released.set()
        assert third.result(TOO_LONG) == "paid by c"
        with pytest.raises(RunCancelled):
            second.result(TOO_LONG)


def test_a_run_that_is_ended_while_nobody_works_leaves_the_key_to_the_next(
    open_engine: OpenEngine, where: str, pay: Step
) -> None:
    pay.released.clear()
    with open_engine(pays) as engine:
        _, second, third = start(engine, *"abc")
        eventually(lambda: pay.calls)
        until_waiting(second, third)
    with open_engine(work=False) as client:
        for _ in range(2):
            client.run("a").cancel()
        assert client.run("a").status() == "cancelled"
    pay.released.set()
    with open_engine(pays) as engine:
        assert len(set(results([engine.run("b"), engine.run("c")]))) == 1
        engine.until_idle()
    assert len(pay.calls) == 2
    assert where.startswith("memory:") or kinds(where) == {"m": 1}


def test_who_waits_is_called_when_the_key_is_given_up_by_a_client_beside_the_worker(
    open_engine: OpenEngine, pay: Step
) -> None:
    """The run that has the key is of a workflow that this worker does not have."""
    pay.released.clear()

    @workflow
    def elsewhere(who: str) -> Any:
        return (yield Save(pay, who, once="order 1"))

    with open_engine(pays, elsewhere) as engine:
        engine.start(elsewhere("a"), id="a")
        eventually(lambda: pay.calls)
        until_waiting(*start(engine, "b"))
    pay.released.set()
    with open_engine(pays) as engine:
        engine.until_idle()
        assert engine.run("b").status() == "waiting"
        for _ in range(2):
            engine.run("a").cancel()
        assert engine.run("b").result(TOO_LONG) == "paid by b"


def test_a_run_that_fails_beside_its_step_leaves_the_key_to_the_next(open_engine: OpenEngine, pay: Step) -> None:
    pay.released.clear()
    begun = threading.Event()

    def fail() -> None:
        assert begun.wait(TOO_LONG)
        raise ValueError("this one failed")

    @workflow
    def fails_beside() -> Any:
        yield All(Save(pay, "a", once="order 1"), Save(fail))

    with open_engine(fails_beside, pays) as engine:
        first = engine.start(fails_beside())
        eventually(lambda: pay.calls)
        (second,) = start(engine, "b")
        until_waiting(second)
        begun.set()
        with pytest.raises(RunFailed):
            first.result(TOO_LONG)
        pay.released.set()
        assert second.result(TOO_LONG) == "paid by b"


def test_a_run_that_is_killed_in_the_step_leaves_the_key_to_the_next(open_engine: OpenEngine, pay: Step) -> None:
    pay.released.clear()

    @workflow
    def pays_at_the_end() -> Any:
        try:
            yield Receive("never")
        except Cancelled:
            yield Save(pay, "a", once="order 1")

    with open_engine(pays_at_the_end, pays) as engine:
        first = engine.start(pays_at_the_end())
        first.cancel()
        eventually(lambda: pay.calls)
        (second,) = start(engine, "b")
        until_waiting(second)
        first.cancel()
        with pytest.raises(RunCancelled):
            first.result(TOO_LONG)
        pay.released.set()
        assert second.result(TOO_LONG) == "paid by b"


def test_a_result_that_a_retry_finds_again_is_undone_by_the_run_as_its_own(open_engine: OpenEngine, pay: Step) -> None:
    undone: list[str] = []
    fail_once = Step(failures=1)

    @workflow
    def trip() -> Any:
        trouble = None
        try:
            yield Save(fail_once, "a", name="fail once")
        except ValueError as error:
            trouble = error
        yield Save(pay, "a", once="order 1", compensate=undone.append)
        if trouble:
            raise trouble
        yield Revert()

    with open_engine(trip) as engine:
        run = engine.start(trip())
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        with pytest.raises(RunReverted):
            run.result(TOO_LONG)
    assert pay.calls == ["a"]
    assert undone == ["paid by a"]


def test_a_key_belongs_to_one_step(open_engine: OpenEngine, pay: Step) -> None:
    @workflow
    def sends_mail() -> Any:
        try:
            yield Save(look_up, "mail", once="order 1")
        except BadValue as error:
            return str(error)

    with open_engine(pays, sends_mail) as engine:
        results(start(engine, "a"))
        said = engine.start(sends_mail()).result(TOO_LONG)
    assert "of step 'look_up': the key belongs to step 'pay', see run 'a'" in said
    assert looked_up == []


def test_only_the_run_that_made_it_undoes_it(open_engine: OpenEngine, pay: Step) -> None:
    undone: list[str] = []

    @workflow
    def trip(who: str) -> Any:
        yield Save(pay, who, once="order 1", compensate=lambda result: undone.append(f"{who}: {result}"))
        yield Receive("no")
        yield Revert(who)

    with open_engine(trip) as engine:
        runs = [engine.start(trip(name), id=name) for name in "ab"]
        until_waiting(*runs)
        eventually(lambda: all(run.history() for run in runs))
        for run in reversed(runs):
            run.send("no")
            with pytest.raises(RunReverted):
                run.result(TOO_LONG)
    assert len(undone) == 1
    assert undone == [f"{pay.calls[0]}: paid by {pay.calls[0]}"]


def test_an_outcome_that_nobody_knows_is_final_for_the_key(open_engine: OpenEngine, pay: Step) -> None:
    pay.released.clear()

    @workflow
    def pays_at_most_once(who: str) -> Any:
        return (yield Save(pay, who, once="order 1", at_most_once=True))

    with open_engine(pays_at_most_once) as engine:
        engine.start(pays_at_most_once("a"), id="a")
        eventually(lambda: pay.calls)
        until_waiting(engine.start(pays_at_most_once("b"), id="b"))
    pay.released.set()
    with open_engine(pays_at_most_once) as engine:
        for run_id in "abc":
            with pytest.raises(RunFailed) as caught:
                engine.start(pays_at_most_once(run_id), id=run_id).result(TOO_LONG)
            assert isinstance(caught.value.__cause__, StepUncertain)
            assert "of run 'a'" in str(caught.value.__cause__)
        assert pay.calls == ["a"]
        engine.run("b").retry()
        with pytest.raises(RunFailed):
            engine.run("b").result(TOO_LONG)
        engine.run("a").retry()  # somebody has looked into it
        assert engine.run("a").result(TOO_LONG) == "paid by a"
        engine.run("b").retry()
        assert engine.run("b").result(TOO_LONG) == "paid by a"


def test_a_result_that_cannot_be_loaded_blocks_who_asks_until_it_can(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Point

    @workflow
    def makes() -> Any:
        made = yield Save(make, 1, 2, once="point")
        return made.x

    with open_engine(makes) as engine:
        assert engine.start(makes(), id="a").result(TOO_LONG) == 1
        engine.until_idle()
        with monkeypatch.context() as patch:
            patch.delattr(sys.modules[__name__], "Point")
            run = engine.start(makes(), id="b")
            eventually(lambda: run.status() == "blocked")
            assert "the result of step 'Point', made by run 'a', cannot be loaded" in run.describe().reason
    with open_engine(makes) as engine:
        assert engine.run("b").result(TOO_LONG) == 1


def test_a_waiting_run_leaves_memory_and_comes_back_with_the_result() -> None:
    alive: list[weakref.ref[Any]] = []
    calls: list[str] = []

    class Big:
        """Something that a waiting run holds on to."""

    async def slow(who: str) -> str:
        calls.append(who)
        await trio.sleep(DAY)
        return f"paid by {who}"

    @workflow
    def waits(who: str) -> Any:
        big = Big()
        alive.append(weakref.ref(big))
        paid = yield Save(slow, who, once="order 1", cache="2d")
        return paid, big is not None

    async def scenario() -> None:
        space = Space()
        async with engine_on(space, waits) as engine:
            first = await engine.start(waits("a"))
            await trio.sleep(1)
            second = await engine.start(waits("b"))
            await trio.sleep(60)
            gc.collect()
            assert [each() is not None for each in alive] == [True, False]
            assert await second.result() == ("paid by a", True)
            assert trio.current_time() == pytest.approx(DAY, abs=5)
            await first.result()
            await trio.sleep(1.9 * DAY)
            assert await (await engine.start(waits("c"))).result() == ("paid by a", True)
            await trio.sleep(0.2 * DAY)
            assert await (await engine.start(waits("d"))).result() == ("paid by d", True)
            await engine.until_idle()
            assert held(space) == {"m": 1, "e": 1}
        assert calls == ["a", "d"]

    in_virtual_time(scenario)


@LIVES
@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_a_step_is_repeated_only_where_a_crash_hit_it_whoever_waits(lives: int, executor: Any) -> None:
    calls: list[str] = []

    def charge(who: str) -> str:
        calls.append(who)
        return f"paid by {who}"

    @workflow
    def charges(who: str) -> Any:
        paid = yield Save(charge, who, once="order 1", executor=executor)
        yield Sleep(0)
        return paid

    def scenario(engine: Engine) -> Any:
        return results([engine.start(charges(name), id=name) for name in "abc"])

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(charges)

        def check(paid: Any) -> None:
            assert set(paid) == {f"paid by {calls[-1]}"}
            assert len(calls) <= 1 + crashes.count
            assert len(set(calls)) == 1, "who has the key goes on with it after a crash"
            assert held(crashes.space)["m"] == 1

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_key_that_is_given_up_is_taken_by_the_next_over_crashes(lives: int) -> None:
    calls: list[str] = []

    def charge(who: str) -> str:
        calls.append(who)
        if who == "a":
            raise ValueError("no money")
        return f"paid by {who}"

    @workflow
    def charges(who: str) -> Any:
        try:
            return (yield Save(charge, who, once="order 1", executor="inline"))
        except (ValueError, Cancelled) as error:
            return repr(error)

    def scenario(engine: Engine) -> Any:
        paid = results([engine.start(charges(name), id=name) for name in "abc"])
        engine.until_idle()
        return paid

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(charges)

        def check(paid: Any) -> None:
            assert paid[0] in ("ValueError('no money')", "paid by b", "paid by c")
            assert len(set(paid[1:])) == 1
            assert paid[1] in ("paid by b", "paid by c")
            assert len({call for call in calls if call != "a"}) == 1
            assert len(calls) <= 2 + crashes.count
            assert held(crashes.space) == {"m": 1}

        return crashes, check

    crash_everywhere(prepare, scenario, lives)
