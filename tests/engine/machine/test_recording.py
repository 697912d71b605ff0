"""Values that cannot be recorded: an error at the yield, for every command that records or hands over one."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, Unrecordable, do

from continuum import Call, ContinueUsing, Log, Publish, Receive, Send, Start, UnpicklableValue, workflow
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Started
from continuum.journal import Kind, Outcome, Status, Value

Body = Generator[Any, Any, Any]


@workflow
def other(*args: Any, **kwargs: Any) -> Body:
    yield do("other")


MAKERS: dict[str, Any] = {
    "what Log says": lambda: Log("it is", value=Unrecordable()),
    "what Publish shows": lambda: Publish(value=[Unrecordable()]),
    "the payload of Send 'go'": lambda: Send("another", "go", Unrecordable()),
    "Call: the arguments of other": lambda: Call(other(Unrecordable())),
    "Start: the arguments of other": lambda: Start(other(value=Unrecordable())),
    "ContinueUsing: the arguments of other": lambda: ContinueUsing(other(Unrecordable())),
    "the default of Receive 'go'": lambda: Receive("go", timeout=0, default=Unrecordable()),
}


@workflow
def catches(what: str) -> Body:
    yield do("before")
    try:
        yield MAKERS[what]()
    except UnpicklableValue as error:
        return [str(error), (yield do("after"))]


@pytest.mark.parametrize("what", MAKERS)
def test_it_is_raised_at_the_yield_with_command_and_line(what: str) -> None:
    play = Play(catches(what))
    play.done("before")
    play.tick(0)
    play.done("after", "well")
    line = catches.function.__code__.co_firstlineno + 4
    assert play.result == [f"test_recording.py:{line} in catches: {what}: it is unrecordable", "well"]


@pytest.mark.parametrize("what", MAKERS)
def test_the_refusal_is_recorded_so_a_replay_does_not_ask_again(what: str) -> None:
    play = Play(catches(what))
    play.done("before")
    play.tick(0)
    play.done("after", "well")
    for cut in range(len(play.journal) + 1):
        again = play.replay(cut)
        for _ in range(3):
            again.tick(0)
            for name in [request.command.name for request in again.in_flight.values()]:  # type: ignore[union-attr]
                again.done(name, "well")
        assert again.result == play.result
        assert again.recorded() == play.recorded()


@pytest.mark.parametrize("what", MAKERS)
def test_nothing_else_comes_of_it(what: str) -> None:
    play = Play(catches(what))
    play.done("before")
    play.tick(0)
    assert (play.waiting, play.published, play.logged, play.continued) == (["2"], {}, [], None)


def test_a_run_that_does_not_catch_it_fails_where_it_was_raised() -> None:
    @workflow
    def fails() -> Body:
        yield do("a")
        yield Log("it is", value=Unrecordable())

    play = Play(fails())
    play.done("a")
    assert isinstance(play.error, UnpicklableValue)
    assert play.settled is not None
    assert play.settled.failed_at == (1,)


def test_a_result_that_cannot_be_recorded_fails_the_run_with_the_line_of_its_return() -> None:
    @workflow
    def fails() -> Body:
        yield do("a")
        return Unrecordable()

    play = Play(fails())
    play.done("a")
    line = fails.function.__code__.co_firstlineno + 3
    assert play.status is Status.FAILED
    assert str(play.error).startswith(f"test_recording.py:{line} in ")
    assert str(play.error).endswith("fails: the result of the workflow: it is unrecordable")


def test_steps_are_undone_for_a_result_that_cannot_be_recorded() -> None:
    @workflow(compensate_on_failure=True)
    def fails() -> Body:
        yield do("a", compensate=repr)
        return Unrecordable()

    play = Play(fails())
    play.done("a")
    play.done("undo a")
    assert play.status is Status.REVERTED


def test_what_is_recorded_is_what_the_encoding_gave_and_is_asked_for_once() -> None:
    asked: list[str] = []

    def encode(value: Any, what: str) -> Outcome:
        asked.append(what)
        return Value(f"copy of {value}", b"bytes")

    @workflow
    def sends() -> Body:
        yield Log("it is")
        yield Send("another", "go", 5)

    def machine() -> Machine:
        return Machine("run-1", sends().body(), seed=b"seed", encode=encode)

    logged, emitted, sent = machine().feed(Started([]), 0)
    assert logged.outcome == Value("copy of {'message': 'it is', 'fields': {}}", b"bytes")  # type: ignore[union-attr]
    assert emitted.entry is logged  # type: ignore[union-attr]
    assert (sent.payload, sent.data) == ("copy of 5", b"bytes")  # type: ignore[union-attr]
    assert asked == ["what Log says", "the payload of Send 'go'"]
    machine().feed(Started([logged]), 0)  # type: ignore[list-item]
    assert asked[2:] == ["the payload of Send 'go'"]


def test_values_published_before_stay_as_they_were() -> None:
    @workflow
    def publishes() -> Body:
        yield Publish(good=1)
        try:
            yield Publish(good=2, bad=Unrecordable())
        except UnpicklableValue:
            yield Publish(other=3)
        return "well"

    play = Play(publishes())
    assert play.published == {"good": 1, "other": 3}
    assert play.replay().machine.state == {"good": 1, "other": 3}
    assert play.recorded(Kind.PUBLISH) == ["0 publish", "1 publish", "2 publish"]
