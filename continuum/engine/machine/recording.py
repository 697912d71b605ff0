"""Values of the workflow's on their way into the journal, or to other runs.

One that cannot be recorded is an error at the yield: it names the command and the line, can be caught
there, and is recorded itself, so a replay meets it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuum.engine.machine.fibers import Fiber, Waiting
from continuum.journal import Outcome, Value

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["recorded", "recorded_for"]


def recorded(machine: Machine, fiber: Fiber, value: Any, what: str) -> Outcome:
    """A value as a replay will see it, or the error of one that cannot be recorded; the text names it there."""
    outcome = machine.encode(value, what)
    return outcome if isinstance(outcome, Value) else machine.encode(value, f"{fiber.where()}: {what}")


def recorded_for(machine: Machine, waiting: Waiting, value: Any, what: str) -> Value | None:
    """The same for what the host is to be asked for; an error completes the command, and None is given."""
    outcome = recorded(machine, waiting.fiber, value, what)
    if isinstance(outcome, Value):
        return outcome
    waiting.asked = False
    machine.complete(waiting, outcome)
    return None
