"""The source of a function: found by its code, and proved to be what that was compiled from."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

from continuum.engine.continuation.refusal import Refused
from continuum.place import place

__all__ = ["Source", "codes_in", "same_code", "source_of"]


class Source(NamedTuple):
    """A function's definition; `scope` is the class whose private names it uses."""

    node: ast.FunctionDef
    scope: str | None


def source_of(code: CodeType, module: dict[str, Any]) -> Source:
    """The definition of a function with that code and those globals. Raises Refused where there is none that fits."""
    where = place(code, code.co_firstlineno)
    if code.co_name == "<lambda>":
        raise Refused(f"{where}: a lambda cannot be instrumented; make it a function")
    if code.co_name.startswith("<"):
        raise Refused(f"{where}: a generator expression cannot be instrumented; make it a list or a function")
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, module))
    if not text:
        raise Refused(f"{where}: it has no source that could be read")
    try:
        tree, compiled = _parsed(text, code.co_filename)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Refused(f"{where}: its source cannot be read: {error}") from None
    found = [each for each in _definitions(tree, None) if _is_of(each.node, code)]
    codes = [each for each in codes_in(compiled) if each.co_firstlineno == code.co_firstlineno]
    if len(found) != 1 or not any(same_code(code, each) for each in codes):
        raise Refused(f"{where}: its source was changed since it was loaded, or the code was")
    return found[0]


@lru_cache(maxsize=8)
def _parsed(text: str, filename: str) -> tuple[ast.Module, CodeType]:
    tree = ast.parse(text, filename)
    return tree, compile(tree, filename, "exec", dont_inherit=True)


def _definitions(node: ast.AST, scope: str | None) -> Iterator[Source]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield Source(child, scope)
        yield from _definitions(child, child.name if isinstance(child, ast.ClassDef) else scope)


def _is_of(node: ast.FunctionDef, code: CodeType) -> bool:
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first == code.co_firstlineno and node.name == code.co_name


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """The codes of the functions within it, of those within these, and so on."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes_in(constant)


def same_code(one: CodeType, other: CodeType) -> bool:
    """Whether they do the same, wherever they stand."""
    if (one.co_name, one.co_freevars, one.co_cellvars) != (other.co_name, other.co_freevars, other.co_cellvars):
        return False
    if any(name.startswith("@") for name in one.co_varnames):
        return True  # pytest has rewritten its asserts
    if (one.co_code, one.co_names, one.co_varnames) != (other.co_code, other.co_names, other.co_varnames):
        return False
    return len(one.co_consts) == len(other.co_consts) and all(
        same_code(a, b)
        if isinstance(a, CodeType) and isinstance(b, CodeType)
        else type(a) is type(b) and (a == b or repr(a) == repr(b))
        for a, b in zip(one.co_consts, other.co_consts, strict=True)
    )
