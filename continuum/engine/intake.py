"""Taking up a run: from what the store has of it to a machine that has replayed it, and its messages."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter

from continuum.engine.active import Active
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import CancelAsked, ChildDone, Event, EventArrived, Started, TimerFired
from continuum.engine.machine.rewind import rewind
from continuum.journal import Entry, Status, Value
from continuum.store.codec import Codec
from continuum.store.ends import outcome_of
from continuum.store.records import Message, RunEnd
from continuum.store.worklist import Taken, Worklist
from continuum.workflow import Registry

__all__ = ["Intake"]


class Intake:
    """Makes active runs of claimed ones."""

    def __init__(self, registry: Registry, worklist: Worklist, codec: Codec) -> None:
        self._registry = registry
        self._worklist = worklist
        self._codec = codec

    def take_up(self, taken: Taken, now: int) -> Active:
        """The run, replayed and told of its messages; blocked where that cannot be done."""
        record = taken.record
        active = Active(record, taken.state, self._worklist)
        workflow = self._registry[record.workflow]
        try:
            if taken.error is not None:
                raise taken.error
            body = workflow.function(*taken.args, **taken.kwargs)
        except Exception as error:
            active.block(f"run {record.id!r} cannot be loaded: {type(error).__name__}: {error}")
            return active
        active.machine = Machine(
            record.id,
            body,
            seed=bytes.fromhex(record.seed),
            label=f"workflow {record.workflow!r}, version {record.version!r}",
            generation=record.generation,
            deadline=record.deadline,
            compensate_on_failure=workflow.compensate_on_failure,
            encode=self._codec.outcome,
        )
        active.number_from(taken.journal)
        active.feed(Started(self._recorded(active, taken)), now)
        self.deliver(active, taken.messages, now)
        if active.successor is not None:
            self._stop(active, taken.messages, now)
        return active

    def _stop(self, active: Active, messages: Sequence[tuple[int, Message]], now: int) -> None:
        """Tell a run that it is to end before it goes on as another workflow.

        It would never hear of it otherwise, if it always goes on without having waited for anything.
        """
        deadline = active.record.deadline
        cancel = next(((number, message) for number, message in messages if message.kind == "cancel"), None)
        if cancel is not None:
            active.recall()
            active.messages.add(cancel[0])
            active.feed(self._event(*cancel), now)
        elif deadline is not None and deadline <= now:
            active.recall()
            active.feed(TimerFired(()), now)
        self.deliver(active, messages, now)

    def deliver(self, active: Active, messages: Sequence[tuple[int, Message]], now: int) -> None:
        """Tell a run what is new in its inbox, given the whole of it.

        A message that the run has taken may still stand in an inbox that was read before that was
        committed: it is forgotten only when it is seen to be gone.
        """
        active.messages.intersection_update(number for number, _ in messages)
        for number, message in messages:
            if active.ended:
                return
            if number in active.messages:
                continue
            if message.kind == "child" and message.generation != active.record.generation:
                self._worklist.forget_message(active.batch, active.id, number)  # whoever called it has left
                continue
            active.messages.add(number)
            try:
                event = self._event(number, message)
            except Exception as error:
                active.block(f"a message to run {active.id!r} cannot be loaded: {type(error).__name__}: {error}")
                return
            active.feed(event, now)

    def _recorded(self, active: Active, taken: Taken) -> list[Entry]:
        """The journal to replay; for a retry without what was recorded since the step that failed."""
        journal = [entry for _, entry in taken.journal]
        active.retried, failed_at = active.state.rewind, active.state.failed_position()
        if not active.retried or failed_at is None:
            return journal
        dropped = rewind(journal, failed_at)
        for index in sorted(dropped):
            number, entry = taken.journal[index]
            if (event := self._worklist.take_back(active.batch, active.id, number, entry)) is not None:
                taken.messages.append(event)
        taken.messages.sort(key=itemgetter(0))
        return [entry for index, entry in enumerate(journal) if index not in dropped]

    def _event(self, number: int, message: Message) -> Event:
        match message.kind:
            case "event":
                payload = Value(self._codec.decode(message.payload), message.payload)
                return EventArrived(number, message.name, payload)
            case "child":
                end = RunEnd(Status(message.status), message.failed, message.reason, message.payload)
                return ChildDone(tuple(message.position or ()), outcome_of(self._codec, message.name, end), number)
            case _:
                return CancelAsked(message.reason, number)
