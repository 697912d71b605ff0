"""The attempts at one step, from the first to the result: what is asked for, what is recorded of them.

A step whose result runs share is looked up before the first one; one with a limit asks for a slot before
each. When another attempt is made, and how long it waits, is reckoned in :mod:`continuum.engine.machine.retry`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from continuum.commands import Save
from continuum.durations import nanoseconds
from continuum.engine.machine.fibers import Waiting
from continuum.engine.machine.requests import FreeSlot, LookUp, RunStep, TakeSlot
from continuum.engine.machine.retry import given_up, next_delay
from continuum.errors import StepUncertain
from continuum.journal import Entry, Failure, Kind

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["ask_step", "attempt_failed", "begin_attempts", "next_attempt", "note_attempt", "slot_given"]

_NO_TIME: Final = "another would begin later than Retry(max_elapsed=) allows"


def ask_step(machine: Machine, waiting: Waiting) -> None:
    """Ask for a step to be performed, or for its result first if that may be elsewhere."""
    command = waiting.command
    assert isinstance(command, Save)
    options = command.options
    if options.plain and waiting.due is None and not waiting.begun:
        machine.journal.requests.append(RunStep(waiting.position, command, waiting.attempts + 1))
    elif options.once is not None or options.cache is not None:
        machine.journal.requests.append(LookUp(waiting.position, command))
    else:
        begin_attempts(machine, waiting)


def begin_attempts(machine: Machine, waiting: Waiting) -> None:
    """Go on where the journal says the attempts are."""
    if waiting.begun:
        waiting.asked = False
        if isinstance(waiting.command, Save) and waiting.command.options.limit is not None:
            machine.journal.requests.append(FreeSlot(waiting.position, waiting.command))
        uncertain = StepUncertain(
            f"step {waiting.name!r} of run {machine.run_id!r} was started and its outcome is not known: "
            "its worker ended in between, and at_most_once forbids to run it again"
        )
        machine.complete_step(waiting, Failure(uncertain), waiting.attempts + 1)
    elif waiting.due is not None:
        machine.wake_at(waiting.position, waiting.due)
    else:
        _ask_attempt(machine, waiting)


def _ask_attempt(machine: Machine, waiting: Waiting) -> None:
    command = waiting.command
    assert isinstance(command, Save)
    if command.options.limit is None:
        _attempt(machine, waiting)
    else:
        machine.journal.requests.append(TakeSlot(waiting.position, command))


def slot_given(machine: Machine, waiting: Waiting) -> None:
    """It is the step's turn: begin an attempt."""
    if not _is_too_late(machine, waiting):
        _attempt(machine, waiting)


def _attempt(machine: Machine, waiting: Waiting) -> None:
    command = waiting.command
    assert isinstance(command, Save)
    attempt, policy = waiting.attempts + 1, command.options.retry
    if policy.max_elapsed is not None and waiting.limit is None:
        waiting.limit = machine.journal.now + nanoseconds(policy.max_elapsed, "max_elapsed")
        machine.record(waiting.position, Kind.ARMED, waiting.name, None, ref=waiting.limit)
    if command.options.at_most_once:
        machine.record(waiting.position, Kind.BEGUN, waiting.name, None, ref=attempt)
        waiting.begun = True
    machine.journal.requests.append(RunStep(waiting.position, command, attempt))


def attempt_failed(machine: Machine, waiting: Waiting, failure: Failure) -> None:
    """Have the step tried again later, or record its failure."""
    command, now = waiting.command, machine.journal.now
    assert isinstance(command, Save)
    policy, attempts = command.options.retry, waiting.attempts + 1
    if policy.attempts == 1:
        machine.complete_step(waiting, failure, attempts)
        return
    delay = next_delay(policy, attempts, failure.error, machine.chance(attempts, *waiting.position))
    if isinstance(delay, str):
        _give_up(machine, waiting, attempts, failure, delay)
    elif waiting.limit is not None and now + delay > waiting.limit:
        _give_up(machine, waiting, attempts, failure, _NO_TIME)
    else:
        due = now + delay
        mark = Entry(waiting.position, Kind.ATTEMPT, waiting.name, failure, now, attempts, due)
        note_attempt(waiting, machine.journal.append(mark))
        machine.wake_at(waiting.position, due)


def next_attempt(machine: Machine, waiting: Waiting) -> None:
    """The time of the next attempt has come."""
    waiting.due = None
    if not _is_too_late(machine, waiting):
        _ask_attempt(machine, waiting)


def _is_too_late(machine: Machine, waiting: Waiting) -> bool:
    """Give the step up if there is no time for another attempt."""
    if waiting.limit is None or waiting.limit >= machine.journal.now:
        return False
    last = waiting.mark and waiting.mark.outcome
    if last is None:
        return False
    assert isinstance(last, Failure), "an attempt has failed before"
    _give_up(machine, waiting, waiting.attempts, last, _NO_TIME)
    return True


def _give_up(machine: Machine, waiting: Waiting, attempts: int, failure: Failure, why: str) -> None:
    assert isinstance(waiting.command, Save)
    failure = given_up(waiting.name, waiting.command.options.retry, attempts, failure, why)
    machine.complete_step(waiting, failure, attempts)


def note_attempt(waiting: Waiting, entry: Entry) -> None:
    """Take note of a failed attempt, live or on replay."""
    waiting.attempts, waiting.due, waiting.begun = entry.attempts, entry.ref, False
    waiting.mark = entry
