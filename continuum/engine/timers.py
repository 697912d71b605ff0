"""Due times in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

__all__ = ["Timers"]

T = TypeVar("T")


class Timers(Generic[T]):
    """What is to happen when; times are nanoseconds since the epoch. Nothing is ever cancelled:
    whoever is told of a time that no longer matters takes no notice."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._count = 0  # keeps equal times in order and `T` out of comparisons
        self._closed = False

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, due: int, what: T) -> None:
        """Have `what` told at `due`."""
        if not self._closed:
            self._count += 1
            heapq.heappush(self._heap, (due, self._count, what))

    def next_due(self) -> int | None:
        """The earliest time, or None."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: int) -> Iterator[T]:
        """Take out what is due at `now`, in order, each as it is asked for."""
        while self._heap and self._heap[0][0] <= now:
            yield heapq.heappop(self._heap)[2]

    def close(self) -> None:
        """Let nothing be due any more, nor what is added from now on."""
        self._closed = True
        self._heap.clear()
