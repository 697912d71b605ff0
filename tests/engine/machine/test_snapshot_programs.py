"""Random workflows that go on from their state at random moments: the way on is that of a replay.

The generators themselves go over from one machine to the next, or twins of them do, in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from driver import Driver, choices
from harness import Body, Kept, Play
from hypothesis import given, note
from hypothesis import strategies as st
from programs import (
    Block,
    examples,
    program,
    programs,
    uncertain_programs,
    undoing_program,
)
from rerun import taken
from test_properties import Fed, short, standing, told

from continuum.engine.continuation import adopt, dumps, loads
from continuum.engine.machine.fibers import Fiber
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import EventArrived
from continuum.engine.machine.snapshot import restore
from continuum.engine.machine.takeover import rehearse, take_over
from continuum.journal import MARKS, Entry, Kind, Position, Status

workflows = st.sampled_from([program, undoing_program])
deadlines = st.sampled_from([None, None, 3])
moments = st.integers(0, 30)


class Moved:
    """A generator that waits at a yield and is used on: what is to be the first send to it does nothing."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.fiber = Fiber((), body)
        self.send: Callable[[Any], Any] = self.wake
        self.throw, self.close = body.throw, body.close

    def wake(self, value: None) -> None:
        assert value is None
        self.send = self.body.send

    @property
    def gi_yieldfrom(self) -> Any:
        return self.body.gi_yieldfrom

    def where(self) -> str:
        return self.fiber.where()


def moved(machine: Machine) -> Kept:
    """The state of the machine, from which it can be gone on once; the machine is not used any more."""
    snapshot = taken(machine)
    for state in snapshot["fibers"]:
        if state["body"] is not None:
            state["body"] = Moved(state["body"])  # type: ignore[typeddict-item]

    def again(make: Callable[[Body], Machine]) -> Machine:
        restored = restore(snapshot, make)
        assert isinstance(restored, Machine), restored
        return restored

    return Kept(again, 0)


def pickled(machine: Machine) -> Kept:
    """The state of a machine that runs twins, in bytes."""
    data = dumps(taken(machine))

    def again(make: Callable[[Body], Machine]) -> Machine:
        restored = restore(loads(data), make)
        assert isinstance(restored, Machine), restored
        return restored

    return Kept(again, 0)


def fed(play: Fed, moves: int, adopt: Callable[[Body], Body] | None = None) -> Fed:
    """The same play once more, as it stood after so many feeds."""
    again = Fed(play.invocation, timeout=play.timeout, adopt=adopt)
    for event, now in play.fed[1:moves]:
        again.now = now
        if isinstance(event, EventArrived):
            again.events.append(event)
        again.feed(event)
    return again


@examples(300)
@given(uncertain_programs, workflows, st.tuples(st.booleans(), st.booleans()), deadlines, moments, moments, choices)
@pytest.mark.parametrize(("adopt", "keep"), [(None, moved), (adopt, pickled)], ids=["the generators", "twins in bytes"])
def test_from_its_state_a_run_goes_on_as_after_a_replay(
    adopt: Any,
    keep: Callable[[Machine], Kept],
    block: Block,
    code: Any,
    how: tuple[bool, bool],
    deadline: float | None,
    first: int,
    then: int,
    choices: bytes,
) -> None:
    note(f"{block}")
    reverts, cancels = how
    play = Fed(code(block, reverts), timeout=deadline)
    Driver(choices).drive(play, cancels=cancels)
    lasted = len(play.fed) - (play.settled is not None)
    if not lasted:
        return
    first, then = sorted((first % lasted, then % lasted))
    live = fed(play, first + 1, adopt)
    assert [short(each) for each in live.journal] == [short(each) for each in play.journal[: len(live.journal)]]
    point = keep(live.machine)
    point.behind = len(live.journal)
    sent = sum(isinstance(event, EventArrived) for event, _ in play.fed[: then + 1])
    journal, events, now = play.journal[: play.cuts[then + 1]], play.events[:sent], play.fed[then][1]
    full = Play(play.invocation, journal, events=events, now=now, timeout=deadline)
    again = Play(play.invocation, journal, events=events, now=now, timeout=deadline, kept=point)
    check_same(again, full)
    for event, now in play.fed[then + 1 :]:
        for each in (full, again):
            each.now = now
            each.feed(event)
        check_same(again, full)


def check_same(again: Play, full: Play) -> None:
    """Nobody can tell which is which."""
    assert again.mismatch is None
    assert full.mismatch is None
    assert [short(each) for each in again.journal] == [short(each) for each in full.journal]
    assert [type(each) for each in again.requests] == [type(each) for each in full.requests]
    assert repr(again.requests) == repr(full.requests)
    assert standing(again) == standing(full)
    assert again.timers == full.timers
    assert (again.settled is None) == (full.settled is None)
    if again.settled is not None and full.settled is not None:
        assert told(again.settled.outcome) == told(full.settled.outcome)
        assert (again.settled.status, again.settled.failed_at) == (full.settled.status, full.settled.failed_at)


@examples(200)
@given(programs, workflows, st.booleans(), st.booleans(), deadlines, moments, choices)
def test_a_run_may_change_over_at_any_moment(
    block: Block, code: Any, reverts: bool, cancels: bool, deadline: float | None, moment: int, choices: bytes
) -> None:
    note(f"{block}")
    play = Fed(code(block, reverts), timeout=deadline)
    Driver(choices).drive(play, cancels=cancels)
    lasted = len(play.fed) - (play.settled is not None)
    if not lasted:
        return
    again = fed(play, moment % lasted + 1)
    again.adopt = adopt
    machine = again._machine(play.invocation.body())
    assert rehearse(machine, again.journal, again.now) is None
    assert take_over(machine, again.machine) is None
    again.machine.discard()
    again.machine = machine
    for event, now in play.fed[moment % lasted + 1 :]:
        again.now = now
        again.feed(event)
    assert [short(each) for each in again.journal] == [short(each) for each in play.journal]
    assert again.settled is not None
    assert play.settled is not None
    assert again.settled.status is play.settled.status
    assert told(again.settled.outcome) == told(play.settled.outcome)
    assert again.settled.failed_at == play.settled.failed_at


@examples(300)
@given(programs, workflows, st.booleans(), moments, choices)
def test_a_retry_goes_on_from_a_state_before_the_failure_as_from_the_whole_journal(
    block: Block, code: Any, cancels: bool, moment: int, choices: bytes
) -> None:
    note(f"{block}")
    play = Fed(code(block))
    Driver(choices).drive(play, cancels=cancels)
    if play.status is not Status.FAILED or play.settled is None or play.settled.failed_at is None:
        return
    failed_at, moves = play.settled.failed_at, moment % (len(play.fed) - 1) + 1 if len(play.fed) > 1 else 0
    behind = play.cuts[moves] if moves else 0
    before = play.journal[:behind]
    if not moves or any(each.kind is Kind.RAISE or is_end(each, failed_at) for each in before):
        return  # it is the whole journal that tells where the retry is to begin

    def restored(make: Callable[[Body], Machine]) -> Machine:
        return moved(fed(play, moves).machine).restore(make)

    check_same(play.retry(kept=Kept(restored, behind)), play.retry())


def is_end(entry: Entry, failed_at: Position) -> bool:
    return entry.position == failed_at and entry.kind not in MARKS
