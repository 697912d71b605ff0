"""Deletes what runs have left behind of their journals, a piece at a time, beside the other work of the committer.

What a piece is: :mod:`continuum.store.leavings`. One is under way at any moment, and the next goes to the
end of the committer's line: whatever else came up meanwhile is carried out in between.
"""

from __future__ import annotations

from collections import deque

from continuum.store.codec import Codec
from continuum.store.committer import Committer, Single
from continuum.store.leavings import sweep, unswept

__all__ = ["Sweeper"]


class Sweeper:
    """Sweeps for one worker. Raises the store's error where a commit failed, on the worker's loop."""

    def __init__(self, committer: Committer, codec: Codec) -> None:
        self._committer = committer
        self._codec = codec
        self._line: deque[bytes] = deque()
        self._at_work = False

    @property
    def at_work(self) -> bool:
        """Whether there is something left to sweep."""
        return self._at_work or bool(self._line)

    def inherit(self) -> None:
        """Go on with what a worker that is gone has left."""
        self._committer.submit(Single(lambda view: (None, unswept(view)), self._inherited))

    def sweep(self, note: bytes) -> None:
        """Delete what a run has left behind, as that note says."""
        self._line.append(note)
        if not self._at_work:
            self._next()

    def _inherited(self, job: Single[list[bytes]]) -> None:
        for note in job.result():
            self.sweep(note)

    def _next(self) -> None:
        note = self._line.popleft()
        self._at_work = True
        self._committer.submit(Single(lambda view: sweep(view, self._codec, note), self._swept))

    def _swept(self, job: Single[bytes | None]) -> None:
        self._at_work = False
        rest = job.result()
        if rest is not None:
            self._line.append(rest)
        if self._line:
            self._next()
