"""Every error that continuum raises; imports nothing of ours.

* :exc:`ContinuumError`

  * :exc:`UsageError`: the caller's fault; nothing was changed

    * :exc:`NotAWorkflow` (TypeError)
    * :exc:`BadArguments` (TypeError)
    * :exc:`BadCommand` (TypeError): what a workflow yielded is no command or cannot stand there, or one was not yielded
    * :exc:`BadValue` (ValueError): an argument of a command or an engine
    * :exc:`InvalidId` (ValueError)
    * :exc:`UnpicklableValue` (TypeError)
    * :exc:`PayloadTooLarge` (ValueError)
    * :exc:`UnknownWorkflow` (LookupError)
    * :exc:`RunNotFound` (LookupError)
    * :exc:`RunExists`
    * :exc:`WrongState`

      * :exc:`RunFinished`

  * :exc:`RunEnded`: the run has no result to give

    * :exc:`RunFailed`

      * :exc:`RunTimedOut`

    * :exc:`RunCancelled`
    * :exc:`RunReverted`

  * :exc:`StepTimeout` (TimeoutError)
  * :exc:`StepUncertain`
  * :exc:`StepCrashed`: a step's process died
  * :exc:`ReceiveTimeout` (TimeoutError)
  * :exc:`EnsureTimeout` (TimeoutError)
  * :exc:`CompensationFailed`
  * :exc:`CompactRefused`: the history cannot be deleted here, since no continuation can be kept
  * :exc:`UnpicklableError`: stands for an error whose type could not be recorded, or is not here
  * :exc:`ReplayMismatch`: code and journal disagree (the deployer's fault)
  * :exc:`StoreError`: the disk's fault, or another program's

    * :exc:`StoreBusy`
    * :exc:`StoreFull`
    * :exc:`StoreClosed`
    * :exc:`StoreMoved`
    * :exc:`CommitUnknown`
    * :exc:`ViewLost`
    * :exc:`CorruptRecord`
    * :exc:`UnsupportedRecord`
    * :exc:`UnsupportedStore`
    * :exc:`InsecureStore`
    * :exc:`ForkedStore`

* :exc:`Cancelled` (BaseException, as in asyncio and trio)
* :exc:`Permanent`: for steps to raise; continuum does not

Errors travel through the journal, so each one pickles with its fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, TypeVar

__all__ = [
    "BadArguments",
    "BadCommand",
    "BadValue",
    "Cancelled",
    "CommitUnknown",
    "CompactRefused",
    "CompensationFailed",
    "ContinuumError",
    "CorruptRecord",
    "EnsureTimeout",
    "ForkedStore",
    "InsecureStore",
    "InvalidId",
    "NotAWorkflow",
    "PayloadTooLarge",
    "Permanent",
    "ReceiveTimeout",
    "ReplayMismatch",
    "RunCancelled",
    "RunEnded",
    "RunExists",
    "RunFailed",
    "RunFinished",
    "RunNotFound",
    "RunReverted",
    "RunTimedOut",
    "StepCrashed",
    "StepTimeout",
    "StepUncertain",
    "StoreBusy",
    "StoreClosed",
    "StoreError",
    "StoreFull",
    "StoreMoved",
    "UnknownWorkflow",
    "UnpicklableError",
    "UnpicklableValue",
    "UnsupportedRecord",
    "UnsupportedStore",
    "UsageError",
    "ViewLost",
    "WrongState",
    "permanent",
]

E = TypeVar("E", bound=BaseException)

PERMANENT_MARK = "__continuum_permanent__"


def _rebuild(cls: type[BaseException], args: tuple[Any, ...], fields: dict[str, Any]) -> BaseException:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(fields)
    return error


class ContinuumError(Exception):
    """The root of every error that continuum raises, :exc:`Cancelled` apart."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


# The caller's fault


class UsageError(ContinuumError):
    """The call cannot be carried out as it was made; nothing was changed."""


class NotAWorkflow(UsageError, TypeError):
    """Something other than a workflow was given where a workflow is needed."""


class BadArguments(UsageError, TypeError):
    """The arguments do not fit the workflow's signature."""


class BadCommand(UsageError, TypeError):
    """A workflow yielded what is no command, or a command that cannot stand there, or did not yield one."""


class BadValue(UsageError, ValueError):
    """An argument of a command or of an engine has a value that makes no sense."""


class InvalidId(UsageError, ValueError):
    """A run id is empty, over 128 bytes of UTF-8, or holds characters that do not print."""


class UnpicklableValue(UsageError, TypeError):
    """A value cannot be pickled; the message names the part that cannot."""


class PayloadTooLarge(UsageError, ValueError):
    """A pickled value is over the payload limit."""


class UnknownWorkflow(UsageError, LookupError):
    """No workflow of that name is registered with this engine."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        self.known = sorted(known)
        near = get_close_matches(name, self.known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        listed = ", ".join(map(repr, self.known)) or "none"
        super().__init__(f"no workflow {name!r} is registered here{hint} (known: {listed})")


class RunNotFound(UsageError, LookupError):
    """No run has that id."""

    def __init__(self, run_id: str, store: str | None = None) -> None:
        self.run_id = run_id
        super().__init__(f"no run {run_id!r} in " + ("this store" if store is None else f"the store {store!r}"))


class RunExists(UsageError):
    """The id belongs to a run of another workflow."""

    def __init__(self, run_id: str, workflow: str) -> None:
        self.run_id = run_id
        self.workflow = workflow
        super().__init__(f"run {run_id!r} exists already, as a run of workflow {workflow!r}; choose another id")


class WrongState(UsageError):
    """The run is in a state in which that cannot be done."""

    def __init__(self, run_id: str, status: str, message: str) -> None:
        self.run_id = run_id
        self.status = status
        super().__init__(f"run {run_id!r} is {status}: {message}")


class RunFinished(WrongState):
    """The run has ended, so nothing can be sent to it."""


# How a run ended, as result() tells it


class RunEnded(ContinuumError):
    """The run ended without a result. `run_id` names it, `reason` says why."""

    verb = "ended"

    def __init__(self, run_id: str, reason: str = "") -> None:
        self.run_id = run_id
        self.reason = reason
        super().__init__(f"run {run_id!r} {self.verb}" + (f": {reason}" if reason else ""))


class RunFailed(RunEnded):
    """The workflow raised. Its own exception is the cause, `traceback` the text of its traceback."""

    verb = "failed"

    def __init__(self, run_id: str, reason: str = "", traceback: str = "") -> None:
        super().__init__(run_id, reason)
        self.traceback = traceback


class RunTimedOut(RunFailed):
    """The run's deadline passed before it finished."""

    verb = "timed out"


class RunCancelled(RunEnded):
    """The run was cancelled."""

    verb = "was cancelled"


class RunReverted(RunEnded):
    """The run's saved steps were compensated. With compensate_on_failure the error is the cause."""

    verb = "was reverted"


# What a workflow sees at a yield


class Cancelled(BaseException):
    """Raised at a workflow's yield when the run, or the branch, is cancelled. `reason` says why."""

    def __init__(self, reason: str = "") -> None:
        self.reason = reason
        super().__init__(reason)


class StepTimeout(ContinuumError, TimeoutError):
    """A step outlived its timeout."""


class StepUncertain(ContinuumError):
    """An at-most-once step was started and its outcome is not known."""


class StepCrashed(ContinuumError):
    """The process that ran a step ended before the step did."""


class ReceiveTimeout(ContinuumError, TimeoutError):
    """No event of that name came in time."""


class EnsureTimeout(ContinuumError, TimeoutError):
    """The condition did not come to hold in time."""


class CompensationFailed(ContinuumError):
    """A compensation failed for good; the cause is its error, `original` what had set it off."""

    def __init__(self, message: str, original: BaseException | None = None) -> None:
        self.original = original
        super().__init__(message)


class CompactRefused(ContinuumError):
    """No continuation can be kept at a Compact(), so the history stays; the message says what is in the way."""


class UnpicklableError(ContinuumError):
    """Stands for an error that could not be recorded as it was, not even its type, or whose type is not here.

    `type_name` and `message` are what is known of it.
    """

    def __init__(self, type_name: str, message: str) -> None:
        self.type_name = type_name
        self.message = message
        super().__init__(f"{type_name}: {message}")


# What a step may raise


class Permanent(Exception):
    """A base for errors of steps that no further attempt can mend: such a failure is recorded at once.

    To mark an error of another class see :func:`permanent`.

    >>> class CardStolen(Permanent): ...
    """


def permanent(error: E) -> E:
    """Mark an error as one that no further attempt can mend, and give it back to be raised.

    The step's failure is recorded at once then, whatever its retry policy says.

    >>> raise permanent(LookupError("there is no such account"))
    Traceback (most recent call last):
    LookupError: there is no such account
    """
    vars(error)[PERMANENT_MARK] = True
    return error


def is_permanent(error: BaseException) -> bool:
    """Whether no further attempt can mend it: by its class or its mark, or as the step's result cannot be recorded."""
    return isinstance(error, Permanent | UnpicklableValue | PayloadTooLarge) or PERMANENT_MARK in vars(error)


# Code and journal disagree


class ReplayMismatch(ContinuumError):
    """The workflow's code does not issue the commands that its journal holds.

    `position` is where they part, `recorded` and `attempted` say what stands in the journal
    and what the code did instead.
    """

    def __init__(self, message: str, *, position: str = "", recorded: str = "", attempted: str = "") -> None:
        self.position = position
        self.recorded = recorded
        self.attempted = attempted
        super().__init__(message)


# The store


class StoreError(ContinuumError):
    """The store cannot be used as it is."""


class StoreBusy(StoreError):
    """Another worker, or another engine of this process, holds what is asked for."""


class StoreFull(StoreError):
    """The disk, or the store's map, is full. Nothing recorded is lost; free some space and start again."""


class StoreClosed(StoreError):
    """The engine or its store is closed."""


class StoreMoved(StoreError):
    """The runs of the store go on in another one, or are just being moved there or from there."""


class CommitUnknown(StoreError):
    """A commit ended in an I/O error: whether it took place is unknown until the store is opened again."""


class ViewLost(StoreError):
    """The connection to a server was lost while the store was read: what was read is not whole, read again."""


class CorruptRecord(StoreError):
    """A record's checksum does not fit its content."""


class UnsupportedRecord(StoreError):
    """A record was written by another version of continuum or holds code of another Python version."""


class UnsupportedStore(StoreError):
    """The path holds something that is not a store of this version of continuum."""


class InsecureStore(StoreError):
    """Others may write to the store, or it is reached through a symbolic link."""


class ForkedStore(StoreError):
    """The store was opened before this process was forked; open it again in the child."""
