"""Random workflows, in random order, cut off anywhere: the way on is always the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from harness import Play
from hypothesis import given, note, settings
from hypothesis import strategies as st
from programs import Driver, Node, program, programs, undoing_program

from continuum.engine.machine.requests import Event, EventArrived
from continuum.engine.machine.rewind import rewind
from continuum.journal import MARKS, TAKES, Entry, Failure, Kind, Status, Value, position_text

workflows = st.sampled_from([program, undoing_program])


def short(entry: Entry) -> tuple[Any, ...]:
    """An entry as something that can be compared: two errors are equal if they look the same."""
    return entry.position, entry.kind, entry.name, told(entry.outcome), entry.at, entry.attempts, entry.ref


def told(outcome: Value | Failure | None) -> str:
    return repr(outcome.error if isinstance(outcome, Failure) else outcome and outcome.value)


class Fed(Play):
    """A play that remembers what it was fed, and when."""

    fed: list[tuple[Event, int]]

    def feed(self, event: Event) -> Any:
        self.fed = [*getattr(self, "fed", ()), (event, self.now)]
        return super().feed(event)


def chooser(data: st.DataObject) -> Callable[[int], int]:
    return lambda below: data.draw(st.integers(0, below - 1), label="choice")


@settings(max_examples=150, deadline=None)
@given(programs, workflows, st.booleans(), st.booleans(), st.data())
def test_every_cut_of_the_journal_leads_on_in_the_same_way(
    block: tuple[Node, ...], code: Any, reverts: bool, cancels: bool, data: st.DataObject
) -> None:
    play = Fed(code(block, reverts))
    Driver(play, chooser(data)).drive(data.draw(st.integers(0, 30)), cancels)
    assert play.mismatch is None
    assert play.settled is not None
    journal = [short(entry) for entry in play.journal]
    was_killed = play.cuts[-1] == play.cuts[-2]  # by a second cancel, which leaves no entry
    for number, cut in enumerate(play.cuts[1 : -1 if was_killed else None]):
        sent = sum(isinstance(event, EventArrived) for event, _ in play.fed[: number + 1])
        again = Play(play.invocation, play.journal[:cut], events=play.events[:sent], now=play.fed[number][1])
        assert again.mismatch is None
        assert [short(entry) for entry in again.journal] == journal[:cut]
        for event, now in play.fed[number + 1 :]:
            again.now = now
            again.feed(event)
        assert [short(entry) for entry in again.journal] == journal
        assert again.settled is not None
        assert again.settled.status is play.settled.status
        assert told(again.settled.outcome) == told(play.settled.outcome)
        assert again.settled.failed_at == play.settled.failed_at


@settings(max_examples=150, deadline=None)
@given(programs, programs, st.booleans(), st.data())
def test_without_the_marks_behind_a_compact_a_replay_leads_on_in_the_same_way(
    block: tuple[Node, ...], more: tuple[Node, ...], cancels: bool, data: st.DataObject
) -> None:
    play = Play(program((*block, Node("compact"), *more), False))
    for number in range(400):
        Driver(play, chooser(data)).move(number, at_random=number < 30, cancels=cancels)
        if play.settled is not None:
            break
        if play.needless:
            behind = next(n for n, e in enumerate(play.journal) if position_text(e.position) == play.needless[-1])
            kept = [entry for n, entry in enumerate(play.journal) if n > behind or entry.kind not in MARKS]
            again = Play(play.invocation, kept, events=play.events, now=play.now)
            assert again.mismatch is None
            assert again.journal == kept
            assert list(again.in_flight) == list(play.in_flight)
            assert again.machine.waiting_for() == play.machine.waiting_for()
            play = again
    assert play.mismatch is None
    assert play.settled is not None


@settings(max_examples=150, deadline=None)
@given(programs, workflows, st.booleans(), st.data())
def test_each_saved_step_is_undone_at_most_once_the_last_first(
    block: tuple[Node, ...], code: Any, crashes: bool, data: st.DataObject
) -> None:
    play = Play(code(block, True))
    undone: list[Any] = []
    for number in range(400):
        driver = Driver(play, chooser(data))
        driver.move(number, at_random=number < 30)
        undone += driver.undone
        if play.settled is not None:
            break
        play = play.replay() if crashes else play
    saved = [entry for entry in play.journal if entry.kind is Kind.SAVE and isinstance(entry.outcome, Value)]
    order = [entry.outcome.value for entry in saved if not entry.name.startswith("undo")]  # type: ignore[union-attr]
    assert max(Counter(undone).values(), default=0) <= 1
    assert undone == [value for value in reversed(order) if value in undone]


@settings(max_examples=300, deadline=None)
@given(programs, workflows, st.booleans(), st.data())
def test_a_retry_goes_on_from_what_failed_and_repeats_nothing_else(
    block: tuple[Node, ...], code: Any, cancels: bool, data: st.DataObject
) -> None:
    play = Play(code(block, False))
    Driver(play, chooser(data)).drive(data.draw(st.integers(0, 30)), cancels)
    assert play.settled is not None
    if play.settled.status is not Status.FAILED or play.settled.failed_at is None:
        return
    dropped = rewind(play.journal, play.settled.failed_at)
    assert any(play.journal[index].position == play.settled.failed_at for index in dropped)
    kept = [entry for index, entry in enumerate(play.journal) if index not in dropped]
    note(f"failed at {play.settled.failed_at}, kept {[short(entry)[:3] for entry in kept]}")
    again = Play(play.invocation, kept, events=play.events, now=play.now)
    assert again.mismatch is None
    assert again.journal[: len(kept)] == kept
    Driver(again, chooser(data), failing=False).drive(data.draw(st.integers(0, 10)))
    assert again.mismatch is None
    taken = [entry.ref for entry in again.journal if entry.kind in TAKES and entry.ref]
    assert len(set(taken)) == len(taken)
    for cut in again.cuts[1:]:
        assert again.replay(cut).mismatch is None
