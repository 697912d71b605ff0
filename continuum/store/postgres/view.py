"""Reading: transactions that see the store as it was when they began, and no longer than they must."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final

import psycopg
from psycopg import sql

from continuum.errors import ContinuumError, ForkedStore, StoreClosed, ViewLost
from continuum.store.bounds import bounds, check_key
from continuum.store.forks import forks
from continuum.store.postgres.address import Address
from continuum.store.postgres.links import Link, connect, part
from continuum.store.postgres.trouble import Attempts

__all__ = ["PostgresView", "Readers"]

KEPT: Final = 2
"""Connections that are kept open though nobody reads."""

BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

ROWS: Final = (64, 1024)
"""How many rows the first page of a scan may have, and the later ones."""

BYTES: Final = 4 << 20
"""Bytes of values after which a page ends; it has one row at least."""

PAGE: Final = """
SELECT key, value FROM (
    SELECT key, value, sum(octet_length(value)::bigint) OVER (ORDER BY key {order} ROWS UNBOUNDED PRECEDING) AS total
    FROM {pairs} WHERE key >= %s AND {above} ORDER BY key {order} LIMIT %s
) AS page WHERE total - octet_length(value) < {most}
"""


class Readers:
    """The connections on which views are opened."""

    def __init__(self, address: Address, durability: str, closing: threading.Event) -> None:
        self.address = address
        self.attempts = Attempts(address, closing)
        self._durability = durability
        self._closing = closing
        self._idle: list[Link] = []
        self._forks = forks()
        pairs = sql.Identifier(address.schema, "pairs")
        self.get = sql.SQL("SELECT value FROM {} WHERE key = %s").format(pairs).as_bytes()
        self.page = {
            (reverse, bounded): sql.SQL(PAGE)
            .format(
                pairs=pairs,
                order=sql.SQL("DESC" if reverse else "ASC"),
                above=sql.SQL("key < %s" if bounded else "true"),
                most=sql.Literal(BYTES),
            )
            .as_bytes()
            for reverse in (False, True)
            for bounded in (False, True)
        }

    @property
    def inherited(self) -> bool:
        """Whether this process is a child, forked after the store was opened."""
        return self._forks != forks()

    def check_process(self) -> None:
        """Raise ForkedStore in such a child."""
        if self.inherited:
            raise ForkedStore(
                f"the store at {self.address.location} was opened before this process was forked; open it again here"
            )

    def take(self) -> Link:
        """A connection in a transaction that has just begun. Raises StoreError when there is none to be had."""
        while True:
            try:
                return self._begun()
            except psycopg.Error as error:
                self.attempts.pause(error)

    def _begun(self) -> Link:
        try:
            link = self._idle.pop()
        except IndexError:
            link = connect(self.address, self._durability)
        try:
            link.execute(BEGIN, prepare=False)
        except BaseException:
            part(link)
            raise
        return link

    def give_back(self, link: Link) -> None:
        """The view is closed."""
        try:
            link.execute("ROLLBACK", prepare=False)
        except psycopg.Error:
            part(link)
            return
        self.attempts.succeeded()
        if self._closing.is_set() or len(self._idle) >= KEPT:
            part(link)
        else:
            self._idle.append(link)

    def close(self) -> None:
        """Close those on which nobody reads; the others are closed when they come back."""
        with suppress(IndexError):
            while True:
                part(self._idle.pop())


class PostgresView:
    """A transaction that reads, from the first read on (see :class:`continuum.store.protocol.View`).

    So a view that nobody reads from, as where a worker only writes down what it knows, costs nothing.
    """

    __slots__ = ("_link", "_lost", "_open", "_readers")

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._open = False
        self._link: Link | None = None
        self._lost: ContinuumError | None = None

    def __enter__(self) -> PostgresView:
        self._open, self._lost = True, None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link, self._link, self._open = self._link, None, False
        if self._readers.inherited:
            return
        if self._lost is not None and error is not self._lost:
            # Whoever read may have caught it, and have gone on with half of what he needs.
            raise self._lost
        if link is not None and self._lost is None:
            self._readers.give_back(link)

    def get(self, key: bytes) -> bytes | None:
        check_key(key)
        rows = self._read(self._readers.get, [key])
        return bytes(rows[0][0]) if rows else None

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        low, high = bounds(prefix, start, stop)
        most = ROWS[0]
        while limit is None or limit > 0:
            asked = most if limit is None else min(most, limit)
            upper = [] if high is None else [high]
            page = self._read(self._readers.page[reverse, high is not None], [low, *upper, asked])
            yield from page
            if not page or (len(page) < asked and sum(len(value) for _, value in page) < BYTES):
                return
            low, high = (low, page[-1][0]) if reverse else (page[-1][0] + b"\0", high)
            limit = None if limit is None else limit - len(page)
            most = ROWS[1]

    def _read(self, query: bytes, parameters: list[Any]) -> list[tuple[Any, ...]]:
        self._readers.check_process()
        if self._lost is not None:
            raise self._lost
        if not self._open:
            raise StoreClosed("this view of the store is closed")
        if self._link is None:
            self._link = self._readers.take()
        try:
            return self._link.execute(query, parameters, binary=True).fetchall()
        except psycopg.Error as error:
            self._lose(error)
            raise

    def _lose(self, error: psycopg.Error) -> None:
        """The transaction is gone. Raises what tells of it."""
        assert self._link is not None, "who reads has a connection"
        part(self._link)
        try:
            self._readers.attempts.pause(error)
        except ContinuumError as explained:
            self._lost = explained
            raise
        self._lost = ViewLost(f"the connection to {self._readers.address.location} was lost while it was read")
        raise self._lost from error
