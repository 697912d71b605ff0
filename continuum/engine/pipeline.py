"""The way from what runs ask for to what happens: closed together, committed once, and only then performed.

While a commit is under way what the next inputs lead to piles up behind it, so group commit needs no timer.
*Durable before visible* is kept here and nowhere else: effects are handed over by the pipeline alone, after the
batch that led to them.

Most runs only add to their journals, and then come to an end that concerns nobody else. That goes as one batch which
they have in common, for which it is enough that the worker's tenure goes on: as long as it does nobody takes a run
from it. What else is to be changed for a run is a batch of its own, which checks the claim. A run that goes straight
on from one step to the next need not even be closed: the line of its journal and the step are all that there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from continuum.engine.active import Active
from continuum.engine.gathering import Effect, Pair
from continuum.engine.machine.requests import RunStep
from continuum.journal import RunId
from continuum.store.committer import Committer, Prepared
from continuum.store.protocol import Batch

__all__ = ["Pipeline"]

GIVE_WAY: Final = 0.001
"""Seconds for which the loop lets the committer write, at the most, before the disk is waited for side by side."""

Closed = tuple[Active, Iterator[Effect], bool]
"""A run, the effects that are due once its batch is committed, and whether this batch is its last."""

Due = tuple[Active, RunStep]
"""A run that goes straight on, and the step that is due."""


class Pipeline:
    """What the runs of one worker have gathered, on its way. All methods are for the loop's thread.

    ``clock()`` gives nanoseconds since the epoch, ``fence()`` the check that the worker's tenure goes on, under which
    it has claimed all its runs. ``close(active, common, now)`` adds to that batch what a run adds to its journal, or
    gives its next batch, and the effects behind it. ``perform(active, effects, last, until)`` lets these happen, and
    tells whether it came to their end before the clock had passed `until`, and ``begin(active, step)`` the step of a
    run that goes straight on; ``refused(active)`` is told of a run for which nothing was applied.
    """

    def __init__(
        self,
        committer: Committer,
        clock: Callable[[], int],
        fence: Callable[[], tuple[bytes, bytes]],
        close: Callable[[Active, Batch, int], tuple[Batch | None, list[Effect]]],
        perform: Callable[[Active, Iterator[Effect], bool, int], bool],
        begin: Callable[[Active, RunStep], None],
        refused: Callable[[Active], None],
    ) -> None:
        self._committer = committer
        self._clock = clock
        self._fence = fence
        self._close = close
        self._perform = perform
        self._begin = begin
        self._refused = refused
        self._durable: deque[Closed | Due] = deque()  # what was committed, and is to be performed
        self._lines: dict[Active, Pair] = {}  # of the journals of runs that go straight on
        self._steps: dict[Active, RunStep] = {}  # of the same runs
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
        return self.committing or bool(self.touched or self._lines or self._durable)

    def touch(self, active: Active) -> None:
        """Close the run's batch soon, and perform what is behind it."""
        self.touched[active.id] = active

    def set_out(self, active: Active, step: RunStep) -> None:
        """Begin the first step of a new run soon: there is nothing to be committed before."""
        self._durable.append((active, step))

    def go_straight_on(self, active: Active, line: Pair, step: RunStep) -> None:
        """Add that to a run's journal soon, and begin the step behind it."""
        self._lines[active] = line
        self._steps[active] = step

    def forget(self, active: Active) -> None:
        """Let a run be that is lost. One of that id may have been taken up again meanwhile."""
        if active in self._lines:
            del self._lines[active], self._steps[active]
        if self.touched.get(active.id) is active:
            del self.touched[active.id]

    def commit(self) -> None:
        """Send off what the runs have gathered, unless a commit is under way."""
        while (self.touched or self._lines) and not self.committing:
            common = Batch([self._fence()])
            together: list[Closed] = []
            batches: list[Batch] = []
            apart: list[Closed] = []  # those of the batches
            if self.touched:
                self._close_touched(common, together, batches, apart)
            common.puts += self._lines.values()
            straight: list[Due] = list(self._steps.items())
            self._lines.clear()
            self._steps.clear()
            if common.puts:
                batches.append(common)
            if batches:
                self.committing = True
                job = Prepared(batches, partial(self._committed, apart, [*together, *straight]))
                self._committer.submit(job, give_way=GIVE_WAY)
            else:
                self._durable += together

    def perform(self, most: int, until: int) -> None:
        """Let that many runs' effects happen whose batches are durable; fewer once the clock has passed `until`."""
        durable, begin, clock = self._durable, self._begin, self._clock
        for _ in range(min(most, len(durable))):
            due = durable.popleft()
            if len(due) == 2:
                begin(*due)
            elif not self._perform(*due, until):
                durable.appendleft(due)
                return
            if clock() > until:
                return

    def _close_touched(self, common: Batch, together: list[Closed], batches: list[Batch], apart: list[Closed]) -> None:
        touched, self.touched, now = self.touched, {}, self._clock()
        for active in touched.values():
            if active in self._lines:  # something else has come up
                active.gather_again(self._lines.pop(active), self._steps.pop(active))
            batch, effects = self._close(active, common, now)
            if batch is None:
                together.append((active, iter(effects), active.ended))
            else:
                batches.append(batch)
                apart.append((active, iter(effects), active.ended))

    def _committed(self, apart: list[Closed], together: list[Closed | Due], job: Prepared) -> None:
        self.committing = False
        if job.error is not None:
            raise job.error
        if not all(job.applied):
            applied = iter(job.applied)
            apart = [each for each in apart if self._stands(each, next(applied))]
            rest = next(applied, True)
            together = [each for each in together if self._stands(each, rest)]
        self._durable += apart
        self._durable += together
        self.commit()

    def _stands(self, closed: Closed | Due, applied: bool) -> bool:
        """Tell of a run for which nothing was applied, before anything more is committed for it."""
        if not applied:
            self._refused(closed[0])
        return applied
