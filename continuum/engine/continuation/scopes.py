"""Which names belong to a function: its arguments, and what it binds itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import CodeType

from continuum.engine.continuation.syntax import own

__all__ = ["arguments_of", "bound_names", "is_bound", "mangled"]


def arguments_of(code: CodeType) -> tuple[str, ...]:
    """The names of a function's arguments, those for the rest of them last."""
    rest = bool(code.co_flags & 4) + bool(code.co_flags & 8)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + rest]


def bound_names(node: ast.FunctionDef) -> list[str]:
    """The names that the function itself binds, in the order of the text."""
    names: dict[str, None] = {}
    elsewhere: set[str] = set()
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    names |= {each.arg: None for each in every if each is not None}
    for part in (part for statement in node.body for part in _scope(statement)):
        match part:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names[name] = None
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names[name] = None
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names[name] = None
            case ast.MatchMapping(rest=str(name)):
                names[name] = None
            case ast.Import(names=found) | ast.ImportFrom(names=found):
                names |= {each.asname or each.name.partition(".")[0]: None for each in found}
            case ast.Global(names=others) | ast.Nonlocal(names=others):
                elsewhere |= set(others)
            case _ if type(part).__name__ == "TypeAlias":
                names[part.name.id] = None  # type: ignore[attr-defined]  # new in 3.12
    return [name for name in names if name not in elsewhere]


def _scope(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that can bind names in its scope, in the order of the text."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        yield from (each for each in own(node) if each is not node)
        return
    if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        # The targets of := belong to the function, others do not.
        yield from (each.target for each in own(node) if isinstance(each, ast.NamedExpr))
        return
    for child in ast.iter_child_nodes(node):
        yield from _scope(child)


def mangled(name: str, scope: str | None) -> str:
    if scope is None or not name.startswith("__") or name.endswith("__") or not scope.strip("_"):
        return name
    return f"_{scope.lstrip('_')}{name}"


def is_bound(name: str, bound: list[str], scope: str | None) -> bool:
    """Whether it is the function's own, and not that of a comprehension."""
    return any(mangled(each, scope) == name for each in bound)
