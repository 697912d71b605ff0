"""The source of a function: found by its code, and proved to be what that was compiled from."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, Final, NamedTuple

from continuum.engine.continuation.refusal import Refused
from continuum.engine.continuation.syntax import function_arguments, load, nowhere, own, placed
from continuum.place import place

__all__ = ["GOES_OVER", "Source", "codes_in", "same_code", "source_of"]


EXPRESSION: Final = "<genexpr>"
GOES_OVER: Final = ".0"  # what the interpreter calls the argument of a generator expression


class Source(NamedTuple):
    """A function's definition; `scope` is the class whose private names it uses."""

    node: ast.FunctionDef
    scope: str | None


def source_of(code: CodeType, module: dict[str, Any]) -> Source:
    """The definition of a function with that code and those globals. Raises Refused where there is none that fits."""
    where = place(code, code.co_firstlineno)
    if code.co_name == "<lambda>":
        raise Refused(f"{where}: a lambda cannot be instrumented; make it a function")
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename, module))
    if not text:
        raise Refused(f"{where}: it has no source that could be read")
    try:
        tree, compiled = _parsed(text, code.co_filename)
    except (SyntaxError, ValueError, RecursionError) as error:
        raise Refused(f"{where}: its source cannot be read: {error}") from None
    found = [each for each in _definitions(tree, None) if _is_of(each.node, code)]
    if len(found) > 1:
        found = _at_its_place(found, code)
    if len(found) > 1:
        raise Refused(f"{where}: there are others on that line, and which one it is cannot be told")
    codes = [each for each in codes_in(compiled) if each.co_firstlineno == code.co_firstlineno]
    if not found or not any(same_code(code, each) for each in codes):
        raise Refused(f"{where}: its source was changed since it was loaded, or the code was")
    (source,) = found
    if isinstance(source.node, ast.GeneratorExp):
        return Source(_as_function(source.node, code), source.scope)
    return Source(source.node, source.scope)


@lru_cache(maxsize=8)
def _parsed(text: str, filename: str) -> tuple[ast.Module, CodeType]:
    tree = ast.parse(text, filename)
    return tree, compile(tree, filename, "exec", dont_inherit=True)


class _Found(NamedTuple):
    node: ast.FunctionDef | ast.GeneratorExp
    scope: str | None


def _definitions(node: ast.AST, scope: str | None) -> Iterator[_Found]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.GeneratorExp):
            yield _Found(child, scope)
        yield from _definitions(child, child.name if isinstance(child, ast.ClassDef) else scope)


def _is_of(node: ast.FunctionDef | ast.GeneratorExp, code: CodeType) -> bool:
    if isinstance(node, ast.GeneratorExp):
        return (node.lineno, EXPRESSION) == (code.co_firstlineno, code.co_name)
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first == code.co_firstlineno and node.name == code.co_name


def _at_its_place(found: list[_Found], code: CodeType) -> list[_Found]:
    """The generator expression whose place in its line is in the code. That of one within another is in both."""
    places = set(code.co_positions())
    fitting = [
        each
        for each in found
        if (each.node.lineno, each.node.end_lineno, each.node.col_offset, each.node.end_col_offset) in places
    ]
    return fitting[:1] or found


def _as_function(expression: ast.GeneratorExp, code: CodeType) -> ast.FunctionDef:
    """The function that a generator expression is; its argument is the iterator that it goes over."""
    body: list[ast.stmt] = [placed(ast.Expr(placed(ast.Yield(expression.elt), expression.elt)), expression.elt)]
    for each in reversed(expression.generators):
        for test in reversed(each.ifs):
            body = [placed(ast.If(test, body, []), test)]
        over = each.iter if each is not expression.generators[0] else placed(load(GOES_OVER), each.target)
        body = [placed(ast.For(each.target, over, body, []), each.target)]
    names = {each.target.id for each in own(expression) if isinstance(each, ast.NamedExpr)}
    outer: list[ast.stmt] = [nowhere(ast.Nonlocal(sorted(names & set(code.co_freevars))))]
    outer += [nowhere(ast.Global(sorted(names - set(code.co_freevars))))]
    declared = [each for each in outer if isinstance(each, ast.Nonlocal | ast.Global) and each.names]
    function = ast.FunctionDef(EXPRESSION, function_arguments([GOES_OVER]), [*declared, *body], [])
    return placed(function, expression)


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
