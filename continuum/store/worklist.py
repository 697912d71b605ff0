"""The worker's side of the ledger: finding runs to work on, and claiming them.

A run is worked on by who holds its claim: a value that no claim has had before, which begins with the
worker's token. Every batch that a worker writes for a run checks it, or that the tenure goes on in which it
was made, so a worker that lost a run can do nothing to it. Who may claim: :mod:`continuum.store.tenure`;
what is written: :mod:`continuum.store.recorder`.

What a worker has to look at stands in its queues and among the timers. Looking at a run that is not
in its memory means to claim it: in one batch the claim is written, what led there is taken away, and
the state becomes running.

A run whose worker is gone is set free by another one (:mod:`continuum.store.orphans`). Where it will be to blame
for the next death it is claimed as the only one of its kind, so that it alone is found guilty.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Final, TypeAlias

from continuum.errors import CorruptRecord
from continuum.journal import RunId, Status
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.calls import calls, gather, keys_for
from continuum.store.carried import Carried, unpack
from continuum.store.ledger import Ledger, is_laid_aside
from continuum.store.limits import Asker, Bound, Round, bound_of_workflow
from continuum.store.look import Fresh, Look, Nudge, Queued, Taken
from continuum.store.orphans import Orphans, clear_away
from continuum.store.protocol import Batch, View
from continuum.store.records import Continuation, Message, RunRecord, RunState, read
from continuum.store.suspicion import is_grave, mishaps

__all__ = ["Load", "Worklist"]

Load: TypeAlias = Callable[[RunRecord, Continuation], Any]

READ: Final = 32
"""How many calling runs are read at a time, at the least."""

KEPT: Final = 16
"""How much different code that came with runs is kept loaded: equal code is loaded once."""


class Worklist:
    """One worker's view of the ledger. `wanted` tells whether it has that workflow and version.

    `load` loads a continuation, or raises why it cannot be used.
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
        self._codec = ledger.codec
        self._stamps = stamps
        self._queues = queues
        self._wanted = wanted  # whether the worker works on what has that label
        self._unpack = lru_cache(KEPT)(partial(unpack, self._codec))
        self._bound_of = bound_of  # the limit of the workflow of that name, if it has one
        self._orphans = Orphans(ledger)
        self._turns: tuple[View, Round] | None = None  # of the look that is under way
        self._load_state = load  # loads a continuation, or raises why it cannot be used

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
            for run_id in look.hand.called(view, self._ledger.results, self._ledger.limits):
                nudged.setdefault(run_id, [])
        look.found.extend((None, self._nudge(view, look, run_id, ready)) for run_id, ready in nudged.items())
        if look.orphans:
            self._orphans.set_free(view, look)
        if look.blocked is None:
            look.blocked = {keys.run_of_index(key) for key, _ in view.scan(keys.index_prefix(Status.BLOCKED))}
        if look.blocked:
            self._try_blocked(view, look, look.blocked)

    def taken(self, fresh: Fresh, messages: Sequence[tuple[int, Message]]) -> Taken:
        """A run that was started in the hands of this worker, and for which messages have come before it has begun."""
        record = fresh.record
        taken = Taken(record, fresh.state, fresh.claim, messages=messages)
        try:
            taken.args, taken.kwargs = self._codec.decode(record.payload)
        except Exception as error:  # any code of the user's may run in a pickle
            taken.error = error
        return taken

    def takes(self, record: RunRecord) -> bool:
        """Whether the run is one that this worker can work on."""
        return record.queue in self._queues and self._wanted(record.label)

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

    def _try_blocked(self, view: View, look: Look, blocked: set[RunId]) -> None:
        """Claim runs that are blocked: the code that this worker has may fit. Others may be at them just now."""
        free: dict[RunId, list[bytes]] = {}
        for run_id in sorted(blocked):
            data = view.get(keys.state(run_id))
            state = None if data is None else read(self._codec, RunState, keys.state(run_id), data)
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
        return [(keys.number_of(key), read(self._codec, Message, key, data)) for key, data in pairs]

    def _claim(
        self, view: View, look: Look, run_id: RunId, ready: list[bytes], held: bytes | None
    ) -> tuple[Batch, Taken | Queued | None] | None:
        if view.get(keys.run(run_id)) is None or view.get(keys.outcome(run_id)) is not None:
            return clear_away(view, run_id, ready), None
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
        taken = Taken(record, running, claim, grave)
        batch.checks.append(look.tenure.entry)
        batch.puts.append((keys.claim(run_id), claim))
        self._ledger.put_state(batch, record, state, running)
        self._load(view, taken)
        called = keys_for(record, (number for number, _ in taken.messages))  # some of which may not have been read
        batch.deletes = list(dict.fromkeys([*ready, *called]))
        return batch, taken

    def _queue(
        self, view: View, batch: Batch, record: RunRecord, state: RunState, bound: Bound, now: int
    ) -> Queued | None:
        """Put a run that is to begin in the line of its workflow's limit; None if it may begin.

        One that is to end is let begin, so that it can.
        """
        if (record.deadline is not None and record.deadline <= now) or self._ledger.asked_to_end(view, record.id):
            self._ledger.limits.give_up_all(view, batch, record.id, self._stamps.next())
            return None
        if self._turns is None or self._turns[0] is not view:
            self._turns = view, self._ledger.limits.round(view, now, self._stamps.next)
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
            codec = self._codec if taken.carried is None else taken.carried.codec
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
        if not record.python or self._wanted(replace(record, python="").label):
            return None
        return self._unpack(self._ledger.code(view, record.id))

    def _limit_of(self, view: View, record: RunRecord) -> Bound | None:
        """The limit of the run's workflow."""
        try:
            carried = self._carried(view, record)
        except Exception:  # told when the run is loaded
            return None
        return self._bound_of(record.workflow) if carried is None else bound_of_workflow(carried.workflow)

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


def _is_delayed(record: RunRecord, state: RunState, now: int) -> bool:
    """Whether the run is to begin later, whatever came for it: one that is in line wakes for its deadline alone."""
    wake = state.wake
    return state.status is Status.PENDING and wake is not None and wake > now and wake != record.deadline
