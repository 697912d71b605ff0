"""A scripted host of one run, without a loop, a disk or a clock.

    play = Play(order("ord-1"))
    play.done("charge", 7)      # the command in flight of that name, or at that position ("0.1.0")
    play.tick(3600)             # the clock goes on; timers that are due are fired, the earliest first
    play.send("approved", "alice")
    assert play.result == ...
    again = play.replay()       # another machine takes the run up from a copy of the journal
    later = play.go_on()        # the same after ContinueUsing, with what is left for the next workflow

The host keeps the laws of a real one, and watches that the machine keeps its own: nothing recorded is
asked for again, nothing is asked for twice.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from continuum import Invocation, Save
from continuum.durations import NANOSECONDS
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import (
    CancelAsked,
    CancelChild,
    CancelStep,
    ChildDone,
    ContinueRun,
    DropHistory,
    EmitLog,
    Event,
    EventArrived,
    FreeSlot,
    HistoryDropped,
    LookUp,
    Mismatch,
    PublishState,
    Request,
    RunStep,
    SendDone,
    SendEvent,
    Settle,
    SlotGiven,
    StartChild,
    Started,
    StepDone,
    StepKnown,
    StepWanted,
    TakeSlot,
    TimerFired,
    WakeAt,
)
from continuum.engine.machine.rewind import retry
from continuum.errors import ReplayMismatch, UnpicklableValue
from continuum.journal import MARKS, TAKES, Entry, Failure, Kind, Outcome, Position, Status, Value, position_text


def do(name: str, *args: Any, **options: Any) -> Save[Any]:
    """A step of that name; what it does is up to the test."""
    return Save(_never_called, *args, name=name, **options)


def _never_called(*args: Any) -> None:
    raise AssertionError("the machine calls no step")


class Unrecordable:
    """A value that the host cannot record."""

    def __repr__(self) -> str:
        return "Unrecordable()"


def _encode(value: Any, what: str) -> Outcome:
    if "Unrecordable()" in repr(value):
        return Failure(UnpicklableValue(f"{what}: it is unrecordable"))
    return Value(value)


def discard_all() -> None:
    """Let go of all machines; a generator that is collected in the middle of a cleanup would complain."""
    while _machines:
        _machines.pop().discard()


_machines: list[Machine] = []

Body = Generator[Any, Any, Any]


@dataclass
class Kept:
    """The state of a run: `restore` has a machine go on from it, with the entries behind so many."""

    restore: Callable[[Callable[[Body], Machine]], Machine]
    behind: int


START = 1_700_000_000 * NANOSECONDS


class Play:
    """A run and its host. `cuts` are the lengths that the journal had between feeds."""

    def __init__(
        self,
        invocation: Invocation[Any],
        journal: list[Entry] | None = None,
        *,
        events: list[EventArrived] | None = None,
        now: int = START,
        timeout: float | None = None,
        run_id: str = "run-1",
        generation: int = 0,
        failed_at: Position | None = None,
        kept: Kept | None = None,
        adopt: Callable[[Body], Body] | None = None,
    ) -> None:
        self.invocation, self.timeout, self.run_id, self.generation = invocation, timeout, run_id, generation
        self.kept, self.adopt = kept, adopt
        self.journal: list[Entry] = list(journal or [])
        self.now = now
        self.events: list[EventArrived] = list(events or [])  # all that were ever sent
        self.requests: list[Request] = []  # of the last feed
        self.in_flight: dict[Position, RunStep | LookUp | TakeSlot | StartChild | SendEvent | DropHistory] = {}
        self.timers: dict[Position, int] = {}
        self.ran: list[str] = []  # names of the steps asked for
        self.logged: list[str] = []
        self.published: dict[str, Any] = {}
        self.freed: list[str] = []  # positions of steps that need no slot
        self.stopped: list[str] = []  # steps by position, children by id
        self.continued: ContinueRun | None = None
        self.settled: Settle | None = None
        self.mismatch: ReplayMismatch | None = None
        self.cuts = [len(self.journal)]
        taken = {entry.ref for entry in self.journal if entry.kind in TAKES}
        recorded: Sequence[Entry] = [deepcopy(entry) for entry in self.journal[kept.behind if kept else 0 :]]
        if failed_at is None:
            self.machine = self._make()
            self._completed = _completed(self.journal)
            self.feed(Started(recorded, events=[event for event in self.events if event.ref not in taken]))
        else:
            self.machine, recorded, requests = retry(self._make, recorded, failed_at, now)
            head = self.journal[: kept.behind] if kept else []
            self.journal = [each for each in head if each.position != failed_at or each.kind not in MARKS]
            self.journal += recorded
            self._completed = _completed(self.journal)
            self._take_all(requests)
            taken = {entry.ref for entry in self.journal if entry.kind in TAKES}
            for event in self.events:
                if event.ref not in taken:
                    self.feed(event)

    def replay(
        self, cut: int | None = None, invocation: Invocation[Any] | None = None, kept: Kept | None = None
    ) -> Play:
        """The run as another worker takes it up, from the whole journal or from its first `cut` entries.

        With what was `kept` of it, that goes on from there.
        """
        return Play(
            invocation or self.invocation,
            self.journal[:cut],
            events=self.events,
            now=self.now,
            timeout=self.timeout,
            run_id=self.run_id,
            generation=self.generation,
            kept=kept,
            adopt=self.adopt,
        )

    def go_on(self) -> Play:
        """The run as the workflow that it goes on as."""
        assert self.continued is not None, f"waits for {self.machine.waiting_for()!r}: {self.mismatch}"
        taken = {entry.ref for entry in self.journal if entry.kind in TAKES}
        return Play(
            self.continued.invocation,
            list(self.continued.opening),
            events=[event for event in self.events if event.ref not in taken],
            now=self.now,
            timeout=self.timeout,
            run_id=self.run_id,
            generation=self.generation + 1,
        )

    def retry(self, invocation: Invocation[Any] | None = None, kept: Kept | None = None) -> Play:
        """The run as it goes on from the command that failed."""
        assert self.settled is not None
        assert self.settled.status is Status.FAILED
        return Play(
            invocation or self.invocation,
            self.journal,
            events=self.events,
            now=self.now,
            timeout=self.timeout,
            run_id=self.run_id,
            generation=self.generation,
            failed_at=self.settled.failed_at,
            kept=kept,
        )

    # What happens

    def done(self, where: str, value: Any = None) -> list[Request]:
        """A step, a child or a sent event that is in flight has succeeded, or what is looked up was found."""
        return self._answer(where, Value(value))

    def fails(self, where: str, error: BaseException) -> list[Request]:
        """The same has failed."""
        return self._answer(where, Failure(error))

    def wanted(self, where: str) -> list[Request]:
        """Nobody has made the shared result that is looked up: the step is to be performed."""
        return self.feed(StepWanted(self._find(where)))

    def given(self, where: str) -> list[Request]:
        """It is the turn of the step that asked for a slot."""
        return self.feed(SlotGiven(self._find(where)))

    def send(self, name: str, payload: Any = None) -> list[Request]:
        """An event arrives."""
        event = EventArrived(max((event.ref for event in self.events), default=0) + 1, name, Value(payload))
        self.events.append(event)
        return self.feed(event)

    def cancel(self, reason: str = "") -> list[Request]:
        """Someone asks for the run's end."""
        return self.feed(CancelAsked(reason, 1_000_000 + len(self.journal)))

    def tick(self, seconds: float) -> None:
        """Time goes by."""
        end = self.now + round(seconds * NANOSECONDS)
        while self.timers and min(self.timers.values()) <= end:
            position = min(self.timers, key=lambda each: (self.timers[each], each))
            self.now = max(self.now, self.timers.pop(position))
            self.feed(TimerFired(position))
        self.now = end

    def feed(self, event: Event) -> list[Request]:
        """Feed anything; gives what was asked for."""
        self.in_flight.pop(getattr(event, "position", ()), None)
        self.continued = None
        self._take_all(self.machine.feed(event, self.now))
        return self.requests

    # What there is to see

    @property
    def status(self) -> Status | None:
        return None if self.settled is None else self.settled.status

    @property
    def result(self) -> Any:
        assert self.settled is not None, f"not settled; waits for {self.machine.waiting_for()!r}: {self.mismatch}"
        assert isinstance(self.settled.outcome, Value), self.settled
        assert self.settled.status is Status.COMPLETED
        return self.settled.outcome.value

    @property
    def error(self) -> BaseException:
        assert self.settled is not None, f"not settled; waits for {self.machine.waiting_for()!r}: {self.mismatch}"
        assert isinstance(self.settled.outcome, Failure), self.settled
        return self.settled.outcome.error

    @property
    def waiting(self) -> list[str]:
        """What is in flight, by position."""
        return [position_text(position) for position in self.in_flight]

    @property
    def under_way(self) -> dict[Position, str]:
        """What is in flight, by type, and not only to be ignored when it comes back."""
        requests = self.in_flight.items()
        return {position: type(request).__name__ for position, request in requests if position not in self._completed}

    def recorded(self, *kinds: Kind) -> list[str]:
        """The journal in short, such as ``0.1.0 save 'charge'``; of these kinds only, if any are given."""
        entries = (entry for entry in self.journal if not kinds or entry.kind in kinds)
        return [f"{position_text(entry.position)} {entry.kind} {entry.name}".strip() for entry in entries]

    # The host's part

    def _make(self) -> Machine:
        machine = self._machine(self.invocation.body()) if self.kept is None else self.kept.restore(self._machine)
        _machines.append(machine)
        return machine

    def _machine(self, body: Body) -> Machine:
        workflow = self.invocation.workflow
        return Machine(
            self.run_id,
            body,
            seed=b"seed%d" % self.generation,
            generation=self.generation,
            workflow=workflow.name,
            version=workflow.version,
            deadline=None if self.timeout is None else START + round(self.timeout * NANOSECONDS),
            compensate_on_failure=workflow.compensate_on_failure,
            encode=_encode,
            adopt=self.adopt,
        )

    def _take_all(self, requests: list[Request]) -> None:
        self.requests = requests
        for request in requests:
            self._take(request)
        self.cuts.append(len(self.journal))

    def _answer(self, where: str, outcome: Outcome) -> list[Request]:
        match self.in_flight[self._find(where)]:
            case RunStep(position):
                return self.feed(StepDone(position, outcome))
            case LookUp(position):
                return self.feed(StepKnown(position, outcome))
            case TakeSlot():
                raise AssertionError("it has not begun")
            case StartChild(position):
                return self.feed(ChildDone(position, outcome))
            case SendEvent(position):
                return self.feed(SendDone(position, outcome))
            case DropHistory(position):
                return self.feed(HistoryDropped(position, outcome))

    def _find(self, where: str) -> Position:
        if where[0].isdigit():
            return tuple(map(int, where.split(".")))
        found = [position for position, request in self.in_flight.items() if name_of(request) == where]
        assert len(found) == 1, f"{where!r} is not in flight, or not alone: {self.in_flight}"
        return found[0]

    def _take(self, request: Request) -> None:
        assert self.settled is None, "nothing follows a settlement"
        match request:
            case ContinueRun():
                self.continued = request
            case Entry() as entry:
                assert entry.position not in self._completed, f"recorded twice: {entry}"
                if entry.position and entry.kind not in MARKS:
                    self._completed.add(entry.position)
                self.journal.append(entry)
            case RunStep() | LookUp() | TakeSlot() | StartChild() | SendEvent() | DropHistory():
                assert request.position not in self.in_flight, f"asked for twice: {request}"
                assert request.position not in self._completed, f"recorded already: {request}"
                self.in_flight[request.position] = request
                self.ran += [request.command.name] if isinstance(request, RunStep) else []
            case FreeSlot(position):
                self.freed.append(position_text(position))
            case CancelStep(position):
                self.stopped.append(position_text(position))
                self.in_flight.pop(position, None)
            case CancelChild(run_id=run_id):
                self.stopped.append(run_id)
            case WakeAt(position, due):
                assert position not in self._completed, f"recorded already: {request}"
                self.timers[position] = due
            case EmitLog(entry):
                assert isinstance(entry.outcome, Value)
                self.logged.append(entry.outcome.value["message"])
            case PublishState(state):
                self.published = dict(state)
            case Settle():
                self.settled = request
                self.in_flight.clear()
                self.timers.clear()
            case Mismatch(error):
                self.mismatch = error


def _completed(journal: Sequence[Entry]) -> set[Position]:
    return {entry.position for entry in journal if entry.position and entry.kind not in MARKS}


def name_of(request: RunStep | LookUp | TakeSlot | StartChild | SendEvent | DropHistory) -> str:
    match request:
        case RunStep() | LookUp() | TakeSlot():
            return request.command.name
        case StartChild():
            return request.invocation.workflow.name
        case SendEvent():
            return request.name
        case DropHistory():
            return "compact"
