"""Statements that hold yields, made simple: the first of two steps from a function to its twin.

Afterwards a yield stands in two places only, ``yield x`` and ``target = yield x``, and compound
statements hold them in their blocks: not in tests, iterables, managers, subjects or targets. The code
means the same as before. How it can be entered again is the business of
:mod:`continuum.engine.continuation.rewrite`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence

from continuum.engine.continuation.flatten import Flattener
from continuum.engine.continuation.syntax import (
    Block,
    assign,
    clear,
    constant,
    holds_yield,
    load,
    nowhere,
    own,
    placed,
    store,
)

__all__ = ["Simplifier", "live_names"]


class Simplifier(Flattener):
    """Makes the statements of one function simple."""

    def block(self, statements: Sequence[ast.stmt]) -> Block:
        return [made for each in statements for made in self.statement(each)]

    def statement(self, node: ast.stmt) -> Block:
        """What the statement becomes: itself, if it holds no yield."""
        if not holds_yield(node):
            return [node]
        method: Callable[[ast.stmt], None] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        if method is None:
            for part in own(node):
                if isinstance(part, ast.Yield | ast.YieldFrom):
                    self.refusals[part] = f"a yield in a {type(node).__name__} statement cannot be entered again"
            return [node]
        before, self.unused = self.unused, []
        made = self.aside(lambda: method(node))
        made += clear(self.unused)
        self.unused = before
        return made

    def _going_on(self) -> None:
        """The names used so far are needed, or not worth to be cleared, after the statement."""
        self.unused = []

    # Simple statements

    def _expr(self, node: ast.Expr) -> None:
        self._argument(node)
        self.emit(node, None)

    def _assign(self, node: ast.Assign) -> None:
        if not any(map(holds_yield, node.targets)):
            self._argument(node)
            return self.emit(node, None)
        value = self.keep(node.value)
        for target in node.targets:
            self._store(target, value, node)
        return None

    def _argument(self, node: ast.Expr | ast.Assign) -> None:
        """Make the value simple; that it is a yield is simple enough."""
        match node.value:
            case ast.Yield(value=None):
                pass
            case ast.Yield(value=value) | ast.YieldFrom(value=value) if value is not None:
                node.value.value = self.value(value)
            case _:
                node.value = self.value(node.value)

    def _store(self, target: ast.expr, value: ast.expr, like: ast.stmt) -> None:
        match target:
            case ast.Tuple() | ast.List() if holds_yield(target):
                parts = [self.fresh() for _ in target.elts]
                names: list[ast.expr] = [
                    ast.Starred(store(name), ast.Store()) if isinstance(each, ast.Starred) else store(name)
                    for name, each in zip(parts, target.elts, strict=True)
                ]
                self.emit(ast.Assign([placed(ast.Tuple(names, ast.Store()), target)], value), like)
                for name, each in zip(parts, target.elts, strict=True):
                    inner = each.value if isinstance(each, ast.Starred) else each
                    self._store(inner, placed(load(name), inner), like)
            case _:
                self.emit(ast.Assign([self._target(target)], value), like)

    def _target(self, target: ast.expr) -> ast.expr:
        """A target for storing or deleting, what it is reached by evaluated."""
        match target:
            case ast.Attribute():
                target.value = self.value(target.value)
            case ast.Subscript():
                target.value, target.slice = self.operands([target.value, target.slice])
        return target

    def _annassign(self, node: ast.AnnAssign) -> None:
        if node.value is None:  # it evaluates nothing
            return self.emit(node, None)
        return self._assign(placed(ast.Assign([node.target], node.value), node))

    def _augassign(self, node: ast.AugAssign) -> None:
        target = node.target
        if not holds_yield(node.value):
            self._target(target)
            return self.emit(node, None)
        read: ast.expr
        match target:
            case ast.Attribute():
                target.value = self.keep(target.value)
                read = ast.Attribute(target.value, target.attr, ast.Load())
            case ast.Subscript():
                first, index = self.operands([target.value, target.slice])
                target.value, target.slice = self.keep(first), self.keep(index)
                read = ast.Subscript(target.value, target.slice, ast.Load())
            case ast.Name():
                read = load(target.id)
        name = self.fresh()
        self.emit(assign(name, placed(read, target)), node)
        self.emit(ast.AugAssign(store(name), node.op, self.value(node.value)), node)
        return self.emit(ast.Assign([target], load(name)), node)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            node.value = self.value(node.value)
        self.emit(node, None)
        self._going_on()

    def _raise(self, node: ast.Raise) -> None:
        if node.exc is not None:
            node.exc, *cause = self.operands([each for each in (node.exc, node.cause) if each is not None])
            node.cause = cause[0] if cause else None
        self.emit(node, None)
        self._going_on()

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple | ast.List):
                self._delete(placed(ast.Delete(target.elts), node))
            else:
                self.emit(ast.Delete([self._target(target)]), node)

    def _assert(self, node: ast.Assert) -> None:
        def check() -> None:
            test = self.test(node.test)
            if holds_yield(node.msg) and node.msg is not None:
                name = self.name(test, node.test)
                failed = self.aside(lambda: self._failed(node))
                self.emit(ast.If(name, [nowhere(ast.Pass())], failed), None)
            else:
                self.emit(ast.Assert(test, node.msg), node)

        self.emit(ast.If(load("__debug__"), self.aside(check), []), None)

    def _failed(self, node: ast.Assert) -> None:
        message = self.value(node.msg) if node.msg is not None else None
        self.emit(ast.Assert(placed(constant(False), node.test), message), node)

    def _functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        node.decorator_list = self.defaults(node.args, node.decorator_list)
        for part in own(node):
            if isinstance(part, ast.Yield | ast.YieldFrom):
                self.refusals[part] = "a yield in an annotation cannot be entered again"
        self.emit(node, None)

    _asyncfunctiondef = _functiondef

    def _classdef(self, node: ast.ClassDef) -> None:
        keywords = [each.value for each in node.keywords]
        first, bases = len(node.decorator_list), len(node.bases)
        spread = {first + bases + index for index, each in enumerate(node.keywords) if each.arg is None}
        made = self.operands([*node.decorator_list, *node.bases, *keywords], spread)
        node.decorator_list, node.bases = made[:first], made[first : first + bases]
        for keyword, value in zip(node.keywords, made[first + bases :], strict=True):
            keyword.value = value
        self.emit(node, None)

    # Compound statements

    def _if(self, node: ast.If) -> None:
        node.test = self.test(node.test)
        self._going_on()
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        self.emit(node, None)

    def _while(self, node: ast.While) -> None:
        if not holds_yield(node.test):
            node.body, node.orelse = self.block(node.body), self.block(node.orelse)
            return self.emit(node, None)
        name = self.fresh()  # whether the loop goes on; false where its `else` is to be run
        ended = ast.UnaryOp(ast.Not(), load(name))

        def test() -> None:
            value = ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), self.test(node.test)))
            self.emit(assign(name, placed(value, node.test)), node.test)
            self.emit(ast.If(ended, [ast.Break()], []), None)

        tested = self.aside(test)
        self._going_on()
        body, orelse = self.block(node.body), self.block(node.orelse)
        self.emit(ast.While(nowhere(constant(True)), [*tested, *body], []), node)
        if orelse:
            self.emit(ast.If(nowhere(ast.UnaryOp(ast.Not(), load(name))), orelse, []), None)
        return None

    def _for(self, node: ast.For) -> None:
        node.iter = self.value(node.iter)
        first: Block = []
        if holds_yield(node.target):
            node.target, first = self._late(node.target, node)
        node.body, node.orelse = [*first, *self.block(node.body)], self.block(node.orelse)
        self.emit(node, None)

    def _late(self, target: ast.expr, like: ast.stmt) -> tuple[ast.expr, Block]:
        """A name in the place of a target that holds yields, and how it is stored from there."""
        name = self.fresh()
        return placed(store(name), target), self.aside(lambda: self._store(target, placed(load(name), target), like))

    def _with(self, node: ast.With) -> None:
        item, *others = node.items
        item.context_expr = self.value(item.context_expr)
        first: Block = []
        if item.optional_vars is not None and holds_yield(item.optional_vars):
            item.optional_vars, first = self._late(item.optional_vars, node)
        self._going_on()
        rest = self.statement(placed(ast.With(others, node.body), node)) if others else self.block(node.body)
        self.emit(ast.With([item], [*first, *rest]), node)

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        starred = not isinstance(node, ast.Try)
        for handler in node.handlers:
            if handler.type is not None:
                self.refuse(handler.type, "in the class of an except clause")
            if starred:
                for part in (inner for each in handler.body for inner in own(each)):
                    if isinstance(part, ast.Yield | ast.YieldFrom):
                        self.refusals[part] = "a yield in an except* clause cannot be entered again"
            else:
                handler.body = self.block(handler.body)
        node.body, node.orelse = self.block(node.body), self.block(node.orelse)
        node.finalbody = self.block(node.finalbody)
        self.emit(node, None)

    _trystar = _try

    def _match(self, node: ast.Match) -> None:
        """The case is decided first, its block follows after the statement."""
        subject = self.keep(node.subject) if any(holds_yield(each.guard) for each in node.cases) else None
        chosen = self.fresh()
        bodies = [self.block(each.body) for each in node.cases]
        self._going_on()
        self.emit(assign(chosen, constant(0)), None)
        if subject is None:
            node.subject = self.value(node.subject)
            self._decide(node, node.subject, chosen, list(enumerate(node.cases, 1)))
        else:
            self._decide(node, subject, chosen, list(enumerate(node.cases, 1)))
        orelse: Block = []
        for number, body in reversed(list(enumerate(bodies, 1))):
            is_it = ast.Compare(load(chosen), [ast.Eq()], [constant(number)])
            orelse = [nowhere(ast.If(is_it, body, orelse))]
        self.out += orelse

    def _decide(self, node: ast.Match, subject: ast.expr, chosen: str, cases: list[tuple[int, ast.match_case]]) -> None:
        """Cases up to the first whose guard may suspend; then the guard, and where it fails the other cases."""
        asking = next((index for index, (_, case) in enumerate(cases) if holds_yield(case.guard)), None)
        now, later = (cases, []) if asking is None else (cases[: asking + 1], cases[asking + 1 :])
        guard = now[-1][1].guard if asking is not None else None
        made = []
        for number, case in now:
            kept = None if case.guard is guard else case.guard
            made.append(ast.match_case(case.pattern, kept, [nowhere(assign(chosen, constant(number)))]))
        self.emit(ast.Match(subject, made), node)
        if guard is None:
            return
        number = now[-1][0]

        def ask() -> None:
            failed: Block = [nowhere(assign(chosen, constant(0)))]
            self.emit(ast.If(ast.UnaryOp(ast.Not(), self.test(guard)), failed, []), None)

        self.emit(ast.If(ast.Compare(load(chosen), [ast.Eq()], [constant(number)]), self.aside(ask), []), None)
        if later:
            rest = self.aside(lambda: self._decide(node, subject, chosen, later))
            self.emit(ast.If(ast.Compare(load(chosen), [ast.Eq()], [constant(0)]), rest, []), None)


def live_names(body: Sequence[ast.stmt], names: set[str]) -> dict[ast.AST, list[str]]:
    """For each yield in a simple block, those of the names that are set before it and used after it.

    Names are set and used in the order of the text, loops around them or not.
    """
    yields: list[tuple[int, ast.AST]] = []
    spans: dict[str, list[int]] = {}  # from where a name is first set to where it is last used
    for number, part in enumerate(each for statement in body for each in _in_order(statement)):
        if isinstance(part, ast.Yield | ast.YieldFrom):
            yields.append((number, part))
        elif isinstance(part, ast.Name) and part.id in names:
            span = spans.setdefault(part.id, [number, number])
            span[1] = number if isinstance(part.ctx, ast.Load) else span[1]
    return {part: [name for name, (first, last) in spans.items() if first < number < last] for number, part in yields}


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node in the order of evaluation, as far as it matters: a value, then what it is stored in."""
    match node:
        case ast.Assign(targets=targets, value=value):
            parts: Sequence[ast.AST | None] = [value, *targets]
        case ast.AugAssign(target=target, value=value):
            parts = [target, value]
        case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
            parts = [iterable, target, *body, *orelse]
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.ClassDef():
            yield from own(node)
            return
        case _:
            parts = list(ast.iter_child_nodes(node))
    for part in parts:
        if part is not None:
            yield from _in_order(part)
    yield node
