"""Expressions that hold yields, taken apart: each yield becomes a statement of its own.

What is evaluated before a yield is given a name first, so that the order of evaluation stays, and so
that it is there again when the twin is entered at the yield::

    print(first(), (yield ask()), last())

becomes::

    .1 = print
    .2 = first()
    .3 = yield ask()
    .1(.2, .3, last())
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Sequence

from continuum.engine.continuation.syntax import Block, assign, holds_yield, load, nowhere, own, placed, store

__all__ = ["Flattener"]


class Flattener:
    """Takes expressions apart; what has to come before them is collected in `out`."""

    def __init__(self) -> None:
        self.out: Block = []
        self.refusals: dict[ast.expr, str] = {}  # yields that cannot be entered again, and why
        self.unused: list[str] = []  # names that are done with after the statement
        self.names: set[str] = set()

    def fresh(self) -> str:
        """A name that is used for nothing yet."""
        name = f".{len(self.names) + 1}"
        self.names.add(name)
        self.unused.append(name)
        return name

    def emit(self, node: ast.stmt, like: ast.AST | None) -> None:
        self.out.append(placed(node, like))

    def name(self, value: ast.expr, like: ast.AST) -> ast.expr:
        """Evaluate it now, under a name."""
        name = self.fresh()
        self.emit(assign(name, value), like)
        return placed(load(name), like)

    def aside(self, work: Callable[[], object]) -> Block:
        """What the work emits, for a block of its own."""
        before, self.out = self.out, []
        work()
        made, self.out = self.out, before
        return made

    # Any expression

    def value(self, node: ast.expr) -> ast.expr:
        """An expression without yields that has the value of this one, once what was emitted is done."""
        if not holds_yield(node):
            return node
        flatten: Callable[[ast.expr], ast.expr] | None = getattr(self, f"_{type(node).__name__.lower()}", None)
        return self.refuse(node, f"in a {type(node).__name__}") if flatten is None else flatten(node)

    def test(self, node: ast.expr) -> ast.expr:
        """The same for one of which only the truth matters: each part is asked for it once."""
        match node:
            case ast.BoolOp() if holds_yield(node):
                return self._boolean(node, lambda each: _truth(self.test(each)))
            case ast.UnaryOp(op=ast.Not()) if holds_yield(node):
                node.operand = self.test(node.operand)
                return node
        return self.value(node)

    def keep(self, node: ast.expr, *, spread: bool = False) -> ast.expr:
        """Evaluate it now; what comes back can be used at any time after. With `spread` it is a ``**mapping``."""
        match node:
            case ast.Constant():
                return node
            case ast.Starred():
                items = placed(ast.Starred(self.value(node.value), ast.Load()), node)
                node.value = self.name(ast.List([items], ast.Load()), node)
                return node
            case ast.Slice() | ast.Tuple() if _is_index(node):
                return self._kept_index(node)
            case ast.FormattedValue():
                text = self.name(ast.JoinedStr([self.value(node)]), node)
                return placed(ast.FormattedValue(text, -1, None), node)
        if spread:
            return self.name(ast.Dict([None], [self.value(node)]), node)
        value = self.value(node)
        if isinstance(value, ast.Name) and value.id in self.names:
            return value
        return self.name(value, node)

    def operands(self, nodes: Sequence[ast.expr], spread: Collection[int] = ()) -> list[ast.expr]:
        """Expressions that are evaluated one after the other."""
        last = max((index for index, node in enumerate(nodes) if holds_yield(node)), default=-1)
        return [
            self.keep(node, spread=index in spread) if index < last else self.value(node)
            for index, node in enumerate(nodes)
        ]

    def refuse(self, node: ast.expr, where: str) -> ast.expr:
        """Leave it as it is: its yields work, but cannot be entered again."""
        for part in own(node):
            if isinstance(part, ast.Yield | ast.YieldFrom):
                self.refusals.setdefault(part, f"a yield {where} cannot be entered again")
        return node

    def _kept_index(self, node: ast.Slice | ast.Tuple) -> ast.expr:
        if isinstance(node, ast.Tuple):
            node.elts = [self.keep(each) for each in node.elts]
        else:
            parts = [("lower", node.lower), ("upper", node.upper), ("step", node.step)]
            for name, part in parts:
                if part is not None:
                    setattr(node, name, self.keep(part))
        return node

    # One kind each

    def _yield(self, node: ast.Yield) -> ast.expr:
        node.value = None if node.value is None else self.value(node.value)
        return self.name(node, node)

    def _yieldfrom(self, node: ast.YieldFrom) -> ast.expr:
        node.value = self.value(node.value)
        return self.name(node, node)

    def _namedexpr(self, node: ast.NamedExpr) -> ast.expr:
        value, name = self.value(node.value), self.fresh()
        self.emit(ast.Assign([store(name), node.target], value), node)
        return placed(load(name), node)

    def _boolop(self, node: ast.BoolOp) -> ast.expr:
        return self._boolean(node, self.value)

    def _boolean(self, node: ast.BoolOp, value: Callable[[ast.expr], ast.expr]) -> ast.expr:
        name = self.fresh()

        def rest(values: list[ast.expr]) -> None:
            self.emit(assign(name, value(values[0])), values[0])
            if values[1:]:
                goes_on: ast.expr = load(name) if isinstance(node.op, ast.And) else ast.UnaryOp(ast.Not(), load(name))
                self.emit(ast.If(goes_on, self.aside(lambda: rest(values[1:])), []), None)

        rest(node.values)
        return placed(load(name), node)

    def _ifexp(self, node: ast.IfExp) -> ast.expr:
        name, test = self.fresh(), self.test(node.test)

        def branch(value: ast.expr) -> Block:
            return self.aside(lambda: self.emit(assign(name, self.value(value)), value))

        self.emit(ast.If(test, branch(node.body), branch(node.orelse)), None)
        return placed(load(name), node)

    def _compare(self, node: ast.Compare) -> ast.expr:
        operands = [node.left, *node.comparators]
        if not any(map(holds_yield, operands[2:])):
            node.left, *node.comparators = self.operands(operands)
            return node
        name = self.fresh()  # the chain stops at what is false

        def rest(left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> None:
            right = self.keep(others[0]) if others[1:] else self.value(others[0])
            self.emit(assign(name, placed(ast.Compare(left, [ops[0]], [right]), node)), node)
            if others[1:]:
                self.emit(ast.If(load(name), self.aside(lambda: rest(right, ops[1:], others[1:])), []), None)

        rest(self.keep(node.left), node.ops, node.comparators)
        return placed(load(name), node)

    def _binop(self, node: ast.BinOp) -> ast.expr:
        node.left, node.right = self.operands([node.left, node.right])
        return node

    def _unaryop(self, node: ast.UnaryOp) -> ast.expr:
        node.operand = self.value(node.operand)
        return node

    def _attribute(self, node: ast.Attribute) -> ast.expr:
        node.value = self.value(node.value)
        return node

    def _starred(self, node: ast.Starred) -> ast.expr:
        node.value = self.value(node.value)
        return node

    def _subscript(self, node: ast.Subscript) -> ast.expr:
        node.value, node.slice = self.operands([node.value, node.slice])
        return node

    def _slice(self, node: ast.Slice) -> ast.expr:
        parts = [("lower", node.lower), ("upper", node.upper), ("step", node.step)]
        there = [(name, part) for name, part in parts if part is not None]
        for (name, _), value in zip(there, self.operands([part for _, part in there]), strict=True):
            setattr(node, name, value)
        return node

    def _tuple(self, node: ast.Tuple | ast.List | ast.Set) -> ast.expr:
        node.elts = self.operands(node.elts)
        return node

    _list = _tuple

    def _set(self, node: ast.Set) -> ast.expr:
        """From the first ``*`` on every item is put into the set, and hashed, as soon as it is evaluated."""
        last = max(index for index, each in enumerate(node.elts) if holds_yield(each))
        first = next((index for index, each in enumerate(node.elts) if isinstance(each, ast.Starred)), last)
        if first >= last:
            return self._tuple(node)
        made: list[ast.expr] = [self.keep(each) for each in node.elts[:first]]
        for each in node.elts[first : last + 1]:
            so_far = [placed(ast.Starred(self.name(ast.Set(made), node), ast.Load()), node)] if made else []
            made = [*so_far, self.value(each)]
        node.elts = [*made, *node.elts[last + 1 :]]
        return node

    def _dict(self, node: ast.Dict) -> ast.expr:
        """Before each ``**`` what comes before it is put into the dict, and its keys are hashed."""
        items = list(zip(node.keys, node.values, strict=True))
        last = max(index for index, each in enumerate(items) if any(map(holds_yield, each)))
        keys: list[ast.expr | None] = []
        values: list[ast.expr] = []
        for index, (key, value) in enumerate(items):
            if key is None and keys and index <= last:
                keys, values = [None], [self.name(ast.Dict(keys, values), node)]
            if index < last:
                keys.append(None if key is None else self.keep(key))
                values.append(self.keep(value, spread=key is None))
            elif key is None:
                keys, values = [*keys, None], [*values, self.value(value)]
            else:
                made = self.operands([key, value])
                keys, values = [*keys, made[0]], [*values, made[1]]
        node.keys, node.values = keys, values
        return node

    def _call(self, node: ast.Call) -> ast.expr:
        nodes = [node.func, *node.args, *(each.value for each in node.keywords)]
        given = 1 + len(node.args)
        spread = {given + index for index, each in enumerate(node.keywords) if each.arg is None}
        node.func, *values = self.operands(nodes, spread)
        node.args = values[: given - 1]
        for keyword, value in zip(node.keywords, values[given - 1 :], strict=True):
            keyword.value = value
        return node

    def _joinedstr(self, node: ast.JoinedStr) -> ast.expr:
        node.values = self.operands(node.values)
        return node

    def _formattedvalue(self, node: ast.FormattedValue) -> ast.expr:
        if node.format_spec is None:
            node.value = self.value(node.value)
        else:
            node.value, node.format_spec = self.operands([node.value, node.format_spec])
        return node

    def _lambda(self, node: ast.Lambda) -> ast.expr:
        self.defaults(node.args)
        return node

    def defaults(self, arguments: ast.arguments, first: Sequence[ast.expr] = ()) -> list[ast.expr]:
        """The defaults of a function, after the decorators in `first`, which are given back."""
        named = [each for each in arguments.kw_defaults if each is not None]
        made = self.operands([*first, *arguments.defaults, *named])
        count = len(first) + len(arguments.defaults)
        arguments.defaults, left = made[len(first) : count], iter(made[count:])
        arguments.kw_defaults = [None if each is None else next(left) for each in arguments.kw_defaults]
        return made[: len(first)]

    def _listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> ast.expr:
        node.generators[0].iter = self.value(node.generators[0].iter)  # no other part is in this scope
        return node

    _setcomp = _generatorexp = _dictcomp = _listcomp


def _truth(node: ast.expr) -> ast.expr:
    return nowhere(ast.UnaryOp(ast.Not(), ast.UnaryOp(ast.Not(), node)))


def _is_index(node: ast.expr) -> bool:
    """Whether it can stand in a subscript only."""
    return isinstance(node, ast.Slice) or (isinstance(node, ast.Tuple) and any(map(_is_index, node.elts)))
