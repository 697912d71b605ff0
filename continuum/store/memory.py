"""The store in this process's memory: for tests, for trying out, for what need not outlive the process.

A :class:`Space` holds the data; several :class:`MemoryStore` handles may share one. A view keeps the
picture that it was opened on: the next commit leaves that alone and goes on with a copy, which is
made only while somebody looks.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import Final

from continuum.errors import BadValue, StoreClosed
from continuum.store.bounds import bounds, check_key
from continuum.store.protocol import Batch, Hold, Watch
from continuum.store.watchers import call

__all__ = ["MemoryStore", "MemoryView", "Space"]

FEW: Final = 64
"""Changed keys up to which each is put into its place; above, the whole list is sorted anew."""


class Picture:
    """Pairs, and their keys in an order that is restored when somebody scans."""

    def __init__(self, pairs: dict[bytes, bytes], keys: list[bytes], touched: set[bytes]) -> None:
        self.pairs = pairs
        self.viewers = 0
        self._keys = keys
        self._touched = touched

    def copy(self) -> Picture:
        return Picture(self.pairs.copy(), self._keys.copy(), self._touched.copy())

    def apply(self, batch: Batch) -> bool:
        if any(self.pairs.get(key) != expected for key, expected in batch.checks):
            return False
        for key in batch.deletes:
            self.pairs.pop(key, None)
        self._touched.update(batch.deletes)
        for key, value in batch.puts:
            self.pairs[key] = value
            self._touched.add(key)
        return True

    def between(self, low: bytes, high: bytes | None, reverse: bool) -> tuple[list[bytes], range]:
        """All keys, and the places of those from `low` to before `high`; in reverse, the last one first.

        They stay as they are while somebody views the picture.
        """
        keys = self._ordered()
        first = bisect_left(keys, low)
        end = max(first, len(keys) if high is None else bisect_left(keys, high))
        return keys, range(end - 1, first - 1, -1) if reverse else range(first, end)

    def _ordered(self) -> list[bytes]:
        if len(self._touched) > FEW:
            self._keys = sorted(self.pairs)
        else:
            for key in self._touched:
                self._place(key)
        self._touched.clear()
        return self._keys

    def _place(self, key: bytes) -> None:
        at = bisect_left(self._keys, key)
        listed = self._keys[at : at + 1] == [key]
        if key in self.pairs and not listed:
            self._keys.insert(at, key)
        elif listed and key not in self.pairs:
            del self._keys[at]


class Space:
    """What the handles of one memory store share."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.lock = threading.Lock()
        self.holds: dict[str, MemoryHold] = {}
        self.watches: tuple[MemoryWatch, ...] = ()
        self._picture = Picture({}, [], set())

    def look(self) -> Picture:
        """The picture as it is now. It is kept until :meth:`look_away`."""
        with self.lock:
            self._picture.viewers += 1
            return self._picture

    def look_away(self, picture: Picture) -> None:
        with self.lock:
            picture.viewers -= 1

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        for batch in batches:
            _check_keys(batch)
        with self.lock:
            if self._picture.viewers:
                self._picture = self._picture.copy()
            return [self._picture.apply(batch) for batch in batches]

    def wake_all(self) -> None:
        for watch in self.watches:
            call(watch.wake)


def _check_keys(batch: Batch) -> None:
    # All before the first change: a commit that raises has done nothing.
    for key, _ in batch.checks:
        check_key(key)
    for key in batch.deletes:
        check_key(key)
    for key, _ in batch.puts:
        check_key(key)


class MemoryStore:
    """A store in memory, gone with the process. Handles given the same `space` share what is in it.

    One object may be given to several engines, at a time or one after the other: each works on a handle of its
    own. A watcher is woken by every commit with `notify`, those through its own handle included.
    """

    def __init__(self, space: Space | None = None) -> None:
        self._space = Space() if space is None else space
        self._closed = False

    @property
    def location(self) -> str:
        return f"memory://{self._space.name}"

    def view(self) -> MemoryView:
        self._check_open()
        return MemoryView(self._space)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        self._check_open()
        results = self._space.commit(batches)
        if any(applied and batch.notify for applied, batch in zip(results, batches, strict=True)):
            self._space.wake_all()
        return results

    def watch(self, wake: Callable[[], None]) -> Watch:
        self._check_open()
        watch = MemoryWatch(self._space, self, wake)
        with self._space.lock:
            self._space.watches += (watch,)
        return watch

    def hold(self, name: str) -> Hold | None:
        self._check_open()
        if not name:
            raise BadValue("the name of a lock is not empty")
        with self._space.lock:
            if name in self._space.holds:
                return None
            return self._space.holds.setdefault(name, MemoryHold(self._space, self, name))

    def another(self) -> MemoryStore:
        """Another handle to the same store. Raises StoreClosed if this one is closed."""
        self._check_open()
        return MemoryStore(self._space)

    def close(self) -> None:
        self._closed = True
        with self._space.lock:
            self._space.watches = tuple(w for w in self._space.watches if w.owner is not self)
            self._space.holds = {n: h for n, h in self._space.holds.items() if h.owner is not self}

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"the store {self.location} is closed")


class MemoryView:
    """A picture of a space (see :class:`continuum.store.protocol.View`)."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._picture: Picture | None = None

    def __enter__(self) -> MemoryView:
        self._picture = self._space.look()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        picture, self._picture = self._picture, None
        if picture is not None:
            self._space.look_away(picture)

    def get(self, key: bytes) -> bytes | None:
        check_key(key)
        return self._open_picture().pairs.get(key)

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
        picture = self._open_picture()
        with self._space.lock:
            keys, places = picture.between(low, high, reverse)
        for place in islice(places, limit):
            pairs, key = self._open_picture().pairs, keys[place]
            yield key, pairs[key]

    def _open_picture(self) -> Picture:
        if self._picture is None:
            raise StoreClosed("this view of the store is closed")
        return self._picture


class MemoryWatch:
    """A handle's registration (see :class:`continuum.store.protocol.Watch`)."""

    def __init__(self, space: Space, owner: MemoryStore, wake: Callable[[], None]) -> None:
        self._space = space
        self.owner = owner
        self.wake = wake

    def close(self) -> None:
        with self._space.lock:
            self._space.watches = tuple(w for w in self._space.watches if w is not self)


class MemoryHold:
    """A name taken (see :class:`continuum.store.protocol.Hold`)."""

    lapse = 0.0

    def __init__(self, space: Space, owner: MemoryStore, name: str) -> None:
        self._space = space
        self._name = name
        self.owner = owner

    def release(self) -> None:
        with self._space.lock:
            if self._space.holds.get(self._name) is self:
                del self._space.holds[self._name]
