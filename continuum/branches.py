"""Branches: the commands that do several things side by side."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass
from types import GeneratorType
from typing import Any, TypeAlias

from continuum.checks import check_yielded
from continuum.command import Command, fill
from continuum.errors import BadValue
from continuum.steps import Save, check_step, step_name
from continuum.workflow import Invocation, Workflow

__all__ = ["All", "Branch", "Map", "Race", "makes_branch"]

Branch: TypeAlias = Command[Any] | Generator[Any, Any, Any] | Invocation[Any]


@dataclass(frozen=True, slots=True, init=False)
class All(Command[list[Any]]):
    """Run branches side by side and give the list of their results, in the branches' order.

    A branch is a command, a generator or an Invocation. The first failure cancels the others and is
    raised; with `return_exceptions` the list holds the errors instead.
    """

    branches: tuple[Branch, ...]
    return_exceptions: bool

    def __init__(self, *branches: Branch, return_exceptions: bool = False) -> None:
        for branch in branches:
            _check_branch(branch, "All")
        fill(self, "branches", branches)
        fill(self, "return_exceptions", return_exceptions)


@dataclass(frozen=True, slots=True, init=False)
class Race(Command[tuple[int, Any]]):
    """Run branches side by side until one ends, and give (its index, its result).

    The others are cancelled. If the first to end raised, its error is raised.
    """

    branches: tuple[Branch, ...]

    def __init__(self, *branches: Branch) -> None:
        if not branches:
            raise BadValue("Race needs at least one branch: an empty one would never end")
        for branch in branches:
            _check_branch(branch, "Race")
        fill(self, "branches", branches)


@dataclass(frozen=True, slots=True, init=False)
class Map(Command[list[Any]]):
    """Apply `fn` to each item side by side, at most `limit` at a time; results in the items' order.

    A plain or async function is one step per item; a generator function or a workflow is one branch
    per item. Failures are treated as in :class:`All`.

    >>> Map(len, ["a", "bb"], limit=1).limit
    1
    """

    fn: Callable[[Any], Any]
    items: tuple[Any, ...]
    limit: int | None
    return_exceptions: bool

    def __init__(
        self,
        fn: Callable[[Any], Any],
        items: Iterable[Any],
        limit: int | None = None,
        *,
        return_exceptions: bool = False,
    ) -> None:
        items = _all(items)
        if not makes_branch(fn):
            check_step(fn)
            check_yielded(items, "an item of Map")
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise BadValue(f"Map(limit=) must be a whole number of 1 or more, not {limit!r}")
        fill(self, "fn", fn)
        fill(self, "items", items)
        fill(self, "limit", limit)
        fill(self, "return_exceptions", return_exceptions)

    def branch(self, index: int) -> Branch:
        """The branch for the item at `index`."""
        item = self.items[index]
        if makes_branch(self.fn):
            made: Branch = self.fn(item)
            return made
        return Save(self.fn, item)


def _all(items: object) -> tuple[Any, ...]:
    if not isinstance(items, Iterable):
        hint = "; the function comes first: Map(fn, items)" if callable(items) else ""
        raise BadValue(f"the items of Map must be a list, or anything that can be iterated, not {items!r}{hint}")
    return tuple(items)


def makes_branch(fn: object) -> bool:
    """Whether a call of it makes a branch: of a generator function or a workflow; else it is a step."""
    return isinstance(fn, Workflow) or inspect.isgeneratorfunction(fn)


def _check_branch(branch: object, what: str) -> None:
    if isinstance(branch, GeneratorType) and branch.__name__ == "<genexpr>":
        raise BadValue(
            f"a branch of {what} is a generator expression, whose commands would be carried out one after the other "
            f"and their results dropped: unpack it, as in {what}(*(Save(fn, item) for item in items))"
        )
    if not isinstance(branch, Command | GeneratorType | Invocation):
        raise BadValue(f"a branch of {what} is a command, a generator or an Invocation, not {_explain(branch, what)}")


def _explain(branch: object, what: str) -> str:
    """What stands where a branch belongs, and what to write instead."""
    match branch:
        case Workflow():
            return f"a workflow, which must be called: {branch.name}(...)"
        case list() | tuple() | set():
            return f"a {type(branch).__name__}: unpack it, as in {what}(*branches)"
        case Coroutine():
            branch.close()
            return f"a coroutine: give the async function to Save, as in {what}(Save(fn, 1))"
        case _ if isinstance(branch, AsyncGenerator) or inspect.isasyncgenfunction(branch):
            return "an async generator: save an async function that collects what it gives"
        case _ if inspect.isgeneratorfunction(branch):
            return f"a generator function, which must be called: {step_name(branch)}(...)"
        case _ if callable(branch):
            return f"the function {step_name(branch)}; wrap it: Save({step_name(branch)})"
        case _:
            return repr(branch)
