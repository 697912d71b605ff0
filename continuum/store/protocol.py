"""The waist between the ledger and its backends: an ordered key-value space.

A store is used from threads and never from an event loop. It knows bytes and nothing of runs; every
rule about runs lives in :mod:`continuum.store.ledger`. Three things make it enough:

* :meth:`Store.view` gives a consistent picture to read from;
* :meth:`Store.commit` applies batches, each whole or not at all, and returns when they are durable;
* :meth:`Store.watch` wakes a waiter after somebody else committed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Batch", "Hold", "Store", "View", "Watch"]


@dataclass(slots=True)
class Batch:
    """Changes that happen together or not at all.

    Each check names a key and the value that it must hold (None: it must be absent) for the batch
    to be applied; the batches of one commit see each other's effects in their order. Deletes are
    applied before puts; deleting an absent key is no error. `notify` says that other processes
    should hear of it.
    """

    checks: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    puts: list[tuple[bytes, bytes]] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    notify: bool = False


class View(Protocol):
    """A consistent picture of the store as it was at one moment: when the view was opened, or first read from."""

    def get(self, key: bytes) -> bytes | None:
        """The value at `key`, or None."""

    def scan(
        self,
        prefix: bytes,
        *,
        start: bytes | None = None,
        stop: bytes | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> Iterator[tuple[bytes, bytes]]:
        """The pairs whose key begins with `prefix`, in key order, or in reverse.

        `start` (included) and `stop` (excluded) are whole keys that bound the scan further; they mean
        the same in both directions. Read what a view gives and let it go: an old view keeps old pages.
        """


class Watch(Protocol):
    """A registration made by :meth:`Store.watch`."""

    def close(self) -> None:
        """Stop the calls. May be called more than once."""


class Hold(Protocol):
    """A named lock taken by :meth:`Store.hold`; it ends with the process, however that ends.

    Where the store is on a server it can be lost to another process with the connection. Nothing is
    committed then any more: the store raises StoreBusy.
    """

    @property
    def lapse(self) -> float:
        """Seconds for which such a lock may be free though whoever had it lives.

        That is 0 where a lock is the process's own. One that is held through a connection is free when that
        broke, as all are when the server was restarted, until its owner has connected again.
        """

    def release(self) -> None:
        """Give the lock back. May be called more than once."""


class Store(Protocol):
    """An ordered key-value space with atomic, conditional, durable batches.

    Keys are 1 to 511 bytes. All methods may be called from any thread.
    """

    @property
    def location(self) -> str:
        """Where the store is, for people: a path or a URL without secrets."""

    def view(self) -> AbstractContextManager[View]:
        """A consistent picture to read from, to be closed soon.

        Where the store is on a server, reading and leaving the view raise ViewLost if the connection
        broke: whatever was made of what was read is to be thrown away, and read again from a new view.
        """

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        """Apply each batch whose checks hold; all that was applied is durable on return.

        Gives, for each batch, whether it was applied. Raises StoreFull when there was no room (nothing
        was applied), CommitUnknown when the outcome cannot be known; after that the store refuses work.
        """

    def watch(self, wake: Callable[[], None]) -> Watch:
        """Call `wake`, from some thread, after a commit with `notify` by anyone but this handle.

        Calls may come late, merged or without cause; whoever is woken looks for himself.
        """

    def hold(self, name: str) -> Hold | None:
        """Take the lock `name` if nobody has it; None if somebody, in any process, does."""

    def close(self) -> None:
        """Let go of the store. May be called more than once; using it afterwards raises StoreClosed."""
