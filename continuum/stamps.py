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
_VARIANT: Final = dict(zip("0123456789abcdef", 4 * "89ab", strict=True))  # of a UUID: the first bits of a digit are set
_PARTS: Final = 4_096  # of a millisecond: the 12 bits that follow the milliseconds in a UUID of version 7


class Stamps:
    """Times in nanoseconds, each later than the one before even if the clock is set back.

    The lowest bits are chosen at random once, so that two processes do not meet.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._salt = secrets.randbits(_SALT_BITS)
        self._last = 0
        self._last_made = 0
        self._chance = ""
        self._drawn = 0  # digits of it
        self._lock = threading.Lock()

    def next(self) -> int:
        """The next stamp."""
        with self._lock:
            self._last = max(self._clock() >> _SALT_BITS, self._last + 1)
            return self._last << _SALT_BITS | self._salt

    def seed(self) -> str:
        """What a run's random numbers come from: 16 bytes of chance, in hexadecimal."""
        return self._digits(32)

    def _digits(self, digits: int) -> str:
        """Random digits of the system's, fetched for many callers at once: each fetch is a system call."""
        with self._lock:
            start, self._drawn = self._drawn, self._drawn + digits
            if self._drawn > len(self._chance):
                self._chance, start, self._drawn = os.urandom(max(digits, _FETCH)).hex(), 0, digits
            return self._chance[start : self._drawn]

    def run_id(self) -> str:
        """A new run id: a UUID of version 7, in order after all that were made before it."""
        chance = self._digits(16)
        with self._lock:
            made = self._last_made = max(self._clock() * _PARTS // 1_000_000, self._last_made + 1)
        time = f"{made:015x}"
        return f"{time[:8]}-{time[8:12]}-7{time[12:]}-{_VARIANT[chance[0]]}{chance[1:4]}-{chance[4:]}"
