"""Limits: how much may be under way at a time, and begin in a time, by all workers of a store together.

Who wants to begin something that has a limit asks for a *slot*. What a run asks for is an attempt at a step,
or to begin at all; it stands under the run and the command (``()`` for the run itself). Where there is no
slot the run is put in line. It is not polled, but called when its turn has come, and then asks again.

- A bound on how much is under way: each of these is a key, which is taken away in the batch that tells how
  it went. So what a worker had that died comes back with its runs, and can be taken by nobody else before.
- A bound on how much begins in a time: the times are kept, numbered, as many as are needed. Number n may begin
  when that of n - `rate` is longer ago than `per`; so it holds for every stretch of time.

Every slot that is given changes the limit's gauge, and is given on condition that it is as it was seen; so
no two can be given the same one. Giving back depends on nothing. It changes a mark, on condition of which
others get in line: nobody does who has missed it.

Who is first in line and does not come in :data:`PATIENCE` loses the place: no worker may be there that has it.
What one run declares holds for all from then on; so after a change the newest worker is right.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from continuum.durations import nanoseconds
from continuum.journal import FINISHED, Position, Status
from continuum.limit import Limit
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.protocol import Batch, View
from continuum.store.records import Address, Gauge, RunRecord, RunState, read, write
from continuum.workflow import Workflow

__all__ = [
    "MOST_LAG",
    "PATIENCE",
    "PATROL",
    "Asker",
    "Bound",
    "Limits",
    "Round",
    "Turn",
    "bound_of",
    "bound_of_workflow",
]

PATIENCE: Final = 10_000_000_000
"""How long who is called may take to come, in nanoseconds."""

MOST_LAG: Final = 100_000_000
"""For how many nanoseconds more, at most, a rate counts who was let begin: who is let begins some milliseconds later,
and not always as many. A tenth of the time of the rate if that is less."""

PATROL: Final = 5_000_000_000
"""After how long whoever knows of a line that is to move at any moment looks whether it does, in nanoseconds."""

MISSES: Final = 8
"""After so many places in a line that are not called nobody looks further: it is called from the front on."""

_NUMBER: Final = struct.Struct(">Q")
_WHOLE: Final = keys.command(())
_ANY: Final = 1 << 30  # where there is no bound
_PAST: Final = 16  # times that are taken away with each that is added


class Bound(NamedTuple):
    """A limit as it is declared, under what it is found by."""

    digest: bytes
    name: str
    concurrency: int | None
    rate: int | None
    per: int  # nanoseconds


def bound_of(limit: Limit, kind: str, name: str) -> Bound:
    """The limit of the ``step`` or ``workflow`` of that name."""
    name = limit.name or name
    per = nanoseconds(limit.per, "Limit(per=)")
    return Bound(keys.limit_of(kind, name), name, limit.concurrency, limit.rate, per + min(per // 10, MOST_LAG))


def bound_of_workflow(workflow: Workflow[..., Any] | None) -> Bound | None:
    """The limit of that workflow, if there is one."""
    return None if workflow is None or workflow.limit is None else bound_of(workflow.limit, "workflow", workflow.name)


class Asker(NamedTuple):
    """Who asks: a command of a run, which is behind none of a lower priority."""

    run_id: str
    command: bytes
    priority: int

    @staticmethod
    def of(run: RunRecord, position: Position | None = None) -> Asker:
        """The command at that position, or the run itself."""
        command = _WHOLE if position is None else keys.command((run.generation, *position))
        return Asker(run.id, command, run.priority)


class Turn(NamedTuple):
    """An answer. `place` is the place in line, or where it was, as long as there is something to give back.

    Somebody should look at the line at the time `again`, if there is one.
    """

    given: bool
    place: bytes | None
    again: int | None


class Limits:
    """The rules of limits. `put_ready` has a worker look at a run."""

    def __init__(self, codec: Codec, put_ready: Callable[[Batch, Address, int], None]) -> None:
        self._codec = codec
        self._put_ready = put_ready

    def round(self, view: View, now: int, stamp: Callable[[], int]) -> Round:
        """Slots for those who are asked for in one plan, at the time `now`; each stamp is later than the one before."""
        return Round(self._codec, view, now, stamp)

    # Giving back

    def give_back(self, batch: Batch, asker: Asker, digest: bytes, place: bytes | None, stamp: int) -> None:
        """The slot is not needed any more, or that place in line."""
        batch.deletes.append(keys.stake(asker.run_id, digest, asker.command))
        batch.deletes += [] if place is None else [place]
        self.give_slot_back(batch, asker, digest, stamp)

    def give_slot_back(self, batch: Batch, asker: Asker, digest: bytes, stamp: int) -> None:
        """The same of the slot alone, if there is one."""
        batch.deletes.append(keys.slot(digest, asker.run_id, asker.command))
        batch.puts.append((keys.freed(digest), _NUMBER.pack(stamp)))

    def release(self, view: View, asker: Asker, digest: bytes, stamp: int) -> tuple[Batch | None, bool]:
        """The same where it is not known what there is; False if there is nothing."""
        stake = keys.stake(asker.run_id, digest, asker.command)
        place = view.get(stake)
        if place is None:
            return None, False
        batch = Batch([(stake, place)])
        self.give_back(batch, asker, digest, place, stamp)
        return batch, True

    def give_up_all(self, view: View, batch: Batch, run_id: str, stamp: int) -> None:
        """A run ends here that nobody works on: give back all that it has."""
        for stake, place in view.scan(keys.stake_prefix(run_id)):
            digest, command = keys.limit_and_command(stake)
            self.give_back(batch, Asker(run_id, command, 0), digest, place, stamp)

    # Calling

    def lines(self, view: View) -> list[bytes]:
        """The limits for which somebody is in line."""
        limits = (keys.limit_of_gauge(key) for key, _ in view.scan(keys.gauges()))
        return [limit for limit in limits if any(True for _ in view.scan(keys.line(limit), limit=1))]

    def call(self, view: View, digest: bytes, now: int, stamp: int) -> tuple[Batch | None, tuple[bool, int | None]]:
        """Call those whose turn it is; gives whether there is one, and when to look at the line again."""
        state, batch = _State(self._codec, view, digest), Batch(notify=True)
        gauge, turns, more, waits = state.gauge, 0, 0, None
        if gauge is None:
            return None, (False, None)
        free = state.free(gauge.concurrency)
        places = view.scan(keys.line(digest))
        for place, since in places:
            if free <= 0:
                free += self._clear(view, batch, digest)
            waits = state.due(gauge.rate, gauge.per, max(0, turns - more), now)
            if turns >= free + more or waits > now:
                break
            batch.checks.append((place, since))
            run_id, command = keys.run_and_command(place)
            address = self._address(view, run_id)
            if address is None or (since and abs(now - _NUMBER.unpack(since)[0]) > PATIENCE):
                batch.deletes += [place, keys.stake(run_id, digest, command)]
                more += 2 if address else 0  # there may be many of these: let the line not wait for each by itself
                continue
            turns += 1
            if not since:
                batch.puts.append((place, _NUMBER.pack(now)))
                self._put_ready(batch, address, stamp)
        else:
            waits = now if turns else None
        if batch.deletes:
            batch.puts.append((keys.freed(digest), _NUMBER.pack(stamp)))
        return (batch if batch.puts else None), (turns > 0, _again(waits, now))

    def called(self, view: View, places: Sequence[bytes]) -> Iterator[bytes]:
        """Of places in a line, given in its order, those that are called, or were lost: who is there is to ask."""
        misses = 0
        for place in places:
            if view.get(place) != b"":
                yield place
            elif (misses := misses + 1) == MISSES:
                return

    def _clear(self, view: View, batch: Batch, digest: bytes) -> int:
        """Take slots away that nobody gives back, and tell how many."""
        cleared = 0
        for slot, _ in view.scan(keys.slots(digest)):
            run_id, command = keys.run_and_command(slot)
            key = keys.state(run_id)
            data = view.get(key)
            status = None if data is None else read(self._codec, RunState, key, data).status
            blocked = status is Status.BLOCKED and command != _WHOLE and view.get(keys.claim(run_id)) is None
            if blocked or status is None or status in FINISHED:
                batch.checks.append((key, data))
                batch.deletes += [slot] if blocked else [slot, keys.stake(run_id, digest, command)]
                cleared += 1
        return cleared

    def _address(self, view: View, run_id: str) -> Address | None:
        """Where the run is found, if it is there and has not ended."""
        data, outcome = view.get(keys.run(run_id)), view.get(keys.outcome(run_id))
        if data is None or outcome is not None:
            return None
        return read(self._codec, RunRecord, keys.run(run_id), data).address


class Round:
    """Slots for those who ask in one plan: each sees what those before have been given."""

    def __init__(self, codec: Codec, view: View, now: int, stamp: Callable[[], int]) -> None:
        self._codec = codec
        self._view = view
        self._now = now
        self._stamp = stamp
        self._states: dict[bytes, _State] = {}

    def ask(self, bound: Bound, asker: Asker) -> tuple[Batch | None, Turn]:
        """A slot if it is the asker's turn, else a place in line."""
        state = self._states.get(bound.digest)
        if state is None:
            state = self._states[bound.digest] = _State(self._codec, self._view, bound.digest)
        return _Ask(state, bound, asker, self._now, self._stamp).answer()


class _Ask:
    """One asker, and what there is of it already."""

    def __init__(self, state: _State, bound: Bound, asker: Asker, now: int, stamp: Callable[[], int]) -> None:
        self._state, self._bound, self._now, self._stamp = state, bound, now, stamp
        run_id, command, priority = asker
        self._stake = keys.stake(run_id, bound.digest, command)
        self._slot = keys.slot(bound.digest, run_id, command)
        place = state.view.get(self._stake)
        self._since = None if place is None else state.view.get(place)  # it is called; None: not in line
        self._has = place is not None and self._since is None and state.view.get(self._slot) is not None
        self._place = place or keys.place_in_line(bound.digest, priority, stamp(), run_id, command)

    def answer(self) -> tuple[Batch | None, Turn]:
        state, bound, now = self._state, self._bound, self._now
        free = state.free(bound.concurrency) + self._has
        ahead = 0 if self._has or free <= 0 else state.ahead(self._place, min(free, bound.rate or free))
        if ahead < free and state.due(bound.rate, bound.per, ahead, now) <= now:
            return self._give()
        return self._wait(), Turn(False, self._place, _again(state.due(bound.rate, bound.per, 0, now), now))

    def _give(self) -> tuple[Batch | None, Turn]:
        """A slot; where the run had one before its worker died, another one only of so many in a time."""
        state, bound, counted = self._state, self._bound, self._bound.concurrency is not None
        turn = Turn(True, self._place if counted else None, None)
        if self._has and bound.rate is None:
            return None, turn
        batch = Batch()
        state.give(batch, bound, self._now)
        if self._since is not None:
            batch.deletes.append(self._place)
            state.gone.add(self._place)
        if not counted:
            batch.deletes.append(self._stake)
        elif not self._has:
            batch.puts += [(self._stake, self._place), (self._slot, b"")]
            state.taken += 1
        return batch, turn

    def _wait(self) -> Batch | None:
        """A place in line; who had a slot before gives it back, and comes before those who came later."""
        state = self._state
        batch = Batch([(state.mark_key, state.mark)])
        state.declare(batch, self._bound)
        if self._since != b"":
            batch.puts += [(self._stake, self._place), (self._place, b"")]
        if self._since is None:
            state.come.append(self._place)
        if self._has:
            batch.deletes.append(self._slot)
            state.taken -= 1
            state.mark = _NUMBER.pack(self._stamp())
            batch.puts.append((state.mark_key, state.mark))
        return batch if batch.puts else None


class _State:
    """A limit as the batches of a plan will have left it."""

    def __init__(self, codec: Codec, view: View, digest: bytes) -> None:
        self.view = view
        self._codec = codec
        self._digest = digest
        self._key, self.mark_key = keys.gauge(digest), keys.freed(digest)
        self._seen = self._data = view.get(self._key)
        self.gauge = None if self._data is None else read(codec, Gauge, self._key, self._data)
        self.mark = view.get(self.mark_key)
        self.taken = sum(1 for _ in view.scan(keys.slots(digest)))
        self.gone: set[bytes] = set()  # places in line that were left
        self.come: list[bytes] = []  # and those that were taken
        self._times: dict[int, int] = {}

    @property
    def _given(self) -> int:
        return 0 if self.gauge is None else self.gauge.given

    def free(self, concurrency: int | None) -> int:
        """How many more may be under way."""
        return _ANY if concurrency is None else concurrency - self.taken

    def ahead(self, place: bytes, most: int) -> int:
        """How many are in line before that place; it matters only up to `most`."""
        before = self.view.scan(keys.line(self._digest), stop=place, limit=most + len(self.gone))
        return sum(key not in self.gone for key, _ in before) + sum(key < place for key in self.come)

    def due(self, rate: int | None, per: int, ahead: int, now: int) -> int:
        """When the next may begin, behind so many others."""
        number = -1 if rate is None else self._given + ahead - rate
        if number < 0:
            return 0
        if number >= self._given:
            return now + per  # behind one that has not begun yet
        at = self._times.get(number)
        if at is None:
            data = self.view.get(keys.time_of_slot(self._digest, number))
            at = None if data is None else _NUMBER.unpack(data)[0]
        return 0 if at is None or at > now + per else at + per  # or the clock has been set back far

    def give(self, batch: Batch, bound: Bound, now: int) -> None:
        """Count another slot, at that time."""
        number = self._given
        self._put(batch, bound, number + 1)
        if bound.rate is not None:
            batch.puts.append((keys.time_of_slot(self._digest, number), _NUMBER.pack(now)))
            batch.deletes += self._past(number - bound.rate + 1)
            self._times[number] = now

    def declare(self, batch: Batch, bound: Bound) -> None:
        """Have those who call know the limit. If it waits for what was given just now, that has to be given."""
        gauge = self.gauge
        if gauge is None or (gauge.concurrency, gauge.rate, gauge.per) != bound[2:]:
            self._put(batch, bound, self._given)
        elif self._data != self._seen:
            batch.checks.append((self._key, self._data))

    def _put(self, batch: Batch, bound: Bound, given: int) -> None:
        batch.checks.append((self._key, self._data))
        self.gauge = Gauge(bound.name, bound.concurrency, bound.rate, bound.per, given)
        pair = write(self._codec, self._key, self.gauge)
        self._data = pair[1]
        batch.puts.append(pair)

    def _past(self, end: int) -> Iterator[bytes]:
        """The times of slots before that one, which nobody asks for again; a few of them."""
        if end > 0:
            stop = keys.time_of_slot(self._digest, end)
            yield from (key for key, _ in self.view.scan(keys.times(self._digest), stop=stop, limit=_PAST))


def _again(due: int | None, now: int) -> int | None:
    """When to look at a line whose first may begin at that time; None if nobody is in it."""
    return due if due is None or due > now else now + PATROL
