"""Checks of arguments: they give back what was given, or raise an error that says what would do."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from types import GeneratorType
from typing import Any, Final

from continuum.command import Command, told_unyielded
from continuum.durations import Duration, nanoseconds
from continuum.errors import BadValue, InvalidId, NotAWorkflow
from continuum.place import caller
from continuum.workflow import Invocation, Workflow

__all__ = [
    "check_callback",
    "check_id",
    "check_invocation",
    "check_positive",
    "check_queue",
    "check_text",
    "check_yielded",
]

_DIRECTION_MARKS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_id(run_id: object) -> str:
    """The run id itself, if it is one. Raises InvalidId."""
    if not isinstance(run_id, str):
        raise InvalidId(f"a run id is text, not {type(run_id).__name__}")
    try:
        length = len(run_id.encode())
    except UnicodeEncodeError:
        raise InvalidId(f"a run id must be encodable as UTF-8: {run_id!r}") from None
    if not 0 < length <= 128:
        raise InvalidId(f"a run id has 1 to 128 bytes of UTF-8; this one has {length}")
    if not run_id.isprintable() or not _DIRECTION_MARKS.isdisjoint(run_id):
        raise InvalidId(f"a run id holds printable characters only: {run_id!r}")
    return run_id


def check_queue(queue: object) -> str:
    """The queue's name itself, if it is one. Raises BadValue."""
    if not isinstance(queue, str) or not queue.isprintable() or not 0 < len(queue.encode()) <= 128:
        raise BadValue(f"a queue's name must be 1 to 128 bytes of printable text, not {queue!r}")
    return queue


def check_text(text: object, what: str, *, empty: bool = False) -> str:
    """The text itself, unless it is none, or empty where it may not be. Raises BadValue."""
    if not isinstance(text, str) or (not text and not empty):
        raise BadValue(f"{what} must be text{'' if empty else ' and not empty'}, not {text!r}")
    return text


def check_positive(duration: Duration, what: str) -> int:
    """The duration in nanoseconds. Raises BadValue unless it is one, and more than nothing."""
    length = nanoseconds(duration, what)
    if not length:
        raise BadValue(f"{what} must be more than nothing")
    return length


def check_callback(fn: object, what: str) -> None:
    """Raise BadValue unless it is a function that does its work when it is called."""
    if not callable(fn):
        raise BadValue(f"{what} must be a function, not {fn!r}")
    if inspect.isgeneratorfunction(fn) or inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise BadValue(f"{what} must be a plain function, which is called and done: it cannot yield or await")


def check_yielded(values: Iterable[object], what: str) -> None:
    """Raise BadValue if one of the values is a command, which stands there for want of a ``yield``."""
    for value in values:
        if isinstance(value, Command):
            raise BadValue(f"{caller()}: {what} is {told_unyielded(value)}")


def check_invocation(invocation: object, what: str) -> Invocation[Any]:
    """The Invocation itself, if it is one. Raises NotAWorkflow."""
    if not isinstance(invocation, Invocation):
        raise NotAWorkflow(f"{what} takes a called workflow, such as order('ord-1'), not {_explain(invocation)}")
    return invocation


def _explain(value: object) -> str:
    """What stands where an Invocation belongs, and what to write instead."""
    name = getattr(value, "__name__", "fn")
    match value:
        case Workflow():
            return f"{value!r}; call it: {value.name}(...)"
        case GeneratorType():
            return f"a generator of {name}; decorate {name} with @workflow, or inline it: `yield from {name}(...)`"
        case _ if inspect.isgeneratorfunction(value):
            return f"the function {name}; decorate it with @workflow, and call it: {name}(...)"
        case _ if callable(value):
            return f"the function {name}; to run it as a step use `yield Save({name}, ...)`"
        case _:
            return repr(value)
