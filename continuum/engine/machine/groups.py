"""Branches side by side: what has come of them so far, and the generator of each.

How they are run, and what ends them, is told in :mod:`continuum.engine.machine.fibers`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, TypeAlias

from continuum.branches import All, Branch, Map, Race
from continuum.commands import Command
from continuum.journal import Failure, Kind, Outcome, Position, Value
from continuum.workflow import Invocation

if TYPE_CHECKING:
    from continuum.engine.machine.fibers import Fiber

__all__ = ["Body", "Group", "body_of", "branch_of", "raising", "summary"]

Body: TypeAlias = Generator[Any, Any, Any]
"""A generator, or what stands in for one: with `send`, `throw`, `close` and `gi_yieldfrom` as generators have them,
and `where`, which gives the line at which it stands as :func:`continuum.place.place` does."""


class Group:
    """Branches side by side, and the fiber that waits for them."""

    __slots__ = ("command", "fiber", "kind", "limit", "members", "position", "results", "size", "started",
                 "tolerant", "verdict")  # fmt: skip

    def __init__(
        self,
        fiber: Fiber,
        position: Position,
        kind: Kind,
        command: All | Race | Map | None,
        size: int,
        limit: int | None = None,
        tolerant: bool = False,
    ) -> None:
        self.fiber = fiber
        self.position = position
        self.kind = kind
        self.command = command  # None where all branches have begun
        self.size = size
        self.limit = size if limit is None else min(limit, size)
        self.tolerant = tolerant  # errors are results
        self.started = 0
        self.members: dict[int, Fiber] = {}  # the branches that have not ended
        self.results: list[Any] = [None] * (size if kind is not Kind.RACE else 0)
        self.verdict: Outcome | None = None  # what the group gives, once that is decided


def branch_of(group: Group, index: int) -> Branch:
    """The branch of that number."""
    command = group.command
    assert command is not None, "all branches have begun"
    return command.branch(index) if isinstance(command, Map) else command.branches[index]


def summary(group: Group, verdict: Outcome) -> Outcome:
    """What the journal shows of a group's end; the branches' own entries hold the values."""
    if isinstance(verdict, Failure):
        return verdict
    return Value(verdict.value[0]) if group.kind is Kind.RACE else Value(group.size)


def raising(error: Exception) -> Body:
    """A branch that fails as it starts."""
    yield from ()
    raise error


def body_of(branch: Branch) -> Body:
    """The generator of a branch."""
    if isinstance(branch, Command):
        return iter(branch)
    return branch.body() if isinstance(branch, Invocation) else branch
