"""Deletes what journals hold and no replay needs, a piece at a time, beside the other work of the committer.

What a piece is: :mod:`continuum.store.leavings`. One is under way at any moment, and the next goes to the
end of the committer's line: whatever else came up meanwhile is carried out in between.
"""

from __future__ import annotations

from collections import deque
from functools import partial

from continuum.journal import RunId
from continuum.store.committer import Committer, Job, single
from continuum.store.leavings import Piece, drop_marks, sweep, unswept
from continuum.store.worklist import Worklist

__all__ = ["Sweeper"]


class Sweeper:
    """Sweeps for one worker. Raises the store's error where a commit failed, on the worker's loop."""

    def __init__(self, committer: Committer, worklist: Worklist) -> None:
        self._committer = committer
        self._worklist = worklist
        self._line: deque[Piece] = deque()
        self._at_work = False

    def inherit(self) -> None:
        """Go on with what a worker that is gone has left."""
        self._committer.submit(single(lambda view: (None, unswept(view)), self._inherited))

    def sweep(self, note: bytes) -> None:
        """Delete what a run has left behind, as that note says."""
        self._add(partial(sweep, note=note))

    def drop_marks(self, run_id: RunId, start: int, end: int) -> None:
        """Delete the marks among those entries of a run that the worker holds."""
        codec, fence = self._worklist.codec, self._worklist.fence(run_id)
        self._add(partial(drop_marks, codec=codec, fence=fence, run_id=run_id, start=start, end=end))

    def _inherited(self, job: Job[list[bytes]]) -> None:
        for note in job.result():
            self.sweep(note)

    def _add(self, piece: Piece) -> None:
        self._line.append(piece)
        self._go_on()

    def _go_on(self) -> None:
        if self._line and not self._at_work:
            self._at_work = True
            piece = self._line.popleft()
            self._committer.submit(Job(lambda view: [piece(view)], self._swept))

    def _swept(self, job: Job[Piece | None]) -> None:
        self._at_work = False
        rest = job.result()
        if rest is not None and job.answers[0][0]:  # if not, the run is another worker's by now
            self._line.append(rest)
        self._go_on()
