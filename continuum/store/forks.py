"""How many forks lie between this process and the one that was started: asked at every read, so no system call."""

from __future__ import annotations

from continuum.store.system import system

__all__ = ["forks"]

_forks = 0


def forks() -> int:
    """The number: what was made where it was another one is a parent's, and not to be used here."""
    return _forks


def _after_fork() -> None:
    global _forks
    _forks += 1


system.after_fork(_after_fork)
