"""Small pieces of syntax: how a twin's code is put together, and what belongs to a function's own scope.

Names that begin with a dot are the twin's own: no user can write one. Code with the location `NOWHERE`
belongs to no line: the tracer is not told of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

__all__ = [
    "AT",
    "DELEGATE",
    "FRAME",
    "TO",
    "Block",
    "OwnScope",
    "assign",
    "clear",
    "constant",
    "frame_call",
    "function_arguments",
    "holds_yield",
    "load",
    "nowhere",
    "own",
    "placed",
    "running",
    "store",
    "up_to",
]

FRAME: Final = ".frame"  # the record of the frame, and what the twin's code calls
TO: Final = ".to"  # the yield that is to be reached again; 0 when running
AT: Final = ".at"  # the yield that was reached last
DELEGATE: Final = ".from"  # what is delegated to by `yield from`

Block: TypeAlias = list[ast.stmt]
Scope: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef
N = TypeVar("N", bound=ast.AST)

_PLACE: Final = ("lineno", "end_lineno", "col_offset", "end_col_offset")


def placed(node: N, like: ast.AST | None) -> N:
    """Give all parts that have no location that of `like`; None stands for nowhere.

    Of what spans lines it is the beginning: a method that is called counts as being where it ends.
    """
    values = [-1 if like is None else getattr(like, name) for name in _PLACE]
    if values[0] != values[1]:
        values = [values[0], values[0], values[2], values[2]]
    todo: list[ast.AST] = [node]
    while todo:
        part = todo.pop()
        if "lineno" in part._attributes and "lineno" in vars(part):
            continue  # the user's, with all its parts
        if "lineno" in part._attributes:
            for name, value in zip(_PLACE, values, strict=True):
                setattr(part, name, value)
        todo += ast.iter_child_nodes(part)
    return node


def nowhere(node: N) -> N:
    """Give all parts that have no location none."""
    return placed(node, None)


def load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def store(name: str) -> ast.Name:
    return ast.Name(name, ast.Store())


def constant(value: Any) -> ast.Constant:
    return ast.Constant(value)


def assign(name: str, value: ast.expr) -> ast.Assign:
    return ast.Assign([store(name)], value)


def clear(names: Sequence[str]) -> Block:
    """``.1 = .2 = None``, so that nothing is kept longer than it was."""
    return [nowhere(ast.Assign([store(name) for name in names], constant(None)))] if names else []


def frame_call(method: str, *arguments: ast.expr) -> ast.Call:
    """``.frame.method(...)``."""
    return ast.Call(ast.Attribute(load(FRAME), method, ast.Load()), list(arguments), [])


def function_arguments(names: Sequence[str]) -> ast.arguments:
    """Arguments of these names, by position."""
    return nowhere(ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, []))


def running() -> ast.expr:
    """The twin is not on its way to a saved yield."""
    return ast.UnaryOp(ast.Not(), load(TO))


def up_to(number: int) -> ast.expr:
    """The twin is running, or what it is on its way to is up to this yield."""
    return ast.Compare(load(TO), [ast.LtE()], [constant(number)])


def own(node: ast.AST) -> Iterator[ast.AST]:
    """The node and its parts that are evaluated in the same scope, in no order."""
    todo: list[ast.AST] = [node]
    while todo:
        part = todo.pop()
        yield part
        todo += _own_parts(part)


def _own_parts(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [*node.decorator_list, *_defaults(node.args), *_annotations(node)]
        case ast.Lambda():
            return _defaults(node.args)
        case ast.ClassDef():
            return [*node.decorator_list, *node.bases, *(each.value for each in node.keywords)]
        case ast.AnnAssign():
            return [node.target, *([node.value] if node.value else [])]  # the annotation is not evaluated
    return list(ast.iter_child_nodes(node))


def _defaults(arguments: ast.arguments) -> list[ast.AST]:
    return [*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)]


def _annotations(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.AST]:
    given = node.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    found = [each.annotation for each in every if each is not None and each.annotation is not None]
    return [*found, *([node.returns] if node.returns else [])]


def holds_yield(node: ast.AST | None) -> bool:
    """Whether evaluating the node may suspend the function."""
    return node is not None and any(isinstance(part, ast.Yield | ast.YieldFrom) for part in own(node))


class OwnScope(ast.NodeTransformer):
    """Transforms what is evaluated in a function's own scope, not what is in those within it."""

    def _outside(self, node: ast.AST, names: tuple[str, ...]) -> ast.AST:
        for name in names:
            value = getattr(node, name)
            made = [self.visit(each) for each in value] if isinstance(value, list) else value and self.visit(value)
            setattr(node, name, made)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._outside(node, ("decorator_list", "args", "returns"))

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._outside(node, ("decorator_list", "args", "returns"))

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._outside(node, ("args",))

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._outside(node, ("decorator_list", "bases", "keywords"))

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> ast.AST:
        node.generators[0].iter = self.visit(node.generators[0].iter)
        return node
