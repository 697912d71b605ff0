"""A crash at every commit of a workflow that uses a command: those that `test_scheduler_crash_points.py` leaves out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG

from continuum import (
    All,
    Compact,
    Engine,
    Ensure,
    Handle,
    Now,
    Patch,
    Random,
    Receive,
    Retry,
    Save,
    Send,
    Sleep,
    Uuid4,
    workflow,
)
from continuum.errors import (
    BadCommand,
    CompensationFailed,
    EnsureTimeout,
    ReceiveTimeout,
    RunFailed,
    RunReverted,
)
from continuum.journal import MARKS, Kind

LIVES = pytest.mark.parametrize("lives", [1, 2])

Prepared = tuple[Crashes, Callable[[Any], None]]


@dataclass(frozen=True)
class Receipt:
    number: int
    at: datetime


class Till:
    def __init__(self, name: str) -> None:
        self.name = name

    def pay(self, amount: int) -> str:
        return f"{self.name}-{amount}"


def power(base: int, *, exponent: int) -> int:
    return base**exponent


async def later(value: Any) -> Any:
    return value


VALUES: list[Any] = [
    None, 0, "", [], False, (1, (2,)), {3}, b"4", UUID(int=5), KeyError(6), Receipt(7, datetime(2030, 1, 1, tzinfo=UTC))
]  # fmt: skip


@LIVES
def test_steps_of_every_kind_give_the_same_values_after_a_crash(lives: int) -> None:
    @workflow
    def steps() -> Any:
        before = 2
        results = []
        for value in VALUES:
            results.append((yield Save(later, value)))
        results.append((yield Save(lambda: before + 1)))
        results.append((yield Save(partial(power, 3, exponent=2), executor="inline")))
        results.append((yield Save(Till("till").pay, 5)))
        results.append((yield Save(later, 6)))
        return results

    def prepare() -> Prepared:
        def check(results: Any) -> None:
            expected = [*VALUES, 3, 9, "till-5", 6]
            assert [repr(each) for each in results] == [repr(each) for each in expected]
            assert [type(each) for each in results] == [type(each) for each in expected]

        return Crashes(steps), check

    assert crash_everywhere(prepare, lambda engine: engine.start(steps(), id="r").result(TOO_LONG), lives) >= 20


@LIVES
def test_what_was_seen_of_time_and_chance_is_seen_again(lives: int) -> None:
    seen: list[Any] = []

    @workflow
    def looks() -> Any:
        found = [(yield Now()), (yield Random()), (yield Uuid4())]
        yield Save(seen.append, tuple(found), executor="inline")
        found += [(yield Now()), (yield Random()), (yield Uuid4())]
        yield Save(seen.append, tuple(found), executor="inline")
        return found

    def prepare() -> Prepared:
        seen.clear()

        def check(found: Any) -> None:
            assert {each for each in seen if len(each) == 3} == {tuple(found[:3])}
            assert {each for each in seen if len(each) == 6} == {tuple(found)}
            assert len(set(found)) == 6

        return Crashes(looks), check

    crash_everywhere(prepare, lambda engine: engine.start(looks(), id="r").result(TOO_LONG), lives)


@LIVES
def test_a_timer_is_set_once(lives: int) -> None:
    @workflow
    def waits() -> Any:
        began = yield Now()
        yield Sleep(0.002)
        slept = (yield Now()) - began
        given = yield Receive("never", timeout=0.001, default="nothing")
        errors = []
        for command in (Receive("never", timeout=0.001), Ensure(lambda: False, timeout=0.001)):
            try:
                yield command
            except (ReceiveTimeout, EnsureTimeout) as error:
                errors.append(type(error))
        return slept.total_seconds(), given, errors

    def prepare() -> Prepared:
        crashes = Crashes(waits)

        def check(result: Any) -> None:
            slept, given, errors = result
            assert slept >= 0.002
            assert (given, errors) == ("nothing", [ReceiveTimeout, EnsureTimeout])
            journal = crashes.journal("r")
            set_for = {entry.position: entry.ref for entry in journal if entry.kind is Kind.ARMED}
            ended = {entry.position: entry.at for entry in journal if entry.position in set_for and entry.outcome}
            assert len(set_for) == sum(entry.kind is Kind.ARMED for entry in journal) == 4
            assert all(ended[position] >= due for position, due in set_for.items())

        return crashes, check

    crash_everywhere(prepare, lambda engine: engine.start(waits(), id="r").result(TOO_LONG), lives)


@LIVES
def test_each_event_is_handled_once_in_order_and_the_condition_is_seen_to_hold(lives: int) -> None:
    @workflow
    def voters() -> Any:
        for number in range(4):
            yield Send("poll", "vote", number)

    @workflow
    def poll() -> Any:
        votes: list[int] = []
        yield Handle("vote", votes.append)
        yield Ensure(lambda: len(votes) >= 2)
        enough = yield Save(len, votes)
        yield Ensure(lambda: len(votes) >= 4)
        return enough, votes

    def scenario(engine: Engine) -> Any:
        polled = engine.start(poll(), id="poll")
        engine.start(voters(), id="voters").result(TOO_LONG)
        return polled.result(TOO_LONG)

    def prepare() -> Prepared:
        def check(result: Any) -> None:
            enough, votes = result
            assert enough >= 2
            assert votes == [0, 1, 2, 3]

        return Crashes(voters, poll), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_mistake_is_told_at_the_same_yield_again(lives: int) -> None:
    made: list[str] = []

    @workflow
    def mistaken() -> Any:
        yield Save(made.append, "before", executor="inline")
        try:
            yield Save
        except BadCommand as error:
            told = str(error)
        yield Save(made.append, "after", executor="inline")
        return told

    def prepare() -> Prepared:
        made.clear()

        def check(told: Any) -> None:
            assert "make a command of it: `yield Save(...)`" in told
            assert [*dict.fromkeys(made)] == ["before", "after"]

        return Crashes(mistaken), check

    crash_everywhere(prepare, lambda engine: engine.start(mistaken(), id="r").result(TOO_LONG), lives)


class Upgraded(Crashes):
    """The last life is one with new code."""

    def finish(self, scenario: Any) -> Any:
        new.append(True)
        return super().finish(scenario)


new: list[bool] = []


@LIVES
def test_a_patch_is_taken_by_runs_that_have_not_come_so_far_and_by_no_other(lives: int) -> None:
    made: list[str] = []

    @workflow
    def patched() -> Any:
        yield Save(made.append, "first", executor="inline")
        taken = bool(new) and (yield Patch("better"))
        if taken:
            yield Save(made.append, "better", executor="inline")
        yield Save(made.append, "last", executor="inline")
        return taken

    def prepare() -> Prepared:
        made.clear()
        new.clear()
        crashes = Upgraded(patched)

        def check(taken: Any) -> None:
            kinds = [entry.kind for entry in crashes.journal("r")]
            assert kinds == ([Kind.SAVE, Kind.PATCH, Kind.SAVE, Kind.SAVE] if taken else [Kind.SAVE, Kind.SAVE])
            assert ("better" in made) == taken
            assert {"first", "last"} <= set(made)

        return crashes, check

    assert crash_everywhere(prepare, lambda engine: engine.start(patched(), id="r").result(TOO_LONG), lives) >= 4


tries: list[int] = []  # no variable of the test: a state that is kept would have a copy of it


def fail_once(number: int) -> int:
    tries.append(number)
    if tries.count(number) == 1:
        raise ValueError("not yet")
    return number


@LIVES
def test_what_compact_drops_is_not_missed(lives: int) -> None:
    @workflow
    def compacts() -> Any:
        results = []
        for number in range(2):
            results.append((yield Save(fail_once, number, retry=Retry(3, delay=0.001), executor="inline")))
            yield Sleep(0.001)
            yield Compact()
        return results, (yield Save(fail_once, 0, executor="inline"))

    def prepare() -> Prepared:
        tries.clear()
        crashes = Crashes(compacts)

        def check(result: Any) -> None:
            assert result == ([0, 1], 0)
            left = [entry for entry in crashes.journal("r") if entry.kind in MARKS]
            assert not left or crashes.count  # just before they were dropped

        return crashes, check

    crash_everywhere(prepare, lambda engine: engine.start(compacts(), id="r").result(TOO_LONG), lives)


@LIVES
def test_an_undoing_that_failed_goes_on_with_what_is_left_of_it(lives: int) -> None:
    undone: list[str] = []
    broken: list[str] = []

    def undo(name: str) -> None:
        if name in broken:
            raise ConnectionError(name)
        undone.append(name)

    def fail() -> None:
        raise LookupError("no room")

    @workflow(compensate_on_failure=True)
    def fails() -> Any:
        yield All(*(Save(str, name, compensate=undo, executor="inline") for name in "abc"))
        yield Save(fail, executor="inline")

    def scenario(engine: Engine) -> Any:
        run = engine.start(fails(), id="r")
        try:
            run.result(TOO_LONG)
        except RunReverted as error:
            return error
        except RunFailed as error:
            assert isinstance(error.__cause__, CompensationFailed)
        broken.clear()
        run.retry()
        with pytest.raises(RunReverted) as caught:
            run.result(TOO_LONG)
        return caught.value

    def prepare() -> Prepared:
        undone.clear()
        broken[:] = ["b"]
        crashes = Crashes(fails)

        def check(error: Any) -> None:
            assert str(error.__cause__) == "no room"
            assert [*dict.fromkeys(undone)] == ["c", "b", "a"]
            assert max(Counter(undone).values()) <= 1 + crashes.count

        return crashes, check

    assert crash_everywhere(prepare, scenario, lives) >= 10
