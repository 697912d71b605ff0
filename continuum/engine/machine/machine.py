"""One run in memory: events in, requests out.

The machine executes a workflow's generators against its journal. It is pure: no clock, no loop, no
disk, no randomness, no threads. Time comes with each event, random numbers are drawn from the run's
seed, and all else is asked of the host by the requests that :meth:`Machine.feed` returns.

A run is a fold over its journal. Live or on replay, the same cycle goes round: run the fibers until
all of them wait; take the next entry (the recorded one, or the one that an event of the host leads
to); apply it. So a replay that is given the same entries takes the same way.

What each command does is told in :mod:`continuum.engine.machine.vocabulary`, what each event does in
:mod:`continuum.engine.machine.arrivals`, and how it all ends in :mod:`continuum.engine.machine.ending`.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, Final

from continuum.commands import Call, Command, Ensure, Receive, Save
from continuum.context import Context, enter, leave
from continuum.durations import datetime_of
from continuum.engine.machine.arrivals import EVENTS
from continuum.engine.machine.attempts import note_attempt
from continuum.engine.machine.ending import callback_failed, end, stop
from continuum.engine.machine.failures import Failures
from continuum.engine.machine.fibers import Fiber, Fibers, Waiting
from continuum.engine.machine.groups import Body
from continuum.engine.machine.inbox import Handler, Inbox
from continuum.engine.machine.predicates import Predicates
from continuum.engine.machine.recall import is_outcome
from continuum.engine.machine.replay import Journal, described
from continuum.engine.machine.requests import (
    CancelChild,
    CancelStep,
    Event,
    EventArrived,
    Mismatch,
    Request,
    WakeAt,
)
from continuum.engine.machine.straight import Straight
from continuum.engine.machine.teaching import explain_bad_command, explain_bad_delegate, holds
from continuum.engine.machine.undo import REVERTS, UndoStack
from continuum.engine.machine.vocabulary import ASK, BEGIN, child_id
from continuum.errors import Cancelled, ReplayMismatch
from continuum.journal import MARKS, Entry, Failure, Kind, Outcome, Position, Value

__all__ = ["Machine"]


class Machine:
    """The state of one run, as its journal and its code make it.

    `body` is a fresh generator of that `version` of the `workflow` of that name; `seed` is where its random numbers
    come from;
    `deadline`, in nanoseconds since the epoch, ends it as timed out. `generation` counts how often it
    has gone on by ContinueUsing: positions begin anew with each, so the ids made from them tell it.
    `encode` gives a value as a replay will see it, or the error of one that cannot be recorded, which the
    text names in it. `adopt` is given every generator of the user's as it is to begin, the body and those of
    branches, and gives what is run in its place; the generator itself is closed then. What it raises, feed raises.
    """

    __slots__ = (
        "__weakref__",
        "_failures",
        "_inbox",
        "_predicates",
        "_seed",
        "_undo",
        "compensates",
        "context",
        "deadline",
        "dues",
        "encode",
        "family",
        "fibers",
        "finished",
        "journal",
        "patches",
        "reacts",
        "root",
        "run_id",
        "state",
        "stop_reason",
        "stopping",
        "unasked",
        "waiting",
    )

    def __init__(
        self,
        run_id: str,
        body: Body,
        seed: bytes,
        workflow: str = "",
        version: str = "",
        encode: Callable[[Any, str], Outcome] = lambda value, what: Value(value),
        generation: int = 0,
        deadline: int | None = None,
        compensate_on_failure: bool = False,
        adopt: Callable[[Body], Body] | None = None,
    ) -> None:
        self.run_id = run_id
        self.context = partial(Context, run_id, workflow)
        self.family = f"{run_id}#{generation}" if generation else run_id  # what its children's ids begin with
        self.finished = False
        self._seed = seed
        self.deadline = deadline
        self.compensates = compensate_on_failure
        self.encode = encode
        self.journal = Journal(run_id, workflow, version)
        self.fibers = Fibers(self.journal, self, adopt)
        self.root = self.fibers.spawn((), body)
        self.waiting: dict[Position, Waiting] = {}
        self.unasked: list[Waiting] = []  # what has been issued since the host was last asked
        self.stopping: str | None = None  # the name of the cancel entry, once there is one
        self.stop_reason: str | None = None  # which that entry tells
        self.reacts = False  # there may be events that someone takes, or conditions to look at
        self._inbox: Inbox | None = None  # most runs need none of these
        self._predicates: Predicates | None = None
        self._undo: UndoStack | None = None
        self._failures: Failures | None = None
        self.patches: dict[str, bool] = {}
        self.state: dict[str, Any] = {}  # what the run has published
        self.dues: list[tuple[int, Position]] = []  # of timers, those that no longer matter too

    @property
    def inbox(self) -> Inbox:
        """The events that have come, and who takes them; made when it is first asked for."""
        if self._inbox is None:
            self._inbox, self.reacts = Inbox(), True
        return self._inbox

    @property
    def predicates(self) -> Predicates:
        """The conditions that fibers wait for; made when they are first asked for."""
        if self._predicates is None:
            self._predicates, self.reacts = Predicates(), True
        return self._predicates

    @property
    def undo(self) -> UndoStack:
        """What can be undone; made when it is first asked for."""
        if self._undo is None:
            self._undo = UndoStack()
        return self._undo

    @property
    def undone_at(self) -> Position | None:
        """Where the undoing stands, once it is decided."""
        return None if self._undo is None else self._undo.position

    @property
    def failures(self) -> Failures:
        """Which command failed with which error; made when it is first asked for."""
        if self._failures is None:
            self._failures = Failures()
        return self._failures

    def feed(self, event: Event, now: int) -> list[Request] | Straight:
        """Take one event in, at the time `now` (nanoseconds since the epoch), and give what follows.

        What a run gives that has gone straight on from one step to the next is told by its type.
        """
        requests: list[Request] = []
        self.journal.requests = requests
        self.journal.now = now
        if self.finished:
            return requests
        token = enter(self.context)
        try:
            straight = EVENTS[type(event)](self, event)
            if straight is not None:
                return straight
            self.settle_down()
        except ReplayMismatch as error:
            self.finished = True
            return [Mismatch(error)]
        finally:
            leave(token)
        return requests

    def begin_anew(self, position: Position) -> None:
        """Forget the attempts at what waits there, if anything does, and its timer: a retry begins with the first."""
        waiting = self.waiting.get(position)
        if waiting is not None:
            waiting.attempts, waiting.due, waiting.limit, waiting.mark, waiting.begun = 0, None, None, None, False

    def discard(self) -> None:
        """Let go of the generators; the machine is not used any more."""
        self.finished = True
        self.fibers.close()

    def waiting_for(self) -> str:
        """What the run waits for, for people: ``receive 'approved', sleep until ...``."""
        return ", ".join(map(_waiting_text, islice(self.waiting.values(), 3))) + (
            f" and {len(self.waiting) - 3} more" if len(self.waiting) > 3 else ""
        )

    def whereabouts(self) -> list[str]:
        """The lines at which the first few of the fibers stand that wait for a command."""
        return list(dict.fromkeys(waiting.fiber.where() for waiting in islice(self.waiting.values(), 3)))

    def next_due(self) -> int | None:
        """When the earliest of the run's timers is due, in nanoseconds since the epoch."""
        while self.dues:
            due, position = self.dues[0]
            waiting = self.waiting.get(position)
            if (waiting is not None and waiting.due == due) or (not position and self.stopping is None):
                return due
            heapq.heappop(self.dues)
        return None

    def wake_at(self, position: Position, due: int) -> None:
        """Ask for a TimerFired."""
        heapq.heappush(self.dues, (due, position))
        self.journal.requests.append(WakeAt(position, due))

    # The cycle

    def settle_down(self) -> None:
        """Go round until every fiber waits for the host, which has been asked."""
        while True:
            if self.fibers.run() and self.reacts:
                self.predicates.stale = True
            if self.fibers.ended is not None:
                outcome, self.fibers.ended = self.fibers.ended, None
                end(self, outcome)
            elif not self.journal.live:
                self.replay()
            elif self.finished or not (
                (self.reacts and (self.inbox.ready or self.predicates.waiting) and self._react())
                or (self.journal.recall is not None and self._recall())
                or self._ask()
            ):
                return

    def replay(self) -> None:
        """Take the next entry of what was recorded, and apply it."""
        entry = self.journal.take()
        if entry.kind is Kind.CANCEL:
            stop(self, entry)
        elif entry.kind is Kind.EVENT:
            self.handled(entry)
        else:
            waiting = self.waiting.get(entry.position)
            if waiting is None and self.fibers.reach(self.root, entry.position):
                self.journal.put_back(entry)
            elif waiting is None:
                raise self._unreached(entry)
            elif entry.kind in MARKS:
                self._note(waiting, entry)
            elif waiting.kind is not entry.kind or waiting.name != entry.name:
                raise self._unreached(entry)
            else:
                self._deliver(waiting, entry)

    def _unreached(self, entry: Entry) -> ReplayMismatch:
        """The code waits elsewhere, or for something else, than where the journal goes on."""
        fiber, position, attempted = self.fibers.standing(self.root, entry.position)
        return self.journal.mismatch(entry, position, attempted, fiber.where())

    def _recall(self) -> bool:
        """Do one thing again in the way in which it is recorded, in a retry; False where there is none left."""
        recall = self.journal.recall
        assert recall is not None
        while (entry := self.journal.recalled()) is not None:
            if self._repeat(entry):
                return True
            if self.fibers.reach(self.root, entry.position):
                recall.put_back(entry)
                return True
        return False

    def _repeat(self, entry: Entry) -> bool:
        """Use an entry again; False where the run does not wait for what it tells."""
        waiting, handler = self.waiting.get(entry.position), self.inbox.handlers.get(entry.name)
        if entry.kind is Kind.EVENT and handler is not None and handler.next_position() == entry.position:
            self.handled(self.journal.append(entry))
            return True
        if waiting is None or waiting.name != entry.name:
            return False
        if entry.kind in MARKS:
            self._note(waiting, self.journal.append(entry))
        elif waiting.kind is entry.kind and is_outcome(entry):
            self._deliver(waiting, self.journal.append(entry))
        else:
            return False
        return True

    def _note(self, waiting: Waiting, entry: Entry) -> None:
        kinds, note = _MARK_ROWS[entry.kind]
        if waiting.kind not in kinds or waiting.name != entry.name:
            raise self._unreached(entry)
        note(waiting, entry)

    def _react(self) -> bool:
        """Do one thing that needs nothing from outside; False where there is none."""
        return self._look() or self._hand_out()

    def _look(self) -> bool:
        """Let one go on whose condition holds; False where none does."""
        while (waiting := self.predicates.next()) is not None:
            if self._look_at(waiting):
                return True
        return False

    def _hand_out(self) -> bool:
        """Give an event to who takes it; False where there are no two that go together."""
        match self.inbox.match():
            case EventArrived() as event, Handler() as handler:
                position = handler.next_position()
                self.handled(self.record(position, Kind.EVENT, event.name, event.payload, ref=event.ref))
                return True
            case EventArrived() as event, Waiting() as waiting:
                self.complete(waiting, event.payload, ref=event.ref)
                return True
        return False

    def _look_at(self, waiting: Waiting) -> bool:
        command = waiting.command
        assert isinstance(command, Ensure)
        try:
            held = holds(command.predicate(), command.predicate)
        except Exception as error:
            self.complete(waiting, Failure(error))
            return True
        if held:
            self.complete(waiting, Value(True))
        return held

    def _ask(self) -> bool:
        """Ask the host for what the fibers wait for; True where one of them can go on without it."""
        unasked = self.unasked
        for number, waiting in enumerate(unasked, 1):
            if waiting.fiber.waits_for is waiting:
                waiting.asked = True
                ASK[waiting.kind](self, waiting)
                if not waiting.asked:
                    del unasked[:number]
                    return True
        unasked.clear()
        return False

    # Entries

    def record(self, position: Position, kind: Kind, name: str, outcome: Outcome | None, ref: int = 0) -> Entry:
        return self.journal.append(Entry(position, kind, name, outcome, self.journal.now, 0, ref))

    def complete(self, waiting: Waiting, outcome: Outcome, ref: int = 0) -> None:
        """Record what came of a command, and let its fiber go on with that; a step is completed by the next one."""
        self._deliver(waiting, self.record(waiting.position, waiting.kind, waiting.name, outcome, ref))

    def complete_step(self, waiting: Waiting, outcome: Outcome, attempts: int) -> None:
        """The same for a step, after so many attempts at it here."""
        command, key = waiting.command, ""
        assert type(command) is Save
        if command.options.key is not None and isinstance(outcome, Value):
            key = command.options.key
        now = self.journal.now
        entry = Entry(waiting.position, waiting.kind, waiting.name, outcome, now, attempts, 0, key)
        self._deliver(waiting, self.journal.append(entry))

    def _deliver(self, waiting: Waiting, entry: Entry) -> None:
        outcome, command = entry.outcome, waiting.command
        assert outcome is not None, "a completion has an outcome"
        self._forget(waiting)
        if isinstance(outcome, Failure):
            self.failures.remember(entry.position, outcome.error)
        elif type(command) is Save and command.options.compensate is not None and entry.attempts:
            self.undo.push(command, outcome.value)
        self.fibers.resume(waiting.fiber, outcome)

    def _forget(self, waiting: Waiting) -> None:
        del self.waiting[waiting.position]
        command = type(waiting.command)
        if command is Receive:
            self.inbox.forget(waiting)
        elif command is Ensure:
            self.predicates.forget(waiting)

    def handled(self, entry: Entry) -> bool:
        """Give an event to its handler; False where the run is to end by that."""
        handler = self.inbox.handlers.get(entry.name)
        if handler is None or handler.next_position() != entry.position or entry.outcome is None:
            raise self._unreached(entry)
        assert isinstance(entry.outcome, Value)
        self.predicates.stale = True
        try:
            handler.take(entry.outcome.value)
        except Exception as error:
            return callback_failed(self, error)
        return True

    # Commands

    def issue(self, fiber: Fiber, command: Any) -> Outcome | None:
        """Carry a command out: its outcome, or None where the fiber has to wait."""
        body: Any = fiber.body
        if body.gi_yieldfrom is not None and (delegate := fiber.delegate()) is not None:
            return Failure(explain_bad_delegate(delegate, fiber.where()))
        begin = BEGIN.get(type(command))
        if begin is None:
            return Failure(explain_bad_command(command, fiber.where()))
        return begin(self, fiber, command)

    def wait(self, fiber: Fiber, kind: Kind, name: str, command: Command[Any]) -> Waiting:
        position = fiber.position()
        waiting = self.waiting[position] = fiber.waits_for = Waiting(fiber, position, kind, name, command)
        self.unasked.append(waiting)
        return waiting

    def answer(self, fiber: Fiber, kind: Kind, name: str, outcome: Outcome, ref: int = 0) -> Entry:
        entry = self.journal.meet(fiber.position(), kind, name, outcome, fiber, ref)
        if isinstance(entry.outcome, Failure):
            self.failures.remember(entry.position, entry.outcome.error)
        return entry

    # Ends

    def withdraw(self, waiting: Waiting, error: Cancelled) -> None:
        """A fiber was cancelled while it waits for a command."""
        self.journal.meet(waiting.position, waiting.kind, waiting.name, Failure(error), waiting.fiber)
        self._forget(waiting)
        self.call_off(waiting, error.reason)
        self.fibers.resume(waiting.fiber, Failure(error))

    def call_off(self, waiting: Waiting, reason: str) -> None:
        """Nobody waits any more for what the host was asked for."""
        if not waiting.asked:
            return
        if waiting.kind is Kind.SAVE:
            self.journal.requests.append(CancelStep(waiting.position))
        elif isinstance(waiting.command, Call):
            child, command = child_id(self.family, waiting), waiting.command
            request = CancelChild(waiting.position, child, command.invocation, reason, command.queue)
            self.journal.requests.append(request)

    @property
    def ends_for(self) -> str | None:
        """Why the run is to end, if it was cancelled or is reverting."""
        return REVERTS if self.stop_reason is None and self.undone_at is not None else self.stop_reason

    def branch_failed(self, fiber: Fiber, failure: Failure) -> None:
        """Record an error that comes from no command: where it was raised, a retry begins."""
        if self.failures.position_of(failure.error) is None:
            entry = self.journal.meet(fiber.position(), Kind.RAISE, "", failure, fiber)
            self.failures.remember(entry.position, failure.error)

    # Chance

    def draw(self, size: int, *what: int) -> bytes:
        text = ".".join(map(str, what)).encode()
        return hashlib.blake2b(text, key=self._seed, digest_size=size).digest()

    def chance(self, *what: int) -> float:
        return (int.from_bytes(self.draw(8, *what)) >> 11) / (1 << 53)


def _waiting_text(waiting: Waiting) -> str:
    text = described(waiting.kind, waiting.name)
    if waiting.due is not None:
        text += f" until {datetime_of(waiting.due):%Y-%m-%dT%H:%M:%SZ}"
    elif isinstance(waiting.command, Save) and waiting.command.options.once is not None:
        text += f" (once {waiting.command.options.once!r})"
    elif isinstance(waiting.command, Save) and waiting.command.options.limit is not None:
        text += f" (a slot of limit {waiting.command.options.limit.name or waiting.name!r})"
    return text


def _note_begun(waiting: Waiting, entry: Entry) -> None:
    waiting.begun = True


def _note_armed(waiting: Waiting, entry: Entry) -> None:
    if waiting.kind is Kind.SAVE:
        waiting.limit = entry.ref
    else:
        waiting.due = entry.ref


_MARK_ROWS: Final[dict[Kind, tuple[frozenset[Kind], Callable[[Waiting, Entry], None]]]] = {
    Kind.ATTEMPT: (frozenset({Kind.SAVE}), note_attempt),
    Kind.BEGUN: (frozenset({Kind.SAVE}), _note_begun),
    Kind.ARMED: (frozenset({Kind.SAVE, Kind.SLEEP, Kind.RECEIVE, Kind.ENSURE}), _note_armed),
}
"""For each mark: the kinds of command that it can belong to, and what it says about them."""
