"""The root of all commands. They are in :mod:`continuum.commands`, those with the most to say in files of their own."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, Generic, TypeVar

__all__ = ["Command", "fill", "told_unyielded"]

T_co = TypeVar("T_co", covariant=True)

fill: Final = object.__setattr__
"""How a frozen value fills its own fields."""


class Command(Generic[T_co]):
    """The root of all commands; `T_co` is what the workflow gets back."""

    __slots__ = ()

    def __iter__(self) -> Generator[Command[Any], Any, T_co]:
        result: T_co = yield self
        return result


def told_unyielded(command: Command[Any]) -> str:
    """A command that stands where its result belongs, and the remedy."""
    kind, name = type(command).__name__, getattr(command, "name", None)
    shown = f"{kind} {name!r}" if name else kind
    return f"the command {shown} and not its result: put the missing `yield` before it, as in `x = yield {kind}(...)`"
