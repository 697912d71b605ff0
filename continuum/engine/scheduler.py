"""The scheduler: gather what has arrived, feed the machines, commit once, perform the effects, repeat.

Everything reaches the scheduler as a call to make, in its mailbox: results of steps, ends of commits, a
poke that says "look what is there". The calls feed runs, which gather what their machines ask for; how that is
committed, and performed behind it, is the business of :mod:`continuum.engine.pipeline`. All of it goes in
slices: a thousand results that come at once are not fed before the first of them are on their way to the disk, and
between two slices the other tasks of the loop have their turn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import anyio

from continuum.durations import NANOSECONDS
from continuum.engine.active import Active
from continuum.engine.effects import Attempt, Effects
from continuum.engine.gathering import Effect
from continuum.engine.intake import Intake
from continuum.engine.keeping.keeper import Keeper
from continuum.engine.lease import Lease, Registration
from continuum.engine.line import Line
from continuum.engine.lookout import Lookout
from continuum.engine.machine.requests import Event, LookUp, TakeSlot, TimerFired
from continuum.engine.pipeline import Pipeline
from continuum.engine.steps import Performer
from continuum.engine.sweeper import Sweeper
from continuum.engine.timers import Timers
from continuum.engine.watchdog import Holdups, Watchdog
from continuum.journal import Outcome, Position, RunId
from continuum.mailbox import Mailbox
from continuum.stamps import Stamps
from continuum.store.calls import InHand
from continuum.store.committer import Committer
from continuum.store.ledger import Ledger
from continuum.store.limits import Bound, bound_of_workflow
from continuum.store.look import Nudge, Queued, Taken
from continuum.store.payload import this_python
from continuum.store.protocol import Batch, Store
from continuum.store.recorder import Recorder
from continuum.store.records import Continuation, RunEnd, RunRecord
from continuum.store.tenure import Tenure
from continuum.store.worklist import Worklist
from continuum.workflow import Registry

__all__ = ["Call", "Scheduler"]

logger = logging.getLogger("continuum.engine")

Call = Callable[[], object]
Timer = tuple[RunId, Position] | RunId | bytes | None
"""A run's own timer, a run that may leave memory, the line of a limit, or a look into the store."""

LINGER: Final = 5 * NANOSECONDS
"""How long a run that waits stays in memory."""

SLICE: Final = 200
"""How many inputs are fed, and how many runs' effects performed, before the committer is seen to again."""

TURN: Final = 5_000_000
"""Nanoseconds after which a slice ends early, where inline steps or the code of workflows take long."""

WINDOW: Final = 400
"""How many runs are worked on at once, at the least; a run that waits is not counted.

Two slices: one is on its way to the disk while the other is at work. More would not stay in the processor's cache.
"""

SHARED_WINDOW: Final = 16
"""The same beside other workers, which are to have theirs; it grows with the steps that may be performed at a time."""


class Scheduler:
    """Works on the runs of one store for one engine, on the loop that :meth:`run` is called from.

    `settled(run_id, end)` is called when a run's end has been committed; `clock` gives nanoseconds
    since the epoch; `given_up()` is called, on another thread, when a run holds up this worker and others go on
    with what it had. With `carried` it executes runs of other workflows by the code that they carry. With
    `continuations` such are kept by themselves, else only where a workflow asks.
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        mailbox: Mailbox[Call],
        ledger: Ledger,
        registry: Registry,
        *,
        queues: Sequence[str],
        concurrency: int,
        carried: bool,
        registration: Registration,
        lease: int,
        clock: Callable[[], int],
        stamps: Stamps,
        continuations: bool,
        settled: Callable[[RunId, RunEnd], None],
        given_up: Callable[[], object],
    ) -> None:
        self.ledger = ledger
        self.committer = committer
        self.mailbox = mailbox
        self.clock = clock
        self.stamps = stamps
        self.performer: Performer[Attempt] = Performer(self._step_landed, ledger.codec, concurrency=concurrency)
        self.timers: Timers[Timer] = Timers()
        self._registry = registry
        self._takes_carried = carried
        recorder = Recorder(ledger, stamps, self._bound_of)
        self._worklist = Worklist(ledger, stamps, queues, self._works_on, self._bound_of, self._load)
        self.keeping = Keeper(self, registry, recorder, auto=continuations)
        self.lease = Lease(store, committer, ledger, registration, lease, lost=self.lose_all, left=self._inherit)
        holdups = Holdups(committer, lambda: self.lease.tenure, given_up)
        self._watchdog = Watchdog(lease / NANOSECONDS, mailbox.post, holdups.begin, holdups.end)
        self.sweeper = Sweeper(committer, ledger.codec)
        self._lookout = Lookout(self, self._worklist, self.lease)
        self._intake = Intake(registry, recorder, self.keeping)
        self._effects = Effects(self)
        run_step = self._effects.run_step
        self._pipeline = Pipeline(committer, clock, self._fence, self._close, self._perform, run_step, self._lose)
        self.touch = self._pipeline.touch
        """Close that run's batch soon, and perform what is behind it."""
        self._settled = settled
        self._window = max(WINDOW, 2 * concurrency)
        self._shared_window = max(SHARED_WINDOW, concurrency, min(2 * concurrency, SLICE))
        self._runs: dict[RunId, Active] = {}
        self._busy: set[RunId] = set()  # of these, those with something under way
        self._lined_up: set[Active] = set()  # of these, those that may be in line for a result or a slot
        self._line = Line(lambda record: self._bound_of(record.workflow) is None and self._worklist.takes(record))
        self._memory: set[Active] = set()  # those, and those that are just leaving
        self._landed: deque[tuple[Attempt, Outcome]] = deque()  # steps that have ended
        self._idlers: list[anyio.Event] = []
        self._draining = False  # nothing new is taken up
        self._drained = False  # no step is in flight any more
        self._stopped = False

    # The life of the scheduler

    async def run(self) -> None:
        """Work until :meth:`stop`. Ends early with the store's error when it can no longer be written."""
        try:
            async with self.performer:
                with self._watchdog:
                    await self._work()
        finally:
            self.keeping.close()
            for active in self._memory:
                active.discard()
                self.keeping.forget(active)
            for idle in self._idlers:
                idle.set()

    async def _work(self) -> None:
        self._inherit()
        while not self._stopped:
            self.lease.tick(self._at_work)
            if not self._draining:
                self._lookout.look(self._room(), self._most())
            if self._has_more:
                self.mailbox.wake()
            await self.mailbox.wait(self._patience())
            for call in self.mailbox.drain(SLICE):
                call()
            self._lookout.tell(SLICE, self.clock() + TURN)
            self._pipeline.perform(SLICE, self.clock() + TURN)
            self._feed_next()
            if self._line:
                self._begin(self._room())
            self._fire_timers()
            self._pipeline.commit()
            if self._drained and not (self._pipeline.committing or self._pipeline.waiting or self._landed):
                self._leave()
            while self._idlers and self._idle():
                self._idlers.pop().set()

    async def stop(self, grace: float) -> None:
        """Take nothing more up, give steps in flight `grace` seconds, write down what they gave, end."""
        self._draining = True
        await self.performer.drain(grace)
        self.mailbox.post(self._on_drained)

    async def until_idle(self) -> None:
        """Return when nothing can be done before something arrives or a timer is due."""
        idle = anyio.Event()
        self._idlers.append(idle)
        self.mailbox.wake()
        await idle.wait()

    def poke(self) -> None:
        """Something may have come into the store. May be called from any thread."""
        self.mailbox.post(self.look_again)

    def look_again(self) -> None:
        """The same on the loop: it is looked before the scheduler can be idle."""
        self._lookout.look_again()

    def in_hand(self) -> InHand:
        """The runs in memory as they are now, for which something may come."""
        hand = InHand({**self._line.runs, **self._runs})
        for active in self._lined_up:
            if not active.ended:
                active.stand_in_line(hand)
        return hand

    def added(self) -> None:
        """A run came into the store that nobody has."""
        self._lookout.added()
        self.mailbox.wake()

    def holds(self, run_id: str) -> bool:
        """Whether the run is in memory: then `settled` will tell of its end."""
        return run_id in self._runs or run_id in self._line

    def reserve(self, record: RunRecord) -> Tenure | None:
        """The tenure under which a run may be started, to be worked on at once; None if there is no room.

        :meth:`begin` is to be called for it once it has been started, or could not be.
        """
        tenure = self.lease.tenure
        if self._draining or self._lookout.crowded or not tenure.enlisted:
            return None
        return tenure if self._line.reserve(record) else None

    def begin(self, records: Mapping[str, RunRecord], claims: Mapping[RunId, bytes], tenure: Tenure) -> None:
        """Work on runs for which room was reserved under that tenure: on those that were started have these claims."""
        self._line.give_back(len(records))
        if len(claims) < len(records):  # the others may be there for any worker
            self._lookout.look_again()
        if self.lease.tenure is tenure:
            self._line.add(records, claims)

    def _on_drained(self) -> None:
        self._drained = True
        self.timers.close()  # or a run that sleeps for shorter than a commit takes would put off the end for ever

    @property
    def _has_more(self) -> bool:
        """Whether there is more than the last slice had room for."""
        has_more = self._landed or self._pipeline.waiting or self._lookout.telling
        return bool(has_more or (self._line and self._room() > 0))

    def _patience(self) -> float | None:
        """How long nothing has to be done unless something arrives, in seconds."""
        due, patience = self.timers.next_due(), self.lease.patience()
        if due is None:
            return patience
        until_due = max(0.0, (due - self.clock()) / NANOSECONDS)
        return until_due if patience is None else min(until_due, patience)

    def _idle(self) -> bool:
        due = self.timers.next_due()
        if due is not None and due <= self.clock():
            return False
        at_work = self._pipeline.at_work or self._landed or self._busy or self._line
        beside = self._effects.sharing.at_work or self._effects.limiting.at_work or self.keeping.at_work
        return self._lookout.idle and self.lease.idle and not (at_work or beside)

    def _at_work(self) -> bool:
        """Whether this worker has, or is about to have, anything in hand that others would have to go on with."""
        in_hand = self._memory or self._line.at_work or self._lookout.looking
        beside = self._effects.sharing.at_work or self._effects.limiting.at_work or self.sweeper.at_work
        return bool(in_hand) or beside

    def _inherit(self) -> None:
        """Go on with what workers have left that are gone."""
        self._lookout.orphaned()
        self._effects.sharing.inherit()
        self._effects.limiting.inherit()
        self.sweeper.inherit()

    def _leave(self) -> None:
        """Hand every run back; stop once that is written down. Those in line are begun before, and then handed back."""
        for active in list(self._runs.values()):
            self._release(active)
        self._pipeline.commit()
        self._stopped = not self._pipeline.at_work

    def _works_on(self, label: str) -> bool:
        """Whether it has the workflow of that label, or takes and can load the code that runs of that label carry."""
        name, version, *python = label.split("\0")
        known = self._registry.get(name)
        return (known is not None and known.version == version) or (self._takes_carried and python == [this_python()])

    def _bound_of(self, name: str) -> Bound | None:
        return bound_of_workflow(self._registry.get(name))

    def _load(self, record: RunRecord, continuation: Continuation) -> object:
        return self.keeping.load(record, continuation)

    # Taking up

    def _most(self) -> int:
        return self._shared_window if self.lease.in_company else self._window

    def _room(self) -> int:
        return self._most() - len(self._busy)

    def _begin(self, most: int) -> None:
        """Begin that many of the runs that were started in this worker's hands."""
        clock, now = self.clock, self.clock()
        until = now + TURN
        for fresh in self._line.take(most):
            active, step = self._intake.begin(fresh, now)
            self._hold(active)
            if step is None:
                self.touch(active)
            else:
                self._pipeline.set_out(active, step)
            if clock() > until:
                return

    def take_up(self, taken: Taken) -> Active | None:
        """Work on a run that was claimed. What is claimed by an engine that ends is its successor's."""
        return None if self._draining else self._take_up(taken)

    def _take_up(self, taken: Taken) -> Active | None:
        active = self._intake.take_up(taken, self.clock())
        if active is None:
            self._lookout.reclaim(taken.record.id)
            return None
        self.keeping.begin(active, taken)
        self._hold(active)
        self.touch(active)
        return active

    def _hold(self, active: Active) -> None:
        self._runs[active.id] = active
        self._memory.add(active)
        self._busy.add(active.id)

    def queued(self, queued: Queued) -> None:
        """A run that may not begin yet waits in line."""
        self._effects.limiting.look_later(queued.digest, queued.again)

    def nudge(self, nudge: Nudge) -> None:
        """Something came for a run that is in memory."""
        if nudge.run_id in self._line:
            self._take_up(self._worklist.taken(self._line.pop(nudge.run_id), nudge.messages))
        active = self._runs.get(nudge.run_id)
        if active is None or active.ended:  # it is just leaving
            self._lookout.look_again()
            return
        self._lined_up.discard(active)
        active.batch.deletes.extend(nudge.ready)
        self._intake.deliver(active, nudge.messages, self.clock())
        if active.shares is not None and not active.ended:
            self._ask_again(active, active.shares.leave_line())
        if active.slots is not None and not active.ended:
            self._ask_again(active, active.slots.leave_line())
        self.touch(active)

    def _ask_again(self, active: Active, requests: Sequence[LookUp | TakeSlot]) -> None:
        active.in_flight.update(request.position for request in requests)
        for request in requests:
            self._effects.perform(active, request)

    # Feeding

    def answer(self, active: Active, position: Position, event: Event) -> None:
        """Feed what became of an effect, if it still matters."""
        if not active.ended:
            active.in_flight.discard(position)
            self._feed(active, event)

    def await_child(self, active: Active, position: Position, foreign: RunId | None) -> None:
        """A child is under way. One that the run did not start itself tells nobody: it is looked after."""
        if self.goes_on(active):
            active.in_flight.discard(position)
            self.touch(active)
            if foreign is not None:
                active.anchored = True
                self._lookout.await_end(foreign, active, position)

    def goes_on(self, active: Active) -> bool:
        """Whether this is the run as it is here, and not one that was lost, has ended or goes on as another."""
        return not active.ended

    def await_other(self, active: Active, position: Position) -> None:
        """The command waits for other runs, and holds no slot meanwhile; this one is looked at when it may go on."""
        if self.goes_on(active):
            active.in_flight.discard(position)
            self._lined_up.add(active)
            self.touch(active)

    def block(self, active: Active, reason: str) -> None:
        """Something that the run needs cannot be loaded."""
        if self.goes_on(active):
            active.block(reason)
            self.touch(active)

    def _feed(self, active: Active, event: Event) -> None:
        active.feed(event, self.clock())
        self.touch(active)

    def _step_landed(self, attempt: Attempt, outcome: Outcome) -> None:
        if not self._landed:
            self.mailbox.wake()
        self._landed.append((attempt, outcome))

    def _feed_next(self) -> None:
        landed, touch, go_straight_on, clock = self._landed, self.touch, self._pipeline.go_straight_on, self.clock
        now = clock()
        until = now + TURN
        for _ in range(min(SLICE, len(landed))):
            attempt, outcome = landed.popleft()
            active = attempt.owner
            if not active.ended:
                passed = active.step_done(attempt.key, outcome, now)
                if passed is None:
                    touch(active)
                else:
                    go_straight_on(active, *passed)
                if clock() > until:
                    return

    def _fire_timers(self) -> None:
        clock, now = self.clock, self.clock()
        until = now + TURN
        for timer in islice(self.timers.pop_due(now), SLICE):
            match timer:
                case None:
                    self._lookout.timer_came()
                case bytes():
                    self._effects.limiting.look(timer, now)
                case (run_id, position):
                    active = self._runs.get(run_id)
                    if active is not None and not active.ended:
                        self._feed(active, TimerFired(position))
                case run_id:
                    self._consider_leaving(run_id, now)
            if clock() > until:
                return

    # Committing and performing

    def _fence(self) -> tuple[bytes, bytes]:
        return self.lease.tenure.entry

    def _close(self, active: Active, common: Batch, now: int) -> tuple[Batch | None, list[Effect]]:
        if active.number >= active.keep_at:
            self.keeping.attend(active, now)
        closed = active.close(now, common)
        if active.in_flight and not active.ended:
            self._busy.add(active.id)
        else:
            self._busy.discard(active.id)
            if active.idle_since == now:
                self.timers.add(now + LINGER, active.id)
        return closed

    def _perform(self, active: Active, effects: Iterator[Effect], last: bool, until: int) -> bool:
        """What led to these effects is committed: let them happen, unless the run is lost by now.

        False where there may be more of them, since the clock has passed `until`.
        """
        if active in self._memory:
            perform, clock = self._effects.perform, self.clock
            for effect in effects:
                perform(active, effect)
                if clock() > until:
                    return False
        if last:
            self._drop(active)
            if active.end is not None:
                self._settled(active.id, active.end)
                self._lookout.ended(active)
        return True

    # Letting go

    def _consider_leaving(self, run_id: RunId, now: int) -> None:
        """A run has waited for a while: it may leave memory, unless something has come up."""
        active = self._runs.get(run_id)
        if active is None or active.busy or active.ended or active.anchored or active.idle_since is None:
            return
        quiet = now - active.idle_since >= LINGER and not active.changed and run_id not in self._pipeline.touched
        if quiet and not self.keeping.before_leaving(active):
            self._release(active)
        else:
            self.timers.add((now if quiet else max(now, active.idle_since)) + LINGER, run_id)

    def _release(self, active: Active) -> None:
        if not active.ended:
            now = self.clock()
            self.keeping.before_release(active, now)
            active.release(now)
            del self._runs[active.id]
            self.touch(active)

    def _lose(self, active: Active) -> None:
        """A check failed: the run is another worker's, or its batch met something unforeseen."""
        if active not in self._memory:
            return  # an earlier batch was refused already
        logger.warning("run %s was lost to another worker", active.id, extra={"run_id": active.id})
        self._drop(active)
        self._lookout.reclaim(active.id)

    def lose_all(self) -> None:
        """Others have found this worker dead: what it had in hand is theirs, and it goes on as a new one."""
        logger.warning("this worker was silent for too long: others go on with its %d runs", len(self._memory))
        self.lease.lose()
        self._line.clear()
        for active in list(self._memory):
            self._drop(active)
        self._lookout.orphaned()

    def _drop(self, active: Active) -> None:
        if self._runs.get(active.id) is active:
            del self._runs[active.id]
            self._busy.discard(active.id)
        self._pipeline.forget(active)
        active.ended = True
        if active.blocked is not None:
            logger.error("run %s is blocked: %s", active.id, active.blocked, extra={"run_id": active.id})
        for position in active.in_flight:
            self.performer.cancel(active, position)
        active.in_flight.clear()
        active.discard()
        self.keeping.forget(active)
        self._memory.discard(active)
        self._lined_up.discard(active)
        self._lookout.dropped(active)
