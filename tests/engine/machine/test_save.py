"""Save: a step is asked for once, its outcome is recorded, and the journal answers from then on."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import All, Save, StepUncertain, workflow
from continuum.engine.machine.requests import RunStep, Settle, StepDone
from continuum.journal import Entry, Kind, Status, Value


@workflow
def one() -> Generator[Any, Any, Any]:
    return (yield do("charge", 7))


@workflow
def two() -> Generator[Any, Any, Any]:
    first = yield do("first")
    second = yield from do("second")
    return first, second


@workflow
def once() -> Generator[Any, Any, Any]:
    try:
        return (yield do("pay", at_most_once=True))
    except StepUncertain as error:
        return str(error)


def test_a_step_is_asked_for_and_nothing_is_recorded_yet() -> None:
    play = Play(one())
    (request,) = play.requests
    assert isinstance(request, RunStep)
    assert (request.position, request.command.args, request.attempt) == ((0,), (7,), 1)
    assert play.journal == []


def test_a_result_is_recorded_before_the_run_is_settled() -> None:
    play = Play(one())
    recorded, settled = play.done("charge", 42)
    assert isinstance(recorded, Entry)
    assert (recorded.position, recorded.kind, recorded.name) == ((0,), Kind.SAVE, "charge")
    assert (recorded.outcome, recorded.attempts) == (Value(42), 1)
    assert settled == Settle(Status.COMPLETED, Value(42))


@pytest.mark.parametrize("result", [None, False, 0, "", [], 7], ids=repr)
def test_any_result_is_answered_from_the_journal(result: object) -> None:
    play = Play(two())
    play.done("first", result)
    again = play.replay()
    assert again.ran == ["second"]
    again.done("second", result)
    assert again.result == (result, result)
    assert again.replay().ran == []


def test_a_failure_is_raised_at_the_yield_live_and_on_replay() -> None:
    @workflow
    def careful() -> Generator[Any, Any, Any]:
        try:
            yield do("charge")
        except ValueError as error:
            return f"caught {error}"

    play = Play(careful())
    play.fails("charge", ValueError("no money"))
    assert play.result == play.replay().result == "caught no money"


def test_an_uncaught_failure_settles_the_run_and_tells_the_position() -> None:
    play = Play(one())
    error = ValueError("no money")
    play.fails("charge", error)
    assert (play.status, play.error) == (Status.FAILED, error)
    assert play.settled is not None
    assert play.settled.failed_at == (0,)
    again = play.replay().settled
    assert again is not None
    assert (again.status, again.failed_at) == (Status.FAILED, (0,))


@pytest.mark.parametrize("error", [StopIteration("x"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_step_may_fail_with_anything(error: BaseException) -> None:
    play = Play(one())
    play.fails("charge", error)
    assert play.status is Status.FAILED
    assert play.replay().status is Status.FAILED


def test_a_result_for_a_step_that_is_over_changes_nothing() -> None:
    play = Play(two())
    play.done("first", 1)
    assert play.feed(StepDone((0,), Value(2))) == []


def test_a_finished_run_takes_no_more_events() -> None:
    play = Play(one())
    play.done("charge", 1)
    assert play.send("late") == []


def test_a_step_in_flight_at_a_crash_is_asked_for_again() -> None:
    assert Play(one()).replay().ran == ["charge"]


def test_positions_count_the_commands_of_the_run() -> None:
    play = Play(two())
    play.done("first")
    play.done("second")
    assert play.recorded() == ["0 save first", "1 save second"]


def test_an_inlined_workflow_counts_on_in_the_same_fiber() -> None:
    @workflow
    def outer() -> Generator[Any, Any, Any]:
        inner = yield from two()
        return inner, (yield do("third"))

    play = Play(outer())
    for number, name in enumerate(["first", "second", "third"]):
        play.done(name, number)
    assert play.result == ((0, 1), 2)
    assert play.recorded()[-1] == "2 save third"


def test_a_step_is_named_after_its_function() -> None:
    @workflow
    def measure() -> Generator[Any, Any, Any]:
        return (yield Save(len, "abc"))

    assert Play(measure()).ran == ["len"]


# At most once


def test_an_at_most_once_step_is_recorded_as_begun_before_it_starts() -> None:
    first, second = Play(once()).requests
    assert isinstance(first, Entry)
    assert (first.kind, first.position) == (Kind.BEGUN, (0,))
    assert isinstance(second, RunStep)


def test_an_at_most_once_step_that_was_begun_is_not_run_again() -> None:
    again = Play(once()).replay()
    assert again.ran == []
    assert "'pay'" in again.result
    assert again.replay().result == again.result


def test_an_at_most_once_step_that_was_recorded_is_certain() -> None:
    play = Play(once())
    play.done("pay", 1)
    assert play.replay().result == 1


def test_many_uncertain_steps_are_told_without_recursion() -> None:
    @workflow
    def many() -> Generator[Any, Any, Any]:
        errors = yield All(*(do("pay", at_most_once=True) for _ in range(2_000)), return_exceptions=True)
        return {type(error) for error in errors}

    assert Play(many()).replay().result == {StepUncertain}
