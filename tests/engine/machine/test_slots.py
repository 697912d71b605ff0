"""Steps with a limit: each attempt asks for a slot, and begins when it is given."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from harness import START, Play, do

from continuum import Limit, Race, Retry, StepUncertain, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import CancelStep, LookUp, RunStep, SlotGiven, TakeSlot
from continuum.journal import Kind

Body = Generator[Any, Any, Any]
LIMIT = Limit(3)


@workflow
def one(options: dict[str, Any]) -> Body:
    return (yield do("charge", 7, limit=LIMIT, **options))


def test_an_attempt_begins_when_a_slot_is_given() -> None:
    play = Play(one({}))
    (request,) = play.requests
    assert isinstance(request, TakeSlot)
    assert (request.position, request.command.args) == ((0,), (7,))
    assert play.ran == []
    (request,) = play.given("charge")
    assert isinstance(request, RunStep)
    play.done("charge", 42)
    assert play.result == play.replay().result == 42
    assert play.recorded() == ["0 save charge"], "a slot leaves nothing in the journal"


def test_every_attempt_asks_anew_once_its_time_has_come() -> None:
    play = Play(one({"retry": Retry(3, delay=10, jitter=0)}))
    play.given("charge")
    play.fails("charge", ValueError())
    assert play.waiting == [], "no slot is asked for during the delay"
    play.tick(10)
    assert isinstance(play.requests[-1], TakeSlot)
    assert play.given("charge") == [RunStep((0,), play.requests[-1].command, 2)]
    play.done("charge", 1)
    assert play.journal[-1].attempts == 2


def test_a_run_that_is_taken_up_again_asks_again() -> None:
    play = Play(one({}))
    play.given("charge")
    again = play.replay()
    assert [type(request) for request in again.requests] == [TakeSlot]


def test_the_start_of_an_at_most_once_step_is_recorded_when_the_slot_is_given() -> None:
    play = Play(one({"at_most_once": True}))
    assert play.recorded() == []
    assert play.replay().waiting == ["0"], "a crash before is nothing to be uncertain about"
    play.given("charge")
    assert play.recorded() == ["0 begun charge"]
    again = play.replay()
    assert isinstance(again.error, StepUncertain)
    assert again.freed == ["0"], "what its worker had is given back"


def test_the_time_for_all_attempts_begins_with_the_first_and_goes_on_in_line() -> None:
    play = Play(one({"retry": Retry(3, delay=1, max_elapsed=10, jitter=0)}))
    play.tick(60)
    play.given("charge")
    assert play.journal[0].ref == START + 70 * NANOSECONDS
    play.fails("charge", ValueError("first"))
    play.tick(1)
    play.tick(20)
    play.given("charge")
    assert isinstance(play.error, ValueError)
    assert play.ran == ["charge"], "none begins later than that"


def test_a_shared_step_is_looked_up_before_it_asks() -> None:
    play = Play(one({"once": "key"}))
    assert [type(request) for request in play.requests] == [LookUp]
    assert [type(request) for request in play.wanted("charge")] == [TakeSlot]
    play.given("charge")
    play.done("charge", 1)
    assert play.result == 1


def test_a_step_that_waits_for_a_slot_can_be_called_off() -> None:
    @workflow
    def race() -> Body:
        return (yield Race(do("a"), do("charge", limit=LIMIT)))

    play = Play(race())
    requests = play.done("a", 1)
    assert CancelStep((0, 1, 0)) in requests
    assert play.recorded(Kind.SAVE) == ["0.0.0 save a", "0.1.0 save charge"], "by that entry its place in line is left"
    assert play.result == play.replay().result == (0, 1)


def test_a_slot_that_comes_too_late_is_ignored() -> None:
    @workflow
    def goes_on() -> Body:
        yield Race(do("a"), do("charge", limit=LIMIT))
        return (yield do("b"))

    play = Play(goes_on())
    play.done("a", 1)
    assert play.feed(SlotGiven((0, 1, 0))) == []
    play.done("b", 2)
    assert play.result == 2


def test_people_see_what_is_waited_for() -> None:
    @workflow
    def shares_one() -> Body:
        return (yield do("charge", limit=Limit(rate=5, name="api")))

    assert Play(one({})).machine.waiting_for() == "save 'charge' (a slot of limit 'charge')"
    assert Play(shares_one()).machine.waiting_for() == "save 'charge' (a slot of limit 'api')"
