"""Taking up a run: from what the store has of it to a machine that has replayed it, and its messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from continuum.engine.active import Active
from continuum.engine.machine.groups import Body
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import CancelAsked, ChildDone, Event, EventArrived, RunStep, Started, TimerFired
from continuum.engine.machine.rewind import retry
from continuum.journal import TAKES, Entry, Outcome, Position, Status, Value
from continuum.store.ends import outcome_of
from continuum.store.look import Fresh, Taken
from continuum.store.recorder import Recorder
from continuum.store.records import Message, RunEnd, RunRecord
from continuum.workflow import Registry, Workflow

if TYPE_CHECKING:
    from continuum.engine.keeping.keeper import Keeper

__all__ = ["Intake", "machine_of"]


def machine_of(
    record: RunRecord,
    workflow: Workflow[..., Any],
    body: Body,
    encode: Callable[[Any, str], Outcome],
    adopt: Callable[[Body], Body] | None = None,
) -> Machine:
    """The machine of a run, of that workflow, with that body; the last two are as in :class:`Machine`."""
    return Machine(
        record.id,
        body,
        bytes.fromhex(record.seed),
        record.workflow,
        record.version,
        encode,
        record.generation,
        record.deadline,
        workflow.compensate_on_failure,
        adopt,
    )


class Intake:
    """Makes active runs of claimed ones."""

    def __init__(self, registry: Registry, recorder: Recorder, keeper: Keeper) -> None:
        self._registry = registry
        self._recorder = recorder
        self._keeper = keeper
        self._outcome = recorder.codec.outcome  # the same one for all machines

    def begin(self, fresh: Fresh, now: int) -> tuple[Active, RunStep | None]:
        """A run that was started in the hands of this worker, and has no messages; blocked where it cannot be loaded.

        If all that it asks for is its first step, that is given too.
        """
        record = fresh.record
        active = Active(record, fresh.state, fresh.claim, self._recorder)
        active.keep_at = self._keeper.first_look
        try:
            args, kwargs = self._recorder.codec.decode(record.payload)
            workflow = self._registry[record.workflow]
            active.machine = machine_of(record, workflow, workflow.function(*args, **kwargs), self._outcome)
        except Exception as error:  # any code of the user's may run in a pickle
            _block(active, error)
            return active, None
        step = active.begin(now)
        if active.successor is not None:
            self._stop(active, (), now)
        return active, step

    def take_up(self, taken: Taken, now: int) -> Active | None:
        """A run that was claimed, replayed and told of its messages; blocked where that cannot be done.

        None where its continuation turned out to be of no use: it is to be claimed anew, and replayed.
        """
        record = taken.record
        active = Active(record, taken.state, taken.claim, self._recorder)
        failed_at = taken.state.failed_position() if taken.state.rewind else None
        try:
            if taken.error is not None:
                raise taken.error
            active.carried = taken.carried
            if failed_at is None:
                resumes = taken.resumed is not None
                machine = self._resumed(taken) if resumes else self._machine(active, taken.args, taken.kwargs)
                if machine is None:
                    return None
                active.machine = machine
        except Exception as error:
            _block(active, error)
            return active
        resumed = taken.continuation if taken.resumed is not None else None
        active.number_from(taken.journal, record.journal_start if resumed is None else resumed.number)
        active.retried = taken.state.rewind
        if failed_at is not None:
            self._retry(active, taken, failed_at, now)
        elif (events := self._events(active, taken.messages)) is not None:
            active.feed(Started([entry for _, entry in taken.journal], events=events), now)
        if taken.messages:
            self.deliver(active, taken.messages, now)
        if active.successor is not None:
            self._stop(active, taken.messages, now)
        return active

    def _machine(self, active: Active, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Machine:
        carried = active.carried
        workflow = self._registry[active.record.workflow] if carried is None else carried.workflow
        encode = self._outcome if carried is None else carried.codec.outcome
        return machine_of(active.record, workflow, workflow.function(*args, **kwargs), encode)

    def _resumed(self, taken: Taken) -> Machine | None:
        assert taken.continuation is not None, "it was loaded from that"
        return self._keeper.resume(taken.record, taken.continuation, taken.resumed)

    def _stop(self, active: Active, messages: Sequence[tuple[int, Message]], now: int) -> None:
        """Tell a run that it is to end before it goes on as another workflow.

        It would never hear of it otherwise, if it always goes on without having waited for anything.
        """
        deadline = active.record.deadline
        cancel = next(((number, message) for number, message in messages if message.kind == "cancel"), None)
        if cancel is not None:
            active.recall()
            active.messages.add(cancel[0])
            active.feed(self._event(active, *cancel), now)
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
                break
            if number in active.messages:
                continue
            if message.kind == "child" and message.generation != active.record.generation:
                self._recorder.forget_message(active.batch, active.id, number)  # whoever called it has left
                continue
            event = self._told(active, number, message)
            if event is not None:
                active.feed(event, now)
        if active.settlement is not None:  # the rest has come too late, and leaves with the run
            active.messages.update(number for number, _ in messages)

    def _events(self, active: Active, messages: Sequence[tuple[int, Message]]) -> list[EventArrived] | None:
        """The events among the messages: the run is to know of them before it does anything."""
        events = []
        for number, message in messages:
            if message.kind == "event":
                event = self._told(active, number, message)
                if event is None:
                    return None
                assert isinstance(event, EventArrived)
                events.append(event)
        return events

    def _told(self, active: Active, number: int, message: Message) -> Event | None:
        """A message that the run is told of now; None where it cannot be loaded, and the run is blocked."""
        active.messages.add(number)
        try:
            return self._event(active, number, message)
        except Exception as error:
            active.block(f"a message to run {active.id!r} cannot be loaded: {type(error).__name__}: {error}")
            return None

    def _retry(self, active: Active, taken: Taken, failed_at: Position, now: int) -> None:
        """Have the run go on from where it failed; what was recorded since is used again or taken back."""

        def make() -> Machine:  # each from values of its own, which a workflow may change
            if taken.resumed is not None and taken.continuation is not None:
                taken.resumed = self._keeper.load(taken.record, taken.continuation)
                machine = self._resumed(taken)
                assert machine is not None, "there is nothing else to go on from"
                return machine
            return self._machine(active, *active.codec.decode(active.record.payload))

        journal = [entry for _, entry in taken.journal]
        try:
            active.machine, replayed, requests = retry(make, journal, failed_at, now)
        except Exception as error:
            active.fault(error)
            return
        kept, messages = set(map(id, replayed)), list(taken.messages)
        used = {each.ref for each in requests if isinstance(each, Entry) and each.kind in TAKES}
        last = taken.continuation
        if last is not None and any(number < last.number and id(entry) not in kept for number, entry in taken.journal):
            self._recorder.forget_continuation(active.batch, active.id)  # it stands for what is taken back
            taken.continuation = None
        for number, entry in taken.journal:
            if id(entry) not in kept:
                self._recorder.take_back(active.batch, active.id, number)
                event = None if entry.ref in used else self._recorder.put_back(active.batch, active.id, entry)
                messages += [] if event is None else [event]
        for number, message in messages:
            if message.kind == "child":  # its end is read when it is called again
                self._recorder.forget_message(active.batch, active.id, number)
                active.messages.add(number)
        taken.messages = sorted(messages, key=itemgetter(0))
        active.gather(requests)

    def _event(self, active: Active, number: int, message: Message) -> Event:
        match message.kind:
            case "event":
                payload = Value(active.codec.decode(message.payload), message.payload)
                return EventArrived(number, message.name, payload)
            case "child":
                end = RunEnd(Status(message.status), message.failed, message.reason, message.payload)
                return ChildDone(tuple(message.position or ()), outcome_of(active.codec, message.name, end), number)
            case _:
                return CancelAsked(message.reason, number)


def _block(active: Active, error: Exception) -> None:
    active.block(f"run {active.id!r} cannot be loaded: {type(error).__name__}: {error}")
