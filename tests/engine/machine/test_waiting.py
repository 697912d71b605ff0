"""Sleep, Receive, Handle and Ensure: what time and events do to a run."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any

import pytest
from harness import START, Play, do

from continuum import All, Ensure, EnsureTimeout, Handle, Race, Receive, ReceiveTimeout, Sleep, workflow
from continuum.durations import NANOSECONDS, datetime_of
from continuum.engine.machine.requests import EventArrived, RunStep, TimerFired, WakeAt
from continuum.journal import Entry, Kind, Status, Value

Body = Generator[Any, Any, Any]


@workflow
def sleepy() -> Body:
    yield Sleep(10)
    return "awake"


@workflow
def patient(timeout: Any = None, **more: Any) -> Body:
    return (yield Receive("go", timeout, **more))


@workflow
def collect(*names: str) -> Body:
    got = []
    for name in names:
        got.append((yield Receive(name)))
    return got


# Sleep


def test_the_time_to_wake_is_recorded_before_it_is_asked_for() -> None:
    armed, wake = Play(sleepy()).requests
    due = START + 10 * NANOSECONDS
    assert isinstance(armed, Entry)
    assert (armed.kind, armed.ref) == (Kind.ARMED, due)
    assert wake == WakeAt((0,), due)


def test_a_sleep_ends_when_it_is_due() -> None:
    play = Play(sleepy())
    play.tick(9.999)
    assert play.status is None
    play.tick(0.001)
    assert play.result == play.replay().result == "awake"


def test_a_restart_neither_shortens_nor_prolongs_a_sleep() -> None:
    play = Play(sleepy())
    play.tick(7)
    again = play.replay()
    assert again.requests == [WakeAt((0,), START + 10 * NANOSECONDS)]
    again.tick(3)
    assert again.result == "awake"


def test_a_timer_that_fires_early_is_set_again() -> None:
    play = Play(sleepy())
    assert play.feed(TimerFired((0,))) == [WakeAt((0,), START + 10 * NANOSECONDS)]
    assert play.status is None


def test_a_timer_may_have_a_name_by_which_the_journal_knows_it() -> None:
    @workflow
    def naps(name: str | None) -> Body:
        yield Sleep(5, name=name)

    play = Play(naps("nap"))
    assert play.machine.waiting_for().startswith("sleep 'nap' until 2023-")
    assert play.recorded() == ["0 armed nap"]
    again = play.replay(invocation=naps("siesta"))
    assert again.mismatch is not None
    assert "timer 'nap'" in str(again.mismatch)
    play.tick(5)
    assert play.recorded() == ["0 armed nap", "0 sleep nap"]
    assert play.replay().status is Status.COMPLETED


def test_sleep_until_a_moment() -> None:
    @workflow
    def until() -> Body:
        yield Sleep(until=datetime_of(START + 5 * NANOSECONDS))

    assert Play(until()).timers == {(0,): START + 5 * NANOSECONDS}


def test_a_moment_that_has_passed_is_due_at_once() -> None:
    @workflow
    def late() -> Body:
        yield Sleep(until=datetime(1999, 1, 1, tzinfo=UTC))

    play = Play(late())
    play.tick(0)
    assert play.result is None


def test_a_sleep_of_nothing_is_a_sleep() -> None:
    @workflow
    def none() -> Body:
        yield Sleep(0)

    play = Play(none())
    assert play.status is None
    play.tick(0)
    assert play.status is Status.COMPLETED


def test_the_machine_tells_when_it_is_due_next() -> None:
    @workflow
    def two() -> Body:
        yield All(Sleep(9), Sleep(4), Receive("go"))

    assert Play(two()).machine.next_due() == START + 4 * NANOSECONDS
    assert Play(two(), timeout=2).machine.next_due() == START + 2 * NANOSECONDS
    assert Play(patient()).machine.next_due() is None


def test_the_machine_tells_people_what_it_waits_for() -> None:
    @workflow
    def many() -> Body:
        yield All(Receive("go"), Sleep(1), do("a"), do("b"), do("c"))

    told = Play(many()).machine.waiting_for()
    assert told == "receive 'go', sleep until 2023-11-14T22:13:21Z, save 'a' and 2 more"


# Receive


@pytest.mark.parametrize("payload", [None, False, 0, "", {"by": "alice"}], ids=repr)
def test_an_event_is_received_and_recorded(payload: object) -> None:
    play = Play(patient())
    play.send("go", payload)
    assert play.result == play.replay().result == payload
    assert play.journal[-1].ref == 1


def test_an_event_that_came_before_is_kept() -> None:
    @workflow
    def late() -> Body:
        yield do("a")
        return (yield Receive("go"))

    play = Play(late())
    play.send("go", 5)
    assert play.requests == []
    play.done("a")
    assert play.result == play.replay().result == 5


def test_events_of_a_name_are_received_in_order() -> None:
    play = Play(collect("go", "go", "go"))
    for payload in range(3):
        play.send("go", payload)
    assert play.result == play.replay().result == [0, 1, 2]


def test_names_do_not_wait_for_each_other() -> None:
    play = Play(collect("a", "b", "a", "b"))
    for name, payload in (("b", 1), ("b", 2), ("a", 3), ("a", 4)):
        play.send(name, payload)
    assert play.result == play.replay().result == [3, 1, 4, 2]


def test_receivers_are_served_in_the_order_in_which_they_asked() -> None:
    @workflow
    def three() -> Body:
        return (yield All(Receive("go"), Receive("go"), Receive("go")))

    play = Play(three())
    for payload in range(3):
        play.send("go", payload)
    assert play.result == play.replay().result == [0, 1, 2]


def test_an_event_that_was_not_taken_is_not_lost_by_a_restart() -> None:
    play = Play(collect("a", "b"))
    play.send("b", 2)
    again = play.replay()
    again.send("a", 1)
    assert again.result == [1, 2]


def test_an_event_is_never_taken_twice() -> None:
    play = Play(collect("go", "go"))
    play.send("go", 1)
    again = play.replay()
    assert again.status is None
    again.send("go", 2)
    assert again.result == [1, 2]


def test_without_a_default_a_late_event_raises() -> None:
    play = Play(patient(5))
    play.tick(5)
    assert isinstance(play.error, ReceiveTimeout)
    assert "'go'" in str(play.error)
    assert isinstance(play.replay().error, ReceiveTimeout)


@pytest.mark.parametrize("default", [None, False, 0, "", "late"], ids=repr)
def test_with_a_default_a_late_event_gives_it(default: object) -> None:
    play = Play(patient(5, default=default))
    play.tick(5)
    assert play.result == play.replay().result == default


def test_the_time_limit_of_a_receive_is_kept_over_a_restart() -> None:
    play = Play(patient(5, default="late"))
    play.tick(3)
    again = play.replay()
    again.tick(2)
    assert again.result == "late"


def test_an_event_that_has_come_beats_a_limit_of_nothing() -> None:
    @workflow
    def poll() -> Body:
        yield do("a")
        return (yield Receive("go", 0, None)), (yield Receive("go", 0, "none"))

    play = Play(poll())
    play.send("go", 1)
    play.done("a")
    play.tick(0)
    assert play.result == play.replay().result == (1, "none")


def test_the_timer_of_a_receive_that_was_served_is_forgotten() -> None:
    @workflow
    def two() -> Body:
        yield Receive("go", 5)
        yield do("a")

    play = Play(two())
    play.send("go")
    play.tick(5)
    assert play.recorded(Kind.RECEIVE) == ["0 receive go"]
    assert play.machine.next_due() is None


def test_a_lost_race_leaves_no_receiver_behind() -> None:
    @workflow
    def later() -> Body:
        yield Race(Receive("go"), do("a"))
        return (yield Receive("go"))

    play = Play(later())
    play.done("a")
    play.send("go", "mine")
    assert play.result == play.replay().result == "mine"


# Handle


@workflow
def counting() -> Body:
    seen: list[Any] = []
    yield do("before")
    yield Handle("tick", seen.append)
    now = list(seen)
    yield do("after")
    return now, seen


def test_a_handler_takes_what_came_before_it_at_once() -> None:
    play = Play(counting())
    play.send("tick", 1)
    play.send("tick", 2)
    play.done("before")
    play.send("tick", 3)
    play.done("after")
    assert play.result == play.replay().result == ([1, 2], [1, 2, 3])
    assert play.recorded(Kind.EVENT) == ["1.0 event tick", "1.1 event tick", "1.2 event tick"]


def test_the_first_handler_takes_what_came_before_the_run_was_taken_up() -> None:
    @workflow
    def handles() -> Body:
        seen: list[Any] = []
        yield Handle("tick", seen.append)
        now = list(seen)
        yield do("after")
        return now, seen

    sent = [EventArrived(number, "tick", Value(number)) for number in (1, 2)]
    play = Play(handles(), events=sent)
    play.send("tick", 3)
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        again.done("after")
        assert again.result == ([1, 2], [1, 2, 3])
        assert again.recorded(Kind.EVENT) == ["0.0 event tick", "0.1 event tick", "0.2 event tick"]


def test_an_event_that_came_before_the_run_was_taken_up_has_come_in_no_time() -> None:
    @workflow
    def receives() -> Body:
        return (yield Receive("go", timeout=0, default="nothing"))

    assert Play(receives(), events=[EventArrived(1, "go", Value("well"))]).result == "well"


def test_every_cut_of_a_handled_run_replays() -> None:
    play = Play(counting())
    for step in (lambda: play.send("tick", 1), lambda: play.done("before"), lambda: play.send("tick", 2)):
        step()
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        if again.waiting == ["0"]:
            again.done("before")
        again.done("after")
        assert again.result[1] == [1, 2]


def test_handlers_run_in_the_order_of_arrival() -> None:
    @workflow
    def both() -> Body:
        seen: list[Any] = []
        yield Handle("a", seen.append)
        yield Handle("b", seen.append)
        yield do("end")
        return seen

    play = Play(both())
    for payload, name in enumerate("abba"):
        play.send(name, payload)
    play.done("end")
    assert play.result == play.replay().result == [0, 1, 2, 3]


def test_a_handler_changes_what_the_workflow_closes_over() -> None:
    @workflow
    def total() -> Body:
        amount = 0

        def add(more: int) -> None:
            nonlocal amount
            amount += more

        yield Handle("pay", add)
        yield Ensure(lambda: amount >= 10)
        return amount

    play = Play(total())
    play.send("pay", 4)
    assert play.replay().status is None
    play.send("pay", 7)
    assert play.result == play.replay().result == 11


def test_a_receiver_goes_before_a_handler() -> None:
    @workflow
    def both() -> Body:
        seen: list[Any] = []
        yield Handle("go", seen.append)
        first = yield Receive("go")
        yield do("end")
        return first, seen

    play = Play(both())
    play.send("go", 1)
    play.send("go", 2)
    play.done("end")
    assert play.result == play.replay().result == (1, [2])


def test_a_second_handler_takes_over() -> None:
    @workflow
    def two() -> Body:
        first: list[Any] = []
        second: list[Any] = []
        yield Handle("go", first.append)
        yield do("a")
        yield Handle("go", second.append)
        yield do("b")
        return first, second

    play = Play(two())
    play.send("go", 1)
    play.done("a")
    play.send("go", 2)
    play.done("b")
    assert play.result == play.replay().result == ([1], [2])


@pytest.mark.parametrize("early", [True, False])
def test_a_callback_that_fails_fails_the_run(early: bool) -> None:
    @workflow
    def failing() -> Body:
        yield do("a")
        yield Handle("go", lambda payload: 1 / payload)
        yield do("b")

    play = Play(failing())
    if early:
        play.send("go", 0)
    play.done("a")
    if not early:
        play.send("go", 0)
    assert isinstance(play.error, ZeroDivisionError)
    assert play.replay().status is Status.FAILED


# Ensure


@workflow
def gate(timeout: float | None = None) -> Body:
    votes: list[Any] = []
    yield Handle("vote", votes.append)
    yield Ensure(lambda: len(votes) >= 2, timeout)
    return votes


def test_a_condition_that_holds_is_passed_at_once() -> None:
    @workflow
    def open_gate() -> Body:
        return (yield Ensure(lambda: 5, timeout=1))

    play = Play(open_gate())
    assert play.result is play.replay().result is True
    assert play.recorded() == ["0 ensure"]


def test_a_condition_is_looked_at_after_each_handled_event() -> None:
    play = Play(gate())
    play.send("vote", 1)
    assert play.status is None
    play.send("vote", 2)
    assert play.result == play.replay().result == [1, 2]


def test_a_condition_that_does_not_hold_in_time_raises() -> None:
    play = Play(gate(5))
    play.send("vote", 1)
    play.tick(5)
    assert isinstance(play.error, EnsureTimeout)
    assert "test_waiting.py:" in str(play.error)
    assert isinstance(play.replay().error, EnsureTimeout)


def test_the_time_limit_of_a_condition_is_kept_over_a_restart() -> None:
    play = Play(gate(5))
    play.tick(3)
    again = play.replay()
    again.tick(2)
    assert isinstance(again.error, EnsureTimeout)


def test_a_condition_that_fails_is_raised_at_the_yield() -> None:
    @workflow
    def broken() -> Body:
        try:
            yield Ensure(lambda: 1 / 0)
        except ZeroDivisionError:
            return "caught"

    play = Play(broken())
    assert play.result == play.replay().result == "caught"


def test_conditions_in_branches_are_passed_one_by_one() -> None:
    @workflow
    def two() -> Body:
        votes: list[Any] = []
        yield Handle("vote", votes.append)
        return (yield All(Ensure(lambda: len(votes) >= 1), Ensure(lambda: len(votes) >= 2)))

    play = Play(two())
    play.send("vote")
    assert play.recorded(Kind.ENSURE) == ["1.0.0 ensure"]
    play.send("vote")
    assert play.result == play.replay().result == [True, True]


def names_in_flight(play: Play) -> list[str]:
    return [request.command.name for request in play.in_flight.values() if isinstance(request, RunStep)]


def test_of_two_that_wait_for_the_same_thing_only_one_gets_it() -> None:
    @workflow
    def turns() -> Body:
        busy: list[str] = []

        def turn(name: str) -> Body:
            yield Ensure(lambda: not busy)
            busy.append(name)
            yield do(name)
            busy.clear()

        yield All(*(turn(name) for name in "abc"))

    play = Play(turns())
    for name in "abc":
        assert names_in_flight(play) == names_in_flight(play.replay()) == [name]
        play.done(name)
    assert play.status is Status.COMPLETED


def test_a_condition_is_looked_at_only_where_code_has_run_that_may_have_changed_it() -> None:
    looked: list[int] = []

    @workflow
    def many() -> Body:
        def condition(number: int) -> Callable[[], bool]:
            return lambda: looked.append(number) or False  # type: ignore[func-returns-value]

        def step() -> Body:
            yield do("code")
            yield do("more")

        yield All(*(Ensure(condition(number), timeout=1) for number in range(5)), do("lone"), do("other"), step())

    play = Play(many())
    assert looked == [*range(5)]
    play.done("lone")
    play.done("other")
    play.send("nobody asks for it")
    assert looked == [*range(5)]
    play.done("code")
    assert looked == [*range(5), *range(5)]
    play.tick(1)
    assert looked == [*range(5), *range(5)]
    assert isinstance(play.error, EnsureTimeout)


@pytest.mark.parametrize("order", [1, -1])
def test_conditions_are_looked_at_a_few_times_each_however_many_come_to_hold_at_once(order: int) -> None:
    looked: list[int] = []

    @workflow
    def many() -> Body:
        passed: list[int] = []

        def waits(number: int) -> Body:
            yield Ensure(lambda: looked.append(number) or (number % 2 == 0 and len(numbers) == 100))  # type: ignore[func-returns-value]
            passed.append(number)

        numbers: list[int] = []
        yield Handle("number", numbers.append)
        yield Race(All(*(waits(number) for number in range(100)[::order])), Ensure(lambda: len(passed) == 50))
        return passed

    play = Play(many())
    for number in range(99):
        play.send("number", number)
    looked.clear()
    play.send("number", 99)
    assert play.result == [*range(0, 100, 2)][::order]
    assert len(looked) <= 250


def test_a_condition_is_looked_at_between_events_that_come_all_at_once() -> None:
    @workflow
    def waits() -> Body:
        level: list[int] = []
        yield Handle("level", level.append)
        yield Ensure(lambda: level and level[-1] > 5)
        return level

    play = Play(waits())
    events = [EventArrived(number, "level", Value(level)) for number, level in enumerate([1, 9, 2], 1)]
    again = Play(play.invocation, play.journal, events=events)
    assert again.result == again.replay().result == [1, 9]
