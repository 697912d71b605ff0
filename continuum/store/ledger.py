"""Runs, journals, inboxes, timers and ready queues in terms of keys: every rule of the data lives here.

The ledger holds no store. It reads from a view, and what is to change it writes down in a
:class:`~continuum.store.protocol.Batch`, with the checks under which the change is right. Whoever
has such a *plan* (a function from a view to batch and answer) gives it to the committer, which
commits the batch and, where a check failed because somebody else was faster, asks the plan anew.

This is what a client needs; a worker's side is in :mod:`continuum.store.worklist` and :mod:`continuum.store.recorder`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Final, TypeAlias, TypeVar

from continuum.errors import RunExists, RunFinished, RunNotFound, StoreMoved, WrongState
from continuum.journal import FINISHED, MARKS, Entry, Failure, Kind, Position, RunId, Status, position_text
from continuum.store import keys
from continuum.store.codec import Codec, seal, unseal
from continuum.store.leavings import survivors
from continuum.store.limits import Limits
from continuum.store.protocol import Batch, View
from continuum.store.records import (
    Address,
    Continuation,
    Message,
    Move,
    Refusal,
    RunEnd,
    RunRecord,
    RunState,
    read,
    write,
    write_plain_state,
)
from continuum.store.results import Results
from continuum.store.tenure import Tenure

__all__ = ["CRASHES", "HistoryRow", "Ledger", "Plan", "RunInfo", "is_laid_aside"]

CRASHES: Final = 3
"""How many workers in a row may die of a run that gets nowhere."""

T = TypeVar("T")
_CUT_OFF: Final = (
    "if that was cut off, have it done to its end by the same `continuum copy`, or give it up with --abandon"
)

_MOVES: Final = {
    "moving": f"the runs of this store are being moved to {{}}; {_CUT_OFF}",
    "moved": "the runs of this store were moved to {}; open that one",
    "arriving": f"the runs of {{}} are being moved to this store; {_CUT_OFF}",
}

Plan: TypeAlias = Callable[[View], tuple[Batch | None, T]]
"""Reads a view; gives what is to be committed (None: nothing) and the answer once it is."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known of a run: as it was started, how it stands, and how it ended if it did."""

    record: RunRecord
    state: RunState
    end: RunEnd | None = None

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def workflow(self) -> str:
        return self.record.workflow

    @property
    def status(self) -> Status:
        return self.state.status


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One entry of a run's journal, by its number. `payload` is its pickled value, or its error where `failed`."""

    number: int
    position: str
    kind: str
    name: str
    at: int
    attempts: int
    failed: bool
    payload: bytes
    key: str = ""


class Ledger:
    """The rules of the data, for those who start, send and read."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.results = Results(codec, self.put_ready)
        self.limits = Limits(codec, self.put_ready)
        self._here: tuple[View | None, bytes | None] = None, None  # what says so, in the last view

    # Reading

    def record(self, view: View, run_id: str) -> RunRecord:
        """What was started under that id. Raises RunNotFound."""
        key = keys.run(run_id)
        data = view.get(key)
        if data is None:
            raise RunNotFound(run_id)
        return read(self.codec, RunRecord, key, data)

    def state(self, view: View, run_id: str) -> RunState:
        """How the run stands. Raises RunNotFound."""
        key = keys.state(run_id)
        data = view.get(key)
        if data is None:
            raise RunNotFound(run_id)
        return read(self.codec, RunState, key, data)

    def end(self, view: View, run_id: str) -> RunEnd | None:
        """How the run ended, or None as long as it has not."""
        key = keys.outcome(run_id)
        data = view.get(key)
        return None if data is None else read(self.codec, RunEnd, key, data)

    def info(self, view: View, run_id: str) -> RunInfo:
        """All of that together. Raises RunNotFound."""
        return RunInfo(self.record(view, run_id), self.state(view, run_id), self.end(view, run_id))

    def continuation(self, view: View, run_id: str) -> Continuation | None:
        """What is kept in place of the first part of the run's history, if anything is. Nothing is unpickled."""
        key = keys.continuation(run_id)
        data = view.get(key)
        return None if data is None else read(self.codec, Continuation, key, data)

    def refusal(self, view: View, run_id: str) -> Refusal | None:
        """Why none was kept when one was wanted last, if that is so."""
        key = keys.refusal(run_id)
        data = view.get(key)
        return None if data is None else read(self.codec, Refusal, key, data)

    def runs(
        self, view: View, status: Status | None = None, workflow: str | None = None, limit: int | None = None
    ) -> list[RunInfo]:
        """Runs, newest first, of that status and workflow if they are named."""
        statuses = [status] if status is not None else list(Status)
        found = (self.info(view, run_id) for run_id in _newest_first(view, statuses))
        return list(islice((info for info in found if workflow in (None, info.workflow)), limit))

    def published(self, view: View, run_id: str) -> bytes | None:
        """What the run published, pickled; None if it did not. Raises RunNotFound."""
        if view.get(keys.run(run_id)) is None:
            raise RunNotFound(run_id)
        key = keys.published(run_id)
        data = view.get(key)
        return None if data is None else unseal(key, data)

    def entries(
        self,
        view: View,
        run_id: str,
        start: int = 0,
        limit: int | None = None,
        *,
        load: bool = True,
        codec: Codec | None = None,
    ) -> Iterator[tuple[int, Entry]]:
        """The run's journal from that number on; without `load` no value is unpickled, else by that codec."""
        decode = (codec or self.codec).decode_entry
        for key, data in view.scan(keys.journal_prefix(run_id), start=keys.journal(run_id, start), limit=limit):
            yield keys.number_of(key), decode(unseal(key, data), load=load)

    def code(self, view: View, run_id: str) -> bytes:
        """The payload of the code that the run carries. Nothing is unpickled."""
        key = keys.code(run_id)
        return unseal(key, view.get(key) or b"")

    def history(self, view: View, run_id: str, start: int = 0, limit: int | None = None) -> list[HistoryRow]:
        """The run's journal from that number on as people see it, marks too. Raises RunNotFound.

        Of what was deleted it begins with the last entry of each key.
        """
        record = self.record(view, run_id)
        left = survivors(view, self.codec, record, start)
        entries = self.entries(view, run_id, max(start, record.journal_start), limit, load=False)
        return [_history_row(*pair) for pair in islice(chain(left, entries), limit)]

    def survivors(self, view: View, run_id: str) -> int:
        """How many entries are left of what was deleted of the run's history, each the last of its key."""
        return sum(1 for _ in survivors(view, self.codec, self.record(view, run_id)))

    def move(self, view: View) -> Move | None:
        """What has become of the store as a whole, if something has."""
        data = view.get(keys.move())
        return None if data is None else read(self.codec, Move, keys.move(), data)

    def here(self, view: View) -> tuple[bytes, bytes | None]:
        """The check that the runs of the store go on in it. Raises StoreMoved if they do not."""
        key = keys.move()
        seen, data = self._here
        if seen is not view:  # every start and send asks for it
            data = view.get(key)
            self._here = view, data
        if data is not None and (mark := read(self.codec, Move, key, data)).state != "arrived":
            raise StoreMoved(_MOVES[mark.state].format(mark.place))
        return key, data

    # Starting, sending, ending

    def start(
        self,
        view: View,
        record: RunRecord,
        wake: int | None = None,
        code: bytes | None = None,
        waiting_for: str = "",
    ) -> tuple[Batch | None, bool]:
        """Create a run for any worker, due at once or at `wake`; False if it exists. Raises RunExists.

        `code` is what the run carries, `waiting_for` what it takes to begin it, where that has to be told.
        """
        if self.exists(view, record):
            return None, False
        batch = Batch([self.here(view)], notify=True)
        self._put_new(batch, record, wake, waiting_for)
        if code is not None:
            self.put_code(batch, record.id, code)
        return batch, True

    def start_held(self, view: View, records: Sequence[RunRecord], tenure: Tenure) -> tuple[Batch, dict[RunId, bytes]]:
        """Create runs that do not exist, all or none of them, in the hands of the worker whose tenure that is.

        Gives their claims; none where the tenure is over: then they are for any worker.
        """
        batch, codec = Batch([self.here(view)]), self.codec
        if view.get(tenure.entry[0]) != tenure.entry[1]:
            batch.notify = True
            for record in records:
                self._put_new(batch, record)
            return batch, {}
        claims = {record.id: tenure.claim() for record in records}
        # What is alike stands together: it lies together in the store, and is put there faster.
        batch.puts = [write(codec, keys.run(record.id), record) for record in records]
        batch.checks += [tenure.entry, *[(key, None) for key, _ in batch.puts]]
        status = Status.RUNNING
        batch.puts += [write_plain_state(keys.state(each.id), status, each.created) for each in records]
        batch.puts += [(keys.index(status, each.created, each.id), b"") for each in records]
        batch.puts += [(keys.claim(run_id), claim) for run_id, claim in claims.items()]
        return batch, claims

    def exists(self, view: View, record: RunRecord) -> bool:
        """Whether that run is there already. Raises RunExists if what is there is a run of another workflow."""
        key = keys.run(record.id)
        data = view.get(key)
        if data is None:
            return False
        existing = read(self.codec, RunRecord, key, data)
        if existing.origin != record.workflow:
            raise RunExists(record.id, existing.origin)
        return True

    def send(
        self, view: View, run_id: str, message: Message, stamp: int, message_id: str | None = None
    ) -> tuple[Batch | None, None]:
        """Put an event into a run's inbox. Raises RunNotFound or RunFinished.

        With a `message_id` the same message is delivered once, however often it is sent.
        """
        record = self.record(view, run_id)
        marker = None if message_id is None else keys.delivered(run_id, message_id)
        if marker is not None and view.get(marker) is not None:
            return None, None
        state = self.state(view, run_id)
        if state.status in FINISHED:
            raise RunFinished(run_id, state.status, f"event {message.name!r} can no longer reach it")
        checks = [(keys.outcome(run_id), None), self.same_record(view, run_id), self.here(view)]
        batch = Batch(checks, notify=True)
        if marker is not None:
            batch.checks.append((marker, None))
            batch.puts.append((marker, b""))
        self.put_message(batch, run_id, message, stamp)
        self.put_ready(batch, record.address, stamp)
        return batch, None

    def cancel(self, view: View, run_id: str, reason: str, stamp: int) -> tuple[Batch | None, bool]:
        """Ask a run to end; True if it has ended with that. Raises RunNotFound or RunFinished.

        A run that no worker has begun is settled here; so is one that nobody works on and that was
        asked before, such as a blocked one.
        """
        record, state = self.record(view, run_id), self.state(view, run_id)
        if state.status in FINISHED:
            raise RunFinished(run_id, state.status, "it cannot be cancelled any more")
        idle = view.get(keys.claim(run_id)) is None
        if idle and ((state.status is Status.PENDING and not state.rewind) or self.asked_to_end(view, run_id)):
            batch = Batch(checks=[(keys.claim(run_id), None), self.unchanged(view, run_id), self.here(view)])
            self.put_end(batch, record, state, RunEnd(Status.CANCELLED, True, reason), stamp)
            batch.deletes += [keys.continuation(run_id), keys.refusal(run_id)]
            self.results.give_up_all(view, batch, run_id)
            self.limits.give_up_all(view, batch, run_id, stamp)
            return batch, True
        checks = [(keys.outcome(run_id), None), self.same_record(view, run_id), self.here(view)]
        batch = Batch(checks, notify=True)
        self.put_message(batch, run_id, Message("cancel", reason=reason), stamp)
        self.put_ready(batch, record.address, stamp)
        return batch, False

    def retry(self, view: View, run_id: str, stamp: int) -> tuple[Batch | None, None]:
        """Let a failed run go on from the step that failed, or one that was laid aside from where it stands.

        Raises RunNotFound or WrongState.
        """
        record, state = self.record(view, run_id), self.state(view, run_id)
        if is_laid_aside(state):
            return self._take_out(view, record, state, stamp), None
        if state.status is not Status.FAILED:
            raise WrongState(run_id, state.status, "only a failed run can be retried, or one that its workers died of")
        if not self._can_go_back(view, record, state.failed_position()):
            where = position_text(state.failed_position() or ())
            what = (
                f"its history up to the step that failed, at position {where}, was deleted after that; start a new run"
            )
            raise WrongState(run_id, state.status, what)
        return self._put_again(view, record, state, stamp, state.failed_at), None

    def retry_child(self, view: View, run_id: str, stamp: int) -> Batch | None:
        """Let a child go on, if it failed or was cancelled, as its parent is retried and calls it again."""
        record, state = self.record(view, run_id), self.state(view, run_id)
        if state.status not in (Status.FAILED, Status.CANCELLED):
            return None
        failed_at = state.failed_at if state.status is Status.FAILED else []
        if not self._can_go_back(view, record, None if failed_at is None else tuple(failed_at)):
            return None
        return self._put_again(view, record, state, stamp, failed_at)

    def _can_go_back(self, view: View, record: RunRecord, failed_at: Position | None) -> bool:
        """Whether the failure at that position is still there, where the history was deleted up to some entry.

        A run whose code raised by itself, at no command, goes on from where its history ends.
        """
        if not record.compacted or failed_at is None:
            return True
        entries = self.entries(view, record.id, record.journal_start, load=False)
        return any(entry.position == failed_at and entry.kind not in MARKS for _, entry in entries)

    def _put_again(
        self, view: View, record: RunRecord, state: RunState, stamp: int, failed_at: list[int] | None
    ) -> Batch:
        run_id = record.id
        batch = Batch([self.unchanged(view, run_id), self.here(view)], deletes=[keys.outcome(run_id)], notify=True)
        self.put_state(batch, record, state, RunState(Status.PENDING, stamp, failed_at=failed_at, rewind=True))
        self.put_ready(batch, record.address, stamp)
        return batch

    def _take_out(self, view: View, record: RunRecord, state: RunState, stamp: int) -> Batch:
        """Let a run that was laid aside go on."""
        batch = Batch(checks=[self.unchanged(view, record.id)], notify=True)
        going_on = replace(state, status=Status.WAITING, updated=stamp, waiting_for="a worker", reason="", crashes=0)
        self.put_state(batch, record, state, going_on)
        self.put_ready(batch, record.address, stamp)
        return batch

    def asked_to_end(self, view: View, run_id: str) -> bool:
        """Whether the run has been asked to end, and does not know yet."""
        messages = (read(self.codec, Message, *pair) for pair in view.scan(keys.inbox_prefix(run_id)))
        return any(message.kind == "cancel" for message in messages)

    # Pieces of a batch

    def _put_new(self, batch: Batch, record: RunRecord, wake: int | None = None, waiting_for: str = "") -> None:
        """Create a run that does not exist, for any worker."""
        key = keys.run(record.id)
        batch.checks.append((key, None))
        batch.puts.append(write(self.codec, key, record))
        self.put_state(batch, record, None, RunState(Status.PENDING, record.created, waiting_for, wake=wake))
        if wake is None:
            self.put_ready(batch, record.address, record.created)

    def unchanged(self, view: View, run_id: str) -> tuple[bytes, bytes | None]:
        """The check that the run's state is still as the view has it."""
        key = keys.state(run_id)
        return key, view.get(key)

    def same_record(self, view: View, run_id: str) -> tuple[bytes, bytes | None]:
        """The check that the run has not gone on as another workflow, which other workers may have to be told of."""
        key = keys.run(run_id)
        return key, view.get(key)

    def put_state(self, batch: Batch, record: RunRecord, old: RunState | None, new: RunState) -> None:
        """Change a run's state, its place in the index and its timer with it."""
        run_id, created = record.id, record.created
        batch.puts.append(write(self.codec, keys.state(run_id), new))
        if old is None or old.status is not new.status:
            if old is not None:
                batch.deletes.append(keys.index(old.status, created, run_id))
            batch.puts.append((keys.index(new.status, created, run_id), b""))
        if old is not None and old.wake is not None and old.wake != new.wake:
            batch.deletes.append(keys.timer(old.wake, run_id))
        if new.wake is not None and (old is None or old.wake != new.wake):
            batch.puts.append((keys.timer(new.wake, run_id), b""))

    def put_ready(self, batch: Batch, address: Address, stamp: int) -> None:
        """Have a worker that has the run's workflow look at it."""
        key = keys.ready(address.queue, address.priority, stamp, address.run_id)
        batch.puts.append((key, address.label.encode()))

    def put_code(self, batch: Batch, run_id: str, code: bytes) -> None:
        """Have the run carry that code."""
        key = keys.code(run_id)
        batch.puts.append((key, seal(key, code)))

    def put_message(self, batch: Batch, run_id: str, message: Message, stamp: int) -> None:
        """Put a message into a run's inbox, where no other has that stamp."""
        key = keys.inbox(run_id, stamp)
        batch.checks.append((key, None))
        batch.puts.append(write(self.codec, key, message))

    def put_end(
        self,
        batch: Batch,
        record: RunRecord,
        old: RunState,
        end: RunEnd,
        stamp: int,
        failed_at: Iterable[int] | None = None,
    ) -> None:
        """Settle a run, and tell the parent that waits for it."""
        run_id, status, key = record.id, end.status, keys.state(record.id)
        if end.failed:
            at = None if failed_at is None else list(failed_at)
            state = write(self.codec, key, RunState(status, stamp, reason=end.reason, failed_at=at))
        else:
            state = write_plain_state(key, status, stamp)
        index = keys.index(status, record.created, run_id)
        batch.puts += [write(self.codec, keys.outcome(run_id), end), state, (index, b"")]
        batch.deletes.append(keys.index(old.status, record.created, run_id))
        if old.wake is not None:
            batch.deletes.append(keys.timer(old.wake, run_id))
        batch.notify = True
        if record.parent is None or record.parent_position is None:
            return
        message = Message(
            "child",
            record.id,
            end.reason,
            record.parent_position,
            end.status,
            end.failed,
            record.parent_generation,
            end.payload,
        )
        self.put_message(batch, record.parent.run_id, message, stamp)
        self.put_ready(batch, record.parent, stamp)


def is_laid_aside(state: RunState) -> bool:
    """Whether the run is a dead letter: it has brought down so many workers that no other is to execute it."""
    return state.status is Status.BLOCKED and state.crashes >= CRASHES


def _newest_first(view: View, statuses: Iterable[Status]) -> Iterator[RunId]:
    """The ids of runs of those statuses, merged from the index by the time of their creation."""
    scans = (((key[2:], key) for key, _ in view.scan(keys.index_prefix(status), reverse=True)) for status in statuses)
    return (keys.run_of_index(key) for _, key in heapq.merge(*scans, reverse=True))


def _history_row(number: int, entry: Entry) -> HistoryRow:
    outcome = entry.outcome
    payload = b"" if outcome is None or outcome.data is None else outcome.data
    failed = isinstance(outcome, Failure)
    kind = Kind(entry.kind).value
    position = position_text(entry.position)
    return HistoryRow(number, position, kind, entry.name, entry.at, entry.attempts, failed, payload, entry.key)
