"""What no replay needs is deleted a piece at a time, and each piece is small."""

from __future__ import annotations

import pytest

from continuum.journal import Entry, Kind, Value
from continuum.store import keys
from continuum.store.codec import Codec, seal
from continuum.store.leavings import leave, sweep, unswept
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch

CODEC = Codec()
FENCE = (b"claim", b"token")


def journal(count: int, size: int = 0) -> list[tuple[bytes, bytes]]:
    """A journal in which every second entry is a mark; the others hold that many bytes."""
    pairs = []
    for number in range(count):
        mark = Entry((number // 2,), Kind.ARMED, "", None, 0, ref=1)
        entry = Entry((number // 2,), Kind.SLEEP, "", Value(bytes(size)), 0) if number % 2 else mark
        key = keys.journal("r", number)
        pairs.append((key, seal(key, CODEC.encode_entry(entry))))
    return pairs


def carry_out(store: MemoryStore, note: bytes | None) -> list[int]:
    """How much each piece deleted."""
    deleted = []
    while note is not None:
        with store.view() as view:
            batch, note = sweep(view, note)
        deleted.append(0 if batch is None else len(batch.deletes))
        assert batch is None or store.commit([batch]) == [True]
    return deleted


def held(store: MemoryStore) -> list[int]:
    """The numbers of the entries that are there."""
    with store.view() as view:
        return [keys.number_of(key) for key, _ in view.scan(keys.journal_prefix("r"))]


@pytest.fixture
def store() -> MemoryStore:
    """A store with nothing in it but a claim."""
    store = MemoryStore(Space())
    store.commit([Batch(puts=[FENCE])])
    return store


def test_few_entries_are_deleted_with_the_batch_that_leaves_them_and_its_own_are_not_written(
    store: MemoryStore,
) -> None:
    store.commit([Batch(puts=journal(8))])
    batch = Batch(puts=[*journal(10)[8:], (b"other", b"kept")])
    assert leave(batch, "r", 0, 10) is None
    assert batch.puts == [(b"other", b"kept")]
    assert store.commit([batch]) == [True]
    assert held(store) == []


def test_many_are_noted_and_deleted_in_pieces_the_note_last(store: MemoryStore) -> None:
    store.commit([Batch(puts=journal(2_600))])
    batch = Batch()
    note = leave(batch, "r", 100, 2_550)
    assert note is not None
    assert batch.deletes == []
    store.commit([batch])
    with store.view() as view:
        assert unswept(view) == [note]
    assert carry_out(store, note) == [1_001, 1_001, 451]
    assert held(store) == [*range(100), *range(2_550, 2_600)]
    with store.view() as view:
        assert unswept(view) == []
        assert sweep(view, note) == (None, None)
