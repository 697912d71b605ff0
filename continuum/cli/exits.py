"""Exit codes: what an error means to a script. The numbers are part of the interface."""

from __future__ import annotations

from typing import Final

from continuum.description import Description
from continuum.errors import (
    ContinuumError,
    ReplayMismatch,
    RunCancelled,
    RunEnded,
    RunExists,
    RunFailed,
    RunNotFound,
    RunReverted,
    RunTimedOut,
    StoreError,
    UsageError,
    WrongState,
)
from continuum.journal import FINISHED, Status

__all__ = ["FAILED", "INTERRUPTED", "OK", "explain", "require_result"]

OK: Final = 0
FAILED: Final = 1
INTERRUPTED: Final = 130

# An error's code is that of the nearest of its classes.
CODES: Final[dict[type, int]] = {
    ContinuumError: 1,
    RunEnded: 1,
    UsageError: 2,
    RunNotFound: 3,
    WrongState: 4,
    RunExists: 4,
    StoreError: 5,
    ReplayMismatch: 6,
    TimeoutError: 124,
}

ENDS: Final[dict[str, type[RunEnded]]] = {
    Status.FAILED: RunFailed,
    Status.TIMED_OUT: RunTimedOut,
    Status.CANCELLED: RunCancelled,
    Status.REVERTED: RunReverted,
}


def explain(error: BaseException) -> tuple[int | None, str]:
    """The exit code and the text for an error; no code if it is none that we know of."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    code = next((CODES[cls] for cls in type(error).__mro__ if cls in CODES), None)
    return code, str(error) or type(error).__name__


def require_result(run: Description) -> None:
    """Raise what stands for the state of a run that has no result: it ended otherwise, or has not ended."""
    if run.status in ENDS:
        raise ENDS[run.status](run.id, " ".join(run.reason.splitlines()))
    if run.status == Status.BLOCKED:
        raise ReplayMismatch(f"run {run.id!r} is blocked: {run.reason}")
    if run.status not in FINISHED:
        waiting = f" for {run.waiting_for}" if run.waiting_for else ""
        raise WrongState(run.id, run.status + waiting, "it has no result yet; --wait waits for it")
