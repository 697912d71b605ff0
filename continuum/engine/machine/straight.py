"""The straight way: a run begins with a step, or waits for one and for nothing else, and goes on to the next.

That is most of what most runs do. It leads to where the cycle of the machine leads, in half the time, as there is
nobody else to be looked after: no other fiber, no event, no condition, nothing to replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from continuum.commands import Save
from continuum.engine.machine.attempts import attempt_failed
from continuum.engine.machine.fibers import Fiber, Waiting
from continuum.engine.machine.requests import Request, RunStep, StepDone
from continuum.journal import Entry, Failure, Kind, Value

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["Straight", "set_out", "step_done"]

Straight: TypeAlias = tuple[Entry, RunStep]
"""What a step gave, to be recorded, and the step that follows."""

_SAVE: Final = Kind.SAVE  # an enum looks its members up in Python, which is felt at every step


def set_out(machine: Machine) -> list[Request] | None:
    """Begin with the code of a new run: what it asks for, if that is a step; else None, and it is to settle down."""
    fiber = machine.root
    step = _ask(machine, fiber, machine.fibers.begin(fiber))
    if step is None:
        return None
    machine.journal.requests.append(step)
    return machine.journal.requests


def step_done(machine: Machine, event: StepDone) -> Straight | None:
    """Let the run go on with what its step gave; None where that was not all, and it is to settle down."""
    waiting, outcome, journal = machine.waiting.get(event.position), event.outcome, machine.journal
    if waiting is None or type(waiting.command) is not Save:
        pass  # the result of a step that was cancelled
    elif isinstance(outcome, Failure):
        attempt_failed(machine, waiting, outcome)
    elif len(machine.waiting) > 1 or not journal.live or journal.recall is not None or _may_react(machine):
        machine.complete_step(waiting, outcome, waiting.attempts + 1)
    else:
        return _go_straight_on(machine, waiting, waiting.command, outcome)
    return None


def _may_react(machine: Machine) -> bool:
    """Whether there is an event or a condition that can let the run go on."""
    return machine.reacts and bool(machine.inbox.ready or machine.predicates.waiting)


def _go_straight_on(machine: Machine, waiting: Waiting, step: Save[Any], outcome: Value) -> Straight | None:
    """Complete the step, and ask for the next one; None where the code came to something else."""
    fiber, options, journal = waiting.fiber, step.options, machine.journal
    key, attempts = options.key or "", waiting.attempts + 1
    entry = Entry(waiting.position, _SAVE, waiting.name, outcome, journal.now, attempts, 0, key)
    journal.requests.append(entry)
    if options.compensate is not None:
        machine.undo.push(step, outcome.value)
    machine.waiting.clear()
    fiber.waits_for = None
    asked = _ask(machine, fiber, machine.fibers.step(fiber, outcome))
    return None if asked is None else (entry, asked)


def _ask(machine: Machine, fiber: Fiber, command: Any) -> RunStep | None:
    """The request for the step that the code has come to; None where it is something else, which is carried out."""
    body: Any = fiber.body
    if type(command) is Save and command.options.plain and (body.gi_yieldfrom is None or fiber.delegate() is None):
        position = fiber.position()
        waiting = Waiting(fiber, position, _SAVE, command.name, command)
        machine.waiting[position] = fiber.waits_for = waiting
        waiting.asked = True
        return RunStep(position, command, 1)
    machine.fibers.take(fiber, command)
    return None
