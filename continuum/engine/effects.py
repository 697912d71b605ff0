"""What a worker does for a run once what led to it is committed: one row for each request.

Steps go to the performer, times to the timers; what concerns other runs goes through the committer,
and its answer comes back to the machine as an event. Everything here may be done twice, by a worker
that follows one that died: a child's id and a message's id make the second time do nothing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from continuum.context import Context
from continuum.durations import NANOSECONDS
from continuum.engine.active import Active
from continuum.engine.gathering import Effect, Left
from continuum.engine.limiting import Limiting, SlotFreed
from continuum.engine.machine.requests import (
    CancelChild,
    CancelStep,
    ChildDone,
    EmitLog,
    FreeSlot,
    LookUp,
    RunStep,
    SendDone,
    SendEvent,
    StartChild,
    TakeSlot,
    WakeAt,
)
from continuum.engine.sharing import PartOver, Sharing
from continuum.engine.steps import Task
from continuum.errors import UsageError
from continuum.journal import Failure, Position, RunId, Value, position_text
from continuum.store.committer import Single
from continuum.store.ends import outcome_of
from continuum.store.ledger import RunInfo
from continuum.store.protocol import Batch, View
from continuum.store.records import Message, RunRecord

if TYPE_CHECKING:
    from continuum.engine.scheduler import Scheduler

__all__ = ["Attempt", "Effects"]

workflow_logger = logging.getLogger("continuum.workflow")


class Attempt(Task):
    """An attempt at the step of a run; `key` is its position."""

    __slots__ = ("number",)

    owner: Active
    key: Position
    number: int

    def context(self) -> Context:
        record, position = self.owner.record, position_text(self.key)
        # The seed is the run's own, and another one for each workflow as which it goes on.
        digest = hashlib.blake2b(f"step {position}".encode(), key=bytes.fromhex(record.seed), digest_size=16)
        key = str(UUID(bytes=digest.digest(), version=4))
        return Context(record.id, record.workflow, position, self.number, key)


class Effects:
    """Performs requests for the runs of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._perform = scheduler.performer.perform
        self._ledger = scheduler.ledger
        self.sharing = Sharing(scheduler)
        self.limiting = Limiting(scheduler)

    def perform(self, active: Active, effect: Effect) -> None:
        """Carry out an effect of a run."""
        _ROWS[type(effect)](self, active, effect)

    # Steps and timers

    def run_step(self, active: Active, request: RunStep) -> None:
        """Begin a step of a run."""
        position, command = request.position, request.command
        if position not in active.in_flight:
            return  # cancelled before it began, or the run is lost
        options = command.options
        timeout = None if options.timeout is None else options.timeout / NANOSECONDS
        attempt = Attempt(position, command.fn, command.args, options.executor, timeout, command.name, active)
        attempt.number = request.attempt
        self._perform(attempt)

    def _look_up(self, active: Active, request: LookUp) -> None:
        self.sharing.look_up(active, request)

    def _part_over(self, active: Active, effect: PartOver) -> None:
        self.sharing.conclude(effect.part)

    def _take_slot(self, active: Active, request: TakeSlot) -> None:
        self.limiting.ask(active, request)

    def _free_slot(self, active: Active, request: FreeSlot) -> None:
        self.limiting.release(active, request)

    def _slot_freed(self, active: Active, effect: SlotFreed) -> None:
        self.limiting.call(effect.digest)

    def _cancel_step(self, active: Active, request: CancelStep) -> None:
        self._scheduler.performer.cancel(active, request.position)

    def _wake_at(self, active: Active, request: WakeAt) -> None:
        self._scheduler.timers.add(request.due, (active.id, request.position))

    def _emit_log(self, active: Active, request: EmitLog) -> None:
        outcome = request.entry.outcome
        assert isinstance(outcome, Value)
        fields = {
            "run_id": active.id,
            "workflow": active.record.workflow,
            "position": position_text(request.entry.position),
            "fields": outcome.value["fields"],
        }
        workflow_logger.info("%s", outcome.value["message"], extra=fields)

    def _sweep(self, active: Active, left: Left) -> None:
        self._scheduler.sweeper.sweep(left.note)

    # Children

    def _start_child(self, active: Active, request: StartChild) -> None:
        if request.position not in active.in_flight:
            return  # cancelled before it began
        try:
            record, code = active.laden(self._child_record(active, request), request.invocation.workflow)
        except UsageError as error:
            self._answer_child(active, request.position, Failure(error))
            return
        plan = partial(self._plan_child, record=record, code=code, retry=active.retried and request.awaited)
        self._scheduler.committer.submit(Single(plan, partial(self._child_started, active, request)))

    def _child_record(self, active: Active, request: StartChild) -> RunRecord:
        workflow, parent, now = request.invocation.workflow, active.record, self._scheduler.clock()
        limit = workflow.timeout if request.timeout is None else request.timeout
        assert request.data is not None, "the machine of a run is given the codec"
        return RunRecord(
            RunId(request.run_id),
            workflow.name,
            workflow.version,
            request.queue or workflow.queue or parent.queue,
            now,
            self._scheduler.stamps.seed(),
            parent.priority,
            None if limit is None else now + limit,
            parent.address,
            list(request.position) if request.awaited else None,
            parent.generation,
            payload=request.data,
        )

    def _plan_child(
        self, view: View, record: RunRecord, code: bytes | None, retry: bool
    ) -> tuple[Batch | None, RunInfo | None]:
        batch, created = self._ledger.start(view, record, code=code)
        if created:
            return batch, None
        again = self._ledger.retry_child(view, record.id, record.created) if retry else None
        return (None, self._ledger.info(view, record.id)) if again is None else (again, None)

    def _child_started(self, active: Active, request: StartChild, job: Single[RunInfo | None]) -> None:
        child = RunId(request.run_id)
        try:
            existing = job.result()
        except UsageError as error:  # another workflow's run has that id
            self._answer_child(active, request.position, Failure(error))
            return
        self._scheduler.added()
        if not request.awaited:
            self._answer_child(active, request.position, Value(child))
        elif existing is not None and existing.end is not None:
            outcome = outcome_of(active.codec, child, existing.end)
            self._answer_child(active, request.position, outcome)
        else:
            mine = existing is None or _tells(existing.record, active.record, request.position)
            self._scheduler.await_child(active, request.position, None if mine else child)

    def _answer_child(self, active: Active, position: Position, outcome: Value | Failure) -> None:
        self._scheduler.answer(active, position, ChildDone(position, outcome))

    def _cancel_child(self, active: Active, request: CancelChild) -> None:
        self._scheduler.look_again()  # the message to it was part of what was committed

    # Events

    def _send_event(self, active: Active, request: SendEvent) -> None:
        target = request.run_id
        assert request.data is not None, "the machine of a run is given the codec"
        place = f"{active.id}\0{active.record.generation}\0{position_text(request.position)}"
        message_id = hashlib.blake2b(place.encode(), digest_size=16).hexdigest()
        active.sent[request.position] = (target, message_id)
        plan = partial(
            self._ledger.send,
            run_id=target,
            message=Message("event", request.name, payload=request.data),
            stamp=self._scheduler.stamps.next(),
            message_id=message_id,
        )
        self._scheduler.committer.submit(Single(plan, partial(self._sent, active, request.position)))

    def _sent(self, active: Active, position: Position, job: Single[None]) -> None:
        try:
            job.result()
        except UsageError as error:
            done = SendDone(position, Failure(error))
        else:
            done = SendDone(position, Value(None))
            self._scheduler.look_again()
        self._scheduler.answer(active, position, done)


def _tells(child: RunRecord, parent: RunRecord, position: Position) -> bool:
    """Whether the child will tell its end to that command of that run."""
    if child.parent is None or child.parent.run_id != parent.id:
        return False
    return (child.parent_generation, child.parent_position) == (parent.generation, list(position))


_ROWS: Final[dict[type, Callable[[Effects, Active, Any], None]]] = {
    RunStep: Effects.run_step,
    LookUp: Effects._look_up,
    PartOver: Effects._part_over,
    TakeSlot: Effects._take_slot,
    FreeSlot: Effects._free_slot,
    SlotFreed: Effects._slot_freed,
    CancelStep: Effects._cancel_step,
    WakeAt: Effects._wake_at,
    EmitLog: Effects._emit_log,
    Left: Effects._sweep,
    StartChild: Effects._start_child,
    CancelChild: Effects._cancel_child,
    SendEvent: Effects._send_event,
}
