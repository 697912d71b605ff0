"""Numbers that order what one process does to a store, and chance: what no other process is likely to have too."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Stamps"]

_SALT_BITS: Final = 10
_FETCH: Final = 4_096  # bytes of entropy


class Stamps:
    """Times in nanoseconds, each later than the one before even if the clock is set back.

    The lowest bits are chosen at random once, so that two processes do not meet.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._salt = secrets.randbits(_SALT_BITS)
        self._last = 0
        self._last_made = 0
        self._chance: list[str] = []
        self._lock = threading.Lock()

    def next(self) -> int:
        """The next stamp."""
        with self._lock:
            self._last = max(self._clock() >> _SALT_BITS, self._last + 1)
            return self._last << _SALT_BITS | self._salt

    def seed(self) -> str:
        """What a run's random numbers come from: 16 bytes of chance, in hexadecimal."""
        try:
            return self._chance.pop()
        except IndexError:  # fetched for many at once: each fetch is a system call
            first, *others = os.urandom(_FETCH).hex(" ", 16).split()
            self._chance = others
            return first

    def run_id(self) -> str:
        """A new run id: a UUID of version 7, in order after all that were made before it."""
        chance = self.seed()
        with self._lock:
            milliseconds, rest = divmod(self._clock(), 1_000_000)
            made = milliseconds << 12 | rest >> 8
            if made <= self._last_made:
                made = self._last_made + 1
            self._last_made = made
        time = f"{made:015x}"
        # The 7 is the version, the 8 the variant, which 9, a and b would be too.
        return f"{time[:8]}-{time[8:12]}-7{time[12:]}-8{chance[:3]}-{chance[3:15]}"
