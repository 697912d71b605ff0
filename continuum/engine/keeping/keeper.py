"""Keeping continuations: when one is made, what is done before that, and what becomes of the history behind it.

The scheduler asks at four places: a run is taken up (:meth:`Keeper.begin`), its batch is about to be closed
(:meth:`Keeper.attend`, if it has as many entries as were set for it), it leaves memory
(:meth:`Keeper.before_leaving`, :meth:`Keeper.before_release`), and its continuation is to be loaded
(:meth:`Keeper.load`). When a batch is closed all code of the run waits, and all that it has recorded is in that
batch or committed before it. So a continuation made then stands for all of that, and is committed with it.

A run starts on plain generators. It changes over to twins (:mod:`continuum.engine.keeping.changeover`) when
a continuation is wanted for the first time. What cannot be captured is noted with its reason, and the run goes on
without; only a workflow that has asked for its history to be deleted is told.
"""

from __future__ import annotations

from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from continuum.engine.active import Active
from continuum.engine.continuation.frames import adopt
from continuum.engine.continuation.refusal import Refused, Stale
from continuum.engine.gathering import NEVER
from continuum.engine.intake import machine_of
from continuum.engine.keeping.capture import Captured, Loaded, capture, load, resume, twin_body
from continuum.engine.keeping.changeover import Changeover, Pairs, Replays
from continuum.engine.keeping.upkeep import LONG, Upkeep
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.outcome import NOTHING
from continuum.engine.machine.requests import HistoryDropped
from continuum.errors import CompactRefused
from continuum.journal import Entry, Outcome, RunId
from continuum.store.codec import unseal
from continuum.store.committer import Single
from continuum.store.look import Taken
from continuum.store.recorder import Recorder
from continuum.store.records import Continuation, Refusal, RunRecord
from continuum.workflow import Registry

if TYPE_CHECKING:
    from continuum.engine.scheduler import Scheduler

__all__ = ["Keeper"]

DELETED: Final = (
    "the first {:,} entries of its history were deleted, so it can only go on from its continuation, and that cannot "
    "be used here: {}. Nothing else is lost. Put the code back, then start a worker again"
)

CARRIED: Final = "it is executed by the code that came with it, to which no state can refer"

LEAST: Final = 60
"""Bytes that an entry takes up, at the least."""


class Keeper:
    """Keeps the continuations of a scheduler's runs. With `auto` it makes them by itself, else only for Compact."""

    def __init__(self, scheduler: Scheduler, registry: Registry, recorder: Recorder, *, auto: bool) -> None:
        self._scheduler = scheduler
        self._registry = registry
        self._recorder = recorder
        self._codec = recorder.codec
        self._auto = auto
        self._replays = Replays(scheduler.clock, scheduler.mailbox.post)
        self._unfit: dict[RunId, tuple[str, int]] = {}  # why one cannot be used though it was loaded, and of when it is
        self.first_look = LONG if auto else NEVER
        """With how many entries the continuation of a fresh run is to be seen to."""
        self.at_work = 0
        """How many runs are changing over to twins."""

    # A run is taken up

    def load(self, record: RunRecord, continuation: Continuation) -> Loaded | None:
        """What a continuation holds, to be resumed. Raises why it cannot be used. For the committer's thread."""
        if not self._auto and not record.compacted:
            return None
        try:
            workflow = self._registry[record.workflow]
            if continuation.generation != record.generation:
                raise Stale(f"it is of generation {continuation.generation} of the run")
            if self._unfit.get(record.id, ("", 0))[1] == continuation.at:
                raise Stale(self._unfit[record.id][0])
            return load(continuation.payload, workflow)
        except Exception as error:  # any code of the user's may run in a pickle
            raise self._told(record, error) from error

    def resume(self, record: RunRecord, continuation: Continuation, loaded: Loaded) -> Machine | None:
        """The run's machine as it was loaded. None where it cannot be used after all: the next load says so.

        Raises that where there is nothing else to go on from.
        """
        make = partial(machine_of, record, self._registry[record.workflow], encode=self._codec.outcome, adopt=adopt)
        try:
            return resume(loaded, make)
        except Exception as error:  # any code of the user's may run as a generator is entered
            if record.compacted:
                raise self._told(record, error) from error
            self._unfit[record.id] = str(error), continuation.at
            return None

    def _told(self, record: RunRecord, error: Exception) -> Exception:
        return Stale(DELETED.format(record.compacted, error)) if record.compacted else error

    def begin(self, active: Active, taken: Taken) -> None:
        """A run was taken up that was begun before: set when its continuation is to be seen to."""
        last = taken.continuation
        if taken.journal and any(entry.key for _, entry in taken.journal):
            active.keyed = True
        if last is not None:
            active.keyed = active.keyed or last.keyed
            active.upkeep = Upkeep(max(active.record.journal_start, last.number), last)
            active.upkeep.twins = taken.resumed is not None
            if taken.unfit:
                self._note(
                    active, active.upkeep, f"the last one cannot be used: {taken.unfit}", self._scheduler.clock()
                )
        if not active.dropping:
            self._look_later(active)

    def _look_later(self, active: Active) -> None:
        number = active.record.journal_start if active.upkeep is None else active.upkeep.number
        active.keep_at = number + self.first_look

    # Its batch is about to be closed

    def attend(self, active: Active, now: int) -> None:
        """See to a run's continuation."""
        try:
            if not active.ended:
                self._attend(active, now)
        except Exception as error:  # no other run suffers from it
            active.fault(error)

    def _attend(self, active: Active, now: int) -> None:
        upkeep = self._upkeep(active)
        if upkeep.changeover is not None:
            upkeep.changeover.collect(active.gathered())
            if not self._changed_over(active, upkeep, now):
                return
        if not upkeep.twins and (active.dropping or upkeep.wanted):
            if upkeep.hopeless:
                self._refuse(active, upkeep, upkeep.hopeless, now)
            elif active.dropping or self._replays.rested:
                self._change_over(active, upkeep)
            else:
                active.keep_at = upkeep.put_off(active.number)
        elif active.dropping or upkeep.wanted:
            self._capture(active, upkeep, now)
        elif not upkeep.looking:
            self._look(active, upkeep)

    def before_leaving(self, active: Active) -> bool:
        """Whether a run that may leave memory is to stay until its continuation was seen to."""
        since = active.record.journal_start if active.upkeep is None else active.upkeep.number
        if not self._auto or active.number - since < LONG:
            return False
        upkeep = self._upkeep(active)
        if upkeep.hopeless or upkeep.refused_at == active.number:
            return False
        upkeep.leaving = True
        if upkeep.wanted:
            self._scheduler.touch(active)
        elif not upkeep.looking:
            self._look(active, upkeep)
        return True

    def before_release(self, active: Active, now: int) -> None:
        """A run is handed back, such as when the engine ends: capture it if that can be done at once."""
        upkeep = active.upkeep
        if not self._auto or upkeep is None or not upkeep.twins or active.dropping:
            return
        if active.number - upkeep.number >= LONG:
            self._capture(active, upkeep, now)

    def _upkeep(self, active: Active) -> Upkeep:
        if active.upkeep is None:
            active.upkeep = Upkeep(active.record.journal_start)
        if active.carried is not None:
            active.upkeep.hopeless = CARRIED
        return active.upkeep

    # Is it worth it?

    def _look(self, active: Active, upkeep: Upkeep) -> None:
        upkeep.looking = True
        active.keep_at = NEVER
        number = active.number
        sizes = partial(self._recorder.size, run_id=active.id, start=upkeep.number, stop=number)
        self._scheduler.committer.submit(
            Single(lambda view: (None, sizes(view)), partial(self._looked, active, upkeep, number))
        )

    def _looked(self, active: Active, upkeep: Upkeep, number: int, job: Single[int]) -> None:
        upkeep.looking = False
        if not self._scheduler.goes_on(active) or upkeep.wanted or active.dropping or number <= upkeep.number:
            return
        upkeep.recent = job.result()
        if upkeep.due(number):
            upkeep.wanted = True
            active.keep_at = 0
            if upkeep.leaving or not active.busy:
                self._scheduler.touch(active)
        else:
            upkeep.leaving, upkeep.refused_at = False, number
            active.keep_at = upkeep.next_look(number)

    # From plain generators to twins

    def _change_over(self, active: Active, upkeep: Upkeep) -> None:
        if active.takes_back:  # they are still in the store
            self._scheduler.touch(active)
            return
        change = upkeep.changeover = Changeover(partial(self._twin_machine, active.record), self._decode)
        self.at_work += 1
        recent = active.gathered()
        change.collect(recent)
        read = partial(
            self._recorder.stored, run_id=active.id, start=active.record.journal_start, stop=active.number - len(recent)
        )
        self._scheduler.committer.submit(
            Single(lambda view: (None, read(view)), partial(self._have_read, active, change))
        )

    def _twin_machine(self, record: RunRecord) -> Machine:
        workflow = self._registry[record.workflow]
        args, kwargs = self._codec.decode(record.payload)
        return machine_of(record, workflow, twin_body(workflow, *args, **kwargs), self._codec.outcome, adopt)

    def _decode(self, key: bytes, data: bytes) -> Entry:
        return self._codec.decode_entry(unseal(key, data))

    def _have_read(self, active: Active, change: Changeover, job: Single[Pairs]) -> None:
        change.begin(job.result())
        if self._scheduler.goes_on(active):
            self._replays.submit(change, partial(self._replayed, active, change))

    def _replayed(self, active: Active, change: Changeover) -> None:
        if self._scheduler.goes_on(active):
            self._scheduler.touch(active)
        else:
            change.abandon()

    def _changed_over(self, active: Active, upkeep: Upkeep, now: int) -> bool:
        """Whether the change is over, with twins or without."""
        change = upkeep.changeover
        assert change is not None, "the run is changing over"
        if change.at_work:
            return False
        if change.far and not change.reason:
            self._replays.submit(change, partial(self._replayed, active, change))
            return False
        change.replay(now)
        machine = change.relieve(active.machine)
        upkeep.changeover = None
        self.at_work -= 1
        if machine is None:
            upkeep.hopeless = change.reason
        else:
            plain, active.machine = active.machine, machine
            upkeep.twins = True
            plain.discard()
        return True

    # Capturing

    def _capture(self, active: Active, upkeep: Upkeep, now: int) -> None:
        asked = bool(active.dropping)
        drop = asked or self._registry[active.record.workflow].history == "since_continuation"
        begun = perf_counter_ns()
        try:
            state = capture(active.machine, only_truth=drop)
        except Refused as refused:
            self._refuse(active, upkeep, refused.reason, now, perf_counter_ns() - begun)
            return
        cost = perf_counter_ns() - begun
        continuation = _continuation(active, upkeep, state, now, cost, keyed=active.keyed and not drop)
        reason = self._too_large(continuation, asked)
        if reason:
            self._refuse(active, upkeep, reason, now, continuation.cost, grow=True)
            return
        active.keep(continuation, drop=drop)
        upkeep.kept(continuation)
        self._look_later(active)
        self._answer(active, NOTHING, now)

    def _refuse(
        self, active: Active, upkeep: Upkeep, reason: str, now: int, cost: int = 0, *, grow: bool = False
    ) -> None:
        """No continuation is kept here; the next one is tried later, unless there is no hope."""
        again = upkeep.refused(active.number, cost, grow=grow)
        active.keep_at = again if self._auto and not upkeep.hopeless else NEVER
        self._note(active, upkeep, reason, now)
        if active.dropping:
            where = ", ".join(active.machine.whereabouts())
            error = CompactRefused(
                f"Compact() cannot delete the history of run {active.id!r} here ({where}), since no continuation "
                f"can be kept in its place: {reason}. Catch CompactRefused to go on with the history as it is"
            )
            self._answer(active, self._codec.failure(error), now)

    def _note(self, active: Active, upkeep: Upkeep, reason: str, now: int) -> None:
        if upkeep.noted != reason:
            upkeep.noted = reason
            active.refuse(Refusal(active.number, now, reason))

    def _answer(self, active: Active, outcome: Outcome, now: int) -> None:
        """Tell the commands that wait for the history to be deleted what became of that."""
        positions, active.dropping = active.dropping, []
        for position in positions:
            active.in_flight.discard(position)
            active.feed(HistoryDropped(position, outcome), now)
        if active.dropping:  # again, at once
            self._scheduler.touch(active)

    # Letting go

    def forget(self, active: Active) -> None:
        """A run is no longer in memory."""
        upkeep = active.upkeep
        if upkeep is not None and upkeep.changeover is not None:
            upkeep.changeover.abandon()
            upkeep.changeover = None
            self.at_work -= 1

    def close(self) -> None:
        """Nothing is replayed any more."""
        self._replays.close()

    def _too_large(self, continuation: Continuation, asked: bool) -> str:
        size, limit = continuation.size, self._codec.payload_limit
        if size > limit:
            return f"it takes {size:,} bytes, over the payload limit of {limit:,}"
        if size > continuation.history and not asked:
            return f"it takes {size:,} bytes, more than the {continuation.history:,} of the history that it stands for"
        return ""


def _continuation(active: Active, upkeep: Upkeep, state: Captured, now: int, cost: int, *, keyed: bool) -> Continuation:
    recent = active.number - upkeep.number
    return Continuation(
        active.number,
        now,
        active.record.generation,
        len(state.payload),
        upkeep.entries + recent,
        upkeep.history + max(upkeep.recent, recent * LEAST),
        cost,
        state.python,
        state.where,
        state.functions,
        keyed,
        state.payload,
    )
