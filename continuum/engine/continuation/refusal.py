"""Why a generator has no continuation, or why one cannot be used."""

from __future__ import annotations

from continuum.errors import ContinuumError

__all__ = ["Refused", "Stale"]


class Refused(ContinuumError):
    """What cannot be captured. The message says where and why; replay serves in its place."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Stale(ContinuumError):
    """A state was captured from other code than there is now: it cannot be used, replay serves."""
