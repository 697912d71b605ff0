"""An open LMDB environment: who is inside, what was committed by others, when to refuse all work.

The handles of one store share one environment (see :mod:`continuum.store.sharing`). This module
counts who is inside, so that the files are closed by the last one to leave: closing them under a
running transaction would take the interpreter down. It refuses work in a forked child, after a commit
whose outcome is unknown, and once the files were replaced.

Batches and keys are no matter of this module, see :mod:`continuum.store.lmdb`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import lmdb

from continuum.errors import CommitUnknown, ContinuumError, ForkedStore, StoreClosed, StoreError
from continuum.store import directory, switching, trouble
from continuum.store.forks import forks
from continuum.store.notify import Listener
from continuum.store.system import system
from continuum.store.watchers import Watchers

__all__ = ["Environment", "Identity", "Transaction", "identity_of"]

Identity: TypeAlias = tuple[int, int]

Transaction: TypeAlias = "lmdb.Transaction[bytes]"

LOOK: Final = 1.0
"""Seconds for which the data file is taken to be still the one that was opened."""

READER_CHECK: Final = 60.0
"""Seconds between two clearings of the slots that dead readers left."""


class Environment:
    """An open LMDB environment and all that its handles share."""

    def __init__(self, path: str, identity: Identity, durability: str, map_size: int) -> None:
        self.path = path
        self.durability = durability
        self._forks = forks()
        self._identity = identity
        self._users = 0
        self._inside = 0
        self._closed = False
        self._state = threading.Lock()
        self._writing = threading.Lock()
        self._failure: ContinuumError | None = None
        self._looked = self._cleared = time.monotonic()
        self._lmdb = _open(path, durability, map_size)
        self._known = int(self._lmdb.info()["last_txnid"])
        self._foreign = False
        self._bells = system.bells_in(os.path.join(path, directory.NOTIFY))
        self.watchers = Watchers(partial(Listener, self._bells, self._moved))

    # Coming and going

    @property
    def inherited(self) -> bool:
        """Whether this process is a child, forked after the environment was opened."""
        return self._forks != forks()

    @property
    def idle(self) -> bool:
        return not self._inside

    def check_usable(self) -> None:
        """Raise if nothing may be done here any more."""
        if self.inherited:
            raise ForkedStore(f"{self.path} was opened before this process was forked; open it again here")
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)

    def join(self) -> bool:
        """Count one more handle; False if the environment is closed already."""
        with self._state:
            self._users += not self._closed
            return not self._closed

    def part(self) -> None:
        """Count one handle less."""
        with self._state:
            self._users -= 1
            self._close_if_left()

    def enter(self) -> None:
        self.check_usable()
        with self._state:
            if not self._users:
                raise StoreClosed(f"the store at {self.path} is closed")
            self._inside += 1

    def leave(self) -> None:
        with self._state:
            self._inside -= 1
            self._close_if_left()

    def _close_if_left(self) -> None:
        if self._users or self._inside or self._closed:
            return
        self._closed = True
        if self.durability == "process" and self._failure is None:
            # Not promised to anybody: it makes a clean end safe against a later power cut.
            with contextlib.suppress(lmdb.Error):
                self._lmdb.sync(True)
        self.watchers.close()
        self._bells.close()
        self._lmdb.close()

    def announce(self, owner: object) -> None:
        """Tell everybody but `owner`, here and in other processes, that something was committed."""
        listener = self.watchers.listener
        self._bells.ring(listener.address if listener is not None else None)
        self.watchers.wake_others(owner)

    def discard(self) -> None:
        """Close, in a forked child, the copy of an environment that nobody was using at the fork."""
        self._closed = True
        self._lmdb.close()

    # Transactions

    def begin_view(self) -> Transaction:
        """A read transaction; whoever gets it aborts it and calls :meth:`leave`."""
        self.enter()
        try:
            return self._begin_view()
        except lmdb.Error as error:
            self.leave()
            raise trouble.explain(error, self.path) from error
        except BaseException:
            self.leave()
            raise

    def _begin_view(self) -> Transaction:
        try:
            return self._lmdb.begin()
        except lmdb.ReadersFullError:
            self._lmdb.reader_check()
            return self._lmdb.begin()

    def write(self, change: Callable[[Transaction], bool]) -> None:
        """Run `change` in a write transaction; commit if it gives True. Raises as Store.commit does."""
        self.enter()
        try:
            with self._writing:
                self.check_usable()
                self._look_after()
                self._write(change)
        finally:
            self.leave()

    def _write(self, change: Callable[[Transaction], bool]) -> None:
        txn = self._begin_write()
        try:
            if change(txn):
                self._commit(txn)
        except lmdb.Error as error:
            raise self._noted(trouble.explain(error, self.path)) from error
        finally:
            # On this thread, whatever happened: otherwise the next writer waits for ever.
            txn.abort()

    def _begin_write(self) -> Transaction:
        try:
            txn = self._lmdb.begin(write=True)
        except lmdb.Error as error:
            raise self._noted(trouble.explain(error, self.path)) from error
        before = txn.id() - 1
        self._foreign |= before != self._known
        self._known = before
        return txn

    def _commit(self, txn: Transaction) -> None:
        number = txn.id()
        switching.at_the_disk()
        try:
            txn.commit()
        except lmdb.Error as error:
            if trouble.says_full(error, self.path) and self._surely_lacks(number):
                raise
            raise self._noted(trouble.outcome_unknown(error, self.path)) from error
        # A transaction that changed nothing leaves its number to the next one.
        self._known = min(number, self._last())

    def _surely_lacks(self, number: int) -> bool:
        """Whether commit `number` certainly did not take place: LMDB goes on, and does not have it."""
        try:
            self._lmdb.begin(write=True).abort()
            return self._last() < number
        except lmdb.Error:
            return False

    def _last(self) -> int:
        return int(self._lmdb.info()["last_txnid"])

    def _noted(self, error: ContinuumError) -> ContinuumError:
        """The error, remembered if nothing may be done after it."""
        if isinstance(error, CommitUnknown):
            self._failure = error
        return error

    # Looking after it

    def _look_after(self) -> None:
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            self._check_identity()
        if now - self._cleared >= READER_CHECK:
            self._cleared = now
            self._lmdb.reader_check()

    def _check_identity(self) -> None:
        with contextlib.suppress(OSError):
            if identity_of(self.path) == self._identity:
                return
        self._failure = StoreError(
            f"the files of the store at {self.path} were deleted, moved or replaced while it was open: "
            "what is written now would be lost. Close the store and open it again"
        )
        self.check_usable()

    def _moved(self) -> bool:
        """Whether another process has committed since the last time this was asked."""
        try:
            self.enter()
        except ContinuumError:
            return False
        try:
            last = self._last()
            moved = self._foreign or last > self._known
            self._foreign = False
            self._known = max(last, self._known)
            return moved
        finally:
            self.leave()


def identity_of(path: str) -> Identity:
    """What tells the store's data file from any that may take its place."""
    found = os.stat(os.path.join(path, directory.DATA))
    return found.st_dev, found.st_ino


def _open(path: str, durability: str, map_size: int) -> lmdb.Environment:
    try:
        env = lmdb.open(
            path,
            map_size=map_size,
            mode=0o600,
            sync=durability == "power",
            max_readers=directory.MOST_READERS,
            # What an environment variable could change, and what fills an 0.9 file with nonsense.
            lib_version=0,
            create=False,
        )
    except lmdb.Error as error:
        raise _unopened(error, path) from error
    try:
        env.reader_check()
        _make_whole(env, path)
        directory.check_stamp(env, path)
    except BaseException:
        env.close()
        raise
    return env


def _make_whole(env: lmdb.Environment, path: str) -> None:
    """Let the data file reach as far as it says itself.

    LMDB leaves out free pages at its end. Of a file that was cut off others are missing, and who reads one behind
    the end is killed by SIGBUS; what it finds in its place now is a damaged page.
    """
    data, size = os.path.join(path, directory.DATA), (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if os.path.getsize(data) < size:
        with contextlib.suppress(OSError):  # a disk that is full, or may not be written to
            system.lengthen(data, size)


def _unopened(error: lmdb.Error, path: str) -> ContinuumError:
    if isinstance(error, lmdb.InvalidError | lmdb.VersionMismatchError):
        return directory.not_ours(path, error)
    return trouble.explain(error, path)
