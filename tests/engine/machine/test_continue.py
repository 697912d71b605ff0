"""ContinueUsing: a history ends, and the run goes on with another, under the same id."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import (
    All,
    BadCommand,
    BadValue,
    Call,
    Cancelled,
    Compact,
    ContinueUsing,
    Ensure,
    Handle,
    NotAWorkflow,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Revert,
    Save,
    Sleep,
    Start,
    Uuid4,
    workflow,
)
from continuum.engine.machine.requests import ContinueRun
from continuum.journal import Entry, Kind, Status, Value

Body = Generator[Any, Any, Any]


@workflow
def poll(seen: int = 0) -> Body:
    found = yield do("look", seen)
    if found == "end":
        return seen
    yield ContinueUsing(poll(seen + 1))
    raise AssertionError("it never goes on here")


@workflow
def listens() -> Body:
    return (yield Receive("word"))


def looked(play: Play) -> Play:
    play.done("look")
    return play


# The switch


def test_the_host_is_asked_to_go_on_with_the_other_workflow_once_everything_is_recorded() -> None:
    play = looked(Play(poll()))
    assert play.requests[-1] == ContinueRun(poll(1), [])
    assert play.recorded() == ["0 save look"]
    assert play.settled is None


def test_it_is_asked_again_by_a_replay() -> None:
    play = looked(Play(poll())).replay()
    assert play.requests == [ContinueRun(poll(1), [])]


def test_positions_begin_anew() -> None:
    play = looked(looked(Play(poll())).go_on())
    assert play.recorded() == ["0 save look"]
    play = play.go_on()
    play.done("look", "end")
    assert play.result == play.replay().result == 2


def test_a_run_can_go_on_as_another_workflow() -> None:
    @workflow
    def first() -> Body:
        yield ContinueUsing(listens())

    play = Play(first()).go_on()
    play.send("word", "hello")
    assert play.result == "hello"


def test_it_also_works_by_yield_from() -> None:
    @workflow
    def first() -> Body:
        yield from ContinueUsing(listens())

    assert Play(first()).requests == [ContinueRun(listens(), [])]


def test_an_inlined_workflow_may_go_on_as_another() -> None:
    @workflow
    def outer() -> Body:
        yield do("first")
        return (yield from poll(7))

    play = Play(outer())
    play.done("first")
    assert looked(play).requests[-1] == ContinueRun(poll(8), [])


def test_a_journal_that_goes_on_behind_it_does_not_fit() -> None:
    @workflow(name="poll")
    def before(seen: int = 0) -> Body:
        yield do("look", seen)
        yield Receive("word")

    play = looked(Play(before()))
    play.send("word")
    again = play.replay(invocation=poll())
    assert again.mismatch is not None
    assert "recorded:  receive 'word'" in str(again.mismatch)
    assert "attempted: continue 'poll'" in str(again.mismatch)


@pytest.mark.parametrize("given", [poll, do("look"), None, lambda: 1], ids=["workflow", "command", "nothing", "fn"])
def test_only_an_invocation_is_taken(given: Any) -> None:
    with pytest.raises(NotAWorkflow, match="ContinueUsing takes a called workflow") as caught:
        ContinueUsing(given)
    assert ("call it: poll(...)" in str(caught.value)) is (given is poll)
    assert not isinstance(caught.value, BadValue)


# What goes and what stays


def test_events_that_were_not_received_wait_for_the_next_workflow() -> None:
    @workflow
    def first() -> Body:
        taken = yield Receive("word")
        yield do("work")
        yield ContinueUsing(second(taken))

    @workflow
    def second(taken: str) -> Body:
        return taken, (yield Receive("word")), (yield Receive("end"))

    play = Play(first())
    for word in "abc":
        play.send("word", word)
    play.send("end", "z")
    play.done("work")
    assert play.recorded(Kind.RECEIVE) == ["0 receive word"]
    assert play.go_on().result == ("a", "b", "z")


def test_events_for_a_handler_are_handled_before_the_run_goes_on() -> None:
    heard: list[str] = []

    @workflow
    def first() -> Body:
        yield Handle("word", heard.append)
        yield do("work")
        yield ContinueUsing(listens())

    play = Play(first())
    play.send("word", "a")
    play.done("work")
    assert heard == ["a"]
    later = play.go_on()
    later.send("word", "b")
    assert heard == ["a"]  # the new workflow registers its own
    assert later.result == "b"


def test_what_was_published_stays_also_when_the_new_history_is_replayed() -> None:
    @workflow
    def first() -> Body:
        yield Publish(stage=1, weight=3)
        yield ContinueUsing(second())

    @workflow
    def second() -> Body:
        yield Publish(stage=2)
        yield do("work")
        yield Publish(done=True)
        yield ContinueUsing(third())

    @workflow
    def third() -> Body:
        yield do("work")

    play = Play(first())
    assert play.requests[-1] == ContinueRun(
        second(), [Entry((), Kind.PUBLISH, "", Value({"stage": 1, "weight": 3}), play.now)]
    )
    play = play.go_on()
    assert play.published == {"stage": 2, "weight": 3}
    play = play.replay()
    play.done("work")
    assert play.published == {"stage": 2, "weight": 3, "done": True}
    later = play.go_on()
    assert later.published == {}, "nobody is told what is known"
    assert later.machine.state == play.published


def test_random_values_and_children_of_one_position_differ_from_history_to_history() -> None:
    drawn: list[Any] = []

    @workflow
    def draws(again: int) -> Body:
        drawn.append((yield Random()))
        drawn.append((yield Uuid4()))
        yield Call(listens())
        yield Start(listens())
        if again:
            yield ContinueUsing(draws(again - 1))

    play, children = Play(draws(2)), []
    for _ in range(3):
        children.append(play.requests[-1].run_id)  # type: ignore[union-attr]
        play.done("listens")
        children.append(play.requests[-1].run_id)  # type: ignore[union-attr]
        play.done("listens")
        play = play.go_on() if play.continued else play
    assert children == ["run-1/2", "run-1/3", "run-1#1/2", "run-1#1/3", "run-1#2/2", "run-1#2/3"]
    assert len(set(drawn)) == 6


def test_a_patch_is_new_in_every_history() -> None:
    @workflow(name="first")
    def without() -> Body:
        yield do("work")
        yield ContinueUsing(first())

    @workflow
    def first() -> Body:
        patched = yield Patch("better")
        yield do("work")
        return patched

    later = Play(without())
    later.done("work")
    later = later.go_on()
    later.done("work")
    assert later.result is True


def test_what_could_still_be_undone_is_dropped() -> None:
    @workflow
    def first() -> Body:
        yield do("book", compensate=print)
        yield ContinueUsing(second())

    @workflow
    def second() -> Body:
        yield do("pay", compensate=print)
        yield Revert("too late")

    play = Play(first())
    play.done("book")
    play = play.go_on()
    play.done("pay")
    assert play.ran == ["pay", "undo pay"]
    play.done("undo pay")
    assert play.status is Status.REVERTED


def test_finally_blocks_run_when_the_generator_is_let_go_of_and_their_commands_are_not_carried_out() -> None:
    seen: list[str] = []

    @workflow
    def first() -> Body:
        try:
            yield ContinueUsing(listens())
        finally:
            seen.append("plain code")
            yield do("never")
            seen.append("not reached")

    play = Play(first())
    assert play.ran == []
    play.machine.discard()
    assert seen == ["plain code"]
    assert play.ran == []


def test_ensure_and_compact_stand_beside_it() -> None:
    @workflow
    def first() -> Body:
        yield Ensure(lambda: True)
        yield Compact()
        yield ContinueUsing(listens())

    play = Play(first())
    play.done("compact")
    assert play.recorded() == ["0 ensure", "1 compact"]
    assert play.replay().requests == [ContinueRun(listens(), [])]


# Where it may not stand


def test_in_a_branch_it_is_refused_with_the_line_and_what_to_do() -> None:
    @workflow
    def first() -> Body:
        try:
            yield All(branch(), do("work"))
        except BadCommand as error:
            return str(error)

    def branch() -> Body:
        yield ContinueUsing(listens())

    play = Play(first())
    assert play.continued is None
    assert play.ran == []
    assert play.result.startswith("test_continue.py:")
    assert "in branch yielded ContinueUsing(listens(...)) in a branch" in play.result.replace(
        "test_in_a_branch_it_is_refused_with_the_line_and_what_to_do.<locals>.", ""
    )
    assert "behind the All, Race or Map" in play.result
    assert play.replay().result == play.result


def test_as_a_branch_it_is_refused_too_and_behind_the_race_it_is_right() -> None:
    @workflow
    def first() -> Body:
        winner, _ = yield Race(Receive("word"), Sleep(60))
        try:
            yield Race(ContinueUsing(listens()))
        except BadCommand:
            yield ContinueUsing(poll(winner))

    play = Play(first())
    play.tick(60)
    assert play.requests[-1] == ContinueRun(poll(1), [])
    assert play.replay().requests == [ContinueRun(poll(1), [])]


# Ends around the switch


def test_a_cancel_before_the_run_has_gone_on_is_raised_at_its_yield() -> None:
    seen: list[str] = []

    @workflow
    def first() -> Body:
        try:
            yield ContinueUsing(listens())
        except Cancelled as error:
            seen.append(error.reason)
            yield do("clean")
            raise

    play = Play(first())
    play.cancel("enough")
    assert play.continued is None
    assert seen == ["enough"]
    play = play.replay()
    play.done("clean")
    assert play.status is Status.CANCELLED


def test_the_deadline_before_the_run_has_gone_on_is_raised_at_its_yield() -> None:
    play = Play(looped(), timeout=60)
    play.tick(60)
    assert play.continued is None
    assert play.status is Status.TIMED_OUT


@workflow
def looped() -> Body:
    yield ContinueUsing(looped())


def test_a_run_that_was_asked_to_end_does_not_go_on_as_another() -> None:
    @workflow
    def first() -> Body:
        try:
            yield Receive("never")
        finally:
            yield ContinueUsing(looped())

    play = Play(first())
    play.cancel("enough")
    assert play.continued is None
    assert play.status is Status.CANCELLED
    assert str(play.error) == "enough"
    assert play.recorded(Kind.CONTINUE) == ["1 continue looped"]
    again = play.replay(cut=2)
    assert again.status is play.replay().status is Status.CANCELLED


def test_a_deadline_is_kept_by_the_new_history() -> None:
    play = Play(poll(), timeout=60)
    play.tick(40)
    play = looked(play).go_on()
    play.tick(20)
    assert play.status is Status.TIMED_OUT


def test_a_run_that_swallowed_its_cancellation_ends_by_it_where_it_would_go_on() -> None:
    @workflow
    def stubborn() -> Body:
        try:
            yield Receive("never")
        except Cancelled:
            pass
        yield do("work")
        yield ContinueUsing(looped())

    play = Play(stubborn())
    play.cancel("enough")
    play.done("work")
    assert play.status is Status.CANCELLED


def test_a_failure_behind_the_switch_is_one_of_the_new_history() -> None:
    play = looked(Play(poll())).go_on()
    play.fails("look", ValueError("gone"))
    assert play.settled is not None
    assert (play.status, play.settled.failed_at) == (Status.FAILED, (0,))


def test_a_lost_branch_leaves_nothing_behind() -> None:
    @workflow
    def first() -> Body:
        yield Race(Save(print), Call(listens()), Receive("word"))
        yield ContinueUsing(listens())

    play = Play(first())
    play.send("word", 1)
    assert play.stopped == ["0.0.0", "run-1/0.1.0"]
    assert play.requests[-1] == ContinueRun(listens(), [])
