"""Runs generators to their end, plain or captured at every yield, and tells all that can be seen of them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple

from continuum.command import Command
from continuum.engine.continuation import dumps, loads
from continuum.engine.machine.outcome import discard

Body = Generator[Any, Any, Any]
LIMIT = 200


class Sent(NamedTuple):
    """What a yield gives: a value, or an error that it raises."""

    value: Any = None
    error: BaseException | None = None


class Thrown(Exception):
    """Thrown into generators by these tests."""


Answer = Callable[[int], Sent]
Hop = Callable[[Body, Sent], tuple[str, Any, Body | None]]


def numbers(index: int) -> Sent:
    """A number for each yield; none for the first send, which starts the generator."""
    return Sent(None if index == 0 else index % 7)


def throwing(at: int, error: Callable[[], BaseException] = lambda: Thrown("thrown", 1)) -> Answer:
    """The same, but an error at that yield."""
    return lambda index: Sent(error=error()) if index == at else numbers(index)


def step(body: Body, sent: Sent) -> tuple[str, Any, Body | None]:
    """Go on to the next yield, or to the end: what happened, what it gave, and the generator if it goes on."""
    try:
        value = body.send(sent.value) if sent.error is None else body.throw(sent.error)
    except StopIteration as stop:
        return "returned", told(stop.value), None
    except BaseException as error:
        return "raised", told(error), None
    return "yielded", told(value), body


def captured(body: Body, sent: Sent) -> tuple[str, Any, Body | None]:
    """The same, with the generator to bytes and back before it and after it."""
    kind, value, going_on = step(loads(taken(body)), sent)
    return kind, value, None if going_on is None else loads(taken(going_on))


def taken(body: Body) -> bytes:
    """The state of a generator, which is let go of."""
    data = dumps(body)
    discard(body)
    return data


def trace(body: Body, answer: Answer, hop: Hop = step) -> list[tuple[str, Any]]:
    """All that happens."""
    seen: list[tuple[str, Any]] = []
    going_on: Body | None = body
    while going_on is not None and len(seen) < LIMIT:
        kind, value, going_on = hop(going_on, answer(len(seen)))
        seen.append((kind, value))
    if going_on is not None:
        discard(going_on)
    return seen


def told(value: Any) -> Any:
    """A value in words that are the same for equal ones; an error with all that it is linked to."""
    if isinstance(value, BaseException):
        return list(_errors(value))
    if isinstance(value, Command):
        return repr(value)
    return _plain(repr(value))


def _plain(text: str) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def _errors(error: BaseException | None, depth: int = 0) -> Iterator[Any]:
    if error is None or depth > 5:
        yield None
        return
    notes = list(getattr(error, "__notes__", ()))
    yield type(error).__name__, _plain(repr(error.args)), error.__suppress_context__, notes
    yield list(_errors(error.__cause__, depth + 1))
    # A context that is suppressed is not kept in a pickle, since nobody is shown it.
    yield list(_errors(None if error.__suppress_context__ else error.__context__, depth + 1))


def lines_of(error: BaseException) -> list[tuple[str, int | None]]:
    """The names and lines of a traceback."""
    return [(frame.name, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
