"""Simple statements to statements that can be entered again at a yield: the second step to a twin.

Every yield has a number, in the order of the text. `.at` is the one that was reached last. When a twin
is entered again, `.to` is the number of the saved yield: whatever comes before it is passed over, each
compound statement around it is entered without being begun anew, and at the yield itself `.to` becomes
0: the twin is running. So within a block the rule is this: it is begun with `.to` 0, or with the number
of a yield in it.

* A statement without yields is guarded by ``if not .to``.
* ``if`` and ``while`` go by where the yield is instead of by their test.
* ``for`` keeps its iterator under a name, and begins with an item that is passed over.
* ``try`` raises the saved error again if the yield is in a handler, and leaves its block again as it was
  left if the yield is in its ``finally`` (:mod:`continuum.engine.continuation.leaving`).
* ``with`` keeps its manager under a name, and enters it only once.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from continuum.engine.continuation.leaving import ERROR, FELL_THROUGH, Exits, Pending
from continuum.engine.continuation.syntax import (
    AT,
    DELEGATE,
    TO,
    Block,
    assign,
    clear,
    constant,
    frame_call,
    load,
    nowhere,
    own,
    placed,
    running,
    store,
    up_to,
)

__all__ = ["Point", "Rewriter"]


class Point(NamedTuple):
    """A yield: its number and line, the twin's own names that have to be saved there, why it is refused."""

    number: int
    line: int
    names: tuple[str, ...]
    refusal: str | None = None


class Rewriter:
    """Rewrites the body of one function, which :class:`Simplifier` has made simple."""

    def __init__(
        self, live: Mapping[ast.AST, Sequence[str]], refusals: Mapping[ast.expr, str], variables: frozenset[str]
    ) -> None:
        self.points: list[Point] = []
        self._live = live
        self._refusals = refusals
        self._variables = variables
        self._around: list[str] = []  # names that must be saved at each yield
        self._exits = Exits(self._inline)
        self._numbers = 0

    # Yields

    def _point(self, node: ast.Yield | ast.YieldFrom, *names: str) -> int:
        number = len(self.points) + 1
        saved = (*self._around, *self._live.get(node, ()), *names)
        self.points.append(Point(number, node.lineno, saved, self._refusals.get(node)))
        return number

    def _inline(self, node: ast.Yield | ast.YieldFrom) -> ast.expr:
        """A yield that cannot be entered again says that it was reached."""
        number = ast.NamedExpr(store(AT), constant(self._point(node)))
        node.value = nowhere(ast.IfExp(number, node.value or constant(None), constant(None)))
        return node

    def _suspends(self, node: ast.AST) -> bool:
        """Whether there are yields in it that can be entered again."""
        return any(isinstance(part, ast.Yield | ast.YieldFrom) and part not in self._refusals for part in own(node))

    def _any(self, statements: Sequence[ast.stmt]) -> bool:
        return any(map(self._suspends, statements))

    def _yield(self, node: ast.stmt, what: ast.Yield) -> Block:
        given: ast.expr = constant(None) if what.value is None else self._exits.visit(what.value)
        reached = ast.NamedExpr(store(TO), constant(0))
        what.value = nowhere(ast.IfExp(running(), given, reached))
        return [nowhere(assign(AT, constant(self._point(what)))), node]

    def _yield_from(self, node: ast.stmt, what: ast.YieldFrom) -> Block:
        given: ast.expr = self._exits.visit(what.value)
        begin = self._begin(DELEGATE, given, what, "own")
        again = frame_call("delegate_again", load(DELEGATE), ast.NamedExpr(store(TO), constant(0)))
        what.value = nowhere(ast.IfExp(running(), load(DELEGATE), again))
        return [
            *begin,
            nowhere(assign(AT, constant(self._point(what, DELEGATE)))),
            node,
            *clear([DELEGATE]),
        ]

    def _begin(self, name: str, given: ast.expr, like: ast.expr, fit: str) -> Block:
        """Have an iterator under a name; what the user has under another one may be replaced by its twin."""
        made: Block = [assign(name, frame_call("iter", given)), assign(name, frame_call(fit, load(name)))]
        if isinstance(given, ast.Name) and given.id in self._variables:
            made.insert(0, assign(given.id, frame_call("own", given)))
        return [nowhere(ast.If(running(), [placed(each, like) for each in made], []))]

    # Blocks

    def block(self, statements: Sequence[ast.stmt]) -> Block:
        """A block that can be begun at a yield in it."""
        last = max((index for index, each in enumerate(statements) if self._suspends(each)), default=-1)
        made: Block = []
        plain: Block = []
        for index, each in enumerate(statements):
            if not self._suspends(each):
                plain += self._exits.rewrite(each)
                continue
            made += _if_running(plain)
            plain = []
            entered = self._statement(each)
            made += [nowhere(ast.If(up_to(len(self.points)), entered, []))] if index < last else entered
        return made + plain

    def _guarded(self, statements: Sequence[ast.stmt]) -> Block:
        """A block that may also be begun on the way to a yield after it, and does nothing then."""
        suspends = self._any(statements)
        made = self.block(statements)
        test = up_to(len(self.points)) if suspends else running()
        return [nowhere(ast.If(test, made, []))] if made else []

    def _statement(self, node: ast.stmt) -> Block:
        match node:
            case ast.Expr(value=ast.Yield() as what) | ast.Assign(value=ast.Yield() as what):
                return self._yield(node, what)
            case ast.Expr(value=ast.YieldFrom() as what) | ast.Assign(value=ast.YieldFrom() as what):
                return self._yield_from(node, what)
            case ast.If():
                return self._if(node)
            case ast.While():
                return self._while(node)
            case ast.For():
                return self._for(node)
            case ast.With():
                return self._with(node)
            case ast.Try() | ast.TryStar():
                return self._try(node)
        raise AssertionError(f"a {type(node).__name__} statement was not made simple")

    def _test(self, test: ast.expr, body_ends: int | None, orelse: bool) -> ast.expr:
        """Go into the body, which ends with that yield if it holds some, or into the rest if that does."""
        if body_ends is None:
            return nowhere(ast.BoolOp(ast.And(), [running(), test]))
        if not orelse:
            return nowhere(ast.BoolOp(ast.Or(), [load(TO), test]))
        return nowhere(ast.IfExp(running(), test, up_to(body_ends)))

    def _if(self, node: ast.If) -> Block:
        body, orelse = self._any(node.body), self._any(node.orelse)
        node.test = self._exits.visit(node.test)
        node.body = self.block(node.body)
        node.test = self._test(node.test, len(self.points) if body else None, orelse)
        node.orelse = self.block(node.orelse)
        return [node]

    def _while(self, node: ast.While) -> Block:
        body, orelse = self._any(node.body), self._any(node.orelse)
        node.test = self._exits.visit(node.test)
        self._exits.around.append(None)
        node.body = self.block(node.body)
        self._exits.around.pop()
        node.test = self._test(node.test, len(self.points) if body else None, orelse)
        node.orelse = self.block(node.orelse)
        return [node]

    def _for(self, node: ast.For) -> Block:
        body, orelse = self._any(node.body), self._any(node.orelse)
        node.iter = self._exits.visit(node.iter)
        iterator, item = self._names("items", "item")
        first: Block = []
        begin: Block = []
        if body:
            begin = self._begin(iterator, node.iter, node.iter, "items")
            first = [placed(ast.Assign([node.target], load(item)), node.target)]
            node.target = placed(store(item), node.target)
            self._around.append(iterator)
        self._exits.around.append(None)
        node.body = self.block([*first, *node.body])
        self._exits.around.pop()
        nothing: ast.expr = ast.Tuple([], ast.Load())
        if body:
            self._around.pop()
            again: ast.expr = frame_call("items_again", load(iterator))
            again = ast.IfExp(up_to(len(self.points)), again, nothing) if orelse else again
            node.iter = placed(ast.IfExp(running(), load(iterator), again), node.iter)
        else:
            node.iter = nowhere(ast.IfExp(running(), node.iter, nothing))
        node.orelse = self.block(node.orelse)
        if not body:
            return [node]
        # However the loop is left, its iterator is let go of at once: a generator may clean up then.
        return [*begin, nowhere(ast.Try([node], [], [], clear([iterator, item])))]

    def _with(self, node: ast.With) -> Block:
        (given,) = node.items
        manager, entered = self._names("manager", "entered")
        like = given.context_expr = self._exits.visit(given.context_expr)
        begin = placed(assign(manager, given.context_expr), like)
        first: Block = []
        if given.optional_vars is not None:
            first = [placed(ast.Assign([given.optional_vars], load(entered)), given.optional_vars)]
            given.optional_vars = placed(store(entered), given.optional_vars)
        enter, again = frame_call("manager", load(manager)), frame_call("manager_again", load(manager))
        given.context_expr = placed(ast.IfExp(running(), enter, again), like)
        self._around.append(manager)
        node.body = self.block([*first, *node.body])
        self._around.pop()
        names = [manager, *([entered] if first else [])]
        return [nowhere(ast.If(running(), [begin], [])), nowhere(ast.Try([node], [], [], clear(names)))]

    def _names(self, *names: str) -> list[str]:
        self._numbers += 1
        return [f".{name}{self._numbers}" for name in names]

    # Errors

    def _try(self, node: ast.Try | ast.TryStar) -> Block:
        if self._any(node.finalbody):
            return self._finally(node)
        orelse = self._any(node.orelse)
        handles = any(self._any(handler.body) for handler in node.handlers)
        body = self._guarded(node.body) if orelse or handles else self.block(node.body)
        if handles:
            self._handlers(node, body)
        else:
            for handler in node.handlers:
                handler.type = None if handler.type is None else self._exits.visit(handler.type)
                handler.body = self.block(handler.body)
        node.body = body
        node.orelse = self.block(node.orelse)
        node.finalbody = self.block(node.finalbody)
        return [node]

    def _handlers(self, node: ast.Try | ast.TryStar, body: Block) -> None:
        """Handlers with yields in them: on the way to one, the saved error is raised and goes there, nowhere else."""
        (error,) = self._names("error")
        begins = len(self.points)
        for handler in node.handlers:
            before = len(self.points)
            default = placed(frame_call("errors"), handler) if handler.type is None else handler.type
            kind = self._exits.visit(default)
            there: ast.expr = ast.Tuple([], ast.Load())
            if self._any(handler.body):
                self._handler(handler, error)
                between = ast.Compare(constant(before), [ast.Lt(), ast.LtE()], [load(TO), constant(len(self.points))])
                there = ast.IfExp(between, frame_call("errors"), there)
            else:
                handler.body = self.block(handler.body)
            handler.type = placed(ast.IfExp(running(), kind, there), default)
        again = placed(ast.Raise(frame_call("again", load(error))), node)
        between = ast.Compare(constant(begins), [ast.Lt(), ast.LtE()], [load(TO), constant(len(self.points))])
        body.insert(0, nowhere(ast.If(between, [again], [])))

    def _handler(self, handler: ast.ExceptHandler, error: str) -> None:
        """The error is kept under a name of ours; what the user calls it may be set or deleted at will."""
        self._around.append(error)
        first: Block = []
        if handler.name is not None:
            first = [placed(assign(handler.name, load(error)), handler)]
        made = self.block([*first, *handler.body])
        self._around.pop()
        if handler.name is not None:
            forget: Block = [assign(handler.name, constant(None)), ast.Delete([ast.Name(handler.name, ast.Del())])]
            made = [nowhere(ast.Try(made, [], [], forget))]
        settle = ast.If(load(TO), [ast.Expr(frame_call("settle", load(error)))], [])
        handler.name, handler.body = error, [nowhere(settle), *made]

    def _finally(self, node: ast.Try | ast.TryStar) -> Block:
        self._numbers += 1
        pending = Pending(self._numbers)
        final, node.finalbody = node.finalbody, []
        self._exits.around.append(pending)
        inside = self._guarded([node] if node.handlers else node.body)
        self._exits.around.pop()
        ends = len(self.points)
        self._around += pending.names
        ending = self.block(final)
        del self._around[-len(pending.names) :]
        (error,) = self._names("raised")
        again = placed(frame_call("again", load(pending.error)), node)
        leaving = pending.leave_again(again, self._exits.rewrite)
        leave = nowhere(ast.If(up_to(ends), [assign(pending.how, constant(FELL_THROUGH))], leaving))
        noted: Block = [
            ast.If(load(TO), [ast.Expr(frame_call("settle", load(error)))], []),
            assign(pending.how, constant(ERROR)),
            assign(pending.error, load(error)),
            ast.Raise(),
        ]
        handler = nowhere(ast.ExceptHandler(frame_call("errors"), error, noted))
        watched = nowhere(ast.Try([*inside, leave], [handler], [], []))
        forgotten = nowhere(ast.Try(ending, [], [], clear(pending.names)))
        return [placed(ast.Try([watched], [], [], [forgotten]), node)]


def _if_running(statements: Block) -> Block:
    return [nowhere(ast.If(running(), statements, []))] if statements else []
