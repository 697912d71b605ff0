"""Letting a thread that works on the store get the interpreter back soon.

LMDB's binding lets go of the interpreter's lock at every single get and put. Beside a thread that is
busy in Python each of them would then wait for a whole switch interval, five milliseconds, before it
goes on: a commit of a thousand small records was seen to take 260 times as long as alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["prompt_switching"]

_PROMPT: Final = 5e-5  # seconds

_lock = threading.Lock()
_users = 0
_usual = 0.0


@contextmanager
def prompt_switching() -> Iterator[None]:
    """While any thread is inside, the interpreter switches threads after 50 microseconds at most."""
    global _users, _usual
    with _lock:
        _users += 1
        if _users == 1:
            _usual = sys.getswitchinterval()
            sys.setswitchinterval(min(_usual, _PROMPT))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                sys.setswitchinterval(_usual)
