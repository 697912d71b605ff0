"""Writing down what came of a run: what a worker puts into the batches of the runs that it has claimed.

Every such batch checks the claim, which is for who makes it to see to; what is put into it here holds for any run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Final

from continuum.journal import TAKES, Entry, Kind, Position, Status, Value, record
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.codec import seal
from continuum.store.leavings import leave
from continuum.store.ledger import Ledger
from continuum.store.limits import Asker, Bound
from continuum.store.protocol import Batch, View
from continuum.store.records import Address, Continuation, Message, Refusal, RunEnd, RunRecord, RunState, write

__all__ = ["Recorder", "Successor"]

SAMPLE: Final = 20
"""Entries."""


@record
class Successor:
    """As which a run goes on: its new record, the beginning of its journal, and its code, if it is to carry that anew.

    One that is `limited` may have to wait before it begins.
    """

    record: RunRecord
    opening: Sequence[Entry] = ()
    code: bytes | None = None
    limited: bool = False


class Recorder:
    """The worker's side of the ledger where it writes."""

    def __init__(
        self, ledger: Ledger, stamps: Stamps, bound_of: Callable[[str], Bound | None] = lambda name: None
    ) -> None:
        self._ledger = ledger
        self._stamps = stamps
        self.codec = ledger.codec
        self.results = ledger.results
        self.limits = ledger.limits
        self.bound_of = bound_of
        """The limit of the workflow of that name, if it has one."""

    def append(self, batch: Batch, run_id: str, number: int, entry: Entry) -> None:
        """Add an entry to the run's journal; the message it takes leaves the inbox with that."""
        batch.puts.append(self.line(run_id, number, entry))
        if entry.ref and entry.kind in TAKES:
            batch.deletes.append(keys.inbox(run_id, entry.ref))

    def line(self, run_id: str, number: int, entry: Entry) -> tuple[bytes, bytes]:
        """The pair that adds an entry to the run's journal which takes no message."""
        key = keys.journal(run_id, number)
        return key, seal(key, self.codec.encode_entry(entry))

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
        now: int,
        failed_at: Position | None,
        messages: Collection[int],
    ) -> None:
        """Settle the run, and let go of it."""
        stamp = now if record.parent is None else self._stamps.next()  # of a message, among others
        self._ledger.put_end(batch, record, old, end, stamp, failed_at)
        batch.deletes.append(keys.claim(record.id))
        if messages:
            batch.deletes += [keys.inbox(record.id, number) for number in messages]

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
        return self._stamps.seed()

    def hand_over(self, batch: Batch, record: RunRecord, old: RunState, successor: Successor, now: int) -> bytes | None:
        """Have the run go on as its successor, with whoever has that workflow.

        Gives the key of a note where the old journal cannot be deleted along with that.
        """
        new = successor.record
        note = leave(batch, record.id, record.journal_start, new.journal_start, keyed=bool(record.compacted))
        self.forget_continuation(batch, record.id)
        batch.puts.append(write(self.codec, keys.run(record.id), new))
        if successor.code is not None:
            self._ledger.put_code(batch, record.id, successor.code)
        elif record.python and not new.python:
            batch.deletes.append(keys.code(record.id))
        for number, entry in enumerate(successor.opening, new.journal_start):
            self.append(batch, record.id, number, entry)
        status = Status.PENDING if successor.limited else Status.WAITING
        self.change(batch, record, old, RunState(status, now, waiting_for="a worker"))
        self.release(batch, new, call=True)
        return note

    def ask_to_end(self, batch: Batch, address: Address, reason: str) -> None:
        """Have another run end, whether it has been started yet or not."""
        stamp = self._stamps.next()
        self._ledger.put_message(batch, address.run_id, Message("cancel", reason=reason), stamp)
        self._ledger.put_ready(batch, address, stamp)
        batch.notify = True
