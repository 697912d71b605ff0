"""Seeing what the store holds for a worker: runs to take up, messages for those it has, ends it waits for.

The store is looked at when someone pokes, when a timer in it is due, and where there was more than
room for. Looking is a job of the committer; what was seen is told to the scheduler.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from continuum.engine.active import Active
from continuum.engine.machine.requests import ChildDone
from continuum.journal import Position, RunId
from continuum.store.committer import Job
from continuum.store.ends import outcome_of
from continuum.store.protocol import Batch, View
from continuum.store.worklist import Nudge, Taken, Worklist

if TYPE_CHECKING:
    from continuum.engine.scheduler import Scheduler

__all__ = ["Lookout"]


class Lookout:
    """Looks into the store for a scheduler, one look at a time."""

    def __init__(self, scheduler: Scheduler, worklist: Worklist) -> None:
        self._scheduler = scheduler
        self._worklist = worklist
        self._foreign: dict[RunId, list[tuple[Active, Position]]] = {}  # who waits for runs that others started
        self._timer_due: int | None = None  # the look that is planned for timers in the store
        self._looking = False
        self._poked = True
        self.crowded = False
        """There may be more in the store than there was room for."""

    @property
    def idle(self) -> bool:
        """Whether all has been seen."""
        return not (self._looking or self._poked or self.crowded)

    def look_again(self) -> None:
        """Something may be there that was not seen yet."""
        self._poked = True

    def timer_came(self) -> None:
        """The time has come for which a look was planned."""
        self._timer_due = None
        self._poked = True

    def ended(self, active: Active) -> None:
        """A run has ended: its parent was told, and who waits for it without being its parent was not."""
        self._poked = self._poked or active.record.parent is not None or bool(self._foreign)

    def dropped(self, active: Active) -> None:
        """A run is no longer in memory: there is room again, and it may be in the store's queue again."""
        self._poked = self._poked or self.crowded or active.leaving or active.successor is not None

    def await_end(self, child: RunId, active: Active, position: Position) -> None:
        """Tell that run of the end of one that it waits for and did not start."""
        self._foreign.setdefault(child, []).append((active, position))

    # Looking

    def inherit(self) -> None:
        """See what a worker that is gone has left."""
        self._looking = True
        self._ask(lambda view: self._worklist.inherit(view, self._scheduler.clock()))

    def reclaim(self, run_id: RunId) -> None:
        """See whether a run that was lost is still this worker's in the store."""
        self._ask(partial(self._worklist.reclaim, run_id=run_id, now=self._scheduler.clock()))

    def look(self, room: int) -> None:
        """Look what is there, if something may be; at most `room` runs are taken up."""
        if self._looking or not (self._poked or (self.crowded and room > 0)):
            return
        self._poked, self._looking, self.crowded = False, True, room <= 0
        self._ask(partial(self._look_into, now=self._scheduler.clock(), room=room), room)

    def _ask(self, plans: Any, room: int | None = None) -> None:
        self._scheduler.committer.submit(Job(plans, partial(self._looked, room=room)))

    def _look_into(self, view: View, now: int, room: int) -> list[tuple[Batch | None, Any]]:
        found: list[tuple[Batch | None, Any]] = list(self._worklist.look(view, now, room))
        found.append((None, self._worklist.next_timer(view, now)))
        ends = ((child, self._scheduler.ledger.end(view, child)) for child in list(self._foreign))
        found.extend((None, (child, end)) for child, end in ends if end is not None)
        return found

    def _looked(self, job: Job[Any], room: int | None) -> None:
        self._looking = False
        if job.error is not None:
            raise job.error
        self.crowded |= room is not None and sum(isinstance(answer, Taken) for _, answer in job.answers) >= room
        for applied, answer in job.answers:
            match answer:
                case Taken() if applied:
                    self._scheduler.take_up(answer)
                case Nudge():
                    self._scheduler.nudge(answer)
                case int() if self._timer_due is None or answer < self._timer_due:
                    self._timer_due = answer
                    self._scheduler.timers.add(answer, None)
                case (child, end):
                    for active, position in self._foreign.pop(child, ()):
                        outcome = outcome_of(active.codec, child, end)
                        self._scheduler.answer(active, position, ChildDone(position, outcome))
                case _ if not applied:
                    self._poked = True  # somebody was faster, or the run has changed
