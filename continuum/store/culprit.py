"""Which part of a value cannot be pickled, in words.

Knows the ways in which Python values hold others; whether one can be pickled is found out by trying
(:mod:`continuum.store.pickling`). Slow, and only asked once pickling has failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, GeneratorType, MethodType
from typing import Any, Final, TypeAlias

from continuum.store.exceptions import brief, type_name
from continuum.store.pickling import PROTOCOL, dump

__all__ = ["explain"]

DEPTH_LIMIT: Final = 20
LABEL_LIMIT: Final = 60
REASON_LIMIT: Final = 300

Part: TypeAlias = tuple[str, object]


def explain(value: object, what: str, error: Exception, attempt: Callable[[object], object] = dump) -> str:
    """``argument 'conn': dict key 'db' → attribute 'sock' of app.Pool: cannot pickle 'socket' object``.

    `error` is what pickling the value raised, and `attempt` what was tried.
    """
    if isinstance(error.__cause__ or error, RecursionError):
        return f"{what}: it is nested too deeply to be pickled"
    if isinstance(value, GeneratorType):
        return f"{what}: it is {_explain_generator(value.__name__)}"
    path, reason = _search(value, error, [], {id(value): value}, attempt) or ([], error)
    text = brief(_Text(str(reason) or type(reason).__name__), REASON_LIMIT)
    return ": ".join([what, " → ".join(path), text] if path else [what, text])


def _explain_generator(name: str) -> str:
    if name == "<genexpr>":
        return "a generator expression; make a list of it"
    return (
        f"a generator of {name}, which nobody has run; if it yields commands, use `yield from {name}(...)` in the "
        f"workflow, or give Map the function {name} itself; else make a list of it"
    )


class _Text(str):
    """A string whose repr is itself, so that it is cut as other reprs are."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _search(
    value: object,
    error: Exception,
    path: list[str],
    seen: dict[int, object],
    attempt: Callable[[object], object],
) -> tuple[list[str], Exception] | None:
    """The way to a part that fails though none of its own parts does; None if all lead in circles."""
    if len(path) >= DEPTH_LIMIT:
        return path, error
    failing = False
    for label, part in _parts(value):
        reason = _failure(part, attempt)
        failing = failing or reason is not None
        if reason is None or id(part) in seen:
            continue
        seen[id(part)] = part
        found = _search(part, reason, [*path, label], seen, attempt)
        if found is not None:
            return found
    return None if failing else (path, error)


def _failure(value: object, attempt: Callable[[object], object]) -> Exception | None:
    try:
        attempt(value)
    except Exception as error:  # any code of the user's may run in a pickler
        return error
    return None


def _parts(value: object) -> Iterator[Part]:
    for kind, parts in _PARTS.items():
        if isinstance(value, kind):
            yield from parts(value)
    if not isinstance(value, FunctionType | MethodType | type):
        yield from _reduced(value)


def _dict_parts(value: dict[object, object]) -> Iterator[Part]:
    for key, item in value.items():
        yield f"dict key {_label(key)}", item
        yield f"the key {_label(key)} itself", key


def _sequence_parts(value: list[object] | tuple[object, ...]) -> Iterator[Part]:
    kind = "list" if isinstance(value, list) else "tuple"
    for index, item in enumerate(value):
        yield f"{kind} item {index}", item


def _set_parts(value: set[object] | frozenset[object]) -> Iterator[Part]:
    for item in value:
        yield f"set item {_label(item)}", item


def _function_parts(function: FunctionType) -> Iterator[Part]:
    """What a function that goes by value takes along."""
    name = function.__qualname__
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"variable {variable!r} of function {name}", cell.cell_contents
        except ValueError:
            continue  # the cell is empty
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield f"default {_label(default)} of function {name}", default
    for variable in function.__code__.co_names:
        if variable in function.__globals__:
            yield f"global {variable!r} of function {name}", function.__globals__[variable]


def _method_parts(method: MethodType) -> Iterator[Part]:
    yield f"object of method {method.__func__.__name__}", method.__self__
    yield f"function of method {method.__func__.__name__}", method.__func__


def _class_parts(cls: type) -> Iterator[Part]:
    for name, value in vars(cls).items():
        if name not in ("__dict__", "__weakref__"):
            yield f"attribute {name!r} of class {cls.__qualname__}", value


def _reduced(value: object) -> Iterator[Part]:
    """The parts of which the object itself would have its pickle made."""
    try:
        reduced = value.__reduce_ex__(PROTOCOL)
    except Exception:  # it does not pickle at all: it has no parts that matter
        return
    if not isinstance(reduced, tuple):
        return
    owner = type_name(type(value))
    for index, argument in enumerate(reduced[1]):
        yield f"argument {index} of {owner}", argument
    state = reduced[2] if len(reduced) > 2 else None
    match state:
        case (None | dict(), dict()):  # the `__dict__` and the slots
            for part in state:
                yield from _state_parts(part, owner)
        case _:
            yield from _state_parts(state, owner)


def _state_parts(state: object, owner: str) -> Iterator[Part]:
    if isinstance(state, Mapping):
        for name, item in state.items():
            yield f"attribute {_label(name)} of {owner}", item
    elif state is not None:
        yield f"state of {owner}", state


def _label(value: object) -> str:
    return brief(value, LABEL_LIMIT)


_PARTS: Final[Mapping[Any, Callable[[Any], Iterator[Part]]]] = {
    dict: _dict_parts,
    (list, tuple): _sequence_parts,
    (set, frozenset): _set_parts,
    FunctionType: _function_parts,
    MethodType: _method_parts,
    type: _class_parts,
}
