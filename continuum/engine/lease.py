"""A worker's lease: it shows the others that it lives, and sees which of them do not.

The rules are in :mod:`continuum.store.tenure`; here is when. A worker *watches* those that are enlisted
beside it, several times a second. It finds one dead by either of two signs:

* it can take the lock that the other holds while it lives: that is seen at once, on one machine; where a lock
  goes with a connection, as on a server that was restarted, it has to be free for longer than it takes to
  connect again;
* the other was asked for a sign of life, and its beat has not changed for a whole lease, by the watcher's
  own clock, while it watched. Who is asked shows life every third of the lease.

So a worker that is alone on its store writes nothing and looks for nothing. One that has nothing in hand
for a while resigns, and need not be watched. One that was stopped for too long finds that it was buried:
whatever it had is lost to it, and it goes on under a new tenure.

The clock is the loop's, which is never set. All methods are for the loop's thread, but plans run on the
committer's.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio

from continuum.durations import NANOSECONDS
from continuum.errors import ContinuumError, StoreError
from continuum.store import keys
from continuum.store.committer import Committer, Job
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, Hold, Store, View
from continuum.store.records import WorkerRecord, write
from continuum.store.suspicion import bury_found
from continuum.store.tenure import (
    TOKEN,
    Roll,
    Tenure,
    ask,
    call_roll,
    enlist,
    lock_of,
    registered,
    resign,
    show_life,
    strike_off,
)

__all__ = ["LEASE", "Lease", "Registration"]

logger = logging.getLogger("continuum.engine")

LEASE: Final = 10 * NANOSECONDS
"""How long a worker may be silent before others go on with its runs."""

WATCH: Final = 0.2
"""Seconds between two looks at the workers beside this one."""

CALM: Final = 3.0
"""Seconds without the death of a worker before a run is executed that may be laid aside after the next one."""

BEATS: Final = 10
"""How often a worker shows life before it has to be asked again: who asked may be gone."""

Plans = Sequence[tuple[Batch | None, object]]


@dataclass(slots=True)
class Found:
    """What one look at the other workers gave."""

    tenure: Tenure
    roll: Roll | None = None
    buried: list[tuple[bytes, Hold | None]] = field(default_factory=list)


class Registration:
    """A worker that is there, as the others see it from when its engine opens: its id, its lock, and its tenure."""

    def __init__(self, store: Store, ledger: Ledger, queues: Sequence[str], now: int) -> None:
        self._store = store
        self._ledger = ledger
        self.worker = secrets.token_bytes(TOKEN)
        record = WorkerRecord(socket.gethostname(), os.getpid(), now, list(queues))
        self._entry = write(ledger.codec, keys.worker(self.worker), record)
        self.tenure = self.next_tenure()
        hold = store.hold(lock_of(self.worker))
        if hold is None:
            raise StoreError(f"the lock of this worker on {store.location} is taken, and nobody knows by whom")
        self._hold = hold

    def next_tenure(self) -> Tenure:
        """Go on under another token, when the tenure is over."""
        self.tenure = Tenure(secrets.token_bytes(TOKEN), self.worker)
        return self.tenure

    def enlist(self, tenure: Tenure, here: tuple[bytes, bytes | None]) -> Batch:
        """Begin a tenure, if that check holds. Who was buried is registered anew with that."""
        return enlist(tenure, self._entry, here)

    def begin(self) -> None:
        """Begin the first tenure. Raises StoreMoved where there is nothing to do for it."""
        while not self.tenure.enlisted:
            with self._store.view() as view:
                here = self._ledger.here(view)
            (self.tenure.enlisted,) = self._store.commit([self.enlist(self.tenure, here)])

    def end(self) -> None:
        """The worker ends, and its tenure with it. A store that cannot be written any more is let be."""
        with contextlib.suppress(ContinuumError):
            with self._store.view() as view:
                batch = resign(view, self.tenure, self._ledger.results, self._ledger.limits)
            self._store.commit([batch, strike_off(self.worker)])
        self._hold.release()


class Lease:
    """The lease of one worker of a store; `length` is in nanoseconds.

    ``lost()`` is called when others have ended its tenure, ``left()`` when a worker is gone that may have
    left something.
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        ledger: Ledger,
        registration: Registration,
        length: int,
        *,
        lost: Callable[[], None],
        left: Callable[[], None],
        monotonic: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._store = store
        self._committer = committer
        self._ledger = ledger
        self._registration = registration
        self._length = length / NANOSECONDS
        self._lost = lost
        self._left = left
        self._monotonic = monotonic
        self._peers: set[bytes] = set()  # the others that are at work
        self._acquainted = False  # it has looked who they are
        self._known: set[bytes] = set()  # of these, those that were watched before
        self._gone: set[bytes] = set()  # of whom it is known that they have left something
        self._seen: dict[bytes, tuple[bytes | None, float]] = {}  # the beat of each, and since when it is that
        self._free: dict[bytes, float] = {}  # those whose locks were found free, and since when they are
        self._watched = 0.0
        self._watch_due = self._beat_due = 0.0
        self._asked = False  # by others, to show life
        self._beats = 0
        self._disturbed = monotonic()  # when a worker was last seen to be gone; nothing is known of what was before
        self._rest_due: float | None = None  # since it has nothing in hand
        self._looking = False

    @property
    def tenure(self) -> Tenure:
        """The tenure that goes on, or is the next one."""
        return self._registration.tenure

    @property
    def idle(self) -> bool:
        """Whether there is no worker beside this one of which it is not known whether it lives."""
        return self._peers <= self._known

    @property
    def in_company(self) -> bool:
        """Whether others are at work beside this worker, or may be: it has not looked yet."""
        return bool(self._peers) or not self._acquainted

    @property
    def calm(self) -> bool:
        """Whether no worker has gone for a while: then, where one goes, it tells something about what it did."""
        return self._monotonic() - self._disturbed >= CALM

    def patience(self) -> float | None:
        """In how many seconds :meth:`tick` has something to do; None if it has not."""
        dues = []
        if self._peers:
            dues.append(self._watch_due)
        if self.tenure.enlisted and self._asked:
            dues.append(self._beat_due)
        if self._rest_due is not None:
            dues.append(self._rest_due)
        return None if self._looking or not dues else max(0.0, min(dues) - self._monotonic())

    def tick(self, at_work: Callable[[], bool]) -> None:
        """Do what is due: watch the others, show life, or resign if this worker was not at work for a while."""
        enlisted = self.tenure.enlisted
        if self._looking or not (enlisted or self._peers):
            return
        if not enlisted or at_work():
            self._rest_due = None
            if not (self._peers or self._asked):
                return
        now = self._monotonic()
        if enlisted and not at_work():
            if self._rest_due is None:
                self._rest_due = now + self._length / 3
            elif now >= self._rest_due:
                self._rest()
                enlisted = False
        beats = enlisted and self._asked and now >= self._beat_due
        if beats or (self._peers and now >= self._watch_due):
            self._watch(beats, now)

    # Coming and going

    def enlist(self, tenure: Tenure, here: tuple[bytes, bytes | None]) -> Batch:
        """Begin a tenure, if that check holds."""
        return self._registration.enlist(tenure, here)

    def enlisted(self, tenure: Tenure) -> None:
        """The batch of :meth:`enlist` has been applied."""
        tenure.enlisted = True

    def _rest(self) -> None:
        self._rest_due = None
        plan = partial(resign, tenure=self.tenure, results=self._ledger.results, limits=self._ledger.limits)
        self._registration.next_tenure()
        self._submit(lambda view: [(plan(view), None)], lambda job: None)

    def lose(self) -> None:
        """Others have ended the tenure: go on with a new one."""
        self._registration.next_tenure()

    def clear(self, view: View) -> Plans:
        """On the committer's thread: strike those off who died while they had nothing in hand."""
        at_work = call_roll(view).workers.values()
        plans: list[tuple[Batch | None, object]] = []
        for worker in registered(view):
            hold = None if worker == self._registration.worker or worker in at_work else self._lock_of_the_dead(worker)
            if hold is not None:
                hold.release()
                plans.append((strike_off(worker), None))
        return plans

    def _let_go(self, hold: Hold | None) -> None:
        if hold is not None:  # where the lock is one of a server this takes a while
            self._submit(lambda view: [(None, hold.release())], lambda job: None)  # type: ignore[func-returns-value]

    def _submit(self, plans: Callable[[View], Plans], then: Callable[[Job[object]], None]) -> None:
        self._committer.submit(Job(plans, then))

    # Watching the others

    def see(self, roll: Roll) -> None:
        """Take note of who is at work, and of who is gone and has left something."""
        self._acquainted = True
        if self.tenure.token in roll.asked and not self._asked:
            self._beat_due, self._beats = 0.0, BEATS
        self._asked = self.tenure.token in roll.asked
        peers = roll.workers.keys() - {self.tenure.token}
        if peers - self._peers:
            self._watch_due = 0.0
        self._peers = peers
        self._known &= peers
        gone = set(roll.gone)
        if gone - self._gone:
            self._disturbed = self._monotonic()
            self._left()
        self._gone = gone

    def _watch(self, beats: bool, now: float) -> None:
        self._looking = True
        self._watch_due = now + WATCH
        if beats:
            self._beat_due = now + self._length / 3
            self._beats -= 1
        found = Found(self.tenure)
        self._submit(lambda view: self._look(view, found, beats, now), lambda job: self._looked(found, job))

    def _look(self, view: View, found: Found, beats: bool, now: float) -> Plans:
        """On the committer's thread: show life if that is due, and bury who is dead."""
        tenure, roll = found.tenure, call_roll(view)
        found.roll = roll
        missed, self._watched = now - self._watched, now
        plans: list[tuple[Batch | None, object]] = []
        if beats and roll.has(tenure):
            plans.append((show_life(tenure, last=self._beats <= 0), None))
        silent = self._silent(view, roll, now, missed)
        others = roll.workers.keys() - {tenure.token}
        fallen = self._fallen({token: roll.workers[token] for token in others}, now, missed)
        for token in others:
            if token in fallen or token in silent:
                found.buried.append((token, fallen.get(token)))
                plans.append((bury_found(view, self._ledger, token, died=token in fallen), token))
            elif token not in roll.asked:
                plans.append((ask(roll, token), None))
        return plans or [(None, None)]

    def _silent(self, view: View, roll: Roll, now: float, missed: float) -> set[bytes]:
        """Who has shown no sign of life for a whole lease. What passed while nobody watched does not count."""
        stalled = missed > self._length / 2
        before, self._seen = self._seen, {}
        for token in roll.workers:
            beat = view.get(keys.beat(token))
            known, since = before.get(token, (None, now))
            self._seen[token] = beat, since if beat == known and not stalled else now
        return {token for token, (_, since) in self._seen.items() if now - since > self._length}

    def _fallen(self, others: dict[bytes, bytes], now: float, missed: float) -> dict[bytes, Hold]:
        """Who has lost the lock that it has while it lives, and did not get it back in time; with these locks."""
        before, self._free = self._free, {}
        fallen = {}
        for token, worker in others.items():
            hold = self._lock_of_the_dead(worker)
            if hold is None:
                continue
            lapse = min(hold.lapse, self._length / 2)
            since = self._free[token] = now if missed > lapse / 2 else before.get(token, now)
            if now - since >= lapse:
                fallen[token] = hold
            else:
                hold.release()
        return fallen

    def _lock_of_the_dead(self, worker: bytes) -> Hold | None:
        try:
            return self._store.hold(lock_of(worker))
        except StoreError:
            return None  # nothing is known then

    def _looked(self, found: Found, job: Job[object]) -> None:
        self._looking = False
        if job.error is not None:
            raise job.error
        roll = found.roll
        assert roll is not None, "the plan was asked"
        for _, hold in found.buried:
            self._let_go(hold)
        dead = {token for applied, token in job.answers if applied and isinstance(token, bytes)}
        for token in dead:
            logger.info("worker %s is gone; others go on with its runs", token.hex())
        self._known = (self._known | roll.workers.keys()) - self._free.keys()
        left = {token: record for token, record in roll.workers.items() if token not in dead}
        self.see(roll._replace(workers=left))
        if dead:
            self._gone |= dead
            self._disturbed = self._monotonic()
            self._left()
        if found.tenure is self.tenure and self.tenure.enlisted and not roll.has(self.tenure):
            self._lost()
