"""What went wrong in PostgreSQL, in continuum's words: none of its errors leaves the store as it is."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Final

import psycopg

from continuum.errors import ContinuumError, StoreClosed, StoreError, StoreFull
from continuum.store.postgres.address import Address

__all__ = ["FIRST_PAUSE", "LONGEST_PAUSE", "Attempts", "explain"]

logger = logging.getLogger("continuum.store")

PASSING: Final = ("08", "40001", "40P01", "53200", "53300", "55P03", "57014", "57P0", "25006", "25P03")
"""How the SQLSTATEs begin after which the same may go well: lost connections, restarts, deadlocks, timeouts."""

FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts, at the most. Who has a lock is missed for no longer once the server is there."""


def explain(error: psycopg.Error, address: Address) -> ContinuumError:
    """The error to raise where PostgreSQL said `error` and nothing was written."""
    text = address.without_secrets(" ".join(str(error).split()))
    if error.sqlstate == "53100":
        return StoreFull(f"no room to write to {address.location}: nothing was recorded; free some space ({text})")
    if error.sqlstate == "42501":
        role = address.parameters.get("user", "ROLE")
        return StoreError(
            f"the store at {address.location} cannot be used: the role lacks a right ({text}); it has to own the "
            f"schema, which who may do so makes for it: CREATE SCHEMA {address.schema} AUTHORIZATION {role}"
        )
    return StoreError(f"the store at {address.location} cannot be used: {text}")


class Attempts:
    """Pauses between attempts at one thing, each longer than the one before, until there were enough of them."""

    def __init__(self, address: Address, closing: threading.Event) -> None:
        self._address = address
        self._closing = closing
        self._count = 0
        self._until = 0.0

    def succeeded(self) -> None:
        """It went well: what comes next is another matter."""
        if self._count > 1:
            logger.info("the store at %s can be used again", self._address.location)
        self._count = 0

    def pause(self, error: psycopg.Error) -> None:
        """Return when it may be tried again; the first time that is at once.

        Raises the error, explained, where another attempt cannot help or they took too long, and
        StoreClosed once the store is closed.
        """
        if not _may_pass(error):
            raise explain(error, self._address) from error
        now = time.monotonic()
        if not self._count:
            self._until = now + self._address.reconnect_timeout
        elif now >= self._until:
            raise self._given_up(error) from None
        if self._count == 1:
            logger.warning("%s; trying again", explain(error, self._address))
        longest = min(FIRST_PAUSE * 2 ** min(self._count, 10), LONGEST_PAUSE) if self._count else 0.0
        self._count += 1
        # Not all at the same moment, of those that lost the same server.
        if self._closing.wait(longest * random.uniform(0.5, 1.0)):
            raise StoreClosed(f"the store at {self._address.location} is closed")

    def _given_up(self, error: psycopg.Error) -> StoreError:
        text = self._address.without_secrets(" ".join(str(error).split()))
        return StoreError(
            f"the store at {self._address.location} could not be reached for "
            f"{self._address.reconnect_timeout:g} seconds: {text}"
        )


def _may_pass(error: psycopg.Error) -> bool:
    # Where libpq lost the connection, or could not make one, there is no SQLSTATE.
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(PASSING)
