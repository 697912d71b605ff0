"""A machine made again of its own state goes on as one that has replayed the whole journal."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import pytest
from harness import Kept, Play, name_of
from rerun import from_bytes, rerun, taken, to_bytes
from stories import SHARING, STORIES, Oops, Story, delegating, dropping, each, junk, keeping, sequence, telling

from continuum import (
    All,
    workflow,
)
from continuum.engine.continuation import adopt, dumps, loads
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import (
    EventArrived,
    LookUp,
    Request,
    SlotGiven,
    Started,
    StepDone,
    StepWanted,
    TakeSlot,
)
from continuum.engine.machine.snapshot import FORMAT, restore, take
from continuum.journal import Failure, Value

Body = Generator[Any, Any, Any]


def told(requests: list[Request]) -> list[str]:
    """Requests as something that can be compared: two errors are equal if they look the same."""
    return [repr(each) for each in requests]


def short(play: Play) -> list[str]:
    return [repr(each) for each in play.journal]


def standing(play: Play) -> tuple[Any, ...]:
    machine = play.machine
    return machine.waiting_for(), machine.next_due(), dict(machine.state), play.under_way, dict(play.timers)


class Kind(NamedTuple):
    """What is run in place of generators, and how a state that holds such is turned into bytes and back."""

    adopt: Callable[[Any], Any]
    to_bytes: Callable[[Any], bytes]
    from_bytes: Callable[[bytes], Any]


RERUN = Kind(rerun, to_bytes, from_bytes)
TWINS = Kind(adopt, dumps, loads)


def kept(play: Play, kind: Kind = RERUN) -> Kept:
    """The state of the play as it stands, in bytes; it can be loaded any number of times."""
    data = kind.to_bytes(taken(play.machine))

    def again(make: Callable[[Any], Machine]) -> Machine:
        snapshot = kind.from_bytes(data)
        machine = restore(snapshot, make)
        assert isinstance(machine, Machine), machine
        assert {**taken(machine), "failures": snapshot["failures"]} == snapshot
        return machine

    return Kept(again, len(play.journal))


def go_on(play: Play, under_way: dict[Any, str], moves: list[tuple[Any, ...]]) -> None:
    """Let the rest happen. What is looked up or tried anew is brought to where it was; what has ended stays so."""
    for position, request in list(play.in_flight.items()):
        if isinstance(request, LookUp) and under_way.get(position) != "LookUp":
            play.feed(StepWanted(position))
    play.tick(0)
    for position, request in list(play.in_flight.items()):
        if isinstance(request, TakeSlot) and under_way.get(position) != "TakeSlot":
            play.feed(SlotGiven(position))
    for how, *what in moves:
        if play.settled is None and (how not in ("done", "fails", "wanted", "given") or is_in_flight(play, what[0])):
            getattr(play, how)(*what)


def is_in_flight(play: Play, name: str) -> bool:
    names = [name_of(request) for request in play.in_flight.values()]
    return name[0].isdigit() or names.count(name) == 1


@pytest.mark.parametrize("story", [*STORIES, *SHARING])
def test_from_every_point_twins_go_on_as_after_a_replay(story: Story) -> None:
    check_every_point(story, TWINS)


@pytest.mark.parametrize("story", STORIES)
def test_from_every_point_it_goes_on_as_after_a_replay(story: Story) -> None:
    check_every_point(story, RERUN)


def check_every_point(story: Story, kind: Kind) -> None:
    plain = Play(story.make(), **story.options)
    play = Play(story.make(), adopt=kind.adopt, **story.options)
    points = [kept(play, kind)]
    for number, move in enumerate(story.moves):
        for point in points:
            full = play.replay(invocation=story.make())
            again = play.replay(invocation=story.make(), kept=point)
            assert again.mismatch is None
            assert told(again.requests) == told(full.requests)
            assert standing(again) == standing(full)
            for taken_up in (full, again):
                go_on(taken_up, play.under_way, story.moves[number:])
            assert short(again) == short(full)
            assert standing(again) == standing(full)
            assert repr(again.settled) == repr(full.settled)
            assert repr(again.continued) == repr(full.continued)
        for live in (plain, play):
            getattr(live, move[0])(*move[1:])
        assert short(play) == short(plain)
        if play.settled is None:
            points.append(kept(play, kind))
    assert play.settled is not None or play.machine.waiting_for()


@pytest.mark.parametrize("story", STORIES)
def test_it_is_plain_data_but_for_what_belongs_to_the_user(story: Story) -> None:
    play = Play(story.make(), adopt=rerun, **story.options)
    for how, *what in story.moves:
        check_plain(taken(play.machine))
        getattr(play, how)(*what)


PLAIN = (dict, list, tuple, int, str, bool, type(None))
OF_THE_USER = {"body", "rest", "command", "failed", "callback", "steps", "results", "verdict", "published", "failures"}


def check_plain(found: Any) -> None:
    assert type(found) in PLAIN, found
    if type(found) is dict:
        for name, value in found.items():
            assert type(name) is str
            check_plain(None if name in OF_THE_USER or name == "cause" else value)
    elif type(found) in (list, tuple):
        for each in found:
            check_plain(each)


def test_a_machine_that_does_not_wait_says_why_there_is_no_state_to_be_had() -> None:
    body = sequence().body()
    machine = Machine("run-1", body, seed=b"")
    assert take(machine) == "the code of the run has not come to a place where all of it waits"
    play = Play(sequence())
    for number in range(3):
        assert isinstance(take(play.machine), dict)
        play.done(f"step {number}")
    assert take(play.machine) == "the run has ended, or its code does not fit its journal"
    body.close()


def test_a_state_of_another_format_or_run_is_not_used() -> None:
    play = Play(sequence(), adopt=rerun)
    other = Play(sequence(), run_id="run-2")
    snapshot = taken(play.machine)
    assert restore(snapshot, other._machine) == "it is of run 'run-1', and not of 'run-2'"
    snapshot["format"] = FORMAT + 1
    assert restore(snapshot, play._machine) == "it is of format 2, and this version reads format 1 alone"


def test_what_a_generator_raises_as_it_wakes_is_raised() -> None:
    snapshot = taken(Play(sequence(), adopt=rerun).machine)

    def broken() -> Body:
        raise Oops("no way back")
        yield

    snapshot["fibers"][0]["body"] = broken()
    with pytest.raises(Oops):
        restore(snapshot, Play(sequence())._machine)


def test_errors_that_nothing_holds_any_more_are_not_kept() -> None:
    held = Machine("run-1", keeping().body(), seed=b"")
    dropped = Machine("run-1", dropping().body(), seed=b"")
    for machine in (held, dropped):
        machine.feed(Started(()), 0)
        machine.feed(StepDone((0,), Failure(Oops("a"))), 0)
        machine.feed(EventArrived(1, "note", Value(None)), 0)  # what the host was given last is gone then
    assert [position for _, position, _ in taken(held)["failures"]] == [(0,)]
    assert taken(dropped)["failures"] == []
    held.discard()
    dropped.discard()


def test_code_is_told_which_run_it_belongs_to() -> None:
    play = Play(telling(), adopt=rerun)
    again = play.replay(kept=kept(play))
    again.done("a")
    assert again.result == "run-1"


def test_a_retry_goes_on_from_a_state_that_was_kept_before_the_failure() -> None:
    play = Play(keeping(), adopt=rerun)
    play.fails("a", Oops("a"))
    point = kept(play)
    play.fails("b", Oops("b"))
    again = play.retry(kept=point)
    assert again.waiting == ["1"]
    again.done("b")
    assert repr(again.error) == repr(Oops("a"))
    assert again.settled is not None
    assert again.settled.failed_at == (0,)


def test_a_generator_that_is_given_twice_is_told_with_adopted_ones_too() -> None:
    @workflow
    def twice() -> Body:
        body = each(1)
        yield All(body, body)

    def adopt(generator: Body) -> Any:
        return rerun(generator) if generator.__name__ == "each" else generator

    plain, adopted = Play(twice()), Play(twice(), adopt=adopt)
    assert short(plain) == short(adopted)
    assert repr(plain.settled) == repr(adopted.settled)
    assert "was run before" in repr(adopted.error)


def test_what_adopt_raises_is_raised_by_feed() -> None:
    def adopt(generator: Body) -> Any:
        raise Oops("no source")

    with pytest.raises(Oops):
        Play(sequence(), adopt=adopt)


def test_messages_name_the_line_of_a_generator_that_stands_in_for_another() -> None:
    plain, adopted = Play(junk()), Play(junk(), adopt=rerun)
    assert "stories.py:" in str(plain.error)
    assert str(adopted.error) == str(plain.error)


def test_what_stands_in_for_a_generator_may_not_delegate_to_a_list_either() -> None:
    plain, adopted = Play(delegating()), Play(delegating(), adopt=rerun)
    assert "a `yield from` a list" in str(plain.error)
    assert str(adopted.error) == str(plain.error)
