"""A hash of what a function's code means: the same under every Python version, whatever its comments say."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from copy import copy
from typing import Final

__all__ = ["fingerprint"]

REVISION: Final = "1"
"""To be counted up whenever the same code gives another twin: the numbers of yields, the twin's own names."""

_IGNORED: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores", "type_params"})
_DOCUMENTED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def fingerprint(function: ast.FunctionDef) -> str:
    """Of a function and those within it; where they stand, their comments, docstrings and decorators do not count."""
    digest = hashlib.sha256(REVISION.encode())
    function = copy(function)
    function.decorator_list = []
    for part in _parts(function):
        digest.update(part.encode("utf-8", "backslashreplace"))
        digest.update(b"\0")
    return digest.hexdigest()[:32]


def _parts(value: object) -> Iterator[str]:
    match value:
        case ast.Constant():
            yield f"{type(value.value).__name__} {_shown(value.value)}"
        case ast.AST():
            yield f"({type(value).__name__}"
            for name, field in sorted(ast.iter_fields(value)):
                if name in _IGNORED:
                    continue
                if isinstance(value, ast.JoinedStr):
                    field = _joined(field)
                if name == "body" and isinstance(value, _DOCUMENTED):
                    field = field[1:] if ast.get_docstring(value, clean=False) is not None else field
                if field is not None and field != []:  # what another version has not
                    yield f"{name}="
                    yield from _parts(field)
            yield ")"
        case list():
            yield "["
            for each in value:
                yield from _parts(each)
            yield "]"
        case _:
            yield repr(value)


def _joined(values: list[ast.expr]) -> list[ast.expr]:
    """The parts of a formatted string; some versions have empty ones among them."""
    return [each for each in values if not isinstance(each, ast.Constant) or each.value != ""]


def _shown(value: object) -> str:
    """A constant; the order of a set is another in each process."""
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
