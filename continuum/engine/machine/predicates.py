"""The conditions that fibers of one run wait for, and which of them is to be looked at.

A condition can only change when code of the workflow runs. So all of them are looked at once, in the order
in which they were reached, whenever some has run since. One that holds lets its fiber go on before the
next is looked at, which what that fiber does may have changed again: of two that wait for the same thing
only one gets it. Those before it are looked at another time after all others have been, and not at once:
a thousand of which each lets the next one go on are looked at two thousand times, and not a million times.
"""

from __future__ import annotations

from continuum.engine.machine.fibers import Waiting
from continuum.journal import Position

__all__ = ["Predicates"]


class Predicates:
    """Waiting Ensure commands. `stale` says that code has run since they were last looked at from the first on."""

    __slots__ = ("_due", "stale", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[Position, Waiting] = {}
        """Those that there are, in the order in which they were reached."""
        self._due: list[Waiting] = []  # that have their turn yet, the next one last
        self.stale = False

    def add(self, waiting: Waiting) -> None:
        """Have one more condition looked at."""
        self.waiting[waiting.position] = waiting
        self.stale = True

    def forget(self, waiting: Waiting) -> None:
        """Look at it no more: it held, came too late or was cancelled."""
        del self.waiting[waiting.position]

    def next(self) -> Waiting | None:
        """The next that is to be looked at; None where nothing has changed since all of them were."""
        while True:
            while self._due:
                waiting = self._due.pop()
                if self.waiting.get(waiting.position) is waiting:
                    return waiting
            if not self.stale:
                return None
            self.stale = False
            self._due.extend(reversed(self.waiting.values()))
