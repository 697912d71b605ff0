"""A machine that waits to a payload, and back: what it holds (:mod:`continuum.engine.machine.snapshot`), in one pickle.

Whoever only looks at a stored continuation needs nothing of this.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any, NamedTuple, TypeGuard

from continuum.engine.continuation.frames import adopt, frame_of
from continuum.engine.continuation.instrument import twin_of
from continuum.engine.continuation.refusal import Refused, Stale
from continuum.engine.continuation.state import Loaded, dumps
from continuum.engine.continuation.state import load as load_state
from continuum.engine.continuation.syntax import FRAME
from continuum.engine.machine.groups import Body
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.snapshot import Snapshot, restore, take
from continuum.place import place
from continuum.store.payload import join, require_python, split
from continuum.store.pickling import holds_code
from continuum.workflow import Workflow

__all__ = ["Captured", "Loaded", "capture", "load", "resume", "twin_body"]


class Captured(NamedTuple):
    """A machine as a payload, with what is told of it to who does not load it."""

    payload: bytes
    python: str
    where: list[str]
    functions: list[tuple[str, str]]


def twin_body(workflow: Workflow[..., Any], *args: Any, **kwargs: Any) -> Body:
    """A fresh generator of the twin of a workflow. Raises Refused where it has none."""
    twin_of(workflow.function)
    return adopt(workflow.function(*args, **kwargs))


def capture(machine: Machine, *, only_truth: bool = False) -> Captured:
    """The state of a machine that waits. Raises Refused.

    One that is to be the only truth, since the history is to be deleted, is loaded once to see that it can be.
    """
    snapshot = take(machine)
    if isinstance(snapshot, str):
        raise Refused(snapshot)
    data = dumps(snapshot)
    if only_truth:
        _check(data)
    code = holds_code(data)
    python = "{}.{}".format(*sys.version_info) if code else ""
    functions = dict(pair for fiber in snapshot["fibers"] for pair in _functions(fiber["body"]))
    return Captured(join(data, code=code), python, machine.whereabouts(), list(functions.items()))


def _check(data: bytes) -> None:
    try:
        load_state(data)
    except Stale as error:
        raise Refused(f"it was pickled, but {error}") from error


def load(payload: bytes, workflow: Workflow[..., Any]) -> Loaded:
    """A state that was captured, to be entered by :func:`resume`; until then no code of the run's is run.

    Raises Stale where the code has changed, and UnsupportedRecord for code of another Python.
    """
    parts = split(payload)
    require_python(parts.python)
    loaded = load_state(bytes(parts.pickle))
    _check_code(loaded.value["fibers"][0]["body"], workflow)
    return loaded


def resume(loaded: Loaded, make: Callable[[Body], Machine]) -> Machine:
    """The machine that was captured; `make` makes a fresh one with that body. Raises Stale."""
    snapshot: Snapshot = loaded.enter()
    machine = restore(snapshot, make)
    if isinstance(machine, str):
        raise Stale(machine)
    return machine


def _check_code(body: Body | None, workflow: Workflow[..., Any]) -> None:
    """Raise Stale where another function is registered as the workflow than that of which this is a generator."""
    if not _is_twin(body):
        return  # such as the undoing
    captured, function = frame_of(body).twin, workflow.function
    if captured.fingerprint != twin_of(function).fingerprint:
        code = function.__code__
        raise Stale(f"{place(code, code.co_firstlineno)}: its code is not that of which the state was captured")


def _functions(body: Any) -> Iterator[tuple[str, str]]:
    """Names and fingerprints of the functions that a generator is in the middle of."""
    while isinstance(body, GeneratorType):
        if _is_twin(body):
            frame = frame_of(body)
            yield f"{frame.function.__module__}.{frame.function.__qualname__}", frame.twin.fingerprint
        body = body.gi_yieldfrom


def _is_twin(body: object) -> TypeGuard[Body]:
    return isinstance(body, GeneratorType) and FRAME in body.gi_code.co_varnames
