"""Call, Start and Send: what a run asks of other runs."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import All, Call, Handle, Race, Receive, RunFailed, RunFinished, Send, Start, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import CancelChild, ChildDone, EventArrived, SendEvent, StartChild
from continuum.journal import Kind, Status, Value

Body = Generator[Any, Any, Any]


@workflow
def child(name: str = "x") -> Body:
    return (yield do(name))


@workflow
def calls(id: str | None = None) -> Body:
    return (yield Call(child("y"), id=id))


@workflow
def starts() -> Body:
    run_id = yield Start(child())
    yield do("after")
    return run_id


@workflow
def sends() -> Body:
    yield Send("other", "ping", {"n": 1})
    return "sent"


def test_a_child_is_asked_for_with_an_id_of_its_parent_and_position() -> None:
    assert Play(calls()).requests == [StartChild((0,), "run-1/0", child("y"), awaited=True)]


def test_the_workflow_may_choose_the_id() -> None:
    assert Play(calls("mine")).requests == [StartChild((0,), "mine", child("y"), awaited=True)]


@pytest.mark.parametrize("command", [Call, Start])
def test_the_workflow_may_choose_queue_and_time_limit(command: Any) -> None:
    @workflow
    def chooses() -> Body:
        yield command(child(), queue="slow", timeout="1m")

    (request,) = Play(chooses()).requests
    assert isinstance(request, StartChild)
    assert (request.queue, request.timeout) == ("slow", 60 * NANOSECONDS)
    play = Play(chooses())
    for request in play.cancel():
        if isinstance(request, CancelChild):
            assert request.queue == "slow", "the child is told where it is"


def test_an_id_that_would_be_too_long_is_made_short_and_stays_the_same() -> None:
    (first,) = Play(calls(), run_id="ü" * 64).requests
    (second,) = Play(calls(), run_id="ü" * 64).requests
    assert isinstance(first, StartChild)
    assert len(first.run_id.encode()) <= 128
    assert first == second
    assert first != Play(calls(), run_id="ö" * 64).requests[0]


def test_ids_of_children_differ_by_position() -> None:
    @workflow
    def both() -> Body:
        yield All(Call(child()), Call(child()))

    assert [request.run_id for request in Play(both()).requests] == ["run-1/0.0.0", "run-1/0.1.0"]  # type: ignore[union-attr]


@pytest.mark.parametrize("result", [None, False, 0, "", 7], ids=repr)
def test_the_result_of_a_child_is_recorded(result: object) -> None:
    play = Play(calls())
    play.done("child", result)
    assert play.result == play.replay().result == result
    assert play.replay().waiting == []


def test_the_message_that_told_the_result_is_taken_from_the_inbox() -> None:
    play = Play(calls())
    play.feed(ChildDone((0,), Value(1), ref=77))
    assert play.journal[-1].ref == 77


def test_a_child_that_failed_is_raised_in_the_parent() -> None:
    play = Play(calls())
    error = RunFailed("run-1/0", "ValueError: y")
    play.fails("child", error)
    assert play.error is error
    assert play.settled is not None
    assert play.settled.failed_at == (0,)
    assert isinstance(play.replay().error, RunFailed)


def test_a_child_under_way_at_a_crash_is_asked_for_under_the_same_id() -> None:
    play = Play(calls())
    assert play.replay().requests == play.requests


def test_a_child_that_nobody_waits_for_any_more_is_cancelled() -> None:
    @workflow
    def race() -> Body:
        yield Race(do("a"), Call(child()))

    play = Play(race())
    (cancelled,) = (request for request in play.done("a") if isinstance(request, CancelChild))
    assert (cancelled.run_id, cancelled.reason) == ("run-1/0.1.0", "another branch won the race")
    assert play.recorded(Kind.CALL) == ["0.1.0 call child"]


def test_a_child_of_an_earlier_life_is_cancelled_by_an_event_that_waits_as_the_run_is_taken_up() -> None:
    @workflow
    def race() -> Body:
        return (yield Race(Call(child(), id="c"), Receive("enough")))

    play = Play(race(), events=[EventArrived(1, "enough", Value(None))])
    assert play.result == (1, None)
    assert play.stopped == ["c"]


def test_a_child_of_a_cancelled_run_is_cancelled_with_its_reason() -> None:
    (cancelled,) = (request for request in Play(calls()).cancel("enough") if isinstance(request, CancelChild))
    assert (cancelled.run_id, cancelled.reason) == ("run-1/0", "enough")


def test_a_child_of_a_run_that_fails_beside_it_is_cancelled() -> None:
    @workflow
    def failing() -> Body:
        yield Handle("go", lambda payload: 1 / 0)
        yield Call(child())

    play = Play(failing())
    play.send("go")
    assert play.status is Status.FAILED
    assert play.stopped == ["run-1/1"]


def test_a_detached_child_gives_its_id_and_is_started_once() -> None:
    play = Play(starts())
    assert play.requests == [StartChild((0,), "run-1/0", child(), awaited=False)]
    play.done("child", "run-1/0")
    again = play.replay()
    assert again.waiting == ["1"]
    again.done("after")
    assert again.result == "run-1/0"


def test_a_detached_child_is_not_cancelled() -> None:
    play = Play(starts())
    play.cancel()
    assert play.stopped == []


def test_an_event_is_sent_and_its_delivery_recorded() -> None:
    play = Play(sends())
    assert play.requests == [SendEvent((0,), "other", "ping", {"n": 1})]
    play.done("ping")
    assert play.result == play.replay().result == "sent"
    assert play.recorded() == ["0 send ping"]


def test_an_event_that_cannot_be_delivered_is_raised_at_the_yield() -> None:
    play = Play(sends())
    play.fails("ping", RunFinished("other", "completed", "it takes no events"))
    assert isinstance(play.error, RunFinished)
    assert isinstance(play.replay().error, RunFinished)


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    play = Play(calls())
    assert play.feed(ChildDone((5,), Value(1))) == []
