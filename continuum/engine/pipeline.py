"""The way from what runs ask for to what happens: closed together, committed once, and only then performed.

While a commit is under way what the next inputs lead to piles up behind it, so group commit needs no timer.
*Durable before visible* is kept here and nowhere else: effects are handed over by the pipeline alone, after the
batch that led to them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import compress, repeat
from typing import Final

from continuum.engine.active import Active, Effect
from continuum.journal import RunId
from continuum.store.committer import Committer, Prepared
from continuum.store.protocol import Batch

__all__ = ["Pipeline"]

GIVE_WAY: Final = 0.001
"""Seconds for which the loop lets the committer write, at the most, before the disk is waited for side by side."""

Closed = tuple[Active, list[Effect], bool]
"""A run, the effects that are due once its batch is committed, and whether this batch is its last."""


class Pipeline:
    """What the runs of one worker have gathered, on its way. All methods are for the loop's thread.

    ``close(active)`` gives a run's next batch, if it has one, and the effects behind it. ``perform(active, effects,
    last)`` lets these happen; ``refused(active)`` is told of a run whose batch was not applied.
    """

    def __init__(
        self,
        committer: Committer,
        close: Callable[[Active], tuple[Batch | None, list[Effect]]],
        perform: Callable[[Active, list[Effect], bool], None],
        refused: Callable[[Active], None],
    ) -> None:
        self._committer = committer
        self._close = close
        self._perform = perform
        self._refused = refused
        self._durable: deque[Closed] = deque()  # what was committed, and is to be performed
        self.touched: dict[RunId, Active] = {}
        """The runs that have something to commit or to perform."""
        self.committing = False
        """Whether a commit is under way."""

    @property
    def waiting(self) -> bool:
        """Whether something that is durable is still to be performed."""
        return bool(self._durable)

    @property
    def at_work(self) -> bool:
        """Whether anything is on its way."""
        return self.committing or bool(self.touched or self._durable)

    def touch(self, active: Active) -> None:
        """Close the run's batch soon, and perform what is behind it."""
        self.touched[active.id] = active

    def forget(self, active: Active) -> None:
        """Let a run be that is lost. One of that id may have been taken up again meanwhile."""
        if self.touched.get(active.id) is active:
            del self.touched[active.id]

    def commit(self) -> None:
        """Send off what the touched runs have gathered, unless a commit is under way."""
        while self.touched and not self.committing:
            touched, self.touched = self.touched, {}
            batches: list[Batch] = []
            closed: list[Closed] = []  # those of the batches come first
            calm: list[Closed] = []
            for active in touched.values():
                batch, effects = self._close(active)
                if batch is None:
                    calm.append((active, effects, active.ended))
                else:
                    batches.append(batch)
                    closed.append((active, effects, active.ended))
            if batches:
                self.committing = True
                closed += calm
                self._committer.submit(Prepared(batches, partial(self._committed, closed)), give_way=GIVE_WAY)
            else:
                for each in calm:
                    self._perform(*each)

    def perform(self, most: int) -> None:
        """Let that many runs' effects happen whose batches are durable."""
        durable, perform = self._durable, self._perform
        for _ in range(min(most, len(durable))):
            perform(*durable.popleft())

    def _committed(self, closed: list[Closed], job: Prepared) -> None:
        self.committing = False
        if job.error is not None:
            raise job.error
        if not all(job.applied):
            applied = [*job.applied, *repeat(True, len(closed) - len(job.applied))]
            for (active, _, _), done in zip(closed, applied, strict=True):
                if not done:
                    self._refused(active)  # before anything more is committed for it
            closed = list(compress(closed, applied))
        self._durable.extend(closed)
        self.commit()
