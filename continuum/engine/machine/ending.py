"""How a run comes to its end: by itself, by being asked to, by an error, and by way of undoing what it has saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from continuum.engine.machine.recording import recorded
from continuum.engine.machine.requests import Settle
from continuum.engine.machine.undo import REVERTS
from continuum.errors import Cancelled
from continuum.journal import Entry, Failure, Outcome, Position, Status, Value

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["DEADLINE", "callback_failed", "end", "revert", "settle", "stop"]

DEADLINE: Final = "deadline"
"""The name of the entry that says that the run's deadline has passed."""


def stop(machine: Machine, entry: Entry) -> None:
    """The run was cancelled or its deadline has passed: let the workflow clean up and end."""
    assert isinstance(entry.outcome, Value)
    machine.stopping, machine.stop_reason = entry.name, entry.outcome.value
    if machine.undone_at is None:  # an undoing that is under way is not left half done
        machine.fibers.cancel(machine.root, Cancelled(entry.outcome.value))


def end(machine: Machine, outcome: Outcome) -> None:
    """The root, or the undoing, came to its end."""
    undone_at = machine.undone_at
    if undone_at is not None and not machine.undo.running:
        failed = isinstance(outcome, Failure) and not isinstance(outcome.error, Cancelled)
        _begin_undoing(machine, undone_at, outcome if failed else machine.undo.cause)
        return
    if isinstance(outcome, Failure):
        if isinstance(outcome.error, Cancelled):
            late = machine.stopping == DEADLINE
            settle(machine, Status.TIMED_OUT if late else Status.CANCELLED, outcome)
        else:
            _fail(machine, outcome.error)
    elif undone_at is not None:
        settle(machine, Status.REVERTED, machine.undo.cause)
    else:
        result = recorded(machine, machine.root, outcome.value, "the result of the workflow")
        if isinstance(result, Value):
            settle(machine, Status.COMPLETED, result)
        else:
            _fail(machine, result.error)


def _fail(machine: Machine, error: BaseException) -> None:
    """The workflow has ended with an error, or has nothing left to do with it."""
    if _is_to_be_undone(machine):
        _begin_undoing(machine, machine.root.position(), Failure(error))
    else:
        settle(machine, Status.FAILED, Failure(error), machine.failures.position_of(error))


def callback_failed(machine: Machine, error: Exception) -> bool:
    """A handler raised an error, which is nobody's but the run's. Whether the code goes on as if it had not."""
    undone_at = machine.undone_at
    if undone_at is not None and not machine.undo.running:
        machine.undo.decide(undone_at, Failure(error))
        return True
    if _is_to_be_undone(machine):
        revert(machine, machine.root.position(), Failure(error))
    else:
        _fail(machine, error)
    return False


def _is_to_be_undone(machine: Machine) -> bool:
    """Whether a failure now is a reason to undo what was saved."""
    return machine.compensates and bool(machine.undo) and not machine.undo.running


def revert(machine: Machine, position: Position, cause: Outcome) -> None:
    """Have the run undone as soon as its code has ended, to whose yields this raises Cancelled."""
    if machine.undo.decide(position, cause):
        machine.fibers.cancel(machine.root, Cancelled(REVERTS))


def _begin_undoing(machine: Machine, position: Position, cause: Outcome) -> None:
    """Undo the saved steps, last first, in a fiber of its own; all others have ended."""
    machine.undo.decide(position, cause)
    machine.inbox.handlers.clear()
    machine.root = machine.fibers.spawn((*position, 0), machine.undo.unwind())


def settle(machine: Machine, status: Status, outcome: Outcome, failed_at: Position | None = None) -> None:
    """Tell the host how the run ended, and let go of it."""
    entry = machine.journal.peek()
    if entry is not None:
        told = "return" if isinstance(outcome, Value) else repr(outcome.error)
        raise machine.journal.mismatch(entry, (), f"the end of the run ({told})", machine.root.where())
    for waiting in machine.waiting.values():
        machine.call_off(waiting, "the run that waited has ended")
    machine.journal.requests.append(Settle(status, outcome, failed_at))
    machine.waiting.clear()
    machine.discard()
