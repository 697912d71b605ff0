"""A run in a worker's memory: its machine, what has been gathered for it, and how that is closed.

:meth:`Active.close` gives what was gathered to whoever commits: the batch is complete then, with the change of the
run's state in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from continuum.engine.gathering import Effect, Gathering
from continuum.engine.limiting import SlotFreed
from continuum.engine.machine.requests import Settle
from continuum.journal import Status
from continuum.store.ends import end_of
from continuum.store.limits import Asker, Bound, bound_of_workflow
from continuum.store.protocol import Batch
from continuum.store.records import RunState

__all__ = ["Active"]


class Active(Gathering):
    """One run that this worker holds."""

    __slots__ = ()

    def close(self, now: int, common: Batch) -> tuple[Batch | None, list[Effect]]:
        """What was gathered: the batch, with the change of state that it leads to, and the effects behind it.

        Where there is nothing but entries for the journal, and it may be the end of the run, they go into the batch
        that it has in `common` with others, and there is none of its own.
        """
        goes_on = self._known_to_run and self.in_flight and not self.ended
        if not goes_on and not self.leaving and self.end is None:
            self._put_state(now, common)
        batch, self._batch = self._batch, None
        if batch is None and self._added:
            common.puts += self._added
            self._added.clear()
        effects, self._effects = self._effects, []
        looks_after = self.shares is not None or self.slots is not None or bool(self.sent)
        self._straight = bool(self._known_to_run and self.in_flight) and not (self.ended or looks_after)
        return batch, effects

    def release(self, now: int) -> None:
        """Hand the run back; one that is at work is to be gone on with at once by whoever can."""
        if self.busy:
            waiting = replace(self.state, status=Status.WAITING, updated=now, waiting_for="a worker")
            self._recorder.change(self.batch, self.record, self.state, waiting)
            self._recorder.release(self.batch, self.record, call=True)
            self._give_slots_back()
        else:
            self._put_state(now, self.batch)
            self._recorder.release(self.batch, self.record)
        self.leaving = self.ended = True

    def _put_state(self, now: int, common: Batch) -> None:
        if self.settlement is not None:
            self._put_end(self.settlement, now, common)
        elif self.successor is not None:
            self._leave(self._recorder.hand_over(self.batch, self.record, self.state, self.successor, now))
            if self.successor.record.workflow != self.record.workflow:
                self._give_own_back(self._own_bound())
        elif self.blocked is not None:
            self._change(Status.BLOCKED, now, reason=self.blocked, rewind=self.state.rewind)
            self._recorder.release(self.batch, self.record)
            self._give_slots_back()
            self.batch.notify = True  # a worker that came meanwhile may have fitting code
        elif self.in_flight:
            state = self.state
            got_on = state.crashes and self.number > self._numbered_from
            if got_on or state.status is not Status.RUNNING or (state.rewind and self.changed):
                crashes, mishaps = (0, 0) if got_on else (state.crashes, state.mishaps)
                self._change(Status.RUNNING, now, crashes=crashes, mishaps=mishaps)
            self._known_to_run = not (self.state.crashes or self.state.rewind)
        else:
            self._wait(now)

    def _put_end(self, settlement: Settle, now: int, common: Batch) -> None:
        end = self.end = end_of(self._recorder.codec, settlement.status, settlement.outcome)
        called = self.record.parent_position is not None
        wanted = end.status is Status.FAILED or (end.status is Status.CANCELLED and called)  # by a retry
        left = () if wanted or self._messages is None else self._messages
        bound = self._own_bound()
        alone = not (called or self._batch or self.upkeep or self.shares or self.slots or bound)
        batch = common if alone else self.batch
        self._recorder.end(batch, self.record, self.state, end, now, settlement.failed_at, left)
        if alone:  # it touches nothing but what is the run's own
            return
        if not wanted and self.upkeep is not None:
            self._recorder.forget_continuation(self.batch, self.id)
        if self.shares is not None:
            self._effects += self.shares.give_up(self.batch)
        self._give_slots_back()
        self._give_own_back(bound)

    def _own_bound(self) -> Bound | None:
        """The limit of its workflow, if it has one."""
        carried = self.carried
        return bound_of_workflow(carried.workflow) if carried else self._recorder.bound_of(self.record.workflow)

    def _give_own_back(self, bound: Bound | None) -> None:
        """The slot by which it was let begin."""
        if bound is not None and bound.concurrency is not None:
            self._recorder.give_back(self.batch, Asker.of(self.record), bound)
            self._effects.append(SlotFreed(bound.digest))

    def _give_slots_back(self) -> None:
        if self.slots is not None:
            self._effects += self.slots.end_all(self.batch)

    def _wait(self, now: int) -> None:
        wake, waiting_for = self.machine.next_due(), self.machine.waiting_for()
        if (self.state.status, self.state.wake, self.state.waiting_for) != (Status.WAITING, wake, waiting_for):
            self._change(Status.WAITING, now, wake=wake, waiting_for=waiting_for)
            self.idle_since = now

    def _change(self, status: Status, now: int, *, rewind: bool = False, **changes: Any) -> None:
        failed_at = self.state.failed_at if rewind else None
        state = RunState(status, now, rewind=rewind, failed_at=failed_at, **changes)
        self._recorder.change(self.batch, self.record, self.state, state)
        self.state = state
        self._known_to_run = False
