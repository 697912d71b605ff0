"""How control leaves a `try` whose `finally` holds yields: what is pending there has to be known.

Python keeps a pending exception, return, break or continue on a stack that nobody can save. So what
leaves such a `try` first says so in names of the twin's own, and the twin that is entered again in the
`finally` leaves the `try` in the same way.
"""
# ruff: noqa: N802  # the methods of a NodeTransformer are named by what they visit

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import Final

from continuum.engine.continuation.syntax import Block, OwnScope, assign, constant, load, nowhere, placed

__all__ = ["ERROR", "FELL_THROUGH", "Exits", "Pending", "weight"]

FELL_THROUGH: Final = 0
ERROR: Final = 1
RETURN: Final = 2
BREAK: Final = 3
CONTINUE: Final = 4


class Pending:
    """The names in which a `try` keeps what is pending in its `finally`."""

    def __init__(self, number: int) -> None:
        self.how = f".how{number}"
        self.result = f".result{number}"
        self.error = f".error{number}"
        self.ways: set[int] = set()  # of return, break, continue: those that occur

    @property
    def names(self) -> list[str]:
        return [self.how, self.result, self.error]

    def leave_again(self, again: ast.expr, rewrite: Callable[[ast.stmt], Block]) -> Block:
        """Leave the `try` as it was left; `again` is the pending error, to be raised.

        `rewrite` has it note what it leaves beyond this `try`.
        """
        ways: list[tuple[int, ast.stmt]] = [
            (ERROR, ast.Raise(again)),
            (RETURN, ast.Return(load(self.result))),
            (BREAK, ast.Break()),
            (CONTINUE, ast.Continue()),
        ]
        leaving: Block = []
        for way, statement in reversed(ways):
            if way == ERROR or way in self.ways:
                is_it = ast.Compare(load(self.how), [ast.Eq()], [constant(way)])
                leaving = [ast.If(is_it, rewrite(nowhere(statement)), leaving)]
        return leaving


class Exits(OwnScope):
    """Rewrites the statements that leave a `try` of that kind, and counts the yields that are left as they are."""

    def __init__(self, inline: Callable[[ast.Yield | ast.YieldFrom], ast.expr]) -> None:
        self.around: list[Pending | None] = []  # what the statements are in, innermost last; None is a loop
        self._inline = inline

    def rewrite(self, statement: ast.stmt) -> Block:
        """A statement without yields that can be entered again."""
        made = self.visit(statement)
        return list(made) if isinstance(made, list) else [made]

    def _crossed(self) -> list[Pending]:
        """What a break or continue leaves."""
        loop = max((index for index, each in enumerate(self.around) if each is None), default=-1)
        return [each for each in self.around[loop + 1 :] if each is not None]

    @staticmethod
    def _note(crossed: Sequence[Pending], way: int) -> Block:
        for each in crossed:
            each.ways.add(way)
        return [nowhere(assign(each.how, constant(way))) for each in crossed]

    def visit_Return(self, node: ast.Return) -> Block:
        self.generic_visit(node)
        crossed = [each for each in self.around if each is not None]
        if not crossed:
            return [node]
        names: list[ast.expr] = [ast.Name(each.result, ast.Store()) for each in crossed]
        value = constant(None) if node.value is None else node.value
        node.value = placed(load(crossed[0].result), node)
        return [placed(ast.Assign(names, value), node), *self._note(crossed, RETURN), node]

    def visit_Break(self, node: ast.Break) -> Block:
        return [*self._note(self._crossed(), BREAK), node]

    def visit_Continue(self, node: ast.Continue) -> Block:
        return [*self._note(self._crossed(), CONTINUE), node]

    def _loop(self, node: ast.For | ast.While) -> ast.stmt:
        header = ("target", "iter") if isinstance(node, ast.For) else ("test",)
        for name in header:
            setattr(node, name, self.visit(getattr(node, name)))
        self.around.append(None)
        node.body = [made for each in node.body for made in self.rewrite(each)]
        self.around.pop()
        node.orelse = [made for each in node.orelse for made in self.rewrite(each)]
        return node

    def visit_For(self, node: ast.For) -> ast.stmt:
        return self._loop(node)

    def visit_While(self, node: ast.While) -> ast.stmt:
        return self._loop(node)

    def visit_Yield(self, node: ast.Yield) -> ast.expr:
        self.generic_visit(node)
        return self._inline(node)

    def visit_YieldFrom(self, node: ast.YieldFrom) -> ast.expr:
        self.generic_visit(node)
        return self._inline(node)


def weight(statements: Sequence[ast.stmt], around: Sequence[int | None] = ()) -> int:
    """How much code it becomes: the compiler repeats a `finally` for every way there is to leave its `try`.

    `around` are the weights of the `finally` blocks around the statements, innermost last; None is a loop.
    """
    return sum(_weight(each, around) for each in statements)


def _weight(node: ast.stmt, around: Sequence[int | None]) -> int:
    match node:
        case ast.Return():
            return 1 + sum(each for each in around if each is not None) + _parts(node)
        case ast.Break() | ast.Continue():
            loop = max((index for index, each in enumerate(around) if each is None), default=-1)
            return 1 + sum(each for each in around[loop + 1 :] if each is not None)
        case ast.For() | ast.While():
            return _parts(node) + weight(node.body, (*around, None)) + weight(node.orelse, around)
        case ast.If() | ast.With():
            return _parts(node) + weight(node.body, around) + weight(getattr(node, "orelse", ()), around)
        case ast.Try() | ast.TryStar():
            final = weight(node.finalbody, around)
            inside = (*around, final)
            handlers = sum(weight(each.body, inside) for each in node.handlers)
            return weight(node.body, inside) + handlers + weight(node.orelse, inside) + 2 * final
    return _parts(node)


def _parts(node: ast.stmt) -> int:
    """The parts of a statement that are no statements themselves."""
    count = 0
    todo: list[ast.AST] = [node]
    while todo:
        count += 1
        todo += (each for each in ast.iter_child_nodes(todo.pop()) if not isinstance(each, ast.stmt))
    return count
