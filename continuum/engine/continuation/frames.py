"""Frames of twins: how one is begun, or put where another stood, and what its code calls while it runs.

A generator of a twin is made of a :class:`Frame`, which says where it begins and with which locals. It
stays there as a local of the generator, named ``.frame``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from functools import partial
from gc import get_referents
from itertools import chain
from types import CellType, CodeType, FunctionType, GeneratorType, MethodDescriptorType, WrapperDescriptorType
from typing import Any, Final, NamedTuple

from continuum.command import Command
from continuum.engine.continuation.instrument import Twin, twin_of
from continuum.engine.continuation.refusal import Refused
from continuum.engine.continuation.scopes import arguments_of
from continuum.engine.continuation.syntax import FRAME

__all__ = ["COMMAND", "Body", "Frame", "adopt", "frame_of", "function_of", "local_values", "shell"]

Body = Generator[Any, Any, Any]

COMMAND: Final = Command.__iter__.__code__


class Frame:
    """What a twin's generator is made of, and what its code calls, as ``.frame``.

    `to` is the yield at which it is entered, 0 for its beginning; `locals` those that were saved, until it
    has taken them; `cells` its variables that inner functions share, `spare_cells` those that they shared
    under another Python version.
    """

    __slots__ = ("_context", "cells", "function", "locals", "spare_cells", "to", "twin")

    def __init__(self, function: FunctionType, twin: Twin, cells: Mapping[str, CellType]) -> None:
        self.function = function
        self.twin = twin
        self.cells = cells
        self.spare_cells: dict[str, CellType] = {}
        self.to = 0
        self.locals: dict[str, Any] | None = None
        self._context: BaseException | None = None

    def fit(self) -> None:
        """Have each variable in a cell or not, as it is under this version: before 3.12 comprehensions need cells."""
        if self.locals is None:
            return
        while self.spare_cells:
            name, cell = self.spare_cells.popitem()
            with suppress(ValueError):  # it is empty
                self.locals[name] = cell.cell_contents
        for name in self.locals.keys() & self.cells.keys():
            self.cells[name].cell_contents = self.locals.pop(name)

    def take(self) -> dict[str, Any] | None:
        """The saved locals; they are kept no longer."""
        taken, self.locals = self.locals, None
        return taken

    # for

    iter = iter  # as it is, since a traceback would show a function of ours

    @staticmethod
    def items(iterator: Any) -> Any:
        """The iterator of a `for`, fit to have its `__iter__` called again by the loop."""
        if type(iterator) is GeneratorType:
            return adopt(iterator) if sys.getrefcount(iterator) <= HELD else iterator
        if type(iterator) in AROUND and sys.getrefcount(iterator) <= HELD:
            return _with_twins(iterator)
        if isinstance(getattr(type(iterator), "__iter__", None), NATIVE):
            return iterator
        return iter(partial(next, iterator), END)

    @staticmethod
    def items_again(iterator: Iterator[Any]) -> Iterator[Any]:
        """The same, with an item before it that stands for the one that is being worked on."""
        return chain((None,), iterator)

    # with

    def manager(self, manager: Any) -> Any:
        """What enters it, and leaves it."""
        if type(manager).__module__ == "contextlib" and isinstance(getattr(manager, "gen", None), GeneratorType):
            manager.gen = adopt(manager.gen)  # that of a function with @contextmanager
        try:
            entered, left = _special(manager, "__enter__"), _special(manager, "__exit__")
        except LookupError:
            return manager  # of which the interpreter says what it has not
        return _Manager(entered, left)

    def manager_again(self, manager: Any) -> AbstractContextManager[Any]:
        """What leaves it, and does nothing to enter it."""
        return _Manager(int, _special(manager, "__exit__"))

    # yield from

    @staticmethod
    def own(value: Any) -> Any:
        """The value of a variable, a fresh generator that is in no other one replaced by its twin."""
        return adopt(value) if type(value) is GeneratorType and sys.getrefcount(value) <= HELD else value

    def delegate_again(self, delegate: Any, _: int) -> Any:
        """The same, when it is in the midst of it: it gives something that is not looked at first."""
        if type(delegate) is GeneratorType:
            return delegate
        return _Resumed(delegate) if hasattr(delegate, "send") else chain((None,), delegate)

    # try

    @staticmethod
    def errors() -> type[BaseException]:
        return BaseException

    def again(self, error: BaseException) -> BaseException:
        """The error, to be raised a second time."""
        self._context = error.__context__
        return error

    def settle(self, error: BaseException) -> None:
        """It was raised a second time: that it was says nothing about its context."""
        BaseException.__dict__["__context__"].__set__(error, self._context)
        self._context = None

    # locals()

    @staticmethod
    def visible(names: Any) -> Any:
        """What `locals`, `vars` or `dir` gave, without the twin's own names."""
        if type(names) is list:
            return [name for name in names if not name.startswith(".")]
        if type(names) is not dict:  # it was another `locals`
            return names
        seen = {name: value for name, value in names.items() if not str(name).startswith(".")}
        if names is sys._getframe(1).f_locals:  # before 3.13, a copy that the frame would keep
            names.clear()
        return seen


class _End:
    """What no iterator gives."""

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 0

    def __reduce__(self) -> str:
        return "END"


END: Final = _End()
NATIVE: Final = (WrapperDescriptorType, MethodDescriptorType)  # it gives the iterator itself, and does nothing else


class _Manager:
    """A context manager made of two functions, which the interpreter calls with nothing in between."""

    __slots__ = ("__enter__", "__exit__")

    def __init__(self, enter: Callable[[], Any], leave: Callable[..., Any]) -> None:
        self.__enter__ = enter
        self.__exit__ = leave


def _special(value: Any, name: str) -> Callable[..., Any]:
    """A special method, as the interpreter finds it."""
    for cls in type(value).__mro__:
        if name in vars(cls):
            found = vars(cls)[name]
            bind = getattr(type(found), "__get__", None)
            method: Callable[..., Any] = found if bind is None else bind(found, value, type(value))
            return method
    raise LookupError(name)


class _Resumed:
    """An iterator with a `send` of its own, after something that is not looked at."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        self._entered = False

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        if self._entered:
            return next(self._iterator)
        self._entered = True
        return None

    def send(self, value: Any) -> Any:
        return self._iterator.send(value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._iterator, name)


# Generators


def shell(function: FunctionType, twin: Twin, cells: Mapping[str, CellType]) -> Body:
    """A generator of the twin that has not been started; its frame is still to be filled."""
    frame = Frame(function, twin, cells)
    frame.locals = {}
    return _begun(_closed(function, twin, cells), [None] * len(twin.parameters), frame)


def _begun(made: FunctionType, arguments: list[Any], frame: Frame) -> Body:
    body: Body = made(*arguments, frame)
    return body


def _closed(function: FunctionType, twin: Twin, cells: Mapping[str, CellType]) -> FunctionType:
    """The twin as a function, which closes over these cells and those of the original."""
    outer = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] if name in cells else outer[name] for name in twin.code.co_freevars)
    made = FunctionType(twin.code, function.__globals__, function.__name__, None, closure)
    made.__qualname__ = function.__qualname__
    return made


class _Known(NamedTuple):
    """What is known of some code: its twin and, if it closes over nothing, its function and the twin as a function."""

    code: CodeType
    twin: Twin | None = None
    functions: tuple[FunctionType, FunctionType] | None = None


_known: dict[int, _Known] = {}  # by the identity of the code, which they keep alive


def adopt(generator: Body) -> Body:
    """The twin of a generator that has not been started, which takes its place; or itself, if it has none."""
    if type(generator) is not GeneratorType or generator.gi_suspended or generator.gi_running:
        return generator
    code, frame = generator.gi_code, generator.gi_frame
    if code is COMMAND or frame is None:
        return generator
    known = _known.get(id(code))
    if known is None or known.code is not code:
        known = _known[id(code)] = _look_up(generator)
    if known.twin is None:
        return generator
    if known.functions is not None:
        function, made = known.functions
        given = frame.f_locals
        body = _begun(made, [given[name] for name in known.twin.parameters], Frame(function, known.twin, {}))
    else:
        body = _adopted(generator, known.twin)
    generator.close()
    return body


def _look_up(generator: Any) -> _Known:
    code, function = generator.gi_code, function_of(generator)
    if function is None or FRAME in code.co_varnames:
        return _Known(code)
    try:
        twin = twin_of(function)
    except Refused:
        return _Known(code)
    return _Known(code, twin, None if twin.code.co_freevars else (function, _closed(function, twin, {})))


def _adopted(generator: Any, twin: Twin) -> Body:
    """The twin of a generator whose function closes over variables, or shares its own with others."""
    function, given = function_of(generator), generator.gi_frame.f_locals
    assert function is not None
    cells = {name: CellType() for name in twin.cells}
    for name in arguments_of(function.__code__):
        if name in cells:
            cells[name].cell_contents = given[name]
    arguments = [given[name if name in given else name.removeprefix(".")] for name in twin.parameters]
    return _begun(_closed(function, twin, cells), arguments, Frame(function, twin, cells))


def frame_of(generator: Body) -> Frame:
    """The frame of a twin's generator that has not ended."""
    frame: Frame = local_values(generator)[FRAME]
    return frame


def local_values(generator: Any) -> dict[str, Any]:
    """The locals of a suspended generator."""
    seen = generator.gi_frame.f_locals
    values = dict(seen)
    if isinstance(seen, dict):  # before 3.13, a copy that the frame would keep
        seen.clear()
    return values


def function_of(generator: Any) -> FunctionType | None:
    """The function that a generator is of, if it has not ended."""
    found = (each for each in get_referents(generator) if isinstance(each, FunctionType))
    return next((each for each in found if each.__code__ is generator.gi_code), None)


def _with_twins(iterator: Any) -> Any:
    """An iterator around others, the fresh generators among these replaced by their twins."""
    kind, parts, *state = iterator.__reduce__()
    twins: list[Any] = []
    for part in parts:
        alone = sys.getrefcount(part) <= WITHIN
        twins.append(part if not alone else _with_twins(part) if type(part) in AROUND else adopt(part))
    if all(twin is part for twin, part in zip(twins, parts, strict=True)):
        return iterator
    made = kind(*twins)
    if state:  # whether a zip is strict
        made.__setstate__(*state)
    return made


# How many references there are to what a local variable is given to `own` from.


class _Counting:
    @staticmethod
    def own(value: object) -> int:
        return sys.getrefcount(value)


def _references() -> int:
    counting, held = _Counting(), object()
    return counting.own(held)


HELD: Final = _references()


def _references_within(iterator: Any) -> int:
    """To a generator that only an iterator around it holds, where :func:`_with_twins` counts them."""
    _, parts, *_ = iterator.__reduce__()
    counts: list[int] = []
    for part in parts:
        counts.append(sys.getrefcount(part))
    return counts[0]


def _nothing() -> Body:
    yield


AROUND: Final = (enumerate, zip, map, filter)
WITHIN: Final = _references_within(enumerate(_nothing()))
