"""Random workflows, in random order, cut off anywhere: the way on is always the same.

Each test runs a few hundred examples; with CONTINUUM_EXAMPLES=100 in the environment a hundred times as many.
"""

from __future__ import annotations

from collections import Counter
from typing import Any
from unittest.mock import patch

from driver import Driver, choices
from harness import Play
from hypothesis import given, note
from hypothesis import strategies as st
from programs import (
    Block,
    examples,
    mistaken,
    plain_programs,
    program,
    programs,
    separate_programs,
    uncertain_programs,
    undoing_program,
)

from continuum import Cancelled
from continuum.engine.machine import arrivals, straight
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Event, EventArrived, SlotGiven, StepWanted, TimerFired
from continuum.journal import TAKES, Entry, Failure, Kind, Position, Status, Value

workflows = st.sampled_from([program, undoing_program])
deadlines = st.sampled_from([None, None, 3])


def short(entry: Entry) -> tuple[Any, ...]:
    """An entry as something that can be compared: two errors are equal if they look the same."""
    return entry.position, entry.kind, entry.name, told(entry.outcome), entry.at, entry.attempts, entry.ref


def told(outcome: Value | Failure | None) -> str:
    return repr(outcome.error if isinstance(outcome, Failure) else outcome and outcome.value)


class Fed(Play):
    """A play that remembers what it was fed, and when, and how it stood after that."""

    fed: list[tuple[Event, int]]
    stood: list[tuple[Any, ...]]

    def feed(self, event: Event) -> Any:
        self.fed = [*getattr(self, "fed", ()), (event, self.now)]
        requests = super().feed(event)
        self.stood = [*getattr(self, "stood", ()), standing(self)]
        return requests


def standing(play: Play) -> tuple[Any, ...]:
    """What the run waits for, what it shows, and what it has asked of the host."""
    machine = play.machine
    return machine.waiting_for(), machine.next_due(), dict(machine.state), play.under_way


def check_taken_up(again: Play, stood: tuple[Any, ...]) -> None:
    """Nothing that was under way is forgotten, nothing else is asked for."""
    under_way = stood[-1]
    for position, request in again.under_way.items():
        if request == "LookUp" and under_way.get(position) != request:  # what is shared is looked up anew
            again.feed(StepWanted(position))
    for position, due in list(again.timers.items()):
        if due <= again.now and position in under_way:  # an attempt that was begun when it was due is so again
            again.feed(TimerFired(position))
    for position, request in again.under_way.items():
        if request == "TakeSlot" and under_way.get(position) != request:
            again.feed(SlotGiven(position))
    assert standing(again) == stood


@examples(300)
@given(programs, workflows, st.booleans(), st.booleans(), deadlines, choices)
def test_every_cut_of_the_journal_leads_on_in_the_same_way(
    block: Block, code: Any, reverts: bool, cancels: bool, deadline: float | None, choices: bytes
) -> None:
    note(f"{block}")
    play = Fed(code(block, reverts), timeout=deadline)
    Driver(choices).drive(play, cancels=cancels)
    assert play.mismatch is None
    assert play.settled is not None
    journal = [short(entry) for entry in play.journal]
    was_killed = play.cuts[-1] == play.cuts[-2]  # by a second cancel, which leaves no entry
    for number, cut in enumerate(play.cuts[1 : -1 if was_killed else None]):
        sent = sum(isinstance(event, EventArrived) for event, _ in play.fed[: number + 1])
        events, now = play.events[:sent], play.fed[number][1]
        again = Play(play.invocation, play.journal[:cut], events=events, now=now, timeout=deadline)
        assert again.mismatch is None
        assert [short(entry) for entry in again.journal] == journal[:cut]
        if again.settled is None:
            check_taken_up(again, play.stood[number])
        for event, now in play.fed[number + 1 :]:
            again.now = now
            again.feed(event)
        assert [short(entry) for entry in again.journal] == journal
        assert again.settled is not None
        assert again.settled.status is play.settled.status
        assert told(again.settled.outcome) == told(play.settled.outcome)
        assert again.settled.failed_at == play.settled.failed_at


def nothing(machine: Machine) -> None:
    """What is done is left to the cycle."""


@examples(300)
@given(programs, workflows, st.booleans(), st.booleans(), deadlines, choices)
def test_the_straight_way_leads_where_the_cycle_leads(
    block: Block, code: Any, reverts: bool, cancels: bool, deadline: float | None, choices: bytes
) -> None:
    note(f"{block}")
    play = Fed(code(block, reverts), timeout=deadline)
    Driver(choices).drive(play, cancels=cancels)
    with patch.object(straight, "_may_react", lambda machine: True), patch.object(arrivals, "set_out", nothing):
        again = Fed(code(block, reverts), timeout=deadline)
        for event, now in play.fed[1:]:
            again.now = now
            again.feed(event)
    assert [short(entry) for entry in again.journal] == [short(entry) for entry in play.journal]
    assert again.stood == play.stood
    assert again.ran == play.ran


@examples(300)
@given(uncertain_programs, workflows, st.booleans(), st.booleans(), deadlines, st.integers(1, 4), choices)
def test_a_run_that_crashes_again_and_again_comes_to_an_end_that_its_journal_tells(
    block: Block, code: Any, reverts: bool, cancels: bool, deadline: float | None, often: int, choices: bytes
) -> None:
    note(f"{block}")
    driver = Driver(choices)
    play = Play(code(block, reverts), timeout=deadline)
    killed = False
    for number in range(600):
        if play.settled is not None:
            break
        driver.move(play, number, at_random=number < 30, cancels=cancels)
        killed = play.cuts[-1] == play.cuts[-2]
        if play.settled is None and number < 30 and not driver.choose(often + 1):
            again = play.replay()
            assert again.mismatch is None
            assert again.journal[: len(play.journal)] == play.journal
            play = again
    assert play.settled is not None, f"it does not come to an end; it waits for {play.machine.waiting_for()}"
    assert not play.in_flight
    if killed:  # by a second cancel, which leaves no entry
        return
    again = play.replay()
    assert again.journal == play.journal
    assert again.settled is not None
    assert again.settled.status is play.settled.status
    assert told(again.settled.outcome) == told(play.settled.outcome)


@examples(150)
@given(programs, workflows, st.booleans(), choices)
def test_each_saved_step_is_undone_at_most_once_the_last_first(
    block: Block, code: Any, crashes: bool, choices: bytes
) -> None:
    note(f"{block}")
    play = Play(code(block, True))
    driver = Driver(choices)
    for number in range(400):
        driver.move(play, number, at_random=number < 30)
        if play.settled is not None:
            break
        play = play.replay() if crashes else play
    saved = [entry for entry in play.journal if entry.kind is Kind.SAVE and isinstance(entry.outcome, Value)]
    order = [entry.outcome.value for entry in saved if not entry.name.startswith("undo")]  # type: ignore[union-attr]
    assert max(Counter(driver.undone).values(), default=0) <= 1
    assert driver.undone == [value for value in reversed(order) if value in driver.undone]


# Retry


@examples(300)
@given(programs, workflows, st.booleans(), st.booleans(), st.booleans(), choices)
def test_a_retry_always_goes_on_and_can_be_replayed(
    block: Block, code: Any, coupled: bool, mended: bool, cancels: bool, choices: bytes
) -> None:
    note(f"{block}")
    play = Play(code(block, False, coupled))
    driver, fixed = Driver(choices), False
    driver.drive(play, cancels=cancels)
    for _ in range(3):
        if play.status is not Status.FAILED or play.settled is None or play.settled.failed_at is None:
            return
        at_fault = {entry.position for entry in play.journal if entry.kind is Kind.RAISE}
        fixed = fixed or (mended and play.settled.failed_at in at_fault)
        again = play.retry(code(block, False, coupled, fixed))
        note(f"goes on from {[short(entry)[:3] for entry in again.journal]}")
        driver.drive(again, 10, cancels)
        assert again.mismatch is None
        assert again.settled is not None
        taken = [entry.ref for entry in again.journal if entry.kind in TAKES and entry.ref]
        assert len(set(taken)) == len(taken)
        for cut in again.cuts[1:]:
            later = again.replay(cut)
            assert later.mismatch is None
            assert [short(entry) for entry in later.journal[:cut]] == [short(entry) for entry in again.journal[:cut]]
        play = again


@examples(300)
@given(separate_programs, workflows, st.booleans(), choices)
def test_a_retry_repeats_nothing_but_what_followed_from_the_failure(
    block: Block, code: Any, mended: bool, choices: bytes
) -> None:
    note(f"{block}")
    play = Play(code(block))
    Driver(choices).drive(play)
    if play.settled is None or play.settled.failed_at is None:
        return
    again = retried(play, code, block, mended)
    kept = {entry.position for entry in again.journal}
    causes: list[Position] = []
    for entry in play.journal:
        cancelled = causes and was_cancelled(entry)
        if cancelled or entry.position == play.settled.failed_at or (mended and entry.kind is Kind.RAISE):
            causes.append(entry.position)
        elif entry.kind is Kind.SAVE and isinstance(entry.outcome, Value):
            assert entry.position in kept or any(follows(entry.position, cause) for cause in causes)
    mistaken.clear()
    Driver(choices, failing=False).drive(again, 10)
    assert not mistaken


@examples(600)
@given(plain_programs, st.booleans(), choices)
def test_a_retry_gives_what_there_would_have_been_without_the_failure(
    block: Block, mended: bool, choices: bytes
) -> None:
    note(f"{block}")
    play = Play(program(block))
    Driver(choices).drive(play)
    if play.settled is None or play.settled.failed_at is None:
        return
    failures = [entry for entry in play.journal if entry.kind is Kind.SAVE and isinstance(entry.outcome, Failure)]
    if any(not was_cancelled(entry) and entry.position != play.settled.failed_at for entry in failures):
        return  # another failure is part of what there would have been
    again = retried(play, program, block, mended)
    Driver(choices, failing=False).drive(again)
    would_be = Play(again.invocation)
    Driver(b"", failing=False).drive(would_be)
    if would_be.status is Status.COMPLETED:
        assert repr(again.result) == repr(would_be.result)


def retried(play: Play, code: Any, block: Block, mended: bool) -> Play:
    """The play after a retry; with mended code, if that was at fault."""
    assert play.settled is not None
    at_fault = {entry.position for entry in play.journal if entry.kind is Kind.RAISE}
    note(f"failed at {play.settled.failed_at} with {[short(entry)[:3] for entry in play.journal]}")
    again = play.retry(code(block, mended=mended and play.settled.failed_at in at_fault))
    note(f"goes on from {[short(entry)[:3] for entry in again.journal]}")
    return again


def was_cancelled(entry: Entry) -> bool:
    return isinstance(entry.outcome, Failure) and isinstance(entry.outcome.error, Cancelled)


def follows(position: Position, failed_at: Position) -> bool:
    """Whether it comes after the command that failed: in its fiber, or in one that has it in a branch."""
    return any(
        position[: length - 1] == failed_at[: length - 1] and position[length - 1] > failed_at[length - 1]
        for length in range(1, min(len(position), len(failed_at)) + 1, 2)
    )
