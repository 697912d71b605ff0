"""The worker's side of the ledger: finding runs to work on, claiming them, and writing down what came of it.

A run is worked on by who holds its claim: a value that no claim has had before, which begins with the
worker's token. Every batch that a worker writes for a run checks it, so a worker that lost a run can do
nothing to it. Who may claim: :mod:`continuum.store.tenure`.

What a worker has to look at stands in its queues and among the timers. Looking at a run that is not
in its memory means to claim it: in one batch the claim is written, what led there is taken away, and
the state becomes running.

A run whose worker died is set free by another one, and how often that has happened in a row is counted in
its state before it is executed again. When it has been too often the run is *laid aside*, as a dead
letter; before that it is executed as the only one of its kind, so that it alone is found guilty. Any entry
that it records, and any wait that it comes to, clears it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence, Sized
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias, TypeVar

from continuum.errors import CorruptRecord
from continuum.journal import TAKES, Entry, Kind, Position, RunId, Status, Value
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.calls import InHand, calls, gather, keys_for
from continuum.store.carried import Carried, unpack
from continuum.store.codec import seal
from continuum.store.leavings import leave
from continuum.store.ledger import Ledger, is_laid_aside
from continuum.store.limits import Asker, Bound, Round, bound_of_workflow
from continuum.store.protocol import Batch, View
from continuum.store.records import Address, Continuation, Message, Refusal, RunEnd, RunRecord, RunState, read, write
from continuum.store.suspicion import is_grave, is_to_blame, mishaps, suspected
from continuum.store.tenure import Roll, Tenure, forget, owner_of

__all__ = ["Freed", "Load", "Look", "Nudge", "Queued", "Taken", "Worklist"]

Load: TypeAlias = Callable[[RunRecord, Continuation], Any]
T = TypeVar("T")
SAMPLE: Final = 20
"""Entries."""

PAGE: Final = 500
"""How many runs of workers that are gone are set free in one look."""

READ: Final = 32
"""How many calling runs are read at a time, at the least."""

KEPT: Final = 16
"""How much different code that came with runs is kept loaded: equal code is loaded once."""


@dataclass(slots=True)
class Taken:
    """A run that was claimed, with all it takes to go on; or `error`, where something cannot be loaded.

    It is `grave` where the run is to blame if its worker goes down once more. `carried` is the code that came
    with it, where the worker does not have the workflow itself. Where the run is `resumed` from its `continuation`,
    `journal` holds what was recorded since; where it could have been and is not, `unfit` says why.
    """

    record: RunRecord
    state: RunState
    claim: bytes
    grave: bool = False
    journal: list[tuple[int, Entry]] = field(default_factory=list)
    messages: list[tuple[int, Message]] = field(default_factory=list)
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    carried: Carried | None = None
    continuation: Continuation | None = None
    resumed: Any = None
    unfit: str = ""
    error: Exception | None = None

    def knows(self, number: int) -> bool:
        """Whether that message is among those that it was claimed with."""
        return any(number == known for known, _ in self.messages)


@dataclass(slots=True)
class Nudge:
    """Something came for a run that is in memory; `ready` are the keys that said so."""

    run_id: RunId
    ready: list[bytes]
    messages: list[tuple[int, Message]]


@dataclass(slots=True)
class Queued:
    """A run that may not begin yet was put in the line of a limit; when to look at the line again, and at the run."""

    digest: bytes
    again: int | None
    wake: int | None


@dataclass(slots=True)
class Freed:
    """A run whose worker is gone may be claimed from now on."""


@dataclass(slots=True)
class Look:
    """One look into the store, for a worker: what it may do, and what it has found.

    At most `room` runs are claimed; where that leaves some, it is seen to those in `hand` that something came for,
    which may lie behind what was left. With `orphans` those are set free whose worker is gone, and `blocked` are
    runs that are to be tried again (None: all that are blocked). Of those whose worker has died it takes
    `risks`, which are few, and only one that is grave: when the next worker dies no other is to be blamed for it.
    """

    tenure: Tenure
    roll: Roll
    now: int
    room: int
    orphans: bool = False
    blocked: set[RunId] | None = field(default_factory=set)
    risks: int = 1
    grave_risks: int = 1
    hand: InHand | None = None
    found: list[tuple[Batch | None, Taken | Nudge | Queued | Freed | Tenure | None]] = field(default_factory=list)
    more: bool = False  # there was more than it was to take
    shied: bool = False  # there were some that it did not take for the risk
    lost: bool = False  # nothing was looked at: others have ended the worker's tenure
    next_timer: int | None = None
    ends: list[tuple[RunId, RunEnd]] = field(default_factory=list)  # of runs that it asked for

    def begun(self) -> Look:
        """The same look, to be begun: it has found nothing yet."""
        return replace(self, blocked=None if self.blocked is None else set(self.blocked), found=[], ends=[])

    @property
    def claims(self) -> bool:
        """Whether it wants to claim a run."""
        return any(isinstance(answer, Taken) for _, answer in self.found)

    @property
    def crew(self) -> int:
        """How many workers there are."""
        return len({*self.roll.workers, self.tenure.token})

    def dares(self, crashes: int, *, grave: bool) -> bool:
        """Whether it may take another run whose workers have died so many times in a row."""
        if crashes and (self.risks <= 0 or (grave and self.grave_risks <= 0)):
            self.shied = True
            return False
        self.risks -= crashes > 0
        self.grave_risks -= grave
        return True

    def share_of(self, runs: Sequence[T]) -> list[T]:
        """The runs in the order in which this worker is to try them, so that workers do not fight for the same."""
        tokens = sorted({*self.roll.workers, self.tenure.token})
        rank, step = tokens.index(self.tenure.token), len(tokens)
        if step == 1:
            return list(runs)
        first = runs[rank::step]
        return [*first, *(run for at, run in enumerate(runs) if at % step != rank)]

    def most_of(self, runs: Sized) -> int:
        """How many of them it may take now; others are to have theirs."""
        return min(self.room, -(-len(runs) // self.crew))


class Worklist:
    """One worker's view of the ledger. `wanted` tells whether it has that workflow and version.

    `resume` loads a continuation, or raises why it cannot be used.
    """

    def __init__(
        self,
        ledger: Ledger,
        stamps: Stamps,
        queues: Sequence[str],
        wanted: Callable[[str], bool],
        bound_of: Callable[[str], Bound | None] = lambda name: None,
        load: Load | None = None,
    ) -> None:
        self._ledger = ledger
        self.codec = ledger.codec
        self.results = ledger.results
        self.limits = ledger.limits
        self._stamps = stamps
        self._queues = queues
        self._wanted = wanted  # whether the worker works on what has that label
        self._unpack = lru_cache(KEPT)(partial(unpack, self.codec))
        self.bound_of = bound_of
        """The limit of the workflow of that name, if it has one."""
        self._turns: tuple[View, Round] | None = None  # of the look that is under way
        self._load_state = load  # loads a continuation, or raises why it cannot be used

    # Finding and claiming

    def look(self, view: View, look: Look) -> None:
        """Find what there is to do: claims for runs, nudges for those that this worker has.

        No more calls are read than it takes to fill the room, beside others who take theirs from the same.
        """
        called = calls(view, self._queues, self._wanted, look.now)
        seen: set[RunId] = set()
        nudged: dict[RunId, list[bytes]] = {}
        while not look.more and (some := gather(called, max(READ, look.room * look.crew))):
            self._answer_calls(view, look, some, seen, nudged)
        if look.more and look.hand is not None:
            for run_id in look.hand.called(view, self.results, self.limits):
                nudged.setdefault(run_id, [])
        look.found.extend((None, self._nudge(view, look, run_id, ready)) for run_id, ready in nudged.items())
        if look.orphans:
            self._set_free_orphans(view, look)
        if look.blocked is None:
            look.blocked = {keys.run_of_index(key) for key, _ in view.scan(keys.index_prefix(Status.BLOCKED))}
        if look.blocked:
            self._try_blocked(view, look, look.blocked)

    def begun(self, record: RunRecord, claim: bytes) -> Taken:
        """A run that was just started, in the hands of this worker."""
        taken = Taken(record, RunState(Status.RUNNING, record.created), claim)
        try:
            taken.args, taken.kwargs = self.codec.decode(record.payload)
        except Exception as error:  # any code of the user's may run in a pickle
            taken.error = error
        return taken

    def takes(self, record: RunRecord) -> bool:
        """Whether the run is one that this worker can work on."""
        return record.queue in self._queues and self._wanted(record.address.label)

    def reclaim(self, view: View, look: Look, run_id: RunId) -> None:
        """Claim a run anew that this worker holds, as the store says, but no longer has in memory."""
        held = view.get(keys.claim(run_id))
        if held is not None and look.tenure.made(held):
            self._take(view, look, run_id, [], held)

    def _answer_calls(
        self,
        view: View,
        look: Look,
        called: dict[RunId, list[bytes]],
        seen: set[RunId],
        nudged: dict[RunId, list[bytes]],
    ) -> None:
        """Take this worker's share of the runs that call and are free; gather the calls for those that it has."""
        most = look.most_of(called)
        for run_id in look.share_of(list(called)):
            held = view.get(keys.claim(run_id))
            if held is not None:
                if look.tenure.made(held):
                    nudged.setdefault(run_id, []).extend(called[run_id])
            elif run_id not in seen:  # else it has called before
                if most <= 0:
                    look.more = True
                    return
                seen.add(run_id)
                most -= self._take(view, look, run_id, called[run_id])

    def _take(self, view: View, look: Look, run_id: RunId, ready: list[bytes], held: bytes | None = None) -> bool:
        """Claim a run, if that can be; whether it counts among those that were to be taken."""
        claimed = self._claim(view, look, run_id, ready, held)
        if claimed is None:
            return False
        look.found.append(claimed)
        counts = claimed[1] is not None
        look.room -= counts
        return counts

    def _nudge(self, view: View, look: Look, run_id: RunId, ready: list[bytes]) -> Nudge:
        messages = self.messages(view, run_id)
        unread = [] if look.hand is None else look.hand.keys_for(run_id, messages)
        return Nudge(run_id, list(dict.fromkeys([*ready, *unread])), messages)

    def _set_free_orphans(self, view: View, look: Look) -> None:
        """Let go, for workers that are gone, of the runs that they had; of whom nothing is left the note goes.

        They are claimed after that, from another view: a worker that was merely silent may write up to here.
        """
        left: list[tuple[RunId, bytes]] = []
        forgotten = set(look.roll.gone)
        for key, claim in view.scan(keys.claims()):
            owner = owner_of(claim)
            forgotten.discard(owner)
            if owner not in look.roll.workers and owner != look.tenure.token:
                left.append((keys.run_of_claim(key), claim))
        for run_id, claim in look.share_of(left)[:PAGE]:
            look.found.append((self._set_free(view, look, run_id, claim), Freed()))
        look.found.extend((forget(look.roll, token), None) for token in forgotten)

    def _set_free(self, view: View, look: Look, run_id: RunId, claim: bytes) -> Batch:
        if view.get(keys.run(run_id)) is None or view.get(keys.outcome(run_id)) is not None:
            return self._clear(view, run_id, [])
        record, state = self._ledger.record(view, run_id), self._ledger.state(view, run_id)
        batch = Batch([(keys.claim(run_id), claim), self._ledger.unchanged(view, run_id)], notify=True)
        batch.deletes.append(keys.claim(run_id))
        owner = owner_of(claim)
        fell = look.roll.fell(owner) and self._was_executed(view, look, run_id, state)
        waiting = replace(state, status=Status.WAITING, updated=look.now, waiting_for="a worker")
        counts = fell or look.roll.was_held_up(owner, run_id)
        if counts:
            count = mishaps(view)
            waiting = suspected(waiting, count, look.roll.gone[owner])
            if is_to_blame(waiting, count):
                self._lay_aside(batch, record, state, waiting.crashes, look.now)
                return batch
        if state.status is Status.RUNNING or counts:
            self._ledger.put_state(batch, record, state, waiting)
        self._ledger.put_ready(batch, record.address, record.created)  # before those that came later
        return batch

    def _was_executed(self, view: View, look: Look, run_id: RunId, state: RunState) -> bool:
        """Whether the run was being executed, or may have been, when its worker went."""
        if state.status is Status.RUNNING or (state.wake is not None and state.wake <= look.now):
            return True
        return any(True for _ in view.scan(keys.inbox_prefix(run_id), limit=1))

    def _try_blocked(self, view: View, look: Look, blocked: set[RunId]) -> None:
        """Claim runs that are blocked: the code that this worker has may fit. Others may be at them just now."""
        free: dict[RunId, list[bytes]] = {}
        for run_id in sorted(blocked):
            data = view.get(keys.state(run_id))
            state = None if data is None else read(self.codec, RunState, keys.state(run_id), data)
            to_try = state is not None and state.status is Status.BLOCKED and not is_laid_aside(state)
            if not to_try or not self.takes(self._ledger.record(view, run_id)):
                blocked.discard(run_id)
            elif view.get(keys.claim(run_id)) is None:
                free[run_id] = []
        self._answer_calls(view, look, free, set(), {})

    def next_timer(self, view: View, now: int) -> int | None:
        """When the first timer after `now` is due."""
        for key, _ in view.scan(keys.timers(), start=keys.timers_until(now), limit=1):
            return keys.due_of_timer(key)
        return None

    def messages(self, view: View, run_id: str) -> list[tuple[int, Message]]:
        """The run's inbox, by number."""
        pairs = view.scan(keys.inbox_prefix(run_id))
        return [(keys.number_of(key), read(self.codec, Message, key, data)) for key, data in pairs]

    def _claim(
        self, view: View, look: Look, run_id: RunId, ready: list[bytes], held: bytes | None
    ) -> tuple[Batch, Taken | Queued | None] | None:
        if view.get(keys.run(run_id)) is None or view.get(keys.outcome(run_id)) is not None:
            return self._clear(view, run_id, ready), None
        record, state = self._ledger.record(view, run_id), self._ledger.state(view, run_id)
        if not self.takes(record):
            return (self._forward(view, record, ready), None) if ready else None
        batch = Batch([(keys.claim(run_id), held), self._ledger.unchanged(view, run_id)], deletes=ready)
        if is_laid_aside(state) or _is_delayed(record, state, look.now):
            return (batch, None) if ready else None
        grave = state.crashes > 0 and is_grave(state, mishaps(view))
        if not look.dares(state.crashes, grave=grave):
            return None
        bound = self._limit_of(view, record) if state.status is Status.PENDING else None
        if bound is not None and (queued := self._queue(view, batch, record, state, bound, look.now)) is not None:
            return batch, queued
        claim = look.tenure.claim()
        running = RunState(
            Status.RUNNING,
            look.now,
            rewind=state.rewind,
            failed_at=state.failed_at,
            crashes=state.crashes,
            mishaps=state.mishaps,
        )
        taken = Taken(record, running, claim.value, grave)
        batch.checks.append(claim.check)
        batch.puts.append((keys.claim(run_id), claim.value))
        self._ledger.put_state(batch, record, state, running)
        self._load(view, taken)
        called = keys_for(record, (number for number, _ in taken.messages))  # some of which may not have been read
        batch.deletes = list(dict.fromkeys([*ready, *called]))
        return batch, taken

    def _lay_aside(self, batch: Batch, record: RunRecord, old: RunState, crashes: int, now: int) -> None:
        """Make the run a dead letter: nobody executes it until it is retried by hand."""
        reason = (
            f"run {record.id!r} was being executed when its worker died, or was held up by it, {crashes} times in a "
            "row, and recorded nothing new in between: it is not executed any more. Find out what brings the worker "
            "down (a crash in native code, os._exit, no memory, a loop without an end), then let it go on: "
            f"continuum retry {record.id}"
        )
        state = RunState(
            Status.BLOCKED, now, reason=reason, rewind=old.rewind, failed_at=old.failed_at, crashes=crashes
        )
        self._ledger.put_state(batch, record, old, state)

    def _queue(
        self, view: View, batch: Batch, record: RunRecord, state: RunState, bound: Bound, now: int
    ) -> Queued | None:
        """Put a run that is to begin in the line of its workflow's limit; None if it may begin.

        One that is to end is let begin, so that it can.
        """
        if (record.deadline is not None and record.deadline <= now) or self._ledger.asked_to_end(view, record.id):
            self.limits.give_up_all(view, batch, record.id, self._stamps.next())
            return None
        if self._turns is None or self._turns[0] is not view:
            self._turns = view, self.limits.round(view, now, self._stamps.next)
        asked, turn = self._turns[1].ask(bound, Asker.of(record))
        if asked is not None:
            batch.checks += asked.checks
            batch.puts += asked.puts
            batch.deletes += asked.deletes
        if turn.given:
            return None
        waiting = replace(state, waiting_for=f"a slot of limit {bound.name!r}", wake=record.deadline)
        self._ledger.put_state(batch, record, state, waiting)
        return Queued(bound.digest, turn.again, record.deadline)

    def _forward(self, view: View, record: RunRecord, ready: list[bytes]) -> Batch:
        """Tell who is to look at the run, which has gone on as another workflow since it was called for here."""
        batch = Batch([self._ledger.same_record(view, record.id)], deletes=ready, notify=True)
        self._ledger.put_ready(batch, record.address, self._stamps.next())
        return batch

    def _load(self, view: View, taken: Taken) -> None:
        record = taken.record
        try:
            taken.messages = self.messages(view, record.id)
            taken.carried = self._carried(view, record)
            codec = self.codec if taken.carried is None else taken.carried.codec
            self._load_continuation(view, taken)
            start = record.journal_start
            if taken.resumed is not None and taken.continuation is not None:
                start = max(start, taken.continuation.number)
            taken.journal = list(self._ledger.entries(view, record.id, start, codec=codec))
            taken.args, taken.kwargs = codec.decode(record.payload)
        except Exception as error:  # told by who claimed it: the run is blocked until it can be loaded
            taken.error = error

    def _carried(self, view: View, record: RunRecord) -> Carried | None:
        """The code that came with the run, where the worker does not have the workflow itself."""
        if not record.python or self._wanted(replace(record, python="").address.label):
            return None
        return self._unpack(self._ledger.code(view, record.id))

    def _limit_of(self, view: View, record: RunRecord) -> Bound | None:
        """The limit of the run's workflow."""
        try:
            carried = self._carried(view, record)
        except Exception:  # told when the run is loaded
            return None
        return self.bound_of(record.workflow) if carried is None else bound_of_workflow(carried.workflow)

    def _load_continuation(self, view: View, taken: Taken) -> None:
        """Load the run's continuation, if it is to go on from that.

        A retry goes back behind it where it can, and code that came with the run replays. Raises what keeps it from
        being used where nothing else is left.
        """
        record = taken.record
        try:
            found = taken.continuation = self._ledger.continuation(view, record.id)
            if found is None and record.compacted:
                raise CorruptRecord("the continuation is missing that stands for the history that was deleted")
            replays = taken.state.rewind or taken.carried is not None
            if found is not None and self._load_state is not None and (record.compacted or not replays):
                taken.resumed = self._load_state(record, found)
        except Exception as error:  # any code of the user's may run in a pickle
            if record.compacted:
                raise
            taken.unfit = f"{type(error).__name__}: {error}"

    def _clear(self, view: View, run_id: RunId, ready: list[bytes]) -> Batch:
        """Take away what came for a run that has ended, or was never started."""
        left = [key for key, _ in view.scan(keys.inbox_prefix(run_id))]
        return Batch(
            [(keys.outcome(run_id), view.get(keys.outcome(run_id)))], deletes=[*ready, *left, keys.claim(run_id)]
        )

    # Writing down

    def append(self, batch: Batch, run_id: str, number: int, entry: Entry) -> None:
        """Add an entry to the run's journal; the message it takes leaves the inbox with that."""
        key = keys.journal(run_id, number)
        batch.puts.append((key, seal(key, self.codec.encode_entry(entry))))
        if entry.ref and entry.kind in TAKES:
            batch.deletes.append(keys.inbox(run_id, entry.ref))

    def take_back(self, batch: Batch, run_id: str, number: int) -> None:
        """Remove an entry from the run's journal, for a retry."""
        batch.deletes.append(keys.journal(run_id, number))

    def put_back(self, batch: Batch, run_id: str, entry: Entry) -> tuple[int, Message] | None:
        """Have the event that the entry took, if it did, in the run's inbox again."""
        if entry.kind not in (Kind.RECEIVE, Kind.EVENT) or not entry.ref or not isinstance(entry.outcome, Value):
            return None
        message = Message("event", entry.name, payload=entry.outcome.data or b"")
        batch.puts.append(write(self.codec, keys.inbox(run_id, entry.ref), message))
        return entry.ref, message

    def forget_message(self, batch: Batch, run_id: str, number: int) -> None:
        """Delete a message that concerns nobody any more."""
        batch.deletes.append(keys.inbox(run_id, number))

    def forget_sent(self, batch: Batch, run_id: str, message_id: str) -> None:
        """The sender has recorded that its message was delivered: it will not be sent again."""
        batch.deletes.append(keys.delivered(run_id, message_id))

    def give_back(self, batch: Batch, asker: Asker, bound: Bound, place: bytes | None = None) -> None:
        """Give a slot of a limit back, or that place in line."""
        self.limits.give_back(batch, asker, bound.digest, place, self._stamps.next())

    def give_slot_back(self, batch: Batch, asker: Asker, bound: Bound) -> None:
        """Give a slot of a limit back, if the step has one."""
        self.limits.give_slot_back(batch, asker, bound.digest, self._stamps.next())

    def publish(self, batch: Batch, run_id: str, payload: bytes) -> None:
        """Set what the run shows to the world."""
        key = keys.published(run_id)
        batch.puts.append((key, seal(key, payload)))
        batch.notify = True

    def end(
        self,
        batch: Batch,
        record: RunRecord,
        old: RunState,
        end: RunEnd,
        failed_at: Position | None,
        messages: Collection[int],
    ) -> None:
        """Settle the run, and let go of it."""
        self._ledger.put_end(batch, record, old, end, self._stamps.next(), failed_at)
        batch.deletes.append(keys.claim(record.id))
        batch.deletes.extend(keys.inbox(record.id, number) for number in messages)

    def change(self, batch: Batch, record: RunRecord, old: RunState, new: RunState) -> None:
        """Change the run's state."""
        self._ledger.put_state(batch, record, old, new)

    def release(self, batch: Batch, record: RunRecord, *, call: bool = False) -> None:
        """Let go of the run; with `call` another worker is to go on with it at once."""
        batch.deletes.append(keys.claim(record.id))
        if call:
            self._ledger.put_ready(batch, record.address, self._stamps.next())
            batch.notify = True

    def keep(self, batch: Batch, run_id: str, continuation: Continuation) -> None:
        """Have the run go on from here the next time that it is taken up."""
        batch.puts.append(write(self.codec, keys.continuation(run_id), continuation))
        batch.deletes.append(keys.refusal(run_id))

    def refuse(self, batch: Batch, run_id: str, refusal: Refusal) -> None:
        """Tell people why no continuation is kept."""
        batch.puts.append(write(self.codec, keys.refusal(run_id), refusal))

    def forget_continuation(self, batch: Batch, run_id: str) -> None:
        """Delete what is kept of the run besides its history, and why no more is."""
        kept = [keys.continuation(run_id), keys.refusal(run_id)]
        batch.puts = [pair for pair in batch.puts if pair[0] not in kept]
        batch.deletes += kept

    def drop_history(
        self, batch: Batch, record: RunRecord, number: int, *, keyed: bool
    ) -> tuple[RunRecord, bytes | None]:
        """Let go of the run's entries before that number; only in a batch that keeps a continuation for them.

        The last one of each key stays, if any are `keyed`. Gives the run's new record, and the key of a note
        where they cannot be deleted with that.
        """
        note = leave(batch, record.id, record.journal_start, number, keyed=keyed)
        dropped = record.compacted + number - record.journal_start
        changed = replace(record, journal_start=number, compacted=dropped)
        batch.puts.append(write(self.codec, keys.run(record.id), changed))
        return changed, note

    def size(self, view: View, run_id: str, start: int, stop: int) -> int:
        """About how many bytes the run's entries between those numbers take up: the last of them stand for all."""
        sample = self.stored(view, run_id, max(start, stop - SAMPLE), stop)
        return sum(len(data) for _, data in sample) * (stop - start) // max(1, len(sample))

    def stored(self, view: View, run_id: str, start: int, stop: int) -> list[tuple[bytes, bytes]]:
        """The run's entries between those numbers as they are stored."""
        first, last = keys.journal(run_id, start), keys.journal(run_id, stop)
        return list(view.scan(keys.journal_prefix(run_id), start=first, stop=last))

    def seed(self) -> str:
        """What a run's random numbers come from."""
        return self._stamps.entropy(16).hex()

    def hand_over(
        self,
        batch: Batch,
        record: RunRecord,
        old: RunState,
        new: RunRecord,
        opening: Sequence[Entry],
        now: int,
        code: bytes | None = None,
        *,
        limited: bool = False,
    ) -> bytes | None:
        """Have the run go on by its new record, with whoever has that workflow; its journal begins with `opening`.

        `code` is what it carries from now on, if that is something else. One that is `limited` may have to wait
        before it begins. Gives the key of a note where the old journal
        cannot be deleted along with that.
        """
        note = leave(batch, record.id, record.journal_start, new.journal_start, keyed=bool(record.compacted))
        self.forget_continuation(batch, record.id)
        batch.puts.append(write(self.codec, keys.run(record.id), new))
        if code is not None:
            self._ledger.put_code(batch, record.id, code)
        elif record.python and not new.python:
            batch.deletes.append(keys.code(record.id))
        for number, entry in enumerate(opening, new.journal_start):
            self.append(batch, record.id, number, entry)
        status = Status.PENDING if limited else Status.WAITING
        self.change(batch, record, old, RunState(status, now, waiting_for="a worker"))
        self.release(batch, new, call=True)
        return note

    def ask_to_end(self, batch: Batch, address: Address, reason: str) -> None:
        """Have another run end, whether it has been started yet or not."""
        stamp = self._stamps.next()
        self._ledger.put_message(batch, address.run_id, Message("cancel", reason=reason), stamp)
        self._ledger.put_ready(batch, address, stamp)
        batch.notify = True


def _is_delayed(record: RunRecord, state: RunState, now: int) -> bool:
    """Whether the run is to begin later, whatever came for it: one that is in line wakes for its deadline alone."""
    wake = state.wake
    return state.status is Status.PENDING and wake is not None and wake > now and wake != record.deadline
