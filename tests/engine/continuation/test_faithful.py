"""What people and their tools see of a twin is what they see of the plain generator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, FunctionType
from typing import Any

import pytest
from collected import COLLECTED, Body
from collecting import Noted
from driving import Answer, captured, lines_of, numbers, step, throwing, told, trace

from continuum.engine.continuation import adopt, dumps, loads, twin_of
from continuum.engine.continuation.frames import COMMAND

each = pytest.mark.parametrize("function", COLLECTED, ids=lambda function: function.__name__)


def answers(function: Callable[[], Body]) -> list[Answer]:
    return [numbers, *(throwing(at) for at in range(len(trace(function(), numbers))))]


@each
def test_names_and_places_are_those_of_the_original(function: FunctionType) -> None:
    plain, twin = function(), adopt(function())
    assert twin.gi_code is not plain.gi_code
    assert (twin.__name__, twin.__qualname__) == (plain.__name__, plain.__qualname__)
    for name in ("co_name", "co_qualname", "co_filename", "co_firstlineno"):
        assert getattr(twin.gi_code, name) == getattr(plain.gi_code, name)
    assert _inner_names(twin.gi_code) == _inner_names(plain.gi_code)


def _inner_names(code: Any) -> set[str]:
    inner = [each for each in code.co_consts if hasattr(each, "co_qualname")]
    return {each.co_qualname for each in inner}.union(*map(_inner_names, inner))


def documented() -> Body:
    """It says what it does."""
    yield "documented"


def test_the_docstring_stays() -> None:
    code = twin_of(documented).code
    assert FunctionType(code, {}).__doc__ == documented.__doc__
    assert trace(adopt(documented()), numbers) == trace(documented(), numbers)


# Lines


def traced(body: Body, answer: Answer) -> set[tuple[str, int]]:
    """The lines that a tracer, such as that of coverage, is told of."""
    seen: set[tuple[str, int]] = set()

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            seen.add((frame.f_code.co_name, frame.f_lineno))
        return local

    def tracer(frame: FrameType, event: str, argument: Any) -> Any:
        return local if "collected" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        trace(body, answer)
    finally:
        sys.settrace(before)
    return seen


@each
def test_tracers_see_the_same_lines(function: Callable[[], Body]) -> None:
    assert traced(adopt(function()), numbers) == traced(function(), numbers)
    for answer in answers(function):
        # In 3.11 an error that goes through a `finally` may show the line of its last statement, which is not run.
        assert traced(adopt(function()), answer) <= traced(function(), answer)


@each
def test_tracebacks_show_the_same_lines(function: Callable[[], Body]) -> None:
    for answer in answers(function):
        assert _ends(adopt(function()), answer) == _ends(function(), answer)


def _ends(body: Body, answer: Answer) -> list[tuple[str, int | None]]:
    """The traceback of the error with which it ends."""
    for index in range(200):
        sent = answer(index)
        try:
            body.send(sent.value) if sent.error is None else body.throw(sent.error)
        except StopIteration:
            return []
        except BaseException as error:
            return lines_of(error)[1:]
    raise AssertionError("it does not end")


def watched(function: Callable[[], Body], look: Callable[[Any], object], *, twin: bool) -> list[object]:
    """What can be seen of a generator at every yield; of a twin, after it was captured there."""
    seen: list[object] = []

    def hop(body: Body, sent: Any) -> tuple[str, Any, Body | None]:
        kind, value, going_on = (captured if twin else step)(body, sent)
        inner: Any = going_on
        while inner is not None:
            if hasattr(inner, "gi_frame"):
                seen.append(look(inner.gi_frame))
            inner = getattr(inner, "gi_yieldfrom", None)
        return kind, value, going_on

    trace(adopt(function()) if twin else function(), numbers, hop)
    return seen


@each
def test_a_suspended_twin_stands_on_the_same_line(function: Callable[[], Body]) -> None:
    def look(frame: FrameType) -> object:
        return frame.f_code.co_name, frame.f_lineno

    assert watched(function, look, twin=True) == watched(function, look, twin=False)


@each
def test_a_suspended_twin_has_the_same_locals(function: Callable[[], Body]) -> None:
    def look(frame: FrameType) -> object:
        shown = {name: told(value) for name, value in frame.f_locals.items() if not name.startswith(".")}
        return frame.f_code is not COMMAND and (frame.f_code.co_name, sorted(shown.items()))

    assert watched(function, look, twin=True) == watched(function, look, twin=False)


def stopping() -> Body:
    number = 1
    got = yield number
    breakpoint()
    return got


def test_breakpoint_stops_in_the_file_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    stops: list[tuple[str, int, Any]] = []

    def stop() -> None:
        frame = sys._getframe(1)
        stops.append((frame.f_code.co_filename, frame.f_lineno, frame.f_locals["got"]))

    monkeypatch.setattr(sys, "breakpointhook", stop)
    body = adopt(stopping())
    next(body)
    with pytest.raises(StopIteration):
        loads(dumps(body)).send("sent")
    assert stops == [(__file__, stopping.__code__.co_firstlineno + 3, "sent")]


def failing() -> Body:
    for number in (1, 0):
        yield number
        try:
            1 / number
        except ZeroDivisionError as error:
            raise Noted(
                "failed",
            ) from error


def test_a_traceback_after_a_restore_shows_the_line() -> None:
    body: Any = adopt(failing())
    next(body)
    next(body)
    with pytest.raises(Noted) as caught:
        next(loads(dumps(body)))
    first = failing.__code__.co_firstlineno
    assert lines_of(caught.value)[1:] == [("failing", first + 6)]
    assert caught.value.__cause__ is not None
    assert lines_of(caught.value.__cause__) == [("failing", first + 4)]
