"""What the picture of a pickle is made of: inert values that stand for what a pickle would build.

They are painted by :mod:`continuum.store.inert` and put in words by :mod:`continuum.store.wording`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = ["Made", "Mapping", "Name", "Node", "Opaque", "Set"]

# Equal by identity: hostile pickles hold what cannot be hashed or is compared for ever.


@dataclass(slots=True, eq=False)
class Name:
    """A function or class that the pickle refers to by name."""

    module: str
    qualname: str


@dataclass(slots=True, eq=False)
class Made:
    """What calling `maker` would have given, and what would have been put into it."""

    maker: Node
    args: tuple[Node, ...]
    kwargs: Mapping | None = None
    state: Node = None
    items: list[Node] = field(default_factory=list)
    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping:
    """A dict, as the pairs that were put into it."""

    pairs: list[tuple[Node, Node]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Set:
    """A set or a frozenset."""

    items: list[Node]


@dataclass(slots=True, eq=False)
class Opaque:
    """What stands in the pickle only as a number or a reference to something outside of it."""

    text: str


Node: TypeAlias = Any
"""None, bool, int, float, str, bytes, a list or tuple of nodes, or one of the classes above."""
