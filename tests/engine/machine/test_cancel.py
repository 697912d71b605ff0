"""Cancelling a run, and deadlines: Cancelled at the yield, time to clean up, and no third chance."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from harness import START, Play, do

from continuum import All, Call, Cancelled, Race, Receive, Sleep, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import CancelChild, Settle, TimerFired, WakeAt
from continuum.journal import Kind, Status

Body = Generator[Any, Any, Any]


@workflow
def plain() -> Body:
    yield do("a")
    return "done"


@workflow
def tidy() -> Body:
    try:
        yield do("a")
    finally:
        yield do("clean")


@workflow
def stubborn() -> Body:
    try:
        yield do("a")
    except Cancelled as error:
        return error.reason


def test_cancelled_is_raised_at_the_yield_and_ends_the_run() -> None:
    play = Play(plain())
    play.cancel("no longer needed")
    assert play.status is Status.CANCELLED
    assert isinstance(play.error, Cancelled)
    assert play.error.reason == "no longer needed"
    assert play.stopped == ["0"]
    assert play.recorded() == ["cancel", "0 save a"]
    assert play.replay().status is Status.CANCELLED


def test_the_request_to_cancel_is_taken_from_the_inbox() -> None:
    play = Play(plain())
    play.cancel()
    assert play.journal[0].ref == 1_000_000


def test_except_exception_does_not_swallow_it() -> None:
    @workflow
    def careless() -> Body:
        try:
            yield do("a")
        except Exception:
            return "swallowed"

    play = Play(careless())
    play.cancel()
    assert play.status is Status.CANCELLED


def test_a_run_that_swallows_it_goes_on() -> None:
    play = Play(stubborn())
    play.cancel("please")
    assert play.result == play.replay().result == "please"


def test_cleaning_up_is_not_disturbed() -> None:
    play = Play(tidy())
    play.cancel()
    assert play.ran == ["a", "clean"]
    again = play.replay()
    assert again.ran == ["clean"]
    again.done("clean")
    assert again.status is Status.CANCELLED
    assert again.replay().status is Status.CANCELLED


def test_a_cleanup_that_fails_fails_the_run() -> None:
    play = Play(tidy())
    play.cancel()
    play.fails("clean", ValueError())
    assert play.status is Status.FAILED


def test_a_second_cancel_ends_the_run_at_once() -> None:
    play = Play(tidy())
    play.cancel("first")
    again = play.replay()
    for host in (play, again):
        host.cancel("second")
        assert host.status is Status.CANCELLED
    assert play.stopped[-1] == "1"


def test_a_second_cancel_cancels_the_children_too() -> None:
    @workflow
    def parent() -> Body:
        try:
            yield do("a")
        finally:
            yield Call(plain())

    play = Play(parent())
    play.cancel()
    requests = play.cancel()
    assert isinstance(requests[0], CancelChild)
    assert isinstance(requests[1], Settle)


def test_a_run_may_be_cancelled_before_it_has_done_anything() -> None:
    play = Play(plain())
    again = play.replay(0)
    again.cancel()
    assert again.status is Status.CANCELLED
    assert again.stopped == ["0"]


def test_all_branches_are_cancelled_and_clean_up() -> None:
    def branch(name: str) -> Body:
        try:
            yield do(name)
        finally:
            yield do(f"clean {name}")

    @workflow
    def both() -> Body:
        yield All(branch("a"), branch("b"), Sleep(5), Receive("go"))

    play = Play(both())
    play.cancel("stop")
    assert play.ran == ["a", "b", "clean a", "clean b"]
    play.done("clean b")
    assert play.status is None
    play.done("clean a")
    assert play.status is Status.CANCELLED
    for cut in play.cuts[1:]:
        assert play.replay(cut).mismatch is None


def test_branches_that_ended_before_are_left_alone() -> None:
    @workflow
    def both() -> Body:
        yield All(do("a"), do("b"))

    play = Play(both())
    play.done("a")
    play.cancel()
    assert play.recorded(Kind.SAVE) == ["0.0.0 save a", "0.1.0 save b"]


def test_a_branch_that_swallows_it_does_not_save_the_run() -> None:
    def branch() -> Body:
        try:
            yield do("a")
        except Cancelled:
            return "swallowed"

    @workflow
    def one() -> Body:
        yield All(branch())

    play = Play(one())
    play.cancel()
    assert play.status is Status.CANCELLED


def test_a_run_that_waits_for_an_event_forgets_it() -> None:
    @workflow
    def waiting() -> Body:
        try:
            yield Receive("go")
        finally:
            yield Receive("go")

    play = Play(waiting())
    play.cancel()
    play.send("go")
    assert play.recorded(Kind.RECEIVE) == ["0 receive go", "1 receive go"]
    assert play.status is Status.CANCELLED


def test_a_workflow_that_raises_cancelled_itself_is_cancelled() -> None:
    @workflow
    def quits() -> Body:
        yield do("a")
        raise Cancelled("enough")

    play = Play(quits())
    play.done("a")
    assert play.status is Status.CANCELLED


# Deadlines


def test_a_run_that_outlives_its_deadline_has_timed_out() -> None:
    play = Play(plain(), timeout=5)
    assert WakeAt((), START + 5 * NANOSECONDS) in play.requests
    play.tick(5)
    assert play.status is Status.TIMED_OUT
    assert play.replay().status is Status.TIMED_OUT


def test_a_run_may_clean_up_after_its_deadline() -> None:
    play = Play(tidy(), timeout=5)
    play.tick(5)
    again = play.replay()
    again.tick(1)
    again.done("clean")
    assert again.status is Status.TIMED_OUT


def test_a_deadline_is_kept_over_a_restart() -> None:
    play = Play(plain(), timeout=5)
    play.tick(3)
    again = play.replay()
    again.tick(1.9)
    assert again.status is None
    again.tick(0.1)
    assert again.status is Status.TIMED_OUT


def test_a_deadline_that_is_told_early_is_set_again() -> None:
    play = Play(plain(), timeout=5)
    assert play.feed(TimerFired(())) == [WakeAt((), START + 5 * NANOSECONDS)]
    assert play.journal == []


def test_a_deadline_does_not_disturb_a_cancelled_run() -> None:
    play = Play(tidy(), timeout=5)
    play.cancel()
    play.tick(5)
    play.done("clean")
    assert play.status is Status.CANCELLED


def test_a_run_that_ends_in_time_has_no_deadline() -> None:
    play = Play(plain(), timeout=5)
    play.done("a")
    play.tick(5)
    assert play.status is Status.COMPLETED


# Cancelled within


def test_the_cleanup_of_a_lost_branch_is_not_disturbed_by_a_cancel() -> None:
    @workflow
    def race() -> Body:
        yield Race(do("quick"), tidy())

    play = Play(race())
    play.done("quick")
    play.cancel()
    assert play.waiting == ["0.1.1"]
    assert play.status is None
    play.done("clean")
    assert play.status is play.replay().status is Status.CANCELLED


def test_a_branch_that_is_about_to_go_on_is_cancelled_at_its_next_command() -> None:
    seen: list[str] = []

    def about_to_go_on() -> Body:
        yield All()
        try:
            yield do("never")
        except Cancelled as error:
            seen.append(error.reason)
            raise

    def fails() -> Body:
        yield from ()
        raise ValueError("at once")

    @workflow
    def both() -> Body:
        yield All(about_to_go_on(), fails())

    play = Play(both())
    assert (play.ran, seen, str(play.error)) == ([], ["another branch failed"], "at once")


def test_a_branch_that_cancels_itself_is_no_result() -> None:
    def quits() -> Body:
        yield do("a")
        raise Cancelled("enough")

    @workflow
    def tolerant() -> Body:
        yield All(quits(), return_exceptions=True)

    play = Play(tolerant())
    play.done("a")
    assert play.status is Status.CANCELLED


# Left behind


def test_discarding_a_machine_leaves_no_generator_half_closed() -> None:
    inner = tidy.function()

    @workflow
    def outer() -> Body:
        try:
            yield from inner
        finally:
            yield from tidy()

    play = Play(outer())
    play.machine.discard()
    assert inner.gi_frame is None
    assert play.cancel() == []
