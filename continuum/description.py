"""What people see of a run: plain data, made without loading anything that the store holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from continuum.durations import datetime_of
from continuum.store.ledger import HistoryRow, RunInfo
from continuum.store.preview import preview
from continuum.store.records import Continuation, Refusal, RunRecord

__all__ = ["Description", "HistoryStep", "Kept", "describe", "describe_kept", "history_step"]


@dataclass(frozen=True, slots=True)
class Description:
    """A run as it stands. Also read like its JSON form: ``description["status"]``.

    Values are plain data where they are plain, else a text that shows them; `error` has ``type``,
    ``message`` and ``traceback``. `reason` says why a run was cancelled, failed or is blocked. `code` is
    None, or tells of the code that the run carries: the ``python`` that it is for, and its ``bytes``.
    """

    id: str
    workflow: str
    version: str
    status: str
    queue: str
    priority: int
    created: datetime
    updated: datetime
    parent: str | None
    waiting_for: str
    reason: str
    deadline: datetime | None
    args: list[Any]
    kwargs: dict[str, Any]
    result: Any
    error: Any
    generation: int
    started_as: str
    code: dict[str, Any] | None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class HistoryStep:
    """One command of a run's history. Also read like its JSON form: ``step["position"]``.

    `value` and `error` are as in a :class:`Description`; of an error and a value there is one. `key` is that of a
    Save that has one.
    """

    position: str
    kind: str
    name: str
    at: datetime
    value: Any
    error: Any
    attempts: int
    key: str | None = None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a run besides its history. Also read like its JSON form: ``kept["continuation"]``.

    `continuation` has ``entries`` (how many of the history's entries it stands for), ``where`` (the lines at which
    the run stood), ``size`` in bytes, ``at``, ``python`` (the version that it takes, where it holds code by value) and
    ``functions`` (names and fingerprints). `refusal` says in ``reason`` why none was kept ``at`` that time, when
    there were so many ``entries``. `deleted` entries of the history are gone, and of what was there before the next
    one `keys` are left, each the last of its key.
    """

    continuation: dict[str, Any] | None
    refusal: dict[str, Any] | None
    deleted: int
    keys: int = 0

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)


def describe_kept(
    record: RunRecord, continuation: Continuation | None, refusal: Refusal | None, survivors: int
) -> Kept:
    """What is kept of a run as people see it."""
    found: dict[str, Any] | None = None
    if continuation is not None:
        found = {
            "entries": continuation.entries,
            "where": list(continuation.where),
            "size": continuation.size,
            "at": datetime_of(continuation.at),
            "python": continuation.python or None,
            "functions": [list(pair) for pair in continuation.functions],
        }
    why: dict[str, Any] | None = None
    if refusal is not None:
        why = {"reason": refusal.reason, "entries": refusal.number, "at": datetime_of(refusal.at)}
    return Kept(found, why, record.compacted - survivors, survivors)


def describe(info: RunInfo) -> Description:
    """A run as people see it."""
    record, state, end = info.record, info.state, info.end
    shown = None if end is None or not end.payload else preview(end.payload)
    failed = end is not None and end.failed
    arguments = preview(record.payload)
    args, kwargs = arguments if isinstance(arguments, list) and len(arguments) == 2 else ([arguments], {})
    return Description(
        id=record.id,
        workflow=record.workflow,
        version=record.version,
        status=state.status.value,
        queue=record.queue,
        priority=record.priority,
        created=datetime_of(record.created),
        updated=datetime_of(state.updated),
        parent=None if record.parent is None else record.parent.run_id,
        waiting_for=state.waiting_for,
        reason=state.reason,
        deadline=None if record.deadline is None else datetime_of(record.deadline),
        args=args,
        kwargs=kwargs,
        result=None if failed else shown,
        error=shown if failed else None,
        generation=record.generation,
        started_as=record.origin,
        code={"python": record.python, "bytes": record.code_size} if record.python else None,
    )


def history_step(row: HistoryRow) -> HistoryStep:
    """One line of a history as people see it."""
    shown = preview(row.payload) if row.payload else None
    value, error = (None, shown) if row.failed else (shown, None)
    at, key = datetime_of(row.at), row.key or None
    return HistoryStep(row.position, row.kind, row.name, at, value, error, row.attempts, key)
