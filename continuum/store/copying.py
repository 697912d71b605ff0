"""Moving everything that a store holds to another one, of whichever kind; the runs go on there.

The source is marked first: from then on nothing can be started there, sent to or worked on; a worker that has
nothing in hand stops when it sees that. What was acknowledged before is in what is copied; a worker that was
stopped meanwhile, and goes on later, can write nothing, since it is dismissed and the claims that its batches
check are no longer its own. The destination is marked as unfinished up to the end. So a
move that was killed at any moment can be begun again, and the runs can go on in one of the stores at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from continuum.errors import StoreBusy, StoreError
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, Store
from continuum.store.records import Move, write
from continuum.store.tenure import dismiss, lock_of, registered

__all__ = ["Copied", "copy", "count"]

PAGE: Final = 1_000
"""Records that are written in one commit, at the most."""

PAGE_SIZE: Final = 4 * 1024 * 1024
"""Bytes after which a page is full."""

NOBODY: Final = b"moved"
"""The claim on a run that a worker had: no worker's token, so whoever comes next takes the run over."""


class Copied(NamedTuple):
    """What was copied."""

    records: int
    runs: int


def copy(source: Store, destination: Store, *, now: int, told: Callable[[int], None] = lambda records: None) -> Copied:
    """Move all of `source` into `destination`, which has to be empty; `told` hears how many records came over.

    `now` is in nanoseconds since the epoch. A move that was cut off is begun anew by calling this again. Where
    it fails, the source can be worked on as before. Raises StoreBusy while a worker has one of them, StoreMoved
    if the source was moved elsewhere, StoreError if the destination holds something already.
    """
    move = _Moving(source, destination, now)
    with _alone(source), _alone(destination):
        if move.arrived():
            move.leave()
            return Copied(0, 0)
        move.prepare()
        try:
            move.begin()
            copied = move.carry(told)
        except BaseException:
            move.stay()
            raise
        move.arrive()
        move.leave()
        return copied


def count(store: Store) -> int:
    """How many records there are to copy."""
    return sum(len(page) for page in _pages(store))


class _Moving:
    def __init__(self, source: Store, destination: Store, now: int) -> None:
        self._source = source
        self._destination = destination
        self._now = now
        self._codec = Codec()
        self._ledger = Ledger(self._codec)

    def arrived(self) -> bool:
        """Whether an earlier try got as far as that."""
        return self._marked(self._source, "moving", self._destination) and self._marked(
            self._destination, "arrived", self._source
        )

    def prepare(self) -> None:
        """See whether it can be done, and have the destination empty."""
        mark = self._mark(self._source)
        if mark is not None and mark.state != "arrived" and not self._marked(self._source, "moving", self._destination):
            with self._source.view() as view:
                self._ledger.here(view)
        ours = self._marked(self._destination, "arriving", self._source)
        while found := self._some(self._destination):
            if not ours:
                raise StoreError(f"{self._destination.location} holds something already; move to a store that is empty")
            self._destination.commit([Batch(deletes=found)])

    def begin(self) -> None:
        """Mark both; from here on the source has no writer but this one."""
        self._put(self._destination, Move("arriving", self._source.location, self._now))
        self._put(self._source, Move("moving", self._destination.location, self._now), notify=True)
        with self._source.view() as view:
            dismissal = dismiss(view)
        self._source.commit([dismissal])
        self._take_claims()

    def carry(self, told: Callable[[int], None]) -> Copied:
        """Copy all records."""
        records = runs = 0
        for page in _pages(self._source):
            self._destination.commit([Batch(puts=page)])
            records += len(page)
            runs += sum(keys.is_run(key) for key, _ in page)
            told(len(page))
        return Copied(records, runs)

    def stay(self) -> None:
        """It did not work: the runs go on where they are."""
        self._source.commit([Batch(deletes=[keys.move()])])

    def arrive(self) -> None:
        """Here the runs change over."""
        self._put(self._destination, Move("arrived", self._source.location, self._now), notify=True)

    def leave(self) -> None:
        self._put(self._source, Move("moved", self._destination.location, self._now), notify=True)

    def _marked(self, store: Store, state: str, other: Store) -> bool:
        mark = self._mark(store)
        return mark is not None and mark.state == state and mark.place == other.location

    def _mark(self, store: Store) -> Move | None:
        with store.view() as view:
            return self._ledger.move(view)

    def _put(self, store: Store, mark: Move, *, notify: bool = False) -> None:
        store.commit([Batch(puts=[write(self._codec, keys.move(), mark)], notify=notify)])

    def _some(self, store: Store) -> list[bytes]:
        with store.view() as view:
            return [key for key, _ in view.scan(b"", limit=PAGE)]

    def _take_claims(self) -> None:
        """What a worker that was stopped, and goes on later, writes for its runs has no effect."""
        start = keys.claims()
        while True:
            with self._source.view() as view:
                claims = [key for key, _ in view.scan(keys.claims(), start=start, limit=PAGE)]
            if not claims:
                return
            self._source.commit([Batch(puts=[(key, NOBODY) for key in claims])])
            start = claims[-1] + b"\0"


def _pages(store: Store) -> Iterator[list[tuple[bytes, bytes]]]:
    """All records but the mark, from a view for each page: a long one would keep what is deleted meanwhile."""
    start: bytes | None = b""
    while start is not None:
        page, start = _page(store, start)
        if page:
            yield page


def _page(store: Store, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
    page: list[tuple[bytes, bytes]] = []
    size = 0
    with store.view() as view:
        for key, value in view.scan(b"", start=start):
            if size > PAGE_SIZE or len(page) == PAGE:
                return page, key
            if key != keys.move():
                page.append((key, value))
                size += len(key) + len(value)
    return page, None


@contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Keep others from moving the store's runs meanwhile. Raises StoreBusy where they do, or a worker has some."""
    hold = store.hold("move")
    if hold is None:
        raise StoreBusy(f"the runs of {store.location} are being moved just now")
    try:
        with store.view() as view:
            workers = registered(view)
        for worker in workers:
            its_lock = store.hold(lock_of(worker))
            if its_lock is None:
                raise StoreBusy(f"a worker executes the runs of {store.location}; stop it before they are moved")
            its_lock.release()
        yield
    finally:
        hold.release()
