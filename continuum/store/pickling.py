"""Python objects to pickles: by reference where that will do, with code by value where it must.

A pickle that holds code by value crashes the interpreter under another Python version, so it has to
be known which ones do: see :func:`holds_code`. Errors are taken apart by
:mod:`continuum.store.exceptions`; which part of a value cannot be pickled is found by
:mod:`continuum.store.culprit`; the bytes around a pickle are the business of
:mod:`continuum.store.payload`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Final

import cloudpickle

from continuum.errors import UnpicklableError
from continuum.store.exceptions import ErrorParts, summarize
from continuum.store.loading import load

__all__ = [
    "PROTOCOL",
    "dump",
    "dump_code",
    "dump_error",
    "dump_other",
    "dump_plain",
    "holds_code",
    "is_plain",
    "main_names",
]

PROTOCOL: Final = 5
PART_LIMIT: Final = 64 * 1024  # bytes of one part of an error that does not pickle as a whole
PART_DEPTH: Final = 4  # parts within parts of such an error; each level is tried once more

# What needs no look inside: a pickle of it that refers to nothing by name holds nothing but its like.
BUILT_IN: Final = frozenset({type(None), bool, int, float, str, bytes, bytearray, tuple, list, dict, set, frozenset})
BY_NAME: Final = b"\x93\x94"  # STACK_GLOBAL and MEMOIZE: how every reference to a class or function ends
BY_NAME_BEGINS: Final = BY_NAME[0]

# What cloudpickle's pickles may refer to without holding code. Anything else, names that it may
# have in other versions included, is taken for code.
HARMLESS: Final = frozenset(
    {
        "subimport",
        "_empty_cell_value",
        "_file_reconstructor",
        "_get_dataclass_field_type_sentinel",
        "_make_cell",
        "_make_dict_items",
        "_make_dict_keys",
        "_make_dict_values",
        "_make_empty_cell",
        "_make_typevar",
    }
)


def dump(value: object) -> bytes:
    """The value's pickle, by the first pickler that can make one; raises what the last of them raised.

    Errors in it are taken apart, with their causes and contexts if those can be pickled.
    """
    plain = dump_plain(value)
    return dump_other(value) if plain is None else plain


def dump_other(value: object) -> bytes:
    """As :func:`dump`, for a value of which :func:`dump_plain` has made none."""
    try:
        return _referring(value)
    except Exception:  # any code of the user's may run in a pickler
        return _by_other_means(value)


def dump_code(value: object) -> bytes:
    """The pickle that holds whatever cannot be imported, all that it refers to in the main program too."""
    return _written(lambda file: _ByValue(file, ErrorParts(), main_by_name=False), value)


def is_plain(data: bytes) -> bool:
    """Whether a pickle refers to nothing by name: what it holds is built in, and sure to load."""
    return BY_NAME_BEGINS not in data or BY_NAME not in data  # one byte is found many times as fast as two


def dump_plain(value: object) -> bytes | None:
    """The pickle of what is built in through and through, in half the time; None for anything else."""
    if type(value) in BUILT_IN:
        try:
            data = pickle.dumps(value, PROTOCOL)
        except Exception:  # something in it is not, and has its own ways to be pickled
            return None
        if BY_NAME_BEGINS not in data or is_plain(data):
            return data
    return None


def _by_reference(value: object) -> bytes:
    plain = dump_plain(value)
    return _referring(value) if plain is None else plain


def _referring(value: object) -> bytes:
    return _written(lambda file: _ByReference(file, ErrorParts()), value)


def _by_other_means(value: object) -> bytes:
    try:
        return _by_value(value)
    except Exception:  # any code of the user's may run in a pickler
        return _written(lambda file: _ByValue(file, ErrorParts(linked=False)), value)


def _by_value(value: object) -> bytes:
    return _written(lambda file: _ByValue(file, ErrorParts()), value)


def dump_error(error: BaseException, limit: int) -> tuple[bytes, BaseException]:
    """The error's pickle and a copy loaded from it. Never fails: it records as much as can be."""
    for form in (_by_reference, _by_value, _portable):
        try:
            data = form(error)
            copy = load(data)
        except Exception:  # any code of the user's may run in a pickle
            continue
        if isinstance(copy, BaseException) and len(data) <= limit:
            return data, copy
    summary = summarize(error)
    data = _by_reference(UnpicklableError(summary.type, summary.message))
    return data, pickle.loads(data)


def holds_code(data: bytes) -> bool:
    """Whether a pickle holds functions or classes by value: whether it refers to what makes them."""
    if b"cloudpickle" not in data:
        return False
    return any(module.startswith("cloudpickle") and name not in HARMLESS for module, name in _references(data))


def main_names(data: bytes) -> set[str]:
    """The names in the main program that a pickle refers to."""
    if b"__main__" not in data:
        return set()
    return {name.partition(".")[0] for module, name in _references(data) if module == "__main__"}


def _references(data: bytes) -> Iterator[tuple[str, str]]:
    """The modules and names by which a pickle refers to classes and functions."""
    strings: list[object] = []
    memo: list[object] = []
    for opcode, argument, _ in pickletools.genops(data):
        match opcode.name:
            case "STACK_GLOBAL":
                module, name = strings[-2:]
                yield str(module), str(name)
            case "MEMOIZE":
                memo.append(strings[-1] if strings else None)
            case "BINGET" | "LONG_BINGET":
                strings.append(memo[argument or 0])
            case "FRAME":  # may stand between a module and its name
                pass
            case _:
                strings.append(argument)


class _ByReference(pickle.Pickler):
    def __init__(self, file: io.BytesIO, errors: ErrorParts) -> None:
        super().__init__(file, PROTOCOL)
        self._errors = errors

    def reducer_override(self, value: Any) -> Any:
        if issubclass(type(value), BaseException):
            return self._errors.reduce(value)
        return NotImplemented


class _ByValue(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def __init__(self, file: io.BytesIO, errors: ErrorParts, *, main_by_name: bool = True) -> None:
        super().__init__(file, PROTOCOL)
        self._errors = errors
        self._main_by_name = main_by_name

    def reducer_override(self, value: Any) -> Any:
        if issubclass(type(value), BaseException):
            return self._errors.reduce(value)
        if self._main_by_name and _in_main(value):
            return NotImplemented
        return super().reducer_override(value)


def _in_main(value: object) -> bool:
    """Whether the value is a function or class of the main program, found there by its name.

    cloudpickle takes those by value, plain pickle by reference. They must not change from one to
    the other with what else a value holds: ``except`` would not know its own class again.
    """
    if not isinstance(value, FunctionType | type) or value.__module__ != "__main__":
        return False
    found: object = sys.modules["__main__"]
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value


def _portable(error: object, depth: int = 0) -> bytes:
    """The pickle in which every part of an error that does not travel is replaced by its repr."""

    def travels(part: object) -> bool:
        if depth >= PART_DEPTH:
            return part is None or type(part) in (bool, int, float, str, type)
        try:
            data = _portable(part, depth + 1)
            pickle.loads(data)
        except Exception:  # any code of the user's may run in a pickle
            return False
        return len(data) <= PART_LIMIT

    return _written(lambda file: _ByValue(file, ErrorParts(travels)), error)


def _written(pickler: Callable[[io.BytesIO], pickle.Pickler], value: object) -> bytes:
    file = io.BytesIO()
    pickler(file).dump(value)
    return file.getvalue()
