"""The way from what runs ask for to what happens: closed together, committed once, and only then performed.

While a commit is under way what the next inputs lead to piles up behind it, so group commit needs no timer.
*Durable before visible* is kept here and nowhere else: effects are handed over by the pipeline alone, after the
batch that led to them.

Most batches only add to the journal of a run. These go as one, for which it is enough that the worker's tenure goes
on: as long as it does nobody takes a run from it. Every other batch stands by itself, and checks the claim.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from itertools import repeat
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

    ``fence()`` is the check that the worker's tenure goes on, under which it has claimed all its runs.
    ``close(active)`` gives a run's next batch, if it has one, and the effects behind it. ``perform(active, effects,
    last)`` lets these happen; ``refused(active)`` is told of a run whose batch was not applied.
    """

    def __init__(
        self,
        committer: Committer,
        fence: Callable[[], tuple[bytes, bytes]],
        close: Callable[[Active], tuple[Batch | None, list[Effect]]],
        perform: Callable[[Active, list[Effect], bool], None],
        refused: Callable[[Active], None],
    ) -> None:
        self._committer = committer
        self._fence = fence
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
            added: list[tuple[bytes, bytes]] = []
            batches: list[Batch] = []
            adding: list[Closed] = []
            apart: list[Closed] = []  # those of the batches
            calm: list[Closed] = []
            for active in touched.values():
                batch, effects = self._close(active)
                closed = active, effects, active.ended
                if batch is None:
                    calm.append(closed)
                elif batch.only_adds:
                    added += batch.puts
                    adding.append(closed)
                else:
                    batches.append(batch)
                    apart.append(closed)
            if adding:
                batches.append(Batch([self._fence()], added))
            if batches:
                self.committing = True
                job = Prepared(batches, partial(self._committed, adding, apart, calm))
                self._committer.submit(job, give_way=GIVE_WAY)
            else:
                for each in calm:
                    self._perform(*each)

    def perform(self, most: int) -> None:
        """Let that many runs' effects happen whose batches are durable."""
        durable, perform = self._durable, self._perform
        for _ in range(min(most, len(durable))):
            perform(*durable.popleft())

    def _committed(self, adding: list[Closed], apart: list[Closed], calm: list[Closed], job: Prepared) -> None:
        self.committing = False
        if job.error is not None:
            raise job.error
        if not all(job.applied):
            if adding and not job.applied[-1]:
                adding = self._refuse(adding, repeat(False))
            apart = self._refuse(apart, job.applied)
        for closed in adding, apart, calm:
            self._durable.extend(closed)
        self.commit()

    def _refuse(self, closed: list[Closed], applied: Iterable[bool]) -> list[Closed]:
        """Tell of the runs whose batches were not applied, before anything more is committed for them; the others."""
        left = []
        for each, done in zip(closed, applied, strict=False):
            if done:
                left.append(each)
            else:
                self._refused(each[0])
        return left
