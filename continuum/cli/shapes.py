"""The JSON shapes of runs, histories and logs. Scripts rely on them: names may be added, none may go."""

from __future__ import annotations

from typing import Any

from continuum.cli.text import moment
from continuum.description import Description, HistoryStep, Kept

__all__ = ["kept_shape", "log_shape", "run_shape", "step_shape"]


def run_shape(run: Description) -> dict[str, Any]:
    """A run as ``ls --json`` and ``show --json`` print it."""
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "status": run.status,
        "queue": run.queue,
        "priority": run.priority,
        "created": moment(run.created),
        "updated": moment(run.updated),
        "deadline": moment(run.deadline),
        "parent": run.parent,
        "waiting_for": run.waiting_for or None,
        "reason": run.reason or None,
        "args": run.args,
        "kwargs": run.kwargs,
        "result": run.result,
        "error": run.error,
        "generation": run.generation,
        "started_as": run.started_as,
        "code": run.code,
    }


def kept_shape(kept: Kept) -> dict[str, Any]:
    """What is kept of a run, as ``show --json`` adds it."""
    shown = {
        name: part and {**part, "at": moment(part["at"])}
        for name, part in (("continuation", kept.continuation), ("refusal", kept.refusal))
    }
    return {**shown, "deleted": kept.deleted, "keys": kept.keys}


def step_shape(step: HistoryStep) -> dict[str, Any]:
    """A command of a history as ``history --json`` prints it."""
    return {
        "position": step.position,
        "kind": step.kind,
        "name": step.name,
        "at": moment(step.at),
        "value": step.value,
        "error": step.error,
        "attempts": step.attempts,
        "key": step.key,
    }


def log_shape(step: HistoryStep) -> dict[str, Any]:
    """A log message as ``logs --json`` prints it."""
    told = step.value if isinstance(step.value, dict) else {"message": step.value}
    return {
        "at": moment(step.at),
        "position": step.position,
        "message": told.get("message"),
        "fields": told.get("fields", {}),
    }
