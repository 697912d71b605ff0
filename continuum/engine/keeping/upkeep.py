"""What is known of one run's continuation, and when another one is worth its price.

It is looked how much a history takes up after :data:`LONG` entries, and after twice as many, and so on. So
short runs cost nothing, and what steps cost does not grow by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from continuum.store.records import Continuation

if TYPE_CHECKING:
    from continuum.engine.keeping.changeover import Changeover

__all__ = ["LONG", "Upkeep"]

LONG: Final = 125
"""Entries since the last continuation: so many make a history long when the run leaves memory."""

ENTRIES: Final = 250
BYTES: Final = 1 << 20
"""Another one is made after so many entries, or so many bytes of them."""

COST: Final = 1_000
"""What a continuation may cost, in nanoseconds for each entry since the last: a small part of what a step does."""


class Upkeep:
    """What is known of a run's continuation: `number` is up to where the last one stands, or where the journal begins.

    It took `size` bytes and `cost` nanoseconds, and stands for `entries` entries of `history` bytes in all.
    """

    def __init__(self, number: int, last: Continuation | None = None) -> None:
        self.number = number
        self.size = self.cost = self.entries = self.history = 0
        if last is not None:
            self.size, self.cost, self.entries, self.history = last.size, last.cost, last.entries, last.history
        self.twins = False  # the run's generators are twins, so it can be captured
        self.changeover: Changeover | None = None  # on the way to them
        self.hopeless = ""  # why there will be none
        self.recent = 0  # bytes of the history since the last one, about, as far as it was looked
        self.looking = False
        self.wanted = False
        self.leaving = False  # the run is to leave memory with it
        self.refused_at = -1  # how many entries there were when the last one was refused
        self.patience = 1  # entries until it is tried again
        self.noted = ""  # the reason that the store has

    def due(self, number: int) -> bool:
        """Whether a continuation is worth its price now that there are so many entries."""
        entries = number - self.number
        if self.leaving:
            return entries >= LONG
        if entries < ENTRIES and self.recent < BYTES:
            return False
        return self.recent >= self.size and self.cost <= COST * entries

    def next_look(self, number: int) -> int:
        """With how many entries it is to be looked again."""
        return number + max(LONG, min(number - self.number, ENTRIES))

    def kept(self, continuation: Continuation) -> None:
        """There is a new one."""
        self.number = continuation.number
        self.size, self.cost = continuation.size, continuation.cost
        self.entries, self.history = continuation.entries, continuation.history
        self.recent, self.patience, self.noted = 0, 1, ""
        self.wanted = self.leaving = False

    def put_off(self, number: int) -> int:
        """There is no time for one now; gives with how many entries it is to be looked again."""
        self.refused_at = number
        self.wanted = self.leaving = False
        return number + LONG

    def refused(self, number: int, cost: int = 0, *, grow: bool = False) -> int:
        """There is none here, which took `cost` to find out; gives with how many entries it may be tried again.

        With `grow` the history has to grow for that, to twice of what it is.
        """
        self.put_off(number)
        self.patience = min(2 * self.patience, ENTRIES)
        grown = self.entries + number - self.number if grow else 0
        return number + max(self.patience, cost // COST, grown)
