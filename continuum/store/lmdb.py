"""The store in LMDB: batches and views in terms of its transactions.

What the directory must look like is in :mod:`continuum.store.directory`, the open files and what can
happen to them in :mod:`continuum.store.environment`; none of LMDB's errors gets past
:mod:`continuum.store.trouble`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import compress, islice
from operator import attrgetter, itemgetter
from types import TracebackType
from typing import Final
from weakref import WeakSet

import lmdb

from continuum.errors import BadValue, ContinuumError, StoreClosed
from continuum.store import directory, locks, trouble
from continuum.store.bounds import STAMP, bounds, check_key
from continuum.store.environment import Environment, Transaction
from continuum.store.protocol import Batch, Hold, Watch
from continuum.store.sharing import acquire
from continuum.store.system import system

__all__ = ["LmdbStore", "LmdbView"]

_key: Final = itemgetter(0)
_notifies: Final = attrgetter("notify")


class LmdbStore:
    """A store in a directory of this machine's disk, which is made if it is not there.

    With ``durability="power"`` a commit is on the disk when it returns. With ``"process"`` it is in
    the kernel's hands: it survives the death of the process, ``kill -9`` included, and costs a
    fraction; but the kernel may write it to the disk in any order, so **a power cut or a kernel crash
    can destroy the whole store**, not only the last commits. Keep a backup beside such a store.

    `map_size`, in bytes, bounds the size of the file: 1 TiB by default. It reserves addresses and no
    disk space; the first handle of a process decides it. On Windows the file is as long as the map,
    sparse where the file system can, and the default is 16 GiB.

    Raises UnsupportedStore where `path` holds something else, or nothing and `create` is false;
    InsecureStore where others could write to it; StoreBusy where this process has it open with
    another durability. A network file system is no place for a store.

        store = LmdbStore("state")
        store.commit([Batch(puts=[(b"key", b"value")])])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: str = "power",
        map_size: int = system.MAP_SIZE,
        create: bool = True,
    ) -> None:
        if durability not in ("power", "process"):
            raise BadValue(f"durability is 'power' or 'process', not {durability!r}")
        self._path = os.path.abspath(path)
        self._environment = acquire(self._path, durability=durability, map_size=map_size, create=create)
        self._holds: WeakSet[locks.FileHold] = WeakSet()
        self._closing = threading.Lock()
        self._closed = False

    @property
    def location(self) -> str:
        return self._path

    def view(self) -> LmdbView:
        self._check_open()
        return LmdbView(self._environment)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        self._check_open()
        results: list[bool] = []
        self._environment.write(lambda txn: _apply(txn, batches, results))
        if any(map(_notifies, compress(batches, results))):
            self._environment.announce(self)
        return results

    def watch(self, wake: Callable[[], None]) -> Watch:
        self._check_open()
        return self._environment.watchers.add(self, wake)

    def hold(self, name: str) -> Hold | None:
        self._check_open()
        hold = locks.take(os.path.join(self._environment.path, directory.LOCKS), name)
        if hold is not None:
            self._holds.add(hold)
        return hold

    def close(self) -> None:
        if self._environment.inherited:
            return
        with self._closing:
            if self._closed:
                return
            self._closed = True
        self._environment.watchers.remove_all_of(self)
        for hold in tuple(self._holds):
            hold.release()
        self._environment.part()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store at {self._path} is closed")
        self._environment.check_usable()


def _apply(txn: Transaction, batches: Sequence[Batch], results: list[bool]) -> bool:
    """Apply the batches whose checks hold, note which did, and say whether any did.

    One after the other: gathering the puts of all batches for one `putmulti` needs a picture of what
    earlier batches changed, and was measured to be no faster.
    """
    get, delete, put = txn.get, txn.delete, txn.cursor().putmulti
    for batch in batches:
        for key, expected in batch.checks:
            found = get(key)
            # LMDB finds nothing at a key that cannot be: the check comes where it costs little.
            if found is None or key == STAMP:
                check_key(key)
            if found != expected:
                results.append(False)
                break
        else:
            for key in batch.deletes:
                if key == STAMP or not delete(key):
                    check_key(key)
            if STAMP in map(_key, batch.puts):
                check_key(STAMP)
            put(batch.puts)
            results.append(True)
    return True in results


class LmdbView:
    """A read transaction (see :class:`continuum.store.protocol.View`)."""

    __slots__ = ("_environment", "_txn")

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._txn: Transaction | None = None

    def __enter__(self) -> LmdbView:
        self._txn = self._environment.begin_view()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        txn, self._txn = self._txn, None
        # In a forked child it would free the slot of the parent's reader.
        if txn is not None and not self._environment.inherited:
            txn.abort()
            self._environment.leave()

    def get(self, key: bytes) -> bytes | None:
        try:
            found = self._open_txn().get(key)
        except lmdb.Error as error:
            raise self._explain(error) from error
        if found is None or key == STAMP:
            check_key(key)
        return found

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
        return islice(self._pairs(low, high, reverse), limit)

    def _pairs(self, low: bytes, high: bytes | None, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._open_txn().cursor() as cursor:
                for pair in _downward(cursor, low, high) if reverse else _upward(cursor, low, high):
                    if pair[0] != STAMP:
                        yield pair
        except lmdb.Error as error:
            raise self._explain(error) from error

    def _open_txn(self) -> Transaction:
        if self._txn is None:
            raise StoreClosed("this view of the store is closed")
        if self._environment.inherited:
            self._environment.check_usable()
        return self._txn

    def _explain(self, error: lmdb.Error) -> ContinuumError:
        if self._txn is None:
            return StoreClosed("this view of the store is closed")
        return trouble.explain(error, self._environment.path)


def _upward(cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    if not (cursor.set_range(low) if low else cursor.first()):
        return
    for pair in cursor.iternext():
        if high is not None and pair[0] >= high:
            return
        yield pair


def _downward(cursor: lmdb.Cursor[bytes], low: bytes, high: bytes | None) -> Iterator[tuple[bytes, bytes]]:
    # The cursor comes to rest at `high` or beyond it, so the last pair is the one before.
    beyond = high is not None and cursor.set_range(high)
    if not (cursor.prev() if beyond else cursor.last()):
        return
    for pair in cursor.iterprev():
        if pair[0] < low:
            return
        yield pair
