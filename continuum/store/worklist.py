"""The worker's side of the ledger: finding runs to work on, claiming them, and writing down what came of it.

A run is worked on by who holds its claim: a record with the worker's token. Every batch that a worker
writes for a run checks it, so a worker that lost a run can do nothing to it.

What a worker has to look at stands in its queues and among the timers. Looking at a run that is not
in its memory means to claim it: in one batch the claim is written, what led there is taken away, and
the state becomes running.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

from continuum.errors import CorruptRecord
from continuum.journal import TAKES, Entry, Kind, Position, RunId, Status, Value
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.carried import Carried, unpack
from continuum.store.codec import seal
from continuum.store.leavings import leave
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, View
from continuum.store.records import Address, Continuation, Message, Refusal, RunEnd, RunRecord, RunState, read, write

__all__ = ["Load", "Nudge", "Taken", "Worklist"]

Load: TypeAlias = Callable[[RunRecord, Continuation], Any]

SAMPLE: Final = 20
"""Entries."""

KEPT: Final = 16
"""How much different code that came with runs is kept loaded: equal code is loaded once."""


@dataclass(slots=True)
class Taken:
    """A run that was claimed, with all it takes to go on; or `error`, where something cannot be loaded.

    `carried` is the code that came with it, where the worker does not have the workflow itself. Where the run
    is `resumed` from its `continuation`, `journal` holds what was recorded since; where it could have
    been and is not, `unfit` says why.
    """

    record: RunRecord
    state: RunState
    journal: list[tuple[int, Entry]] = field(default_factory=list)
    messages: list[tuple[int, Message]] = field(default_factory=list)
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    carried: Carried | None = None
    continuation: Continuation | None = None
    resumed: Any = None
    unfit: str = ""
    error: Exception | None = None


@dataclass(slots=True)
class Nudge:
    """Something came for a run that is in memory; `ready` are the keys that said so."""

    run_id: RunId
    ready: list[bytes]
    messages: list[tuple[int, Message]]


class Worklist:
    """One worker's view of the ledger. `token` is what it claims runs with."""

    def __init__(
        self,
        ledger: Ledger,
        stamps: Stamps,
        token: bytes,
        queues: Sequence[str],
        wanted: Callable[[str], bool],
        load: Load | None = None,
    ) -> None:
        self._ledger = ledger
        self.codec = ledger.codec
        self.results = ledger.results
        self._stamps = stamps
        self.token = token
        self._queues = queues
        self._wanted = wanted  # whether the worker works on what has that label
        self._unpack = lru_cache(KEPT)(partial(unpack, self.codec))
        self._load_state = load  # loads a continuation, or raises why it cannot be used

    # Finding and claiming

    def look(self, view: View, now: int, room: int) -> list[tuple[Batch | None, Taken | Nudge | None]]:
        """What there is to do: nudges for the runs that this worker has, claims for at most `room` others."""
        found: list[tuple[Batch | None, Taken | Nudge | None]] = []
        for run_id, ready in self._calls(view, now).items():
            if view.get(keys.claim(run_id)) == self.token:
                found.append((None, Nudge(run_id, ready, self.messages(view, run_id))))
            elif room > 0 and (claimed := self._claim(view, run_id, ready, now, None)) is not None:
                found.append(claimed)
                room -= 1
        return found

    def begun(self, record: RunRecord) -> Taken:
        """A run that was just started, in the hands of this worker."""
        taken = Taken(record, RunState(Status.RUNNING, record.created))
        try:
            taken.args, taken.kwargs = self.codec.decode(record.payload)
        except Exception as error:  # any code of the user's may run in a pickle
            taken.error = error
        return taken

    def takes(self, record: RunRecord) -> bool:
        """Whether the run is one that this worker can work on."""
        return record.queue in self._queues and self._wanted(record.address.label)

    def inherit(self, view: View, now: int) -> list[tuple[Batch | None, Taken | Nudge | None]]:
        """Claims for the runs whose worker is gone, and for those that are blocked.

        Only for a worker that knows itself to be alone.
        """
        left = [(keys.run_of_claim(key), token) for key, token in view.scan(keys.claims()) if token != self.token]
        blocked = [(keys.run_of_index(key), None) for key, _ in view.scan(keys.index_prefix(Status.BLOCKED))]
        claims = (self._claim(view, run_id, [], now, token) for run_id, token in [*left, *blocked])
        return [claim for claim in claims if claim is not None]

    def reclaim(self, view: View, run_id: RunId, now: int) -> list[tuple[Batch | None, Taken | None]]:
        """A claim for a run that this worker holds already, as the store says, but no longer has in memory."""
        if view.get(keys.claim(run_id)) != self.token:
            return []
        claim = self._claim(view, run_id, [], now, self.token)
        return [] if claim is None else [claim]

    def next_timer(self, view: View, now: int) -> int | None:
        """When the first timer after `now` is due."""
        for key, _ in view.scan(keys.timers(), start=keys.timers_until(now), limit=1):
            return keys.due_of_timer(key)
        return None

    def messages(self, view: View, run_id: str) -> list[tuple[int, Message]]:
        """The run's inbox, by number."""
        pairs = view.scan(keys.inbox_prefix(run_id))
        return [(keys.number_of(key), read(self.codec, Message, key, data)) for key, data in pairs]

    def _calls(self, view: View, now: int) -> dict[RunId, list[bytes]]:
        """The runs that a worker should look at, most urgent first, with the keys that say so."""
        calls: dict[RunId, list[bytes]] = {}
        for queue in self._queues:
            for key, label in view.scan(keys.ready_prefix(queue)):
                if self._wanted(label.decode()):
                    calls.setdefault(keys.run_of_ready(queue, key), []).append(key)
        for key, _ in view.scan(keys.timers(), stop=keys.timers_until(now)):
            calls.setdefault(keys.run_of_timer(key), [])
        return calls

    def _claim(
        self, view: View, run_id: RunId, ready: list[bytes], now: int, left: bytes | None
    ) -> tuple[Batch, Taken | None] | None:
        if view.get(keys.run(run_id)) is None or view.get(keys.outcome(run_id)) is not None:
            return self._clear(view, run_id, ready), None
        record, state = self._ledger.record(view, run_id), self._ledger.state(view, run_id)
        held = view.get(keys.claim(run_id))
        if held != left:
            return None
        if not self.takes(record):
            return (self._forward(view, record, ready), None) if ready else None
        batch = Batch([(keys.claim(run_id), held), self._ledger.unchanged(view, run_id)], deletes=ready)
        batch.puts.append((keys.claim(run_id), self.token))
        running = RunState(Status.RUNNING, now, rewind=state.rewind, failed_at=state.failed_at)
        self._ledger.put_state(batch, record, state, running)
        return batch, self._load(view, record, running)

    def _forward(self, view: View, record: RunRecord, ready: list[bytes]) -> Batch:
        """Tell who is to look at the run, which has gone on as another workflow since it was called for here."""
        batch = Batch([self._ledger.same_record(view, record.id)], deletes=ready, notify=True)
        self._ledger.put_ready(batch, record.address, self._stamps.next())
        return batch

    def _load(self, view: View, record: RunRecord, state: RunState) -> Taken:
        taken = Taken(record, state)
        try:
            taken.messages = self.messages(view, record.id)
            if record.python and not self._wanted(replace(record, python="").address.label):
                taken.carried = self._unpack(self._ledger.code(view, record.id))
            codec = self.codec if taken.carried is None else taken.carried.codec
            self._load_continuation(view, taken)
            start = record.journal_start
            if taken.resumed is not None and taken.continuation is not None:
                start = max(start, taken.continuation.number)
            taken.journal = list(self._ledger.entries(view, record.id, start, codec=codec))
            taken.args, taken.kwargs = codec.decode(record.payload)
        except Exception as error:  # told by who claimed it: the run is blocked until it can be loaded
            taken.error = error
        return taken

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

    def fence(self, run_id: str) -> tuple[bytes, bytes]:
        """The check of every batch for a run: it does nothing unless this worker holds the run."""
        return keys.claim(run_id), self.token

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

    def drop_history(self, batch: Batch, record: RunRecord, number: int) -> tuple[RunRecord, bytes | None]:
        """Let go of the run's entries before that number; only in a batch that keeps a continuation for them.

        Gives the run's new record, and the key of a note where they were too many to be deleted with that.
        """
        note = leave(batch, record.id, record.journal_start, number)
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
    ) -> bytes | None:
        """Have the run go on by its new record, with whoever has that workflow; its journal begins with `opening`.

        `code` is what it carries from now on, if that is something else. Gives the key of a note
        where the old journal was too long to be deleted along with that.
        """
        note = leave(batch, record.id, record.journal_start, new.journal_start)
        self.forget_continuation(batch, record.id)
        batch.puts.append(write(self.codec, keys.run(record.id), new))
        if code is not None:
            self._ledger.put_code(batch, record.id, code)
        elif record.python and not new.python:
            batch.deletes.append(keys.code(record.id))
        for number, entry in enumerate(opening, new.journal_start):
            self.append(batch, record.id, number, entry)
        self.change(batch, record, old, RunState(Status.WAITING, now, waiting_for="a worker"))
        self.release(batch, new, call=True)
        return note

    def ask_to_end(self, batch: Batch, address: Address, reason: str) -> None:
        """Have another run end, whether it has been started yet or not."""
        stamp = self._stamps.next()
        self._ledger.put_message(batch, address.run_id, Message("cancel", reason=reason), stamp)
        self._ledger.put_ready(batch, address, stamp)
        batch.notify = True
