"""Committing, over one connection that is replaced when it breaks, and the locks that belong to it.

Each store handle has a row in the database: the number of the connection that may commit for it, and the
number and the results of its last commit. A commit writes that row along with its changes. When the
answer to a commit is lost, the next connection first takes the row over. That waits for the commit if it
is still under way, and stops it if it has not begun; then the row says whether it took place.

A lock is the session's: it is free when the connection is gone, as when the process dies. So every commit
is made by a session that has all the locks; where one was lost to somebody else meanwhile, there are no more.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.errors import LockNotAvailable
from psycopg.pq import TransactionStatus

from continuum.errors import BadValue, CommitUnknown, ContinuumError, StoreBusy, StoreClosed
from continuum.store import switching
from continuum.store.postgres import schema
from continuum.store.postgres.address import Address
from continuum.store.postgres.arrays import Flags, Numbers
from continuum.store.postgres.links import Link, connect, part
from continuum.store.postgres.trouble import LONGEST_PAUSE, Attempts
from continuum.store.postgres.waves import Wave, locks

__all__ = ["PostgresHold", "Writer", "channel"]

APPLY: Final = "SELECT {schema}.apply(" + ", ".join(["%s"] * 19) + ")"

REGISTER: Final = """
INSERT INTO {schema}.writers AS w (id, link, turn) VALUES (%s, %s, -1)
ON CONFLICT (id) DO UPDATE SET link = excluded.link, turn = greatest(w.turn, 0), at = now()
RETURNING w.turn, w.applied,
    (SELECT a.backend_start FROM pg_stat_activity AS a WHERE a.pid = pg_backend_pid())
"""

LEAVE: Final = "DELETE FROM {schema}.writers WHERE id = %s"

FORGET: Final = "DELETE FROM {schema}.writers WHERE at < now() - interval '30 days'"
"""Rows of those who did not leave. The span is longer than anybody waits to ask what became of his commits."""

STOP: Final = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a WHERE a.pid = %s AND a.backend_start = %s"

IDLE: Final = 1.0
"""Seconds after which a connection is looked at before it is used again."""

HOLD_WAIT_AGAIN: Final = "10s"
"""How long a lock is waited for that was had: the session of the lost connection may be at its last commit still."""


def channel(address: Address) -> str:
    """Where the store's commits are told of."""
    return f"continuum_{address.number('channel', 8) & (2**64 - 1):016x}"


class Writer:
    """Commits for one store handle, from any thread, one after the other."""

    def __init__(self, address: Address, durability: str, closing: threading.Event, link: Link) -> None:
        self.id: UUID = uuid4()
        self._address = address
        self._durability = durability
        self._closing = closing
        self._lock = threading.RLock()
        self._link: Link | None = None
        self._fresh: Link | None = link  # connected and not registered
        self._number = 0  # of the connection
        self._session: tuple[int, datetime] | None = None
        self._used = 0.0
        self._turn = 0
        self._sent = False  # a commit, whose answer did not come
        self._acknowledged = -1  # the turn of the last one whose answer came
        self._recorded: tuple[int, list[bool]] = (-1, [])  # the last commit, as the row had it
        self._holds: dict[str, PostgresHold] = {}
        self._failure: ContinuumError | None = None
        self._channel = channel(address)
        self._space = address.number("keys", 4)
        self._statements = {text: self._composed(text) for text in (APPLY, REGISTER, LEAVE, FORGET)}

    def _composed(self, text: str) -> bytes:
        statement: Any = text
        return sql.SQL(statement).format(schema=sql.Identifier(self._address.schema)).as_bytes()

    # Committing

    def commit(self, found: Sequence[Wave]) -> list[bool]:
        """Apply the waves, in one transaction. See :meth:`continuum.store.protocol.Store.commit`."""
        with self._lock:
            self._turn += 1
            attempts = Attempts(self._address, self._closing)
            while True:
                self.check_usable()
                try:
                    applied = self._commit(self._linked(), found)
                    attempts.succeeded()
                    return applied
                except psycopg.Error as error:
                    self._drop_broken(error)
                    if self._recorded[0] == self._turn:  # it took place, and what came after that failed
                        return self._recorded[1]
                    self._pause(attempts, error)

    def _commit(self, link: Link, found: Sequence[Wave]) -> list[bool]:
        turn, applied = self._recorded
        if turn == self._turn:
            return applied
        stripes = locks(found)
        self._sent = True
        switching.at_the_disk()  # the server's
        if len(found) == 1:
            applied = self._apply(link, found[0], stripes)
        else:
            applied = []
            with link.transaction():
                for wave in found:
                    applied += self._apply(link, wave, stripes)
                    stripes = locks([])  # the first one has got them all
        self._sent = False
        self._acknowledged = self._turn
        self._used = time.monotonic()
        return applied

    def _apply(self, link: Link, wave: Wave, stripes: tuple[Numbers, Flags]) -> list[bool]:
        columns = (wave.checked, wave.expected, wave.checked_by, wave.absent, wave.absent_by)
        changes = (wave.deleted, wave.deleted_by, wave.put, wave.given, wave.put_by, wave.telling)
        head = (self.id, self._number, self._turn, self._space, *stripes, self._channel, wave.size)
        row = link.execute(self._statements[APPLY], (*head, *columns, *changes), binary=True).fetchone()
        assert row is not None, "a function gives a row"
        results: list[bool] = row[0]
        return results

    def _drop_broken(self, error: psycopg.Error) -> None:
        """Let go of a connection that cannot be used any more."""
        if self._link is None:
            return
        refused = self._link.info.transaction_status is TransactionStatus.IDLE  # it said so, and is there for more
        if refused:
            self._sent = False
        if not refused or error.sqlstate == schema.GIVEN_UP:
            part(self._link)
            self._link = None

    def _pause(self, attempts: Attempts, error: psycopg.Error) -> None:
        if error.sqlstate == schema.GIVEN_UP:
            return
        try:
            attempts.pause(error)
        except ContinuumError as explained:
            if not self._sent:
                raise
            self._failure = CommitUnknown(
                f"the connection to {self._address.location} was lost during a commit: whether it took place is "
                f"not known. Open the store again. ({explained})"
            )
            raise self._failure from error

    def check_usable(self) -> None:
        """Raise if nothing may be done here any more."""
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        if self._closing.is_set():
            raise StoreClosed(f"the store at {self._address.location} is closed")

    # The connection

    def _linked(self) -> Link:
        """The connection, which is made if need be. Raises psycopg's errors, and StoreError where it cannot be used."""
        if self._link is not None:
            if time.monotonic() - self._used > IDLE:
                # If it broke meanwhile, it is known that nothing was sent over it.
                self._link.execute("SELECT 1")
            return self._link
        link, self._fresh = self._fresh, None
        fresh = link is not None
        link = link or connect(self._address, self._durability)
        try:
            if not fresh:
                schema.check(link, self._address)
            if self._session is not None:
                link.execute(STOP, self._session)
            self._register(link)
            self._take_again(link)
        except BaseException:
            part(link)
            raise
        self._link = link
        self._used = time.monotonic()
        return link

    def _register(self, link: Link) -> None:
        """Take over the row, and with it what is known of the last commit."""
        first = self._session is None
        self._number = secrets.randbits(62)
        row = link.execute(self._statements[REGISTER], [self.id, self._number]).fetchone()
        assert row is not None, "it was put there"
        turn, applied, began = row
        self._session = (link.info.backend_pid, began)
        if turn < self._acknowledged or (turn < 0 and self._sent):
            # Whoever goes on from what he remembers would write behind something that is not there.
            self._failure = CommitUnknown(
                f"the server of {self._address.location} does not know of commits that it had acknowledged: it "
                "crashed without them, it was restored, or another one has taken its place. Open the store again"
            )
            raise self._failure
        self._sent, self._acknowledged = False, turn
        self._recorded = (turn, applied)
        if first:
            link.execute(self._statements[FORGET])

    def refresh(self) -> None:
        """Connect again if the connection is broken, so that the locks are had again, or known to be lost."""
        with self._lock, suppress(psycopg.Error, ContinuumError):
            if self._holds:
                self.check_usable()
                try:
                    self._linked().execute("SELECT 1")
                except psycopg.Error as error:
                    self._drop_broken(error)
                    self._linked()

    # Locks

    def hold(self, name: str) -> PostgresHold | None:
        """Take a lock, or give None if somebody has it."""
        if not name:
            raise BadValue("the name of a lock is not empty")
        with self._lock:
            if name in self._holds:
                return None
            attempts = Attempts(self._address, self._closing)
            while True:
                self.check_usable()
                try:
                    # Workers ask for each other's all the time: nothing that the server takes for an error.
                    row = self._linked().execute("SELECT pg_try_advisory_lock(%s)", [self._number_of(name)]).fetchone()
                    if row != (True,):
                        return None
                    return self._holds.setdefault(name, PostgresHold(self, name))
                except psycopg.Error as error:
                    self._drop_broken(error)
                    attempts.pause(error)

    def release(self, name: str, hold: PostgresHold) -> None:
        """Give a lock back."""
        with self._lock:
            if self._holds.get(name) is not hold:
                return
            del self._holds[name]
            if self._link is not None:
                with suppress(psycopg.Error):  # a session that is gone has no locks
                    self._link.execute("SELECT pg_advisory_unlock(%s)", [self._number_of(name)])

    def _wait_for(self, link: Link, name: str) -> bool:
        try:
            with link.transaction():
                link.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(HOLD_WAIT_AGAIN))
                link.execute("SELECT pg_advisory_lock(%s)", [self._number_of(name)])
        except LockNotAvailable:
            return False
        return True

    def _take_again(self, link: Link) -> None:
        for name in self._holds:
            if not self._wait_for(link, name):
                self._failure = StoreBusy(
                    f"the connection to {self._address.location} was lost, and when it was there again "
                    f"somebody else had the lock {name!r}: what was held under it is theirs now"
                )
                raise self._failure

    def _number_of(self, name: str) -> int:
        return self._address.number(f"lock\0{name}", 8)

    # The end

    def close(self) -> None:
        """Close the connection, after a commit that is under way."""
        with self._lock:
            self._holds.clear()
            link, self._link = self._link or self._fresh, None
            if link is not None:
                with suppress(psycopg.Error):
                    link.execute("SELECT pg_advisory_unlock_all()")  # the session's end takes a moment
                    link.execute(self._statements[LEAVE], [self.id])
                part(link)


class PostgresHold:
    """A name taken (see :class:`continuum.store.protocol.Hold`)."""

    lapse = 2 * LONGEST_PAUSE

    def __init__(self, writer: Writer, name: str) -> None:
        self._writer = writer
        self._name = name

    def release(self) -> None:
        self._writer.release(self._name, self)
