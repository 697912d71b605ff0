"""Runs whose worker is gone: they are set free for others, unless they are to blame for it, and laid aside.

How often a run's worker has gone down in a row is counted in its state before it is executed again; the rule is in
:mod:`continuum.store.suspicion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from continuum.journal import RunId, Status
from continuum.store import keys
from continuum.store.ledger import Ledger
from continuum.store.look import Freed, Look
from continuum.store.protocol import Batch, View
from continuum.store.records import RunRecord, RunState
from continuum.store.suspicion import is_to_blame, mishaps, suspected
from continuum.store.tenure import forget, owner_of

__all__ = ["Orphans", "clear_away"]

PAGE: Final = 500
"""How many runs of workers that are gone are set free in one look."""


class Orphans:
    """Sees to what workers have left that are gone."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def set_free(self, view: View, look: Look) -> None:
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
            look.found.append((self._free(view, look, run_id, claim), Freed()))
        look.found.extend((forget(look.roll, token), None) for token in forgotten)

    def _free(self, view: View, look: Look, run_id: RunId, claim: bytes) -> Batch:
        if view.get(keys.run(run_id)) is None or view.get(keys.outcome(run_id)) is not None:
            return clear_away(view, run_id, [])
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


def clear_away(view: View, run_id: RunId, ready: Sequence[bytes]) -> Batch:
    """Take away what came for a run that has ended, or was never started."""
    left = [key for key, _ in view.scan(keys.inbox_prefix(run_id))]
    return Batch([(keys.outcome(run_id), view.get(keys.outcome(run_id)))], deletes=[*ready, *left, keys.claim(run_id)])
