"""Digests of values: the same for equal values, whatever process makes them, and however they came about.

A pickle will not do as it is. Which parts of a value are one object and which are only equal shows in
it, so does the order in which a dict was filled, and a set has another order in every process. So values
are taken apart here as pickle takes them apart, by their `__reduce_ex__`, but dicts and sets are put in
order, and functions and classes count by their names alone. What cannot be told apart or found again
by name, such as a lambda, is refused: a digest that fits by chance would be worse than none.
"""

from __future__ import annotations

import copyreg
import sys
from collections.abc import Callable, Iterable
from functools import partial
from hashlib import blake2b
from pathlib import PurePath
from types import BuiltinFunctionType, BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, Final

from continuum.errors import UnpicklableValue

__all__ = ["digest_of_call", "digest_of_key"]

SIZE: Final = 32
PROTOCOL: Final = 4  # of __reduce_ex__: with 5 large buffers would stay out of it


def digest_of_key(key: str) -> bytes:
    """The digest for an idempotency key."""
    return blake2b(b"once\0" + key.encode("utf-8", "surrogatepass"), digest_size=SIZE).digest()


def digest_of_call(name: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
    """The digest for a call of a step: its name, its function's module and qualified name, and the arguments.

    What a partial or a method is bound to is among the arguments; what a closure holds is not. Raises
    UnpicklableValue for arguments that have no digest.
    """
    module, qualname, bound = _named(fn)
    try:
        text = _Canonical().form((name, module, qualname, bound, args))
    except Exception as error:  # any code of the user's may run in a __reduce__
        raise UnpicklableValue(f"the arguments of step {name!r} cannot be told from others: {error}") from error
    return blake2b(b"call\0" + text, digest_size=SIZE).digest()


def _named(fn: Callable[..., Any]) -> tuple[str, str, list[Any]]:
    """The module and the qualified name of what is called in the end, and all that it is bound to."""
    bound: list[Any] = []
    while isinstance(fn, partial | MethodType):
        if isinstance(fn, partial):
            bound += [fn.args, fn.keywords]
            fn = fn.func
        else:
            bound.append(fn.__self__)
            fn = fn.__func__
    if isinstance(fn, BuiltinMethodType) and not isinstance(fn.__self__, ModuleType):
        bound.append(fn.__self__)
    elif not hasattr(fn, "__qualname__"):  # an object that can be called
        bound.append(fn)
        fn = type(fn)
    return _module_of(fn), fn.__qualname__, bound


def _module_of(fn: Callable[..., Any]) -> str:
    name, scope = getattr(fn, "__module__", None) or "", getattr(fn, "__globals__", None)
    if name == "__main__" and scope is not None and scope is not vars(sys.modules["__main__"]):
        return PurePath(scope.get("__file__") or name).stem  # it came with a run: another program is meant
    return module_name(name)


def module_name(name: str) -> str:
    """The name under which others import the module; a main script is a module, too."""
    if name != "__main__":
        return name
    main = sys.modules["__main__"]
    if (spec := getattr(main, "__spec__", None)) is not None:
        return str(spec.name)
    return PurePath(getattr(main, "__file__", None) or name).stem


class _Canonical:
    """Makes the bytes of one value."""

    def __init__(self) -> None:
        self._within: set[int] = set()  # the objects that are being taken apart, to find rings

    def form(self, value: Any) -> bytes:
        """The bytes of a value: a letter for its kind, its length, and what it consists of."""
        kind = type(value)
        plain = _PLAIN.get(kind)
        if plain is not None:
            return _piece(*plain(value))
        if id(value) in self._within:
            raise ValueError("they hold a value that holds itself")
        self._within.add(id(value))
        try:
            if kind in (tuple, list):
                return self._sequence(b"(" if kind is tuple else b"[", value)
            if kind in (set, frozenset):
                return _piece(b"{" if kind is set else b"<", *sorted(map(self.form, value)))
            if kind is dict:
                return _piece(b"d", *sorted(self._sequence(b"(", item) for item in value.items()))
            return self._taken_apart(value)
        finally:
            self._within.discard(id(value))

    def _sequence(self, letter: bytes, values: Iterable[Any]) -> bytes:
        return _piece(letter, *map(self.form, values))

    def _taken_apart(self, value: Any) -> bytes:
        if isinstance(value, type | FunctionType) or _is_builtin_function(value):
            return _by_name(value)
        reduce = copyreg.dispatch_table.get(type(value))
        reduced: Any = value.__reduce_ex__(PROTOCOL) if reduce is None else reduce(value)
        if isinstance(reduced, str):
            module = getattr(value, "__module__", None) or "builtins"
            return _piece(b"g", module_name(module).encode(), reduced.encode())
        made_by, arguments, state, items, pairs = (list(reduced) + [None] * 3)[:5]
        return self._sequence(b"o", (made_by, arguments, state, list(items or ()), list(pairs or ())))


def _is_builtin_function(value: Any) -> bool:
    return isinstance(value, BuiltinFunctionType) and isinstance(value.__self__, ModuleType | None)


def _by_name(value: Any) -> bytes:
    found: Any = sys.modules.get(value.__module__)
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    if found is not value:
        raise ValueError(f"they hold {value!r}, which cannot be found again under its name; define it in a module")
    return _piece(b"n", module_name(value.__module__).encode(), value.__qualname__.encode())


def _piece(letter: bytes, *parts: bytes) -> bytes:
    lengths = b",".join(b"%d" % len(part) for part in parts)
    return b"".join([letter, lengths, b":", *parts])


_PLAIN: Final[dict[type, Callable[[Any], tuple[bytes, ...]]]] = {
    type(None): lambda value: (b"-",),
    bool: lambda value: (b"b", b"%d" % value),
    int: lambda value: (b"i", b"%x" % value),
    float: lambda value: (b"f", value.hex().encode()),
    str: lambda value: (b"s", value.encode("utf-8", "surrogatepass")),
    bytes: lambda value: (b"y", value),
}
"""What is written as it is, with its letter."""
