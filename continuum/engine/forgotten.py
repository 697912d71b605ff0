"""What workflow code makes and forgets to yield, found in its code as an engine comes to know it.

``Save(charge, 5)`` without its ``yield`` makes a command and drops it: nothing is done, and nobody would be told.
What becomes of a call's result is told by the instruction behind the call, and what is called by the names
in front of it. So this needs no source, and runs nothing. What is bound to a name first is found as the workflow
runs, where it is used as if it were a result (:mod:`continuum.engine.machine.teaching`).
"""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dis import Instruction
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final
from weakref import WeakSet

from continuum.command import Command
from continuum.errors import BadCommand
from continuum.place import place
from continuum.workflow import Workflow

__all__ = ["check_yields"]

CALLS: Final = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
NAMES: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF"})
ATTRIBUTES: Final = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
TESTS: Final = ("POP_JUMP", "JUMP_IF", "TO_BOOL", "UNARY_NOT")

_checked: WeakSet[Workflow[..., Any]] = WeakSet()


def check_yields(workflow: Workflow[..., Any]) -> None:
    """Raise BadCommand for a command that the workflow, or a generator function that it names, does not yield."""
    if workflow in _checked:
        return
    left: list[object] = [inspect.unwrap(workflow.function)]
    seen = set()
    while left:
        function = left.pop()
        if isinstance(function, FunctionType) and function not in seen:
            seen.add(function)
            left += _check(function)
    _checked.add(workflow)


def _check(function: FunctionType) -> list[object]:
    """Look at its calls; gives the generator functions that it names."""
    known = _known(function)
    helpers = []
    for code in _codes(function.__code__):
        instructions = list(dis.get_instructions(code))
        for at, instruction in enumerate(instructions):
            if instruction.opname in NAMES and inspect.isgeneratorfunction(known.get(instruction.argval)):
                helpers.append(known[instruction.argval])
            elif instruction.opname in CALLS:
                mistake = _mistake(_called(instructions[:at], instruction, known), instructions[at + 1].opname)
                if mistake:
                    line, _ = _start(instruction) or (code.co_firstlineno, 0)
                    raise BadCommand(f"{place(code, line)} {mistake}")
    return helpers


def _known(function: FunctionType) -> Mapping[str, Any]:
    """What its names mean that are not its own."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    filled = {name: cell for name, cell in cells if cell != CellType()}
    return {**function.__globals__, **{name: cell.cell_contents for name, cell in filled.items()}}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code, and that of the functions within."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _called(before: Sequence[Instruction], call: Instruction, known: Mapping[str, Any]) -> object:
    """What is called there, as far as names tell that: those with which the expression of the call begins."""
    start, found = _start(call), None
    for each in before if start is not None else ():
        if _start(each) != start:
            continue
        if each.opname in NAMES:
            found = known.get(each.argval)
        elif each.opname in ATTRIBUTES:
            found = vars(found).get(each.argval) if isinstance(found, ModuleType | type) else None
    return found


def _start(instruction: Instruction) -> tuple[int, int] | None:
    """Where its expression begins in the source; None where the interpreter was told not to keep that."""
    positions = instruction.positions
    if positions is None or positions.lineno is None or positions.col_offset is None:
        return None
    return positions.lineno, positions.col_offset


def _mistake(called: object, fate: str) -> str:
    """What is wrong with making that, if this comes next."""
    if isinstance(called, type) and issubclass(called, Command):
        kind = called.__name__
        remedy = f"put the missing `yield` before it, as in `x = yield {kind}(...)`"
        if fate == "POP_TOP":
            return f"makes the command {kind} and does nothing with it: {remedy}"
        if fate.startswith(TESTS):
            return f"tests the command {kind} and not its result: {remedy}"
        if fate in ("GET_ITER", "UNPACK_SEQUENCE"):
            return f"goes through the command {kind} and not its result: {remedy}"
    elif fate == "POP_TOP" and isinstance(called, Workflow):
        name = called.name
        return f"makes an invocation of {name} and does nothing with it: use `yield Call({name}(...))`"
    elif fate == "POP_TOP" and inspect.isgeneratorfunction(called):
        name = called.__name__
        return f"makes a generator of {name} and does nothing with it: use `yield from {name}(...)`"
    return ""
