"""Suspended generators to bytes and back.

The state of a frame is the number of the yield at which it stands and its locals; what it was yielding
is no part of it. Everything goes into one pickle, so that what frames, inner functions and iterators
share stays shared. A generator is made first, and its state is set later on, so that there may be
circles. When all are there, each is run to its yield, where it yields something that nobody looks at.
A generator that another one delegates to is run by that one.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from inspect import GEN_CREATED, getgeneratorstate
from itertools import count
from types import CellType, CodeType, FunctionType, GeneratorType, ModuleType
from typing import Any, Final, NamedTuple

import cloudpickle

from continuum.command import Command
from continuum.engine.continuation.frames import (
    COMMAND,
    Body,
    Frame,
    frame_of,
    function_of,
    local_values,
    shell,
)
from continuum.engine.continuation.instrument import twin_of
from continuum.engine.continuation.iterators import reduce_count
from continuum.engine.continuation.labels import label
from continuum.engine.continuation.references import Reduction, reduce_cell, reduce_function, reduce_workflow
from continuum.engine.continuation.refusal import Refused, Stale
from continuum.engine.continuation.syntax import AT, DELEGATE, FRAME
from continuum.engine.continuation.values import is_ours, reduce_value
from continuum.place import place
from continuum.store.culprit import explain
from continuum.store.exceptions import ErrorParts
from continuum.workflow import Workflow

__all__ = ["Loaded", "dumps", "load", "loads"]

PROTOCOL: Final = 5


# Writing


def dumps(value: object) -> bytes:
    """The pickle of a value that may hold generators of twins, suspended or not. Raises Refused with the reason.

    It holds code by value only where there is no other way; `continuum.store.pickling.holds_code` tells.
    """
    try:
        return _written(_ByReference, value)
    except Refused:
        raise
    except Exception:  # any code of the user's may run in a pickler
        pass
    seen: list[Body] = []
    try:
        return _written(_ByValue, value, seen)
    except Refused:
        raise
    except Exception as error:
        raise _refused(value, error, seen) from error


def _written(pickler: Callable[..., pickle.Pickler], value: object, seen: list[Body] | None = None) -> bytes:
    file = io.BytesIO()
    pickler(file, seen).dump(value)
    return file.getvalue()


class _ByReference(pickle.Pickler):
    def __init__(self, file: io.BytesIO, seen: list[Body] | None) -> None:
        super().__init__(file, PROTOCOL)
        self._reducers = _Reducers(seen)

    def reducer_override(self, value: Any) -> Any:
        reduced = self._reducers(value)
        return NotImplemented if reduced is None else reduced


class _ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def __init__(self, file: io.BytesIO, seen: list[Body] | None) -> None:
        super().__init__(file, PROTOCOL)
        self._reducers = _Reducers(seen)

    def reducer_override(self, value: Any) -> Any:
        reduced = self._reducers(value)
        return super().reducer_override(value) if reduced is None else reduced


class _Reducers:
    """How what is special is pickled, in one pickle."""

    def __init__(self, seen: list[Body] | None) -> None:
        self._errors = ErrorParts()
        self._seen = seen
        self._delegated: set[int] = set()

    def __call__(self, value: Any) -> Reduction | str | None:
        kind = type(value)
        if kind is GeneratorType:
            return self._generator(value)
        if kind is FunctionType:
            return reduce_function(value)
        if kind is CellType:
            return reduce_cell(value)
        if kind is ModuleType:
            return import_module, (value.__name__,)
        if issubclass(kind, BaseException):
            return self._errors.reduce(value)
        if issubclass(kind, io.IOBase) and kind not in (io.BytesIO, io.StringIO):
            raise TypeError(f"cannot pickle '{kind.__name__}' object")  # cloudpickle would make a copy of the file
        if kind is count:
            return reduce_count(value)
        if kind is Workflow:
            return reduce_workflow(value)
        return reduce_value(value) if is_ours(kind) else None

    def _generator(self, generator: Any) -> Reduction:
        match getgeneratorstate(generator):
            case "GEN_CLOSED":
                return _ended, (generator.__name__, generator.__qualname__)
            case "GEN_RUNNING":
                raise Refused(f"{_where(generator)}: it is running")
        code: CodeType = generator.gi_code
        started = getgeneratorstate(generator) != GEN_CREATED
        if FRAME in code.co_varnames:
            return self._twin(generator, started)
        if code is COMMAND:
            return (_waiting, ()) if started else (iter, (local_values(generator)["self"],))
        if started:
            raise Refused(_not_instrumented(generator))
        return self._unstarted(generator)

    def _twin(self, generator: Any, started: bool) -> Reduction:
        if self._seen is not None:
            self._seen.append(generator)
        values = local_values(generator)
        frame: Frame = values[FRAME]
        if not started:
            values, number = values if frame.locals is None else frame.locals, frame.to
        else:
            number = values[AT]
        point = frame.twin.points[number - 1] if number else None
        if point is not None and point.refusal is not None:
            raise Refused(point.refusal)
        if point is not None and DELEGATE in point.names:
            self._delegates(generator, values[DELEGATE])
        cells = dict(frame.cells)
        state = number, {name: values[name] for name in frame.twin.saved(number) if name in values}
        return _new_generator, (frame.function, frame.twin.fingerprint, cells), state, None, None, _fill

    def _delegates(self, generator: Body, delegate: object) -> None:
        if id(delegate) in self._delegated:
            raise Refused(f"{_where(generator)}: two generators delegate to the same one")
        self._delegated.add(id(delegate))

    def _unstarted(self, generator: Any) -> Reduction:
        function = function_of(generator)
        if function is None:
            raise Refused(f"{_where(generator)}: the function of the generator cannot be found")
        code, values = function.__code__, local_values(generator)
        positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        arguments = [values[name] for name in code.co_varnames[:positional]]
        keywords = {name: values[name] for name in code.co_varnames[positional:named]}
        rest = named
        if code.co_flags & 4:
            arguments += values[code.co_varnames[rest]]
            rest += 1
        if code.co_flags & 8:
            keywords |= values[code.co_varnames[rest]]
        return _called, (function, tuple(arguments), keywords)


# Reading

_loading: ContextVar[list[Body]] = ContextVar("generators that are being loaded")


class Loaded(NamedTuple):
    """What was loaded. None of the user's code has been run for its generators yet; they may be dropped."""

    value: Any
    generators: list[Body]

    def enter(self) -> Any:
        """The value, with its generators at their yields; once. Raises Stale where that cannot be."""
        _run_to_their_yields(self.generators)
        return self.value


def load(data: bytes) -> Loaded:
    """What :func:`dumps` was given, to be entered. Raises Stale if the code is another by now."""
    generators: list[Body] = []
    token = _loading.set(generators)
    try:
        return Loaded(pickle.loads(data), generators)
    except Stale:
        raise
    except Exception as error:  # a name that is gone, or whatever a class of the user's does with a state of old
        raise Stale(f"the state cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        _loading.reset(token)


def loads(data: bytes) -> Any:
    """What :func:`dumps` was given; generators stand at their yields. Raises Stale if the code is another by now."""
    return load(data).enter()


def _run_to_their_yields(generators: list[Body]) -> None:
    frames = [frame_of(each) for each in generators if each.gi_code is not COMMAND]  # type: ignore[attr-defined]
    for frame in frames:
        frame.fit()
    delegates = {id(frame.locals.get(DELEGATE)) for frame in frames if frame.to and frame.locals}
    for each in generators:
        if id(each) in delegates:
            continue
        if each.gi_code is not COMMAND and not frame_of(each).to:  # type: ignore[attr-defined]
            continue  # it was not started
        try:
            next(each)
        except Exception as error:  # such as what an iterator of the user's raises when it is used again
            raise Stale(f"{_where(each)}: it cannot be entered again: {error!r}") from error


def _new_generator(function: FunctionType, fingerprint: str, cells: dict[str, CellType]) -> Body:
    try:
        twin = twin_of(function)
    except Refused as refused:
        raise Stale(refused.reason) from refused
    if twin.fingerprint != fingerprint:
        code = function.__code__
        raise Stale(f"{place(code, code.co_firstlineno)}: its code was changed since its state was captured")
    body = shell(function, twin, {name: cells.pop(name) if name in cells else CellType() for name in twin.cells})
    frame_of(body).spare_cells = cells
    _loading.get().append(body)
    return body


def _fill(body: Body, state: tuple[int, dict[str, Any]]) -> None:
    frame = frame_of(body)
    frame.to, frame.locals = state


def _waiting() -> Body:
    """What ``yield from command`` goes to while it waits: it gives back what it is sent."""
    body: Body = Command.__iter__(None)  # type: ignore[arg-type]  # it has been yielded already
    _loading.get().append(body)
    return body


def _ended(name: str, qualname: str) -> Any:
    """A generator that has come to its end."""
    ended: Any = (each for each in range(0))
    ended.__name__, ended.__qualname__ = name, qualname
    ended.close()
    return ended


def _called(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    return function(*arguments, **keywords)


# Reasons


def _where(generator: Any) -> str:
    frame = generator.gi_frame
    return place(generator.gi_code, generator.gi_code.co_firstlineno if frame is None else frame.f_lineno)


def _not_instrumented(generator: Any) -> str:
    function = function_of(generator)
    if function is not None:
        try:
            twin_of(function)
        except Refused as refused:
            return refused.reason
    return f"{_where(generator)}: a generator that was begun by other code, or is held by it, cannot be captured"


def _refused(value: object, error: Exception, generators: list[Body]) -> Refused:
    """Name the local that cannot be pickled, in the frame where it is: the innermost one comes last."""
    for generator in reversed(generators):
        for name, local in _state_of(generator).items():
            try:
                _by_value(local)
            except Refused as refused:
                return refused
            except Exception as reason:
                what = f"{_where(generator)}: {label(name)} of type {type(local).__name__} cannot be pickled"
                return Refused(explain(local, what, reason, _by_value))
    return Refused(explain(value, "it cannot be pickled", error, _by_value))


def _by_value(value: object) -> bytes:
    return _written(_ByValue, value)


def _state_of(generator: Any) -> dict[str, Any]:
    values = local_values(generator)
    frame: Frame = values[FRAME]
    number = values.get(AT, 0)
    names = [*frame.twin.saved(number), *frame.twin.cells]
    values = values if number else {**values, **(frame.locals or {})}
    return {name: values[name] for name in names if name in values}
