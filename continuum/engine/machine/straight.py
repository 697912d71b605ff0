"""The straight way: a run waits for one step and for nothing else, its result comes, and the code goes on to the next.

That is most of what most runs do. It leads to where the cycle of the machine leads, in half the time, as there is
nobody else to be looked after: no other fiber, no event, no condition, nothing to replay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuum.commands import Save
from continuum.engine.machine.fibers import Waiting
from continuum.engine.machine.requests import RunStep
from continuum.journal import Entry, Value

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["go_straight_on", "is_straight"]


def is_straight(machine: Machine) -> bool:
    """Whether the run waits for one command, and nothing but that can let it go on."""
    journal = machine.journal
    alone = len(machine.waiting) == 1 and journal.live and journal.recall is None
    return alone and not (machine.reacts and (machine.inbox.ready or machine.predicates.waiting))


def go_straight_on(machine: Machine, waiting: Waiting, step: Save[Any], outcome: Value) -> bool:
    """Complete the step, and ask for the next one; False where the code came to something else.

    For a machine that is straight, which is to settle down where this was not all.
    """
    position, fiber, options = waiting.position, waiting.fiber, step.options
    now, requests = machine.journal.now, machine.journal.requests
    key, attempts = options.key or "", waiting.attempts + 1
    requests.append(Entry(position, waiting.kind, waiting.name, outcome, now, attempts, 0, key))
    if options.compensate is not None:
        machine.undo.push(step, outcome.value)
    machine.waiting.clear()
    fiber.waits_for = None
    command = machine.fibers.step(fiber, outcome)
    if type(command) is Save and command.options.plain and fiber.delegates_well:
        position = fiber.position()
        asked = machine.waiting[position] = fiber.waits_for = Waiting(
            fiber, position, waiting.kind, command.name, command
        )
        asked.asked = True
        requests.append(RunStep(position, command, 1))
        return True
    machine.fibers.take(fiber, command)
    return False
