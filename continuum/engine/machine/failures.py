"""Which command failed with which error: where a retry of the run begins that one of them has ended."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from sys import getrefcount
from typing import Final

from continuum.journal import Position

__all__ = ["Failures"]

_REMEMBERED: Final = 256
_ALONE: Final = 2  # references to an error: one of these, and one as it is counted


class Failures:
    """The last errors of commands, by identity, since the same one may be raised again later."""

    __slots__ = ("_count", "known")

    def __init__(self, known: Iterable[tuple[int, Position, BaseException]] = ()) -> None:
        self.known: dict[int, tuple[int, Position, BaseException]] = {}  # with a running number
        self._count = 0
        for each in known:
            self.known[id(each[2])] = each
            self._count = max(self._count, each[0])

    def remember(self, position: Position, error: BaseException) -> None:
        """The command at that position has failed with this."""
        self._count += 1
        self.known[id(error)] = self._count, position, error
        if len(self.known) > 2 * _REMEMBERED:
            for identity in list(islice(self.known, _REMEMBERED)):
                del self.known[identity]

    def held(self) -> list[tuple[int, Position, BaseException]]:
        """Those errors that somebody else holds too: no other can be raised again."""
        return [each for each in self.known.values() if getrefcount(each[2]) > _ALONE]

    def position_of(self, error: BaseException) -> Position | None:
        """The position of the last command whose failure this error is, or comes from."""
        known = [self.known[identity] for identity in _family(error) if identity in self.known]
        return max(known)[1] if known else None


def _family(error: BaseException) -> set[int]:
    """The identities of an error, of its causes, and of the errors in its groups."""
    family: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        each = todo.pop()
        if each is not None and id(each) not in family:
            family.add(id(each))
            todo += [each.__cause__, each.__context__]
            todo += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
    return family
