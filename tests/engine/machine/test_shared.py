"""Steps whose results runs share: looked up first, performed only if wanted, undone by who made them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import START, Play, do

from continuum import All, Race, Retry, StepUncertain, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import CancelStep, LookUp, RunStep
from continuum.journal import Entry, Kind, Status

Body = Generator[Any, Any, Any]

SHARED = pytest.mark.parametrize("options", [{"cache": "1h"}, {"once": "key"}], ids=["cache", "once"])


@workflow
def one(options: dict[str, Any]) -> Body:
    return (yield do("charge", 7, **options))


@SHARED
def test_a_shared_step_is_looked_up_before_it_is_performed(options: Any) -> None:
    play = Play(one(options))
    (request,) = play.requests
    assert isinstance(request, LookUp)
    assert (request.position, request.command.args) == ((0,), (7,))
    (request,) = play.wanted("charge")
    assert isinstance(request, RunStep)
    play.done("charge", 42)
    assert play.result == play.replay().result == 42
    assert play.journal[-1].attempts == 1


@SHARED
def test_what_was_found_is_recorded_and_never_looked_up_again(options: Any) -> None:
    play = Play(one(options))
    play.done("charge", 42)
    assert play.result == 42
    assert play.ran == []
    assert play.recorded() == ["0 save charge"]
    assert play.journal[-1].attempts == 0
    again = play.replay()
    assert again.result == 42
    assert not any(isinstance(request, LookUp) for request in again.requests)


@SHARED
def test_a_failure_may_be_found_too(options: Any) -> None:
    play = Play(one({**options, "retry": Retry(5)}))
    play.fails("charge", StepUncertain("nobody knows"))
    assert isinstance(play.error, StepUncertain)
    assert play.journal[-1].attempts == 0


@SHARED
def test_a_run_that_is_taken_up_again_looks_up_again_and_then_goes_on_with_its_attempts(options: Any) -> None:
    play = Play(one({**options, "retry": Retry(3, delay=10, jitter=0)}))
    play.wanted("charge")
    play.fails("charge", ValueError())
    again = play.replay()
    assert isinstance(again.requests[-1], LookUp)
    assert again.timers == {}
    again.wanted("charge")
    assert again.timers == {(0,): START + 10 * NANOSECONDS}
    again.tick(10)
    assert again.ran == ["charge"]
    again.done("charge", 1)
    assert again.journal[-1].attempts == 2


def test_a_result_that_others_made_during_a_backoff_is_taken() -> None:
    play = Play(one({"cache": "1h", "retry": Retry(3)}))
    play.wanted("charge")
    play.fails("charge", ValueError())
    again = play.replay()
    again.done("charge", 42)
    assert again.result == 42
    assert again.journal[-1].attempts == 0


def test_an_at_most_once_step_is_looked_up_before_it_is_said_to_be_uncertain() -> None:
    play = Play(one({"once": "key", "at_most_once": True}))
    assert play.recorded() == []
    play.wanted("charge")
    assert play.recorded() == ["0 begun charge"]
    again = play.replay()
    assert isinstance(again.requests[-1], LookUp)
    again.wanted("charge")
    assert isinstance(again.error, StepUncertain)


def test_the_time_for_all_attempts_begins_when_the_step_does() -> None:
    play = Play(one({"once": "key", "retry": Retry(3, delay=1, max_elapsed=10, jitter=0)}))
    play.tick(60)
    play.wanted("charge")
    assert play.journal[0].ref == START + 70 * NANOSECONDS


@SHARED
def test_a_step_is_undone_only_by_the_run_that_made_it(options: Any) -> None:
    @workflow(compensate_on_failure=True)
    def pays() -> Body:
        yield do("made", compensate=print, **options)
        yield do("found", compensate=print, **options)
        yield do("fails")

    play = Play(pays())
    play.wanted("made")
    play.done("made", 1)
    play.done("found", 2)
    play.fails("fails", ValueError())
    for each in (play.replay(), play):
        each.done("undo made")
        assert each.status is Status.REVERTED


@SHARED
def test_a_step_that_is_called_off_while_it_is_looked_up_is_over(options: Any) -> None:
    @workflow
    def race() -> Body:
        return (yield Race(do("a"), do("charge", **options)))

    play = Play(race())
    requests = play.done("a", 1)
    recorded = [request.position for request in requests if isinstance(request, Entry)]
    assert (0, 1, 0) in recorded, "who shares its result is told by that entry"
    assert CancelStep((0, 1, 0)) in requests
    assert play.result == play.replay().result == (0, 1)


def test_branches_of_one_run_may_share() -> None:
    @workflow
    def both() -> Body:
        return (yield All(*(do("charge", once="key") for _ in range(2))))

    play = Play(both())
    play.wanted("0.0.0")
    play.done("0.0.0", 1)
    play.done("0.1.0", 1)
    assert play.result == [1, 1]
    assert play.recorded(Kind.SAVE) == ["0.0.0 save charge", "0.1.0 save charge"]


def test_people_see_which_key_is_waited_for() -> None:
    assert Play(one({"once": "ord-1"})).machine.waiting_for() == "save 'charge' (once 'ord-1')"
