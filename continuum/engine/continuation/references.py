"""Functions by reference: as something that can be found again, where plain pickle finds nothing.

* A function that decorators hide, such as that of a workflow: by what hides it.
* A function made within another one: by that one's name, the place of its code within it, and the cells
  that it closes over. No code is pickled.

Another version of the code may have put another function in that place; the fingerprint of the outer
one shows it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from types import CellType, CodeType, FunctionType
from typing import Any, Final

from continuum.engine.continuation.fingerprint import fingerprint
from continuum.engine.continuation.refusal import Refused, Stale
from continuum.engine.continuation.source import codes_in, same_code, source_of
from continuum.workflow import Workflow

__all__ = [
    "Reduction",
    "empty_cell",
    "fill_cell",
    "find",
    "new_function",
    "reduce_cell",
    "reduce_function",
    "reduce_workflow",
]

Reduction = tuple[Any, ...]
INNER: Final = ".<locals>"
HIDING: Final = ("__wrapped__", "__func__", "func", "fget")  # where decorators keep what they hide
DEPTH: Final = 20
COMPREHENSION: Final = re.compile(r"\.<(list|set|dict)comp>(\.<locals>)?")


def reduce_function(function: FunctionType) -> Reduction | None:
    """How a pickle refers to the function; None where plain pickle will do, or nothing does."""
    module, name = function.__module__, function.__qualname__
    found = list(_hidden(_global(module, name)))
    if found[:1] == [function] and not any(map(_is_private, name.split("."))):
        return None
    for depth, each in enumerate(found):
        if each is function:
            return find, (module, name, depth)
    return _inner(function)


def reduce_workflow(workflow: Workflow[..., Any]) -> str | None:
    """The name of the workflow, if it is found under that of its function."""
    name = str(workflow.function.__qualname__)
    return name if _global(workflow.function.__module__, name) is workflow else None


def find(module: str, name: str, depth: int) -> Any:
    """A function by its name, behind so many decorators. Raises Stale if there is none any more."""
    found = list(_hidden(_global(module, name, load=True)))
    if depth >= len(found):
        raise Stale(f"the state refers to {name} of module {module}, which is not there any more")
    return found[depth]


def _global(module: str, name: str, *, load: bool = False) -> Any:
    try:
        found: Any = import_module(module) if load else sys.modules[module]
        around = ""
        for part in name.split("."):
            attribute = f"_{around.lstrip('_')}{part}" if _is_private(part) and around else part
            held = vars(found).get(attribute) if isinstance(found, type) else None
            found = held if isinstance(held, staticmethod | classmethod | property) else getattr(found, attribute)
            around = part
    except (ImportError, AttributeError, KeyError):
        return None
    return found


def _is_private(name: str) -> bool:
    return name.startswith("__") and not name.endswith("__")


def _hidden(found: Any) -> Iterator[Any]:
    """A function and those that it hides, outermost first."""
    for _ in range(DEPTH):
        if found is None:
            return
        yield found
        found = next((inner for name in HIDING if (inner := _attribute(found, name)) is not None), None)


def _attribute(value: Any, name: str) -> Any:
    held: Any = getattr(value, name, None)
    return held if callable(held) else None


# Functions within functions


def _inner(function: FunctionType) -> Reduction | None:
    code = function.__code__
    root, within, _ = code.co_qualname.partition(INNER)
    module = function.__globals__.get("__name__")  # where the code is; what it is part of may be elsewhere
    if not within or not isinstance(module, str):
        return None
    for depth, outer in enumerate(_hidden(_global(module, root))):
        if isinstance(outer, FunctionType):
            number = _place_of(code, outer.__code__)
            if number is not None:
                reference = (module, root, depth), _name_of(code), number, _print(outer)
                return new_function, (*reference, function.__closure__ or ()), _state(function), None, None, _fill
    return None


def _state(function: FunctionType) -> dict[str, Any]:
    state = {
        "__defaults__": function.__defaults__,
        "__kwdefaults__": function.__kwdefaults__,
        "__name__": function.__name__,
        "__qualname__": function.__qualname__,
        "__doc__": function.__doc__,
        "__module__": function.__module__,
        "__dict__": dict(vars(function)),
    }
    if isinstance(state["__doc__"], str) and function.__code__.co_consts[:1] == (state["__doc__"],):
        del state["__doc__"]
    return {name: value for name, value in state.items() if value not in (None, {})}


def _fill(function: FunctionType, state: dict[str, Any]) -> None:
    vars(function).update(state.pop("__dict__", {}))
    for name, value in state.items():
        setattr(function, name, value)


def new_function(
    outer: tuple[str, str, int], name: str, number: int, was: str | None, closure: tuple[CellType, ...]
) -> FunctionType:
    """A function made within another one. Raises Stale if the code of that is not what it was."""
    function = find(*outer)
    if not isinstance(function, FunctionType) or (was is not None and _print(function) != was):
        raise Stale(f"the state refers to {name} of module {outer[0]}, whose code was changed since")
    codes = _named(function.__code__, name)
    if number >= len(codes) or len(codes[number].co_freevars) != len(closure):
        raise Stale(f"the state refers to {name} of module {outer[0]}, which is not there any more")
    return FunctionType(codes[number], function.__globals__, closure=closure)


def _place_of(code: CodeType, outer: CodeType) -> int | None:
    """Which of the codes of its name it is; a twin's inner functions have the code of the original's."""
    codes = _named(outer, _name_of(code))
    for number, each in enumerate(codes):
        if each is code:
            return number
    there = [number for number, each in enumerate(codes) if each.co_firstlineno == code.co_firstlineno]
    alike = [number for number in there if same_code(codes[number], code)]
    return next(iter(alike), None)


def _named(outer: CodeType, name: str) -> list[CodeType]:
    return [each for each in codes_in(outer) if _name_of(each) == name]


def _name_of(code: CodeType) -> str:
    """Its name; comprehensions are functions of their own before 3.12, and have a part in it."""
    return COMPREHENSION.sub("", code.co_qualname)


@lru_cache(maxsize=256)
def _print(function: FunctionType) -> str | None:
    """The fingerprint of a function, if its source is there."""
    try:
        return fingerprint(source_of(function.__code__, function.__globals__).node)
    except Refused:
        return None


# Cells


def empty_cell() -> CellType:
    """A cell that nothing is in yet."""
    return CellType()


def fill_cell(cell: CellType, content: tuple[Any]) -> None:
    (cell.cell_contents,) = content


def reduce_cell(cell: CellType) -> Reduction:
    """A cell is made first and filled later on, since what is in it may close over it."""
    try:
        content = (cell.cell_contents,)
    except ValueError:  # it is empty
        return empty_cell, ()
    return empty_cell, (), content, None, None, fill_cell
