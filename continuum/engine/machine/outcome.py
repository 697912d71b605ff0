"""What a generator is given, and how it is let go of."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from types import GeneratorType
from typing import Any, Final

from continuum.journal import Value

__all__ = ["NOTHING", "discard"]

NOTHING: Final = Value(None)

_ATTEMPTS_TO_CLOSE: Final = 100


def discard(generator: Generator[Any, Any, Any]) -> None:
    """Close a generator that is no longer wanted in memory.

    Its ``finally`` blocks may run, since Python gives no other way to let go of a generator; commands
    they yield are not carried out, and what they raise says nothing about the run. The innermost
    generator goes first: one that yields while its caller closes it would be left behind, half closed.
    """
    for _ in range(_ATTEMPTS_TO_CLOSE):
        for each in reversed(_chain(generator)):
            with suppress(BaseException):
                each.close()
            if getattr(each, "gi_frame", None) is not None:  # it yielded a command while closing
                break
        else:
            return


def _chain(generator: Any) -> list[Generator[Any, Any, Any]]:
    """The generator, the one that it is inside of by ``yield from``, and so on."""
    chain = [generator]  # or what stands in for one
    while isinstance(generator := getattr(generator, "gi_yieldfrom", None), GeneratorType):
        chain.append(generator)
    return chain
