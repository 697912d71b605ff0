"""The twin of a generator function: code that does the same, and can be entered again at any yield.

It is made from the source of the function in two steps (:mod:`continuum.engine.continuation.simplify`,
:mod:`continuum.engine.continuation.rewrite`), and compiled under the same file name, lines and names.
Nothing of the user's is run: the code is compiled within functions and classes that are never called,
only to have it see the names that the original sees.

Variables that inner functions share are not the twin's own but given to it from outside, as cells. So a
frame that is restored uses the very cells that the inner functions use.
"""
# ruff: noqa: N802  # the methods of a NodeTransformer are named by what they visit

from __future__ import annotations

import ast
import copy
import weakref
from functools import partial
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from continuum.engine.continuation.fingerprint import fingerprint
from continuum.engine.continuation.leaving import weight
from continuum.engine.continuation.refusal import Refused
from continuum.engine.continuation.rewrite import Point, Rewriter
from continuum.engine.continuation.scopes import arguments_of, bound_names, is_bound, mangled
from continuum.engine.continuation.simplify import Simplifier, live_names
from continuum.engine.continuation.source import Source, codes_in, source_of
from continuum.engine.continuation.syntax import (
    FRAME,
    TO,
    Block,
    OwnScope,
    assign,
    constant,
    frame_call,
    function_arguments,
    load,
    nowhere,
    placed,
)
from continuum.place import place

__all__ = ["Twin", "twin_of"]

MAKER: Final = ".maker"
LOCALS: Final = ".locals"
WEIGHT_LIMIT: Final = 500_000  # nodes of syntax: a megabyte of code
FUTURES: Final = 0x1FF0000  # the flags of a code object that `from __future__` sets


class Twin(NamedTuple):
    """What is known of a function's twin.

    `points` are its yields in the order of the text, numbered from 1. `variables` are the names of its
    locals, `cells` of those that it shares with inner functions. It is made by :func:`twin_of`.
    """

    code: CodeType
    fingerprint: str
    points: tuple[Point, ...]
    parameters: tuple[str, ...]
    variables: tuple[str, ...]
    cells: tuple[str, ...]

    @property
    def refusals(self) -> dict[tuple[int, int], str]:
        """The yields at which it cannot be captured, by number and line: why not."""
        return {(each.number, each.line): each.refusal for each in self.points if each.refusal is not None}

    def saved(self, number: int) -> tuple[str, ...]:
        """The names whose values make up the state at a yield; at 0 it has not been started."""
        return self.variables if number == 0 else (*self.variables, *self.points[number - 1].names)


_known: dict[int, tuple[weakref.ref[CodeType], Twin | Refused]] = {}


def twin_of(function: object) -> Twin:
    """The twin of a generator function, or of a workflow; made once. Raises Refused with the reason if there is none.

    It is looked for behind decorators that say what they wrap (``functools.wraps``).
    """
    while not _is_generator(function) and hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, FunctionType) or not _is_generator(function):
        raise Refused(f"{getattr(function, '__qualname__', function)!s} is not a generator function")
    code = function.__code__
    key = id(code)
    known = _known.get(key)
    if known is None or known[0]() is not code:
        known = weakref.ref(code, partial(_forget, _known, key)), _attempt(code, function.__globals__)
        _known[key] = known
    if isinstance(known[1], Refused):
        raise Refused(known[1].reason)
    return known[1]


def _forget(known: dict[int, Any], key: int, _: object) -> None:
    """A function is gone. At the interpreter's end the module's own names may be gone before it."""
    known.pop(key, None)


def _is_generator(function: object) -> bool:
    return isinstance(function, FunctionType) and bool(function.__code__.co_flags & 0x20)


def _attempt(code: CodeType, module: dict[str, Any]) -> Twin | Refused:
    try:
        return _made(code, source_of(code, module))
    except Refused as refused:
        return refused
    except Exception as error:  # ours, or of a syntax to come: no run stops for it
        return Refused(f"{place(code, code.co_firstlineno)}: it could not be instrumented: {error!r}")


def _made(code: CodeType, source: Source) -> Twin:
    node = copy.deepcopy(source.node)
    bound = bound_names(node)
    cells = tuple(name for name in code.co_cellvars if is_bound(name, bound, source.scope))
    parameters = _parameters(code, cells)
    own_names = [mangled(name, source.scope) for name in bound]
    variables = tuple(dict.fromkeys([*parameters, *(name for name in own_names if name not in cells)]))
    documented = ast.get_docstring(node, clean=False) is not None
    first, node.body = (node.body[:1], node.body[1:]) if documented else ([], node.body)
    points = _rewrite(node, code, frozenset(variables) | frozenset(cells))
    hidden = dict.fromkeys(name for each in points for name in each.names)
    prologue = _prologue(parameters, [*variables, *hidden], _first_line(code))
    shared: Block = [nowhere(ast.Nonlocal(list(cells)))] if cells else []
    node.body = [*first, *shared, *prologue, *node.body]
    twin = _compiled(node, code, source.scope, parameters, tuple(dict.fromkeys([*code.co_freevars, *cells])))
    return Twin(twin, fingerprint(source.node), points, parameters, variables, cells)


def _parameters(code: CodeType, cells: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the arguments that are no cells; `super` looks for its own in the first place."""
    given = arguments_of(code)
    for_super = [f".{name}" for name in given[:1] if name in cells and "__class__" in code.co_freevars]
    return (*for_super, *(name for name in given if name not in cells))


def _rewrite(node: ast.FunctionDef, code: CodeType, variables: frozenset[str]) -> tuple[Point, ...]:
    _Adapted(frozenset(code.co_cellvars)).visit_body(node)
    simplifier = Simplifier()
    body = simplifier.block(node.body)
    refusals = {part: f"{place(code, part.lineno)}: {why}" for part, why in simplifier.refusals.items()}
    rewriter = Rewriter(live_names(body, simplifier.names), refusals, variables)
    node.body = rewriter.block(body)
    if weight(node.body) > WEIGHT_LIMIT:
        where = place(code, code.co_firstlineno)
        raise Refused(f"{where}: it has too many `finally` blocks in each other, each with yields, to be instrumented")
    return tuple(rewriter.points)


class _Adapted(OwnScope):
    """What has to be said in another way because the variables that inner functions share come from outside."""

    def __init__(self, cells: frozenset[str]) -> None:
        self._cells = cells

    def visit_body(self, node: ast.FunctionDef) -> None:
        node.body = [self.visit(each) for each in node.body]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        self.generic_visit(node)
        if not isinstance(node.target, ast.Name) or node.target.id not in self._cells:
            return node
        made: ast.stmt = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(made, node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """``locals()`` does not show the names of ours."""
        self.generic_visit(node)
        match node:
            case ast.Call(func=ast.Name(id="locals" | "vars" | "dir"), args=[], keywords=[]):
                return placed(frame_call("visible", node), node)
        return node


def _first_line(code: CodeType) -> int:
    """The line on which a function begins to do something."""
    lines = (line for _, _, line in code.co_lines() if line is not None and line != code.co_firstlineno)
    return next(lines, code.co_firstlineno)


def _prologue(parameters: tuple[str, ...], names: list[str], line: int) -> Block:
    """Take over the locals that were saved, if this is not a generator from its beginning.

    It is put on the line with which the function begins, of which tracers are told anyway.
    """
    saved: Block = [assign(LOCALS, frame_call("take"))]
    for name in names:
        there = ast.Compare(constant(name), [ast.In()], [load(LOCALS)])
        value = ast.Subscript(load(LOCALS), constant(name), ast.Load())
        missing: Block = [ast.Delete([ast.Name(name, ast.Del())])] if name in parameters else []
        saved.append(ast.If(there, [assign(name, value)], missing))
    saved.append(assign(LOCALS, constant(None)))
    are_there = ast.Compare(ast.Attribute(load(FRAME), "locals", ast.Load()), [ast.IsNot()], [constant(None)])
    made = [assign(TO, ast.Attribute(load(FRAME), "to", ast.Load())), ast.If(are_there, saved, [])]
    first = constant(None)
    first.lineno = first.end_lineno = line
    first.col_offset = first.end_col_offset = 0
    return [placed(each, first) for each in made]


def _compiled(
    node: ast.FunctionDef, code: CodeType, scope: str | None, parameters: tuple[str, ...], outer: tuple[str, ...]
) -> CodeType:
    """The code of the function, compiled where it sees the names in `outer`, in the class that it stood in."""
    node.args = function_arguments((*parameters, FRAME))
    node.returns = None
    node.decorator_list = [ast.copy_location(constant(None), each) for each in node.decorator_list]
    # Its own name is bound by its definition, but means what it meant to the original.
    own_name = [] if node.name in outer else [ast.Global([node.name])]
    around: ast.stmt = ast.FunctionDef(MAKER, function_arguments(outer), [*own_name, node], [])
    if scope is not None:
        around = ast.ClassDef(scope, [], [], [around], [])
    for each in ast.walk(around) if "type_params" in ast.FunctionDef._fields else ():
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and (each is node or not hasattr(each, "type_params")):
            each.type_params = []  # type: ignore[union-attr]  # new in 3.12
    module = nowhere(ast.Module([around], []))
    made = compile(module, code.co_filename, "exec", flags=code.co_flags & FUTURES, dont_inherit=True)
    (twin,) = (each for each in codes_in(made) if each.co_name == code.co_name and FRAME in each.co_varnames)
    if not set(twin.co_freevars) <= set(outer):
        raise Refused(f"{place(code, code.co_firstlineno)}: it could not be instrumented: its scopes differ")
    return _renamed(twin, len(twin.co_qualname), code.co_qualname)


def _renamed(code: CodeType, prefix: int, name: str) -> CodeType:
    constants = tuple(_renamed(each, prefix, name) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_qualname=name + code.co_qualname[prefix:], co_consts=constants)
