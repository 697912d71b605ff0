"""Letting a thread that works on the store have the interpreter.

LMDB's binding lets go of the interpreter's lock at every single get and put. Beside a thread that is
busy in Python each of them would then wait for a whole switch interval, five milliseconds, before it
goes on: a commit of a thousand small records was seen to take 260 times as long as alone. So the interval
is short meanwhile. Even so two threads that take the interpreter from each other at every put are slow
both: one that can wait lets the other have its :class:`Turn`, up to where that waits for the disk. There it
needs the interpreter only to come back, and the others may keep it for longer.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

from continuum.store.system import system

__all__ = ["Turn", "at_the_disk"]

_PROMPT: Final = 5e-5  # seconds
_AT_THE_DISK: Final = 1e-3  # seconds

_lock = threading.Lock()
_users = 0
_busy = 0  # of these, those that are not at the disk
_usual = 0.0
_current = threading.local()


class Turn:
    """What one thread does at the store, each time in a ``with`` block, while another may wait for it.

    While any thread is inside, the interpreter switches threads after 50 microseconds at most, or after a
    millisecond where all of them are at the disk.
    """

    def __init__(self) -> None:
        self._over = threading.Event()
        self._over.set()
        self._at_the_disk = False

    def expect(self) -> None:
        """It is to come now: whoever waits from here on waits for it, unless an earlier one is at the disk."""
        if not self._at_the_disk:
            self._over.clear()

    def wait(self, seconds: float) -> None:
        """Return when it has come to the disk, or to its end, or when the time is over."""
        self._over.wait(seconds)

    def go_to_the_disk(self) -> None:
        """What is left needs no interpreter."""
        if not self._at_the_disk:
            self._at_the_disk = True
            _count(0, -1)
        self._over.set()

    def __enter__(self) -> None:
        _current.turn = self
        _count(1, 1)

    def __exit__(self, *error: object) -> None:
        _current.turn = None
        _count(-1, 0 if self._at_the_disk else -1)
        self._at_the_disk = False
        self._over.set()


def at_the_disk() -> None:
    """Tell, from within a turn, that it waits for nothing but the disk from here on."""
    turn: Turn | None = getattr(_current, "turn", None)
    if turn is not None:
        turn.go_to_the_disk()


def _count(users: int, busy: int) -> None:
    """So many more are inside, and so many more of them not at the disk: see to the pace that is due."""
    global _users, _busy, _usual
    with _lock:
        if not _users:
            _usual = sys.getswitchinterval()
        _users += users
        _busy += busy
        if not _users:
            sys.setswitchinterval(_usual)
        else:
            sys.setswitchinterval(min(_usual, _PROMPT if _busy else _AT_THE_DISK))


def _after_fork() -> None:
    # The child does not have the threads that were inside.
    global _lock, _users, _busy
    _lock = threading.Lock()
    if _users:
        sys.setswitchinterval(_usual)
    _users = _busy = 0


system.after_fork(_after_fork)
