"""A store handle: what the protocol asks for, put together."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import psycopg

from continuum.errors import BadValue, StoreClosed
from continuum.store.postgres import schema
from continuum.store.postgres.address import Address
from continuum.store.postgres.links import Link, connect, part
from continuum.store.postgres.listener import Listener
from continuum.store.postgres.trouble import explain
from continuum.store.postgres.view import PostgresView, Readers
from continuum.store.postgres.waves import waves
from continuum.store.postgres.writer import Writer
from continuum.store.protocol import Batch, Hold, Watch
from continuum.store.watchers import Watchers

__all__ = ["PostgresStore"]

logger = logging.getLogger("continuum.store")


class PostgresStore:
    """A store in a schema of a PostgreSQL database, which is made if it is not there.

    The URL is libpq's, ``postgresql://user@host/database``, with all of its parameters, and three more:
    ``schema`` (``continuum``), ``statement_timeout`` (``60s``), and ``reconnect_timeout``, the seconds for
    which a lost server is looked for before the call that needs it raises StoreError (300).

    With ``durability="power"`` a commit is on the server's disk when it returns. With ``"process"``
    (``synchronous_commit=off``) it survives the death of this process; a crash of the server, or a power
    cut there, may lose the commits of the last moments, as a whole and in order: the store stays sound.

    Raises UnsupportedStore where the schema holds something else, or nothing and `create` is false;
    StoreError where the server cannot be reached or refuses; BadValue for a URL that cannot be read.

        store = PostgresStore("postgresql://localhost/app?schema=orders")
        store.commit([Batch(puts=[(b"key", b"value")])])
    """

    def __init__(self, url: str, *, durability: str = "power", create: bool = True) -> None:
        if durability not in ("power", "process"):
            raise BadValue(f"durability is 'power' or 'process', not {durability!r}")
        self._address = Address.parse(url)
        self._durability = durability
        self._closing = threading.Event()
        self._readers = Readers(self._address, durability, self._closing)
        self._writer = Writer(self._address, durability, self._closing, self._open(create))
        self._watchers = Watchers(
            lambda wake: Listener(self._address, durability, self._writer, wake),
        )

    def _open(self, create: bool) -> Link:
        try:
            link = connect(self._address, self._durability)
            try:
                schema.prepare(link, self._address, create=create)
                if self._durability == "power":
                    _warn_of_no_fsync(link, self._address)
            except BaseException:
                part(link)
                raise
        except psycopg.Error as error:
            # The error itself may hold what was said to the server.
            raise explain(error, self._address) from None
        return link

    @property
    def location(self) -> str:
        return self._address.location

    def __repr__(self) -> str:
        return f"<PostgresStore {self.location}>"

    def view(self) -> PostgresView:
        self._check_open()
        return PostgresView(self._readers)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        self._check_open()
        found = waves(batches)
        return self._writer.commit(found) if batches else []

    def watch(self, wake: Callable[[], None]) -> Watch:
        self._check_open()
        return self._watchers.add(self, wake)

    def hold(self, name: str) -> Hold | None:
        self._check_open()
        return self._writer.hold(name)

    def close(self) -> None:
        if self._readers.inherited or self._closing.is_set():
            return
        self._closing.set()
        self._watchers.close()
        self._writer.close()
        self._readers.close()

    def _check_open(self) -> None:
        self._readers.check_process()
        if self._closing.is_set():
            raise StoreClosed(f"the store at {self.location} is closed")
        self._writer.check_usable()


def _warn_of_no_fsync(link: Link, address: Address) -> None:
    row = link.execute("SELECT current_setting('fsync')").fetchone()
    if row == ("off",):
        logger.warning(
            "the server at %s runs with fsync=off: a power cut there may destroy the store", address.location
        )
