"""Revert and compensations: last first, each once, also when the worker dies in between."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import (
    All,
    Call,
    Cancelled,
    CompensationFailed,
    ContinueUsing,
    Handle,
    Race,
    Receive,
    Retry,
    Revert,
    Save,
    Sleep,
    step,
    workflow,
)
from continuum.engine.machine.requests import EventArrived
from continuum.errors import BadCommand
from continuum.journal import Failure, Kind, Status, Value

Body = Generator[Any, Any, Any]


def undo(result: object) -> None:
    raise AssertionError("the machine calls no step")


def saved(name: str) -> Save[Any]:
    return do(name, compensate=undo)


@workflow
def trip() -> Body:
    yield saved("flight")
    yield do("mail")
    yield saved("hotel")
    yield Revert("changed my mind")


@workflow(compensate_on_failure=True)
def fragile() -> Body:
    yield saved("flight")
    yield saved("hotel")
    yield do("pay")


def booked(play: Play, *names: str) -> Play:
    for name in names:
        play.done(name, f"ticket {name}")
    return play


def test_compensations_run_last_first_with_the_results() -> None:
    play = booked(Play(trip()), "flight", "mail", "hotel")
    assert play.in_flight[3, 0, 0].command.args == ("ticket hotel",)  # type: ignore[union-attr]
    assert play.ran[3:] == ["undo hotel"]
    play.done("undo hotel")
    assert play.ran[3:] == ["undo hotel", "undo flight"]
    play.done("undo flight")
    assert play.status is Status.REVERTED
    assert play.settled is not None
    assert play.settled.outcome == Value("changed my mind")


def test_a_crash_in_the_middle_of_undoing_repeats_nothing_that_was_undone() -> None:
    play = booked(Play(trip()), "flight", "mail", "hotel", "undo hotel")
    again = play.replay()
    assert again.ran == ["undo flight"]
    again.done("undo flight")
    assert again.status is Status.REVERTED
    assert again.replay().status is Status.REVERTED
    assert again.recorded(Kind.REVERT, Kind.SAVE)[3:] == ["3 revert", "3.0.0 save undo hotel", "3.0.1 save undo flight"]


def test_a_step_that_failed_is_not_compensated() -> None:
    @workflow
    def one() -> Body:
        try:
            yield saved("flight")
        except ValueError:
            yield Revert()

    play = Play(one())
    play.fails("flight", ValueError())
    assert play.status is Status.REVERTED


def test_with_nothing_to_undo_the_run_is_reverted_at_once() -> None:
    @workflow
    def nothing() -> Body:
        yield Revert("never mind")

    assert Play(nothing()).status is Play(nothing()).replay().status is Status.REVERTED


def test_reverting_in_a_branch_ends_all_branches() -> None:
    def branch() -> Body:
        yield saved("hotel")
        yield Revert("full")

    @workflow
    def both() -> Body:
        yield saved("flight")
        yield All(do("long"), branch(), Sleep(5), Call(trip()))

    play = booked(Play(both()), "flight", "hotel")
    assert play.stopped == ["1.0.0", "run-1/1.3.0"]
    booked(play, "undo hotel", "undo flight")
    assert play.status is Status.REVERTED
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        while again.status is None:
            again.done(again.waiting[-1])
        assert (again.status, again.mismatch) == (Status.REVERTED, None)


@workflow
def tidy() -> Body:
    def other() -> Body:
        try:
            yield Receive("never")
        finally:
            yield saved("cleanup")

    def reverts() -> Body:
        yield saved("hotel")
        try:
            yield Revert("full")
        finally:
            yield do("log off")

    yield All(other(), reverts())


def test_branches_clean_up_before_the_undoing_begins_and_that_is_undone_as_well() -> None:
    play = booked(Play(tidy()), "hotel")
    assert play.ran[1:] == ["log off", "cleanup"]
    booked(play, "log off", "cleanup")
    booked(play, "undo cleanup", "undo hotel")
    assert play.status is Status.REVERTED
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        while again.status is None:
            again.done(again.waiting[-1])
        assert (again.status, again.mismatch) == (Status.REVERTED, None)
        undone = [entry.name for entry in again.journal if entry.name.startswith("undo")]
        assert undone == ["undo cleanup", "undo hotel"]


def test_revert_raises_cancelled_where_it_is_yielded_and_nothing_can_stop_it() -> None:
    @workflow
    def stubborn() -> Body:
        yield saved("hotel")
        for _ in range(2):
            try:
                yield Revert("full")
            except Cancelled:
                yield do("once more")
        return "never mind"

    play = booked(Play(stubborn()), "hotel", "once more", "once more")
    assert play.ran[3:] == ["undo hotel"]
    booked(play, "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED
    assert play.recorded(Kind.REVERT) == ["1 revert", "3 revert"]


def test_an_error_while_cleaning_up_is_the_cause_and_all_is_undone() -> None:
    @workflow
    def clumsy() -> Body:
        yield saved("hotel")
        try:
            yield Revert("full")
        finally:
            raise LookupError("no mop")

    play = booked(Play(clumsy()), "hotel", "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED
    assert str(play.error) == "no mop"


def test_a_cancel_does_not_interrupt_the_cleaning_up_of_a_run_that_reverts() -> None:
    @workflow
    def closes() -> Body:
        try:
            yield from tidy()
        finally:
            yield do("close")

    play = booked(Play(closes()), "hotel")
    play.cancel()
    play = play.replay()
    booked(play, "log off", "cleanup")
    play = play.replay()
    booked(play, "close", "undo cleanup", "undo hotel")
    assert play.status is Status.REVERTED
    play = booked(Play(closes()), "hotel", "log off", "cleanup")
    play.cancel()
    play = play.replay()
    booked(play, "close", "undo cleanup", "undo hotel")
    assert play.status is Status.REVERTED
    play = booked(Play(tidy()), "hotel")
    play.cancel()
    play.cancel("at once")
    assert play.status is Status.CANCELLED


def test_a_cancelled_run_may_revert() -> None:
    @workflow
    def undone() -> Body:
        yield saved("hotel")
        try:
            yield Receive("never")
        except Cancelled:
            yield Revert("cancelled")

    play = booked(Play(undone()), "hotel")
    play.cancel()
    booked(play, "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED


def test_a_branch_that_has_lost_already_may_revert() -> None:
    def loser() -> Body:
        try:
            yield Sleep(5)
        finally:
            yield saved("hotel")
            yield Revert("full")

    def other() -> Body:
        try:
            yield Sleep(5)
        finally:
            yield do("cleanup")

    @workflow
    def race() -> Body:
        yield Race(loser(), other(), do("winner"))
        raise AssertionError("it goes on")

    play = booked(Play(race()), "winner", "hotel")
    assert play.waiting == ["0.1.1"]  # is left to clean up
    booked(play, "cleanup", "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED


def test_a_run_that_reverts_does_not_go_on_as_another() -> None:
    @workflow
    def goes_on() -> Body:
        yield saved("hotel")
        try:
            yield Revert("full")
        finally:
            yield ContinueUsing(trip())

    play = booked(Play(goes_on()), "hotel", "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED
    assert play.continued is None


def test_the_saved_steps_of_the_losers_are_undone_too() -> None:
    def loser() -> Body:
        yield saved("seat")
        yield Sleep(5)

    @workflow
    def race() -> Body:
        yield Race(loser(), do("other"))
        yield Revert()

    play = booked(Play(race()), "seat", "other", "undo seat")
    assert play.status is Status.REVERTED


def test_a_compensation_may_have_its_own_retry() -> None:
    @step(retry=Retry(2))
    def careful(result: object) -> None: ...

    @workflow
    def one() -> Body:
        yield do("flight", compensate=careful)
        yield Revert()

    play = booked(Play(one()), "flight")
    play.fails("undo flight", ValueError())
    play.tick(60)
    play.done("undo flight")
    assert play.status is Status.REVERTED


def test_a_compensation_is_not_undone_itself() -> None:
    @step(compensate=undo)
    def careful(result: object) -> None: ...

    @workflow
    def one() -> Body:
        yield do("flight", compensate=careful)
        yield Revert()

    play = booked(Play(one()), "flight", "undo flight")
    assert play.status is Status.REVERTED


def test_cancelling_does_not_stop_an_undoing_half_way() -> None:
    play = booked(Play(trip()), "flight", "mail", "hotel")
    play.cancel()
    play = play.replay()
    booked(play, "undo hotel", "undo flight")
    assert play.status is Status.REVERTED


@pytest.mark.parametrize("failure", [KeyError("gone"), SystemExit("gone")])
def test_a_compensation_that_fails_for_good_fails_the_run_and_tells_both_errors(failure: BaseException) -> None:
    play = booked(Play(fragile()), "flight", "hotel")
    play.fails("pay", ValueError("no money"))
    play.fails("undo hotel", failure)
    error = play.error
    assert play.status is Status.FAILED
    assert isinstance(error, CompensationFailed)
    assert str(error.original) == "no money"
    assert isinstance(error.__cause__, type(failure))
    for part in ("'hotel'", "gone", "no money", "1 more"):
        assert part in str(error)
    assert play.settled is not None
    assert play.settled.failed_at == (3, 0, 0)
    assert play.replay().settled.failed_at == (3, 0, 0)  # type: ignore[union-attr]


# compensate_on_failure


def test_a_run_that_fails_may_undo_itself() -> None:
    play = booked(Play(fragile()), "flight", "hotel")
    play.fails("pay", ValueError("no money"))
    assert play.ran[3:] == ["undo hotel"]
    again = play.replay()
    booked(again, "undo hotel", "undo flight")
    assert again.status is Status.REVERTED
    assert again.settled is not None
    assert isinstance(again.settled.outcome, Failure)
    assert str(again.error) == "no money"


def test_a_run_that_fails_with_nothing_to_undo_has_failed() -> None:
    play = Play(fragile())
    play.fails("flight", ValueError())
    assert play.status is Status.FAILED


def test_without_the_option_a_failure_undoes_nothing() -> None:
    play = booked(Play(trip()), "flight")
    play.fails("mail", ValueError())
    assert play.status is Status.FAILED


def test_a_run_of_its_own_mistake_undoes_itself_too() -> None:
    @workflow(compensate_on_failure=True)
    def mistaken() -> Body:
        yield saved("flight")
        yield "hotel"

    play = booked(Play(mistaken()), "flight", "undo flight")
    assert play.status is Status.REVERTED
    assert isinstance(play.error, BadCommand)


@workflow(compensate_on_failure=True)
def handles() -> Body:
    def check(payload: object) -> None:
        raise LookupError(payload)

    yield saved("hotel")
    yield Handle("event", check)
    try:
        yield Receive("never")
    finally:
        yield saved("cleanup")


def test_a_handler_that_fails_lets_the_workflow_clean_up_before_all_is_undone() -> None:
    play = booked(Play(handles()), "hotel")
    play.send("event", "first")
    assert play.waiting == ["4"]
    play.send("event", "second")  # of several errors the first counts
    play = play.replay()
    booked(play, "cleanup", "undo cleanup")
    play.send("event", "third")  # nobody is left whom it concerns
    booked(play, "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED
    assert str(play.error) == "first"


def test_a_handler_that_fails_at_once_is_the_same() -> None:
    play = booked(Play(handles(), events=[EventArrived(1, "event", Value("first"))]), "hotel")
    assert play.recorded()[-1] == "1.0 event event"
    booked(play, "undo hotel")
    assert play.status is play.replay().status is Status.REVERTED
    assert str(play.error) == "first"


def test_each_cut_of_an_undone_run_replays() -> None:
    play = booked(Play(fragile()), "flight", "hotel")
    play.fails("pay", ValueError("no money"))
    booked(play, "undo hotel")
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        assert again.mismatch is None
        assert len(again.ran) == 1
