"""A host that answers plays of random workflows, at random."""

from __future__ import annotations

from typing import Any

from harness import Play
from hypothesis import strategies as st
from programs import Choices, StepError

from continuum import RunFailed, RunNotFound
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import (
    DropHistory,
    LookUp,
    RunStep,
    SendEvent,
    SlotGiven,
    StartChild,
    StepKnown,
    StepWanted,
    TakeSlot,
)
from continuum.journal import Value, position_text

choices = st.binary(min_size=30, max_size=90)


class Driver:
    """Answers plays at random, by these choices. Steps and children fail as their program says."""

    def __init__(self, choices: bytes, *, failing: bool = True) -> None:
        self.choose = Choices(choices)
        self.failing = failing
        self.undone: list[Any] = []  # results that were compensated

    def drive(self, play: Play, moves: int = 20, cancels: bool = False) -> None:
        """So many moves at random, then whatever is needed to come to an end."""
        for number in range(moves + 400):
            if play.settled is not None or play.mismatch is not None:
                return
            self.move(play, number, at_random=number < moves, cancels=cancels)
        raise AssertionError(f"it does not come to an end; it waits for {play.machine.waiting_for()}")

    def move(self, play: Play, number: int, *, at_random: bool = True, cancels: bool = False) -> None:
        """Let one thing happen."""
        if at_random and cancels and not self.choose(12):
            play.cancel("enough")
        elif at_random and not self.choose(4):
            play.send("ab"[self.choose(2)], number)
        elif play.in_flight and not (at_random and play.timers and not self.choose(4)):
            self._complete(play, self.choose(len(play.in_flight)) if at_random else 0)
        elif play.timers:
            play.tick(max(0, min(play.timers.values()) - play.now) / NANOSECONDS)
        else:
            play.send("ab"[number % 2], number)

    def _complete(self, play: Play, index: int) -> None:
        position, request = list(play.in_flight.items())[index]
        where = position_text(position)
        match request:
            case LookUp():
                known = StepKnown(position, Value("of another"))
                play.feed(StepWanted(position) if self.choose(2) else known)
            case TakeSlot():
                play.feed(SlotGiven(position))
            case RunStep(command=command) if command.name.startswith("undo"):
                self.undone.append(command.args[0])
                play.done(where)
            case RunStep(command=command, attempt=attempt) if self.failing and attempt <= command.args[0]:
                play.fails(where, StepError(where))
            case RunStep(command=command):
                play.done(where, (where, *command.args[1:]))
            case StartChild(invocation=invocation, awaited=True) if self.failing and invocation.args[0] == 3:
                play.fails(where, RunFailed(where, "failed"))
            case SendEvent(payload=3) if self.failing:
                play.fails(where, RunNotFound("another"))
            case DropHistory():
                play.done(where)
            case StartChild(run_id=run_id, awaited=False):
                play.done(where, run_id)
            case _:
                play.done(where, where)
