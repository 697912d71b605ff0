"""Wake-ups between processes: a thread that is told of commits by the server, and that looks now and then.

A notification can be lost with the connection it would have come by. So it is also looked from time to
time whether anybody else has committed, and everybody is woken when a connection has been made.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import psycopg
from psycopg import sql

from continuum.store import notify
from continuum.store.postgres.address import Address
from continuum.store.postgres.links import Link, connect, part
from continuum.store.postgres.trouble import FIRST_PAUSE, LONGEST_PAUSE
from continuum.store.postgres.writer import Writer, channel

__all__ = ["Listener"]

logger = logging.getLogger("continuum.store")

OTHERS: Any = "SELECT count(*), sum(turn) FROM {schema}.writers WHERE id <> %s"
"""What is another value when anybody else has committed."""


class Listener:
    """A thread that calls `wake` after a commit, with `notify`, by another handle than the writer's."""

    def __init__(self, address: Address, durability: str, writer: Writer, wake: Callable[[], None]) -> None:
        self._address = address
        self._durability = durability
        self._writer = writer
        self._wake = wake
        self._others = sql.SQL(OTHERS).format(schema=sql.Identifier(address.schema)).as_bytes()
        self._hears = True  # or did up to now
        self._pause = FIRST_PAUSE  # before the next attempt
        self._stopper, self._stopped = socket.socketpair()
        threading.Thread(target=self._run, name="continuum-listener", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end. It is not waited for: it may be the one that calls, or wait for the caller."""
        with suppress(OSError):
            self._stopper.send(b"\0")

    def _run(self) -> None:
        stopped = False
        with self._stopper, self._stopped, selectors.DefaultSelector() as selector:
            selector.register(self._stopped, selectors.EVENT_READ)
            while not stopped:
                try:
                    stopped = self._attend(selector)
                except psycopg.Error as error:
                    self._complain(error)
                    stopped = bool(selector.select(self._pause))
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _complain(self, error: psycopg.Error) -> None:
        """Tell of that, if it is news."""
        if self._hears:
            text = self._address.without_secrets(" ".join(str(error).split()))
            logger.warning("nobody tells of commits to %s any more: %s", self._address.location, text)
        self._hears = False

    def _attend(self, selector: selectors.BaseSelector) -> bool:
        """Listen over a connection of its own; True when it was stopped. Raises psycopg's errors."""
        with ExitStack() as stack:
            link = connect(self._address, self._durability)
            stack.callback(part, link)
            descriptor = link.fileno()
            selector.register(descriptor, selectors.EVENT_READ)
            stack.callback(selector.unregister, descriptor)  # by number: a lost connection has none
            return self._listen(link, selector)

    def _listen(self, link: Link, selector: selectors.BaseSelector) -> bool:
        """Wait on the connection; True when it was stopped."""
        link.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel(self._address))))
        self._writer.refresh()
        known = None
        while True:
            found = link.execute(self._others, [self._writer.id]).fetchone()
            self._hears, self._pause = True, FIRST_PAUSE
            if self._told(link) or found != known:  # what was told beside the answer is not waited for again
                known = found
                self._wake()
            while ready := selector.select(notify.HEARTBEAT):
                if any(key.fileobj is self._stopped for key, _ in ready):
                    return True
                if self._told(link):
                    self._wake()

    def _told(self, link: Link) -> bool:
        return any(note.payload != str(self._writer.id) for note in list(link.notifies(timeout=0)))
