"""What each event does to a machine: a function for each, and a table at the end.

After it the machine is to settle down, unless the run has gone straight to its next step: then what it asks for is
given back. An event whose command has been completed or cancelled meanwhile does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from continuum.commands import MISSING, Ensure, Receive, Save, Sleep
from continuum.engine.machine.attempts import begin_attempts, next_attempt, slot_given
from continuum.engine.machine.ending import DEADLINE, settle, stop
from continuum.engine.machine.outcome import NOTHING
from continuum.engine.machine.recording import recorded
from continuum.engine.machine.requests import (
    CancelAsked,
    ChildDone,
    EventArrived,
    HistoryDropped,
    Request,
    SendDone,
    SlotGiven,
    Started,
    StepDone,
    StepKnown,
    StepWanted,
    TimerFired,
)
from continuum.engine.machine.straight import Straight, set_out, step_done
from continuum.errors import Cancelled, EnsureTimeout, ReceiveTimeout
from continuum.journal import Failure, Kind, Outcome, Status, Value

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["EVENTS", "load"]


def _started(machine: Machine, event: Started) -> list[Request] | None:
    held = bool(event.events) or event.recall is not None  # there may be events before anything is done
    new = not (held or event.journal or machine.root.started)
    if not new:
        load(machine, event)
    if held:
        machine.inbox.hold(event.events)
    if machine.deadline is not None:
        machine.wake_at((), machine.deadline)
    if new:
        return set_out(machine)
    if held:
        machine.settle_down()
        machine.inbox.release()  # only now: whatever an event may call off has been asked for
    return None


def load(machine: Machine, event: Started) -> None:
    """Have the machine replay what is recorded of its run."""
    machine.journal.load(event.journal, event.recall)
    first = machine.journal.peek()
    if first is not None and first.kind is Kind.PUBLISH and not first.position:  # of earlier generations
        assert isinstance(first.outcome, Value)
        machine.state = first.outcome.value
        machine.journal.take()


def _step_wanted(machine: Machine, event: StepWanted) -> None:
    waiting = machine.waiting.get(event.position)
    if waiting is not None and waiting.kind is Kind.SAVE:
        begin_attempts(machine, waiting)


def _slot_given(machine: Machine, event: SlotGiven) -> None:
    waiting = machine.waiting.get(event.position)
    if waiting is not None and waiting.kind is Kind.SAVE:
        slot_given(machine, waiting)


def _step_known(machine: Machine, event: StepKnown) -> None:
    waiting = machine.waiting.get(event.position)
    if waiting is not None and waiting.kind is Kind.SAVE:
        machine.complete_step(waiting, event.outcome, attempts=0)


def _timer_fired(machine: Machine, event: TimerFired) -> None:
    if not event.position:
        _deadline_came(machine)
        return
    waiting = machine.waiting.get(event.position)
    if waiting is None or waiting.due is None:
        return  # its command was completed or cancelled before
    if waiting.due > machine.journal.now:  # the clock was set back
        machine.wake_at(waiting.position, waiting.due)
        return
    match waiting.command:
        case Save():
            next_attempt(machine, waiting)
        case Sleep():
            machine.complete(waiting, NOTHING)
        case Receive(name, _, default):
            late: Outcome = Failure(ReceiveTimeout(f"no event {name!r} came in time"))
            if default is not MISSING:
                late = recorded(machine, waiting.fiber, default, f"the default of Receive {name!r}")
            machine.complete(waiting, late)
        case Ensure():
            late = Failure(EnsureTimeout(f"the condition at {waiting.fiber.where()} did not hold in time"))
            machine.complete(waiting, late)


def _deadline_came(machine: Machine) -> None:
    if machine.stopping is not None or machine.deadline is None:
        return
    if machine.deadline > machine.journal.now:
        machine.wake_at((), machine.deadline)
    else:
        stop(machine, machine.record((), Kind.CANCEL, DEADLINE, Value("the deadline has passed")))


def _event_arrived(machine: Machine, event: EventArrived) -> None:
    machine.inbox.arrive(event)


def _answered(machine: Machine, event: ChildDone | SendDone | HistoryDropped) -> None:
    waiting = machine.waiting.get(event.position)
    if waiting is not None and waiting.kind in (Kind.CALL, Kind.START, Kind.SEND, Kind.COMPACT):
        machine.complete(waiting, event.outcome, ref=event.ref if isinstance(event, ChildDone) else 0)


def _cancel_asked(machine: Machine, event: CancelAsked) -> None:
    if machine.stopping is None:
        stop(machine, machine.record((), Kind.CANCEL, "", Value(event.reason), ref=event.ref))
    else:
        settle(machine, Status.CANCELLED, Failure(Cancelled(event.reason)))


EVENTS: Final[dict[type, Callable[[Machine, Any], Straight | list[Request] | None]]] = {
    Started: _started,
    StepDone: step_done,
    StepWanted: _step_wanted,
    StepKnown: _step_known,
    SlotGiven: _slot_given,
    TimerFired: _timer_fired,
    EventArrived: _event_arrived,
    ChildDone: _answered,
    SendDone: _answered,
    HistoryDropped: _answered,
    CancelAsked: _cancel_asked,
}
