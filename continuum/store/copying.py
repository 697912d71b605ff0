"""Moving everything that a store holds to another one, of whichever kind; the runs go on there.

The source is marked first: from then on nothing can be started there, sent to or worked on; a worker that has
nothing in hand stops when it sees that. What was acknowledged before is in what is copied; a worker that was
stopped meanwhile, and goes on later, can write nothing, since it is dismissed and the claims that its batches
check are no longer its own. The destination is marked as unfinished up to the end. So a
move that was killed at any moment can be begun again or given up, and the runs can go on in one of the stores
at most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from continuum.errors import StoreBusy, StoreError
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, Store, View
from continuum.store.records import Move, WorkerRecord, read, write
from continuum.store.tenure import dismiss, lock_of, registered

__all__ = ["Copied", "abandon", "check_source", "copy", "count"]

PAGE: Final = 1_000
"""Records that are written in one commit, at the most."""

PAGE_SIZE: Final = 4 * 1024 * 1024
"""Bytes after which a page is full."""

NAMED: Final = 3
"""How many workers that are in the way are named."""

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
            return move.measure()
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


def abandon(source: Store, destination: Store) -> None:
    """Give up a move that was cut off: the runs go on in `source`, and `destination` is empty.

    Raises StoreBusy while a worker has one of them, StoreError if no such move was cut off, or got so far that the
    runs may go on in the destination already.
    """
    with _alone(source), _alone(destination):
        _Moving(source, destination, 0).abandon()


def check_source(source: Store) -> None:
    """See whether the runs of a store may be moved at all. Raises StoreBusy, StoreMoved."""
    with _alone(source), source.view() as view:
        ledger = Ledger(Codec())
        mark = ledger.move(view)
        if mark is not None and mark.state != "moving":  # which may be to the same destination
            ledger.here(view)


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
        if not self._marked(self._destination, "arriving", self._source) and self._some(self._destination):
            raise StoreError(self._occupied())
        self._clear()

    def abandon(self) -> None:
        """Have the runs go on where they were."""
        here, there = self._source.location, self._destination.location
        if not self._marked(self._source, "moving", self._destination):
            raise StoreError(f"there is nothing to give up: no move from {here} to {there} was cut off")
        if not self._marked(self._destination, "arriving", self._source) and self._some(self._destination):
            raise StoreError(f"the runs of {here} have arrived in {there}: have the move done to its end")
        self._clear()
        self.stay()
        self._destination.commit([Batch(deletes=[keys.move()])])

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

    def measure(self) -> Copied:
        """How much there is to copy."""
        pages = list(_pages(self._source))
        return Copied(sum(map(len, pages)), sum(keys.is_run(key) for page in pages for key, _ in page))

    def _occupied(self) -> str:
        place = self._destination.location
        mark = self._mark(self._destination)
        if mark is not None and mark.state == "arriving":
            return f"{place} holds part of what was in {mark.place}, from a move that was cut off; name another store"
        if mark is not None and mark.state == "moved":
            return f"{place} still holds what was moved from it to {mark.place}; name another store, or delete that one"
        return f"{place} holds something already; move to a store that is empty"

    def _clear(self) -> None:
        """Empty the destination, but for the mark: nothing can go on in it meanwhile."""
        while found := [key for key in self._some(self._destination) if key != keys.move()]:
            self._destination.commit([Batch(deletes=found)])

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
            at_work = [_told_of(view, worker) for worker in registered(view) if _is_there(store, worker)]
        if at_work:
            execute, them = ("executes", "it") if len(at_work) == 1 else ("execute", "them")
            raise StoreBusy(
                f"{_listed(at_work)} {execute} the runs of {store.location}; stop {them} before they are moved"
            )
        yield
    finally:
        hold.release()


def _is_there(store: Store, worker: bytes) -> bool:
    its_lock = store.hold(lock_of(worker))
    if its_lock is not None:
        its_lock.release()
    return its_lock is None


def _told_of(view: View, worker: bytes) -> str:
    key = keys.worker(worker)
    data = view.get(key)
    assert data is not None, "it is registered"
    record = read(Codec(), WorkerRecord, key, data)
    return f"process {record.pid} on {record.host}"


def _listed(names: list[str]) -> str:
    more = [f"{len(names) - NAMED} more"] if len(names) > NAMED else []
    *some, last = [*names[:NAMED], *more]
    return f"{', '.join(some)} and {last}" if some else last
