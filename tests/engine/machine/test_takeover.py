"""A run changes over to generators of another kind, in the middle of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import deepcopy
from typing import Any

import pytest
from harness import Play, do
from rerun import rerun, taken, to_bytes
from stories import STORIES, Story, sequence

from continuum import Invocation, Now, Receive, workflow
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Started
from continuum.engine.machine.takeover import rehearse, take_over

Body = Generator[Any, Any, Any]


def rehearsed(play: Play, invocation: Invocation[Any], adopt: Any = rerun) -> tuple[Machine, str | None]:
    """Another machine of the run that has replayed its journal, or why it could not."""
    play.adopt = adopt
    machine = play._machine(invocation.body())
    return machine, rehearse(machine, deepcopy(play.journal), play.now)


def change_over(play: Play, invocation: Invocation[Any]) -> None:
    machine, reason = rehearsed(play, invocation)
    assert reason is None
    assert take_over(machine, play.machine) is None
    play.machine.discard()
    play.machine = machine


@pytest.mark.parametrize("story", STORIES)
def test_nobody_can_tell_when_a_run_has_changed_over(story: Story) -> None:
    for when in range(len(story.moves)):
        plain, play = (Play(story.make(), **story.options) for _ in range(2))
        for number, (how, *what) in enumerate(story.moves):
            if number == when:
                change_over(play, story.make())
                to_bytes(taken(play.machine))
            for each in (plain, play):
                getattr(each, how)(*what)
            assert repr(play.requests) == repr(plain.requests)
            assert repr(play.journal) == repr(plain.journal)
            assert play.machine.waiting_for() == plain.machine.waiting_for()
            assert play.machine.next_due() == plain.machine.next_due()
        assert repr(play.settled) == repr(plain.settled)


def test_a_rehearsal_goes_on_where_the_last_one_stopped() -> None:
    play = Play(sequence())
    play.done("step 0")
    first = len(play.journal)
    play.adopt = rerun
    machine = play._machine(sequence().body())
    assert rehearse(machine, play.journal[:first], play.now) is None
    play.done("step 1")
    assert take_over(machine, play.machine) == "its code does not wait for the same"
    assert rehearse(machine, play.journal[first:], play.now) is None
    assert take_over(machine, play.machine) is None
    play.machine = machine
    play.done("step 2", "x")
    assert play.result == [None, None, "x"]


def test_a_machine_that_was_rehearsed_asks_when_it_is_started() -> None:
    play = Play(sequence(), timeout=60)
    play.done("step 0")
    machine, _ = rehearsed(play, sequence())
    assert machine.feed(Started(()), play.now) == play.replay().requests


def test_events_that_nobody_has_asked_for_go_over() -> None:
    @workflow
    def patient() -> Body:
        yield do("a")
        return (yield Receive("note"))

    play = Play(patient())
    play.send("note", 1)
    machine, _ = rehearsed(play, patient(), None)
    assert take_over(machine, play.machine) is None
    play.machine = machine
    play.done("a")
    assert play.result == 1


@workflow
def straight() -> Body:
    yield do("a")
    yield do("b")


@workflow
def other_step() -> Body:
    yield do("x")


@workflow
def short_one() -> Body:
    yield do("a")


@workflow
def busy_one() -> Body:
    yield do("a")
    yield Now()
    yield do("b")


@workflow
def other_wait() -> Body:
    yield do("a")
    yield do("c")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (other_step, "does not fit its journal at position 0"),
        (short_one, "its code comes to an end where the run goes on"),
        (busy_one, "its code does more than is recorded"),
    ],
)
def test_code_that_does_something_else_is_refused(code: Callable[[], Invocation[Any]], reason: str) -> None:
    play = Play(straight())
    play.done("a")
    machine, told = rehearsed(play, code())
    assert reason in str(told)
    machine.discard()
    play.done("b")
    assert play.result is None


def test_code_that_waits_for_something_else_is_refused() -> None:
    play = Play(straight())
    play.done("a")
    machine, told = rehearsed(play, other_wait())
    assert told is None
    assert take_over(machine, play.machine) == "its code does not wait for the same"
    machine.discard()
    play.done("b")
    assert play.result is None


def test_a_run_that_has_ended_is_not_taken_over() -> None:
    play = Play(straight())
    play.done("a")
    machine, _ = rehearsed(play, straight())
    play.done("b")
    assert take_over(machine, play.machine) == "the run has ended, or its code does not fit its journal"
    machine.discard()
