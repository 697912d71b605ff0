"""Seeing what the store holds for a worker: runs to take up, messages for those it has, ends it waits for.

The store is looked at when someone pokes, when a timer in it is due, and where there was more than
room for. Looking is a job of the committer; what was seen is told to the scheduler, in slices as all else is: a run
that is taken up replays what may be a long history.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from continuum.durations import NANOSECONDS
from continuum.engine.active import Active
from continuum.engine.lease import Lease
from continuum.engine.machine.requests import ChildDone
from continuum.journal import Position, RunId
from continuum.store.committer import Job
from continuum.store.ends import outcome_of
from continuum.store.look import Freed, Look, Nudge, Queued, Taken
from continuum.store.protocol import Batch, View
from continuum.store.tenure import Roll, Tenure, call_roll
from continuum.store.worklist import Worklist

if TYPE_CHECKING:
    from continuum.engine.scheduler import Scheduler

__all__ = ["Lookout"]


RISKS: Final = 8
"""How many runs whose worker died are taken up at a time: when that happens again, few are suspected of it."""

WORTH_A_LOOK: Final = 0.25
"""Which part of its window has to be free before a worker looks again that has left more in the store."""

PROBATION: Final = NANOSECONDS
"""How long such a run is executed before another one is taken up beside it."""

Answers: TypeAlias = deque[tuple[bool, Any]]
"""What a look has found, and whether what was to be done for it has been."""


class Lookout:
    """Looks into the store for a scheduler, one look at a time."""

    def __init__(self, scheduler: Scheduler, worklist: Worklist, lease: Lease) -> None:
        self._scheduler = scheduler
        self._worklist = worklist
        self._lease = lease
        self._foreign: dict[RunId, list[tuple[Active, Position]]] = {}  # who waits for runs that others started
        self._timer_due: int | None = None  # the look that is planned for timers in the store
        self._first = True  # look: it finds those who died long ago
        self._orphans = True  # there may be runs whose worker is gone
        self._blocked: set[RunId] | None = None  # those that are still to be tried; None: not known yet
        self._risks: dict[Active, int] = {}  # runs that may have brought a worker down, and when they were taken up
        self._grave: set[Active] = set()  # of these, those that will be to blame if this one goes down
        self._shied = False  # there are more of these than are taken at a time
        self._poked = True
        self._added = False  # a run to the queue: it is looked for when there is room
        self._seen: deque[tuple[Look, Answers, Callable[[Look], None]]] = deque()  # and still to be told
        self.looking = False
        """Whether a look is under way, or not all of what it saw has been told."""
        self.crowded = False
        """There may be more in the store than there was room for."""

    @property
    def idle(self) -> bool:
        """Whether all has been seen."""
        return not (self.looking or self._poked or self._added or self.crowded or self._shied)

    def look_again(self) -> None:
        """Something may be there that was not seen yet."""
        self._poked = True

    def added(self) -> None:
        """A run may be in the store that nobody has."""
        self._added = True

    def timer_came(self) -> None:
        """The time has come for which a look was planned."""
        self._timer_due = None
        self._poked = True

    def ended(self, active: Active) -> None:
        """A run has ended: its parent was told, and who waits for it without being its parent was not."""
        self._poked = self._poked or active.record.parent is not None or bool(self._foreign)

    def dropped(self, active: Active) -> None:
        """A run is no longer in memory: it may be in the store's queue again."""
        self._poked = self._poked or active.leaving or active.successor is not None
        if self._risks.pop(active, None) is not None:
            self._poked = self._poked or self._shied
        self._grave.discard(active)

    def await_end(self, child: RunId, active: Active, position: Position) -> None:
        """Tell that run of the end of one that it waits for and did not start."""
        self._foreign.setdefault(child, []).append((active, position))

    # Looking

    def orphaned(self) -> None:
        """A worker is gone: see what it has left."""
        self._orphans = self._poked = True

    def reclaim(self, run_id: RunId) -> None:
        """See whether a run that was lost is still this worker's in the store."""
        self._ask(self._new_look(1), partial(self._worklist.reclaim, run_id=run_id), self._saw)

    def look(self, room: int, most: int) -> None:
        """Look what is there, if something may be; at most `room` runs are taken up, of the `most` there may be.

        A worker that left something in the store looks for more when there is room enough to be worth it.
        """
        if self._shied and self._fewer_risks():
            self._poked = True
        worth_it = room >= max(1, most * WORTH_A_LOOK) if self.crowded else self._added
        if self.looking or not (self._poked or worth_it):
            return
        look = self._new_look(max(0, room))
        # What came for runs in memory stands in the store's queue behind what was left there.
        look.hand = self._scheduler.in_hand() if self._poked and self.crowded else None
        look.orphans, self._orphans = self._orphans, False
        look.blocked = None if self._blocked is None else set(self._blocked)
        self._ask(look, self._look_into, partial(self._saw_all, poked=self._poked))
        self._poked = self._added = self.crowded = False
        self.looking = True

    def _fewer_risks(self) -> bool:
        """Whether one of those runs has got on."""
        before = len(self._risks)
        self._risks = {active: since for active, since in self._risks.items() if active.crashes}
        self._grave &= self._risks.keys()
        return len(self._risks) < before

    def _new_look(self, room: int) -> Look:
        roll = Roll({}, set(), {})  # until it is looked
        now = self._scheduler.clock()
        look = Look(self._lease.tenure, roll, now, room)
        look.risks = RISKS - sum(now - since < PROBATION for since in self._risks.values())
        look.grave_risks = 1 - len(self._grave) if self._lease.calm else 0
        return look

    def _ask(self, asked: Look, looking: Callable[[View, Look], None], then: Callable[[Look, Answers], None]) -> None:
        look = asked

        def plans(view: View) -> Sequence[tuple[Batch | None, Any]]:
            nonlocal look
            look = asked.begun()  # anew where what was seen before has to be forgotten
            return self._plans(view, look, looking)

        def looked(job: Job[Any]) -> None:
            if job.error is not None:
                raise job.error
            then(look, deque(job.answers))

        self._scheduler.committer.submit(Job(plans, looked))

    def _plans(
        self, view: View, look: Look, looking: Callable[[View, Look], None]
    ) -> Sequence[tuple[Batch | None, Any]]:
        """On the committer's thread: what is to be done. Raises StoreMoved where there is nothing to do any more."""
        here = self._scheduler.ledger.here(view)
        look.roll = call_roll(view)
        look.lost = look.tenure.enlisted and not look.roll.has(look.tenure)
        if not look.lost:
            looking(view, look)
            if not look.tenure.enlisted and look.claims:
                look.found.insert(0, (self._lease.enlist(look.tenure, here), look.tenure))
        cleared, self._first = self._lease.clear(view) if self._first else (), False
        return [*look.found, *cleared] or [(None, None)]

    def _look_into(self, view: View, look: Look) -> None:
        self._worklist.look(view, look)
        look.next_timer = self._worklist.next_timer(view, look.now)
        ends = ((child, self._scheduler.ledger.end(view, child)) for child in list(self._foreign))
        look.ends = [(child, end) for child, end in ends if end is not None]

    def _saw_all(self, look: Look, answers: Answers, *, poked: bool) -> None:
        self.crowded |= look.more
        self._poked |= poked and look.more and look.hand is None
        self._shied = look.shied
        if look.shied:
            self._scheduler.timers.add(look.now + PROBATION, None)
        self._blocked = self._blocked if look.lost else look.blocked
        freed = any(isinstance(answer, Freed) for _, answer in answers)
        self._orphans |= look.orphans and (look.lost or freed)  # there may be more, or somebody was faster
        self._plan_look(look.next_timer)
        self._seen.append((look, answers, self._told_all))

    def _saw(self, look: Look, answers: Answers) -> None:
        self._seen.append((look, answers, self._told))

    # Telling what was seen

    @property
    def telling(self) -> bool:
        """Whether there is something to be told."""
        return bool(self._seen)

    def tell(self, most: int, until: int) -> None:
        """Tell the scheduler of that much of what was seen; of less once the clock has passed `until`."""
        clock = self._scheduler.clock
        while self._seen:
            look, answers, told = self._seen[0]
            while answers:
                if most == 0:
                    return
                self._tell(look, *answers.popleft())
                most = most - 1 if clock() <= until else 0
            self._seen.popleft()
            told(look)

    def _tell(self, look: Look, applied: bool, answer: object) -> None:
        match answer:
            case Tenure() if applied:
                self._lease.enlisted(answer)
            case Taken() if applied:
                if look.tenure is self._lease.tenure:  # what a tenure had that is over is an orphan
                    self._take_up(answer, look)
            case Queued() if applied:
                self._scheduler.queued(answer)
                self._plan_look(answer.wake)
            case Freed() if applied:
                self._poked = True
            case Nudge():
                self._scheduler.nudge(answer)
            case _ if not applied:
                self._poked = True  # somebody was faster, or the run has changed

    def _told(self, look: Look) -> None:
        if look.lost and look.tenure is self._lease.tenure:
            self._scheduler.lose_all()

    def _told_all(self, look: Look) -> None:
        self.looking = False
        self._told(look)
        self._lease.see(look.roll)
        for child, end in look.ends:
            for active, position in self._foreign.pop(child, ()):
                outcome = outcome_of(active.codec, child, end)
                self._scheduler.answer(active, position, ChildDone(position, outcome))

    def _take_up(self, taken: Taken, look: Look) -> None:
        if self._blocked is not None:
            self._blocked.discard(taken.record.id)
        active = self._scheduler.take_up(taken)
        if active is not None and active.crashes:
            self._risks[active] = look.now
            if taken.grave:
                self._grave.add(active)

    def _plan_look(self, due: int | None) -> None:
        """Have the store looked at when a timer in it is due."""
        if due is not None and (self._timer_due is None or due < self._timer_due):
            self._timer_due = due
            self._scheduler.timers.add(due, None)
