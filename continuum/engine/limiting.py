"""Limits, on the worker's side: the slots that a run has, and the asking around.

A step with a limit asks before each attempt, by a plan of the committer (:mod:`continuum.store.limits`); those
who ask at the same time are answered together. A run whose turn has not come waits in line and is not
polled: it is called, and then asks again, as it does whenever it is taken up. For a line whose first has to
wait for a time, the worker has a timer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from continuum.engine.machine.requests import FreeSlot, SlotGiven, TakeSlot
from continuum.journal import Position, record
from continuum.store.committer import Job, Single
from continuum.store.limits import Asker, Bound, Turn, bound_of
from continuum.store.protocol import Batch, View
from continuum.store.recorder import Recorder
from continuum.store.records import RunRecord

if TYPE_CHECKING:
    from continuum.engine.active import Active
    from continuum.engine.scheduler import Scheduler

__all__ = ["Limiting", "SlotFreed", "Slots"]

T = TypeVar("T")
Calling = tuple[bool, int | None]


@record
class SlotFreed:
    """An effect: a slot of that limit has been given back, or a place in line."""

    digest: bytes


class _Step:
    """A step from when it asks for a slot until an entry is recorded for it."""

    __slots__ = ("answered", "asker", "bound", "in_line", "place", "request")

    def __init__(self, run: RunRecord, request: TakeSlot | FreeSlot) -> None:
        limit = request.command.options.limit
        assert limit is not None, "only who has a limit asks"
        self.request = request
        self.bound: Bound = bound_of(limit, "step", request.command.name)
        self.asker = Asker.of(run, request.position)
        self.answered = False
        self.place: bytes | None = None  # where there is something to give back, as far as it was answered
        self.in_line = False


class Slots:
    """The steps of one run that have slots, or wait for them; what becomes of those goes into the run's batches."""

    def __init__(self, run: RunRecord, recorder: Recorder) -> None:
        self._run = run
        self._recorder = recorder
        self._steps: dict[Position, _Step] = {}

    def begin(self, request: TakeSlot) -> None:
        """A step is to ask for a slot."""
        self._steps[request.position] = _Step(self._run, request)

    def find(self, position: Position) -> _Step | None:
        """The step at that position, if no entry has been recorded for it since it asked."""
        return self._steps.get(position)

    def in_line(self) -> Iterator[tuple[bytes, bytes]]:
        """The limits for which steps are in line, and their places."""
        for step in self._steps.values():
            if step.in_line and step.place is not None:
                yield step.bound.digest, step.place

    def leave_line(self) -> list[TakeSlot]:
        """What is to be asked for again, now that something has come for the run."""
        called = [step for step in self._steps.values() if step.in_line]
        for step in called:
            step.in_line = False
        return [step.request for step in called if isinstance(step.request, TakeSlot)]

    def end(self, batch: Batch, position: Position) -> list[SlotFreed]:
        """An entry is recorded for a step: with it goes its slot; gives what is to follow."""
        step = self._steps.pop(position, None)
        return [] if step is None else self._end(batch, step)

    def end_all(self, batch: Batch) -> list[SlotFreed]:
        """The run ends, or leaves the worker: with it go all its slots."""
        steps, self._steps = self._steps, {}
        return [freed for step in steps.values() for freed in self._end(batch, step)]

    def _end(self, batch: Batch, step: _Step) -> list[SlotFreed]:
        if step.place is not None:
            self._recorder.give_back(batch, step.asker, step.bound, step.place)
        elif not step.answered:  # it may have had a slot before; what else there is, the answer will tell
            self._recorder.give_slot_back(batch, step.asker, step.bound)
        else:
            return []
        return [SlotFreed(step.bound.digest)]


class _Ask(NamedTuple):
    active: Active
    step: _Step


class Limiting:
    """Asks for the runs of a scheduler, and sees to it that who waits is called."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._limits = scheduler.ledger.limits
        self._asks: list[_Ask] = []
        self._asking = False
        self._calls: set[bytes] = set()
        self._calling = False
        self._jobs = 0  # under way, besides these
        self._due: dict[bytes, int] = {}  # when to look at a line

    @property
    def at_work(self) -> bool:
        """Whether somebody is about to be answered or called."""
        return self._asking or self._calling or self._jobs > 0

    # Asking

    def ask(self, active: Active, request: TakeSlot) -> None:
        """Ask for a slot for a step."""
        step = _step_of(active, request.position)
        if step is None or step.request is not request:  # called off before; it may have had one from another worker
            self.release(active, request)
        else:
            self._asks.append(_Ask(active, step))
            self._ask_all()

    def _ask_all(self) -> None:
        if self._asks and not self._asking:
            asks, self._asks = self._asks, []
            self._asking = True
            self._scheduler.committer.submit(Job(partial(self._plans, asks=asks), partial(self._asked, asks)))

    def _plans(self, view: View, asks: Sequence[_Ask]) -> list[tuple[Batch | None, Turn | None]]:
        """On the committer's thread: a slot or a place in line for each whose run is still this worker's."""
        turns = self._limits.round(view, self._scheduler.clock(), self._scheduler.stamps.next)
        plans: list[tuple[Batch | None, Turn | None]] = []
        for active, step in asks:
            key, claim = active.fence
            if view.get(key) != claim:
                plans.append((None, None))
                continue
            batch, turn = turns.ask(step.bound, step.asker)
            if batch is not None:
                batch.checks.append(active.fence)
            plans.append((batch, turn))
        return plans

    def _asked(self, asks: Sequence[_Ask], job: Job[Turn | None]) -> None:
        self._asking = False
        if job.error is not None:
            raise job.error
        for (active, step), (applied, turn) in zip(asks, job.answers, strict=True):
            if _step_of(active, step.request.position) is not step:
                self.release(active, step.request)  # called off since
            elif not applied:
                self._asks.append(_Ask(active, step))
            elif turn is not None:
                self._answered(active, step, turn)
        self._ask_all()

    def _answered(self, active: Active, step: _Step, turn: Turn) -> None:
        position = step.request.position
        step.answered, step.place = True, turn.place
        if turn.given:
            self._scheduler.answer(active, position, SlotGiven(position))
            return
        step.in_line = True
        self._scheduler.await_other(active, position)
        self.look_later(step.bound.digest, turn.again)

    # Giving back

    def release(self, active: Active, request: TakeSlot | FreeSlot) -> None:
        """Give back what a step may have, now that it needs no slot."""
        step, stamp = _Step(active.record, request), self._scheduler.stamps.next()
        digest, (key, claim) = step.bound.digest, active.fence

        def plan(view: View) -> tuple[Batch | None, bool]:
            held = view.get(key)
            if held not in (claim, None):
                return None, False  # it is for whoever has the run now to say
            batch, there = self._limits.release(view, step.asker, digest, stamp)
            if batch is not None:
                batch.checks.append((key, held))
            return batch, there

        self._submit(plan, lambda there: self.call(digest) if there else None)

    # Calling

    def inherit(self) -> None:
        """See to the lines of workers that are gone."""
        self._submit(lambda view: (None, self._limits.lines(view)), self._inherited)

    def _inherited(self, lines: list[bytes]) -> None:
        for digest in lines:
            self.call(digest)

    def call(self, digest: bytes) -> None:
        """Call those whose turn has come."""
        self._calls.add(digest)
        self._call_all()

    def _call_all(self) -> None:
        if self._calls and not self._calling:
            calls, self._calls = sorted(self._calls), set()
            self._calling = True
            self._scheduler.committer.submit(Job(partial(self._plan_calls, calls=calls), partial(self._called, calls)))

    def _plan_calls(self, view: View, calls: Sequence[bytes]) -> list[tuple[Batch | None, Calling]]:
        """On the committer's thread."""
        now, stamp = self._scheduler.clock(), self._scheduler.stamps.next()
        return [self._limits.call(view, digest, now, stamp) for digest in calls]

    def _called(self, calls: Sequence[bytes], job: Job[Calling]) -> None:
        self._calling = False
        if job.error is not None:
            raise job.error
        for digest, (applied, (called, again)) in zip(calls, job.answers, strict=True):
            if not applied:
                self._calls.add(digest)
            elif called:
                self._scheduler.look_again()
            self.look_later(digest, again)
        self._call_all()

    def look_later(self, digest: bytes, again: int | None) -> None:
        """Look at a line when it is time."""
        if again is not None and again < self._due.get(digest, again + 1):
            self._due[digest] = again
            self._scheduler.timers.add(again, digest)

    def look(self, digest: bytes, now: int) -> None:
        """The time has come to look at a line."""
        if self._due.get(digest, now + 1) <= now:  # or it was done before
            del self._due[digest]
            self.call(digest)

    def _submit(self, plan: Callable[[View], tuple[Batch | None, T]], then: Callable[[T], object]) -> None:
        def done(job: Single[T]) -> None:
            self._jobs -= 1
            then(job.result())

        self._jobs += 1
        self._scheduler.committer.submit(Single(plan, done))


def _step_of(active: Active, position: Position) -> _Step | None:
    return None if active.ended or active.slots is None else active.slots.find(position)
