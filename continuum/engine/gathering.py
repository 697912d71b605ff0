"""What has been gathered for a run, and is not committed yet.

What the machine asks for goes two ways: entries and what belongs to them into the run's next batch,
everything else behind it as effects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from continuum.engine.limiting import SlotFreed, Slots
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import (
    CancelChild,
    CancelStep,
    ContinueRun,
    DropHistory,
    Event,
    LookUp,
    Mismatch,
    PublishState,
    Request,
    RunStep,
    SendEvent,
    Settle,
    StartChild,
    Started,
    StepDone,
    TakeSlot,
)
from continuum.engine.sharing import PartOver, Shares
from continuum.engine.succession import successor_of
from continuum.errors import UsageError
from continuum.journal import TAKES, Entry, Failure, Kind, Outcome, Position, RunId, Status, record
from continuum.store import keys
from continuum.store.calls import InHand
from continuum.store.carried import Carried, pack
from continuum.store.codec import Codec
from continuum.store.payload import this_python
from continuum.store.protocol import Batch
from continuum.store.recorder import Recorder, Successor
from continuum.store.records import Address, Continuation, Refusal, RunEnd, RunRecord, RunState
from continuum.workflow import Workflow

if TYPE_CHECKING:
    from continuum.engine.keeping.upkeep import Upkeep

__all__ = ["NEVER", "Effect", "Gathering", "Left", "Pair", "Passed"]

logger = logging.getLogger("continuum.engine")

NEVER: Final = 1 << 62
"""More entries than any run has."""


@record
class Left:
    """The note about what the run has left behind of its journal: it is to be swept."""

    note: bytes


Pair: TypeAlias = tuple[bytes, bytes]
"""A key and a value, for the store."""

Passed: TypeAlias = tuple[Pair, RunStep]
"""A run goes straight on: what is added to its journal, and the step to be run once that is committed."""

Effect: TypeAlias = Request | PartOver | SlotFreed | Left
"""What is done once the batch is committed."""


class Gathering:
    """What is in a worker's memory of a run, from which :class:`~continuum.engine.active.Active` makes its batches.

    `state` is what the store has of it, or will have after its batch.
    """

    machine: Machine  # absent where the run could not be loaded

    __slots__ = (
        "_added",
        "_batch",
        "_claim",
        "_effects",
        "_known_to_run",
        "_messages",
        "_numbered_from",
        "_recorder",
        "_straight",
        "anchored",
        "blocked",
        "carried",
        "dropping",
        "end",
        "ended",
        "id",
        "idle_since",
        "in_flight",
        "keep_at",
        "keyed",
        "leaving",
        "machine",
        "number",
        "record",
        "retried",
        "sent",
        "settlement",
        "shares",
        "slots",
        "state",
        "successor",
        "upkeep",
    )

    def __init__(self, record: RunRecord, state: RunState, claim: bytes, recorder: Recorder) -> None:
        self.record = record
        self.id: RunId = record.id
        self.state = state
        self.in_flight: set[Position] = set()  # commands that the host is at work on, or will be
        self._messages: set[int] | None = None
        self.sent: dict[Position, tuple[str, str]] = {}  # run and message id of events under way
        self.ended = False  # nothing more may be fed to it
        self.shares: Shares | None = None  # its steps whose results are shared, where there have been any
        self.slots: Slots | None = None  # of its steps that have a limit, where there have been any
        self.upkeep: Upkeep | None = None  # what is known of its continuation
        self.keep_at = NEVER  # how many entries there are when that is to be seen to
        self.dropping: list[Position] = []  # commands that wait for the history to be deleted
        self.keyed = False  # there may be entries with a key in its history
        self.number = 0  # of the next entry of its journal
        self._numbered_from = 0  # the same when it was taken up
        self.settlement: Settle | None = None
        self.successor: Successor | None = None  # as which it goes on
        self.end: RunEnd | None = None  # once its end has been written down
        self.blocked: str | None = None
        self.leaving = False
        self.anchored = False  # it waits for what only this worker looks after, and stays in memory
        self.retried = False  # it failed before, and goes on from there
        self.carried: Carried | None = None  # the code that came with it, where it is executed by that
        self.idle_since: int | None = None
        self._recorder = recorder
        self._claim = claim
        self._added: list[Pair] = []  # to its journal, as long as nothing else is to be changed
        self._batch: Batch | None = None  # all that is to be changed, otherwise
        self._effects: list[Effect] = []
        self._known_to_run = False  # its state says so, and that nothing has gone wrong
        self._straight = False  # that is so, nothing of it waits to be committed, and it looks after nothing else

    @property
    def busy(self) -> bool:
        """Whether the host is at work for it; a run that is not waits, and holds no slot."""
        return bool(self.in_flight)

    @property
    def codec(self) -> Codec:
        """What loads its values."""
        return self._recorder.codec if self.carried is None else self.carried.codec

    @property
    def crashes(self) -> int:
        """How many workers in a row have died while they executed it, if it has got nowhere since."""
        return self.state.crashes

    @property
    def fence(self) -> tuple[bytes, bytes]:
        """The check of every batch of the run's own: it does nothing unless the run is held by this claim."""
        return keys.claim(self.id), self._claim

    @property
    def messages(self) -> set[int]:
        """Those of the inbox that the machine was told of; made when it is first asked for."""
        if self._messages is None:
            self._messages = set()
        return self._messages

    @property
    def changed(self) -> bool:
        """Whether something of it waits to be committed."""
        return bool(self._added) or self._batch is not None

    @property
    def batch(self) -> Batch:
        """The batch that is being gathered, for whatever is more than to add to the journal."""
        if self._batch is None:
            self._batch = Batch([self.fence], self._added, [])
            self._added = []
            self._straight = False
        return self._batch

    def knows(self, number: int) -> bool:
        """Whether the run has been told of that message, or nothing can be news to it."""
        messages = self._messages  # asked for on another thread, which must not make them
        return self.ended or (messages is not None and number in messages)

    def stand_in_line(self, hand: InHand) -> None:
        """Tell in which lines it waits."""
        for digest in () if self.shares is None else self.shares.in_line():
            hand.results.setdefault(digest, []).append(self.id)
        for digest, place in () if self.slots is None else self.slots.in_line():
            hand.places.setdefault(digest, {})[place] = self.id

    # Gathering

    def number_from(self, journal: Sequence[tuple[int, Entry]], start: int) -> None:
        """Go on counting where this journal ends, which begins at `start`."""
        self.number = self._numbered_from = journal[-1][0] + 1 if journal else start

    def feed(self, event: Event, now: int) -> None:
        """Feed the machine, and gather what it asks for."""
        try:
            requests = self.machine.feed(event, now)
        except Exception as error:
            self.fault(error)
        else:
            self.gather(requests)

    def gather(self, requests: Sequence[Request]) -> None:
        """Gather what the machine asks for."""
        self._straight = False
        for request in requests:
            gather = _GATHER.get(type(request))
            if gather is None:
                self._effects.append(request)
            else:
                gather(self, request)
                if self.ended:
                    return

    def begin(self, now: int) -> RunStep | None:
        """Feed the machine of a new run, and gather what it asks for; if that is a step and nothing else, give it."""
        try:
            requests = self.machine.feed(Started(()), now)
        except Exception as error:
            self.fault(error)
            return None
        if len(requests) == 1 and type(step := requests[0]) is RunStep:
            self.in_flight.add(step.position)
            self._known_to_run = self._straight = True
            return step
        self.gather(requests)
        return None

    def step_done(self, position: Position, outcome: Outcome, now: int) -> Passed | None:
        """Feed what a step gave, and gather what comes of it; what a run gives that goes straight on is given back."""
        in_flight = self.in_flight
        in_flight.discard(position)
        try:
            requests = self.machine.feed(StepDone(position, outcome), now)
            if type(requests) is tuple and self._straight and not in_flight and self.number < self.keep_at:
                return self._pass_on(*requests)
        except Exception as error:
            self.fault(error)
        else:
            self.gather(requests)
        return None

    def _pass_on(self, entry: Entry, step: RunStep) -> Passed | None:
        try:
            line = self._recorder.line(self.id, self.number, entry)
        except UsageError:
            self.gather((entry, step))  # which sees to that
            return None
        self.number += 1
        if entry.key:
            self.keyed = True
        self.in_flight.add(step.position)
        return line, step

    def gather_again(self, line: Pair, step: RunStep) -> None:
        """Take back what :meth:`step_done` gave, as something else is to be committed along with it."""
        (self._added if self._batch is None else self._batch.puts).insert(0, line)
        if not self.ended:  # by what has come up, such as that something of it cannot be loaded
            self._effects.insert(0, step)

    def carries(self, workflow: Workflow[..., Any]) -> bool:
        """Whether what the run starts or goes on as has to carry its code: no other worker would know it."""
        return self.carried is not None and workflow.import_name is None

    def laden(self, record: RunRecord, workflow: Workflow[..., Any]) -> tuple[RunRecord, bytes | None]:
        """Such a record with that code, if it has to. Raises UnpicklableValue and PayloadTooLarge."""
        return pack(self.codec, record, workflow) if self.carries(workflow) else (record, None)

    def recall(self) -> None:
        """Let it not go on as another workflow: it is to be told of something before."""
        self.successor = None
        self.ended = False

    def fault(self, error: Exception) -> None:
        """The machine raised: a fault of ours, which no run is failed for, and no other run suffers from."""
        logger.error("run %s met a fault of the engine", self.id, exc_info=error, extra={"run_id": self.id})
        self.block(f"a fault of the engine, please report it: {error!r}")

    def block(self, reason: str) -> None:
        """Code and journal disagree, or something cannot be loaded: nothing of this round is kept."""
        self.blocked = reason
        self.ended = True
        self._added.clear()
        self._batch = None
        self._effects.clear()

    def discard(self) -> None:
        """Let go of the machine; the run is not used any more."""
        if hasattr(self, "machine"):
            self.machine.discard()

    def _append(self, entry: Entry) -> None:
        try:
            if self._batch is None and not (entry.ref and entry.kind in TAKES):
                self._added.append(self._recorder.line(self.id, self.number, entry))
            else:
                self._recorder.append(self.batch, self.id, self.number, entry)
        except UsageError as error:  # not even a time, or an index: the payload limit leaves no room for anything
            self.machine.discard()
            self._settle(Settle(Status.FAILED, Failure(error)))
            return
        self.number += 1
        if entry.key:
            self.keyed = True
        if self.sent and entry.kind is Kind.SEND and entry.position in self.sent:
            self._recorder.forget_sent(self.batch, *self.sent.pop(entry.position))
        elif self.shares is not None and entry.kind is Kind.SAVE:
            self._effects += self.shares.end(self.batch, entry)
        if self.slots is not None and entry.kind in _OF_ATTEMPTS:
            self._effects += self.slots.end(self.batch, entry.position)

    def _publish(self, request: PublishState) -> None:
        assert request.data is not None, "the machine of a run is given the codec"
        self._recorder.publish(self.batch, self.id, request.data)

    def _drop_history(self, request: DropHistory) -> None:
        self.in_flight.add(request.position)
        self.dropping.append(request.position)
        self.keep_at = 0

    def _continue(self, request: ContinueRun) -> None:
        try:
            self.successor = successor_of(self, request, self._recorder.seed())
        except UsageError as error:  # the workflow was made by the run itself, of something that does not travel
            self.machine.discard()
            self._settle(Settle(Status.FAILED, Failure(error)))
        else:
            self.ended = True

    def _settle(self, request: Settle) -> None:
        self.settlement = request
        self.ended = True

    def _mismatch(self, request: Mismatch) -> None:
        self.block(str(request.error))

    def _set_to_work(self, request: RunStep | LookUp | TakeSlot | StartChild | SendEvent) -> None:
        self.in_flight.add(request.position)
        self._effects.append(request)

    def _look_up(self, request: LookUp) -> None:
        if self.shares is None:
            self.shares = Shares(self.record, self._recorder.results, self._recorder.codec)
        self.shares.begin(request)
        self._set_to_work(request)

    def _take_slot(self, request: TakeSlot) -> None:
        if self.slots is None:
            self.slots = Slots(self.record, self._recorder)
        self.slots.begin(request)
        self._set_to_work(request)

    def _call_off(self, request: CancelStep) -> None:
        self.in_flight.discard(request.position)
        self._effects.append(request)

    def _call_off_child(self, request: CancelChild) -> None:
        self.in_flight.discard(request.position)
        workflow = request.invocation.workflow
        queue = request.queue or workflow.queue or self.record.queue
        python = this_python() if self.carries(workflow) else ""
        address = Address(RunId(request.run_id), queue, self.record.priority, workflow.name, workflow.version, python)
        self._recorder.ask_to_end(self.batch, address, request.reason)
        self._effects.append(request)

    # Its continuation

    def gathered(self) -> list[Pair]:
        """The entries that were gathered so far, as they will be stored."""
        if self._batch is None:
            return list(self._added)
        prefix = keys.journal_prefix(self.id)
        return [pair for pair in self._batch.puts if pair[0].startswith(prefix)]

    @property
    def takes_back(self) -> bool:
        """Whether the batch deletes entries, as that of a retry does."""
        prefix = keys.journal_prefix(self.id)
        return self._batch is not None and any(key.startswith(prefix) for key in self._batch.deletes)

    def keep(self, continuation: Continuation, *, drop: bool) -> None:
        """Keep a continuation for all that has been recorded; with `drop` that is deleted, but for last values."""
        if drop:
            number, keyed, self.keyed = continuation.number, self.keyed, False
            self.record, note = self._recorder.drop_history(self.batch, self.record, number, keyed=keyed)
            self._leave(note)
        self._recorder.keep(self.batch, self.id, continuation)

    def _leave(self, note: bytes | None) -> None:
        if note is not None:
            self._effects.append(Left(note))

    def refuse(self, refusal: Refusal) -> None:
        """Note why no continuation is kept."""
        self._recorder.refuse(self.batch, self.id, refusal)


_OF_ATTEMPTS: Final = frozenset({Kind.SAVE, Kind.ATTEMPT})

_GATHER: Final[dict[type, Callable[[Gathering, Any], None]]] = {
    Entry: Gathering._append,
    PublishState: Gathering._publish,
    DropHistory: Gathering._drop_history,
    ContinueRun: Gathering._continue,
    Settle: Gathering._settle,
    Mismatch: Gathering._mismatch,
    RunStep: Gathering._set_to_work,
    LookUp: Gathering._look_up,
    TakeSlot: Gathering._take_slot,
    StartChild: Gathering._set_to_work,
    SendEvent: Gathering._set_to_work,
    CancelStep: Gathering._call_off,
    CancelChild: Gathering._call_off_child,
}
"""What is done at once with a request; those without a row are effects and nothing else."""
