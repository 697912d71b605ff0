"""When steps that cannot watch their own time are given up.

Most of them land long before, so nothing is sorted: what is kept is a time before which none is due,
and it is made exact only when it has passed.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

import anyio

__all__ = ["Deadlines"]

F = TypeVar("F", bound=Hashable)


class Deadlines(Generic[F]):
    """Each of a bounded number of things, and when it is due, by the loop's clock."""

    def __init__(self) -> None:
        self._due: dict[F, float] = {}
        self._next = math.inf

    def add(self, flight: F, due: float) -> bool:
        """True if it is the next one due."""
        self._due[flight] = due
        sooner = due < self._next
        self._next = min(due, self._next)
        return sooner

    def discard(self, flight: F) -> None:
        """Forget it; it need not be known."""
        self._due.pop(flight, None)

    def seconds_left(self) -> float | None:
        """How long one may sleep; None if nothing is due ever."""
        return None if self._next == math.inf else max(0.0, self._next - anyio.current_time())

    def take_passed(self) -> list[F]:
        """Remove and return what is due."""
        if self._next == math.inf or (now := anyio.current_time()) < self._next:
            return []
        passed = [flight for flight, due in self._due.items() if due <= now]
        for flight in passed:
            del self._due[flight]
        self._next = min(self._due.values(), default=math.inf)
        return passed
