"""How a run ended, from what happened to the record, and from the record to what a waiter gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from continuum.errors import Cancelled, RunCancelled, RunEnded, RunFailed, RunReverted, RunTimedOut
from continuum.journal import Failure, Outcome, Status, Value
from continuum.store.codec import Codec
from continuum.store.exceptions import message_of
from continuum.store.records import RunEnd

__all__ = ["end_of", "outcome_of", "told_result"]


def end_of(codec: Codec, status: Status, outcome: Outcome) -> RunEnd:
    """The record of an end."""
    if status is Status.REVERTED and isinstance(outcome, Value):
        return RunEnd(status, True, str(outcome.value))
    if isinstance(outcome, Value):
        assert outcome.data is not None, "the machine of a run is given the codec"
        return RunEnd(status, False, "", outcome.data)
    error = outcome.error
    payload = codec.encode_error(error) if outcome.data is None else outcome.data
    return RunEnd(status, True, error.reason if isinstance(error, Cancelled) else _brief(error), payload)


def outcome_of(codec: Codec, run_id: str, end: RunEnd) -> Outcome:
    """What a workflow that waits gets: the result, or the error that says how the run ended, with its cause.

    Raises what loading raises.
    """
    if end.failed:
        return Failure(_error(codec, run_id, end, codec.decode_error))
    return Value(codec.decode(end.payload), end.payload)


def told_result(codec: Codec, run_id: str, end: RunEnd) -> Any:
    """What a waiter gets who records nothing, and need not have the code: a cause may be one that stands for it.

    Raises the error that says how the run ended, if there is no result, and what loading one raises.
    """
    try:
        if not end.failed:
            return codec.decode(end.payload)
        error = _error(codec, run_id, end, codec.told_error)
    except Exception as problem:
        problem.add_note(f"The result of run {run_id!r} cannot be loaded here; the run itself is {end.status}.")
        raise
    if isinstance(error, RunFailed) and error.traceback:
        # Only here: the text of a failed parent's traceback has that of the child in it already.
        error.add_note(f"In the workflow: {error.traceback.rstrip()}")
    raise error


def _error(codec: Codec, run_id: str, end: RunEnd, load_error: Callable[[bytes], BaseException]) -> RunEnded:
    cause = load_error(end.payload) if end.payload else None
    error: RunEnded
    match end.status:
        case Status.CANCELLED:
            error, cause = RunCancelled(run_id, end.reason), None
        case Status.REVERTED:
            error = RunReverted(run_id, end.reason)
        case Status.TIMED_OUT:
            error, cause = RunTimedOut(run_id, end.reason, codec.traceback(end.payload)), None
        case _:
            error = RunFailed(run_id, end.reason, codec.traceback(end.payload))
    error.__cause__ = cause
    return error


def _brief(error: BaseException) -> str:
    message = message_of(error)
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    return text if len(text) <= 500 else text[:499] + "…"
