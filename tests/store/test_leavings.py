"""What no replay needs is deleted a piece at a time, and each piece is small."""

from __future__ import annotations

import pytest

from continuum.journal import Entry, Kind, RunId, Value
from continuum.store import keys, leavings
from continuum.store.codec import Codec, seal
from continuum.store.leavings import leave, survivors, sweep, unswept
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch
from continuum.store.records import RunRecord, write

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
            batch, note = sweep(view, CODEC, note)
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
        assert sweep(view, CODEC, note) == (None, None)


# By key


class Keyed:
    """A run whose entries have keys: each letter stands for the key of an entry, a dot for one without."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.record = RunRecord(RunId("r"), "flow", "1", "default", 0, "00")
        self.number = 0
        store.commit([Batch(puts=[self._written()])])

    def _written(self) -> tuple[bytes, bytes]:
        return write(CODEC, keys.run("r"), self.record)

    def records(self, letters: str) -> list[tuple[bytes, bytes]]:
        pairs = []
        for letter in letters:
            entry = Entry((self.number,), Kind.SAVE, "step", Value(self.number), 0, 1, key=letter.strip("."))
            key = keys.journal("r", self.number)
            pairs.append((key, seal(key, CODEC.encode_entry(entry))))
            self.number += 1
        return pairs

    def compacts(self, letters: str) -> bytes:
        """These are recorded, and all is deleted; gives the note."""
        batch = Batch(puts=self.records(letters))
        note = leave(batch, "r", self.record.journal_start, self.number, keyed=True)
        assert note is not None
        dropped = self.record.compacted + self.number - self.record.journal_start
        self.record.journal_start, self.record.compacted = self.number, dropped
        batch.puts.append(self._written())
        assert self.store.commit([batch]) == [True]
        return note

    def continues(self, letters: str) -> bytes | None:
        """These are recorded, and the run goes on with another history."""
        batch = Batch(puts=self.records(letters))
        note = leave(batch, "r", self.record.journal_start, self.number, keyed=bool(self.record.compacted))
        self.record.journal_start, self.record.compacted = self.number, 0
        self.record.generation += 1
        batch.puts.append(self._written())
        assert self.store.commit([batch]) == [True]
        return note

    @property
    def shown(self) -> str:
        """What is left of what was deleted, as a reader is told."""
        with self.store.view() as view:
            return " ".join(f"{entry.key}{number}" for number, entry in survivors(view, CODEC, self.record))

    def rows(self) -> int:
        with self.store.view() as view:
            return len(list(view.scan(keys.lasts("r"))))


def test_the_last_entry_of_each_key_survives_and_the_next_one_takes_its_place(store: MemoryStore) -> None:
    run = Keyed(store)
    note = run.compacts("a.ab.")
    assert run.shown == "a2 b3", "before anything is deleted, too"
    carry_out(store, note)
    assert (run.shown, held(store), run.rows()) == ("a2 b3", [2, 3], 2)
    note = run.compacts("..c.a")
    assert run.shown == "b3 c7 a9"
    carry_out(store, note)
    assert (run.shown, held(store), run.rows()) == ("b3 c7 a9", [3, 7, 9], 3)
    carry_out(store, run.compacts("..."))
    assert held(store) == [3, 7, 9]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_it_is_so_in_pieces_of_every_size_and_at_any_moment(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", size)
    run = Keyed(store)
    note: bytes | None = run.compacts("aba.b")
    second: bytes | None = run.compacts("cb.a")
    while note is not None or second is not None:
        for which in (second, note):
            if which is None:
                continue
            with store.view() as view:
                batch, rest = sweep(view, CODEC, which)
            assert batch is not None
            assert len(batch.deletes) <= 2 * size + 1
            store.commit([batch])
            if which == second:
                second = rest
            else:
                note = rest
            assert run.shown == "c5 b6 a8"
    assert held(store) == [5, 6, 8]
    with store.view() as view:
        assert [entry.key for _, entry in survivors(view, CODEC, run.record, 6)] == ["b", "a"]


def test_a_history_that_the_run_has_left_leaves_nothing(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", 2)
    run = Keyed(store)
    carry_out(store, run.compacts("abcde"))
    unfinished = run.compacts("fa")
    note = run.continues("a.")
    assert run.shown == ""
    later = run.compacts("a..b")
    assert run.shown == "a9 b12"
    for each in (later, note, unfinished):
        carry_out(store, each)
    assert (run.shown, held(store), run.rows()) == ("a9 b12", [9, 12], 2)


def test_what_comes_of_two_workers_is_the_same(store: MemoryStore) -> None:
    run = Keyed(store)
    first, second = run.compacts("ab"), run.compacts("a")
    with store.view() as view:
        (early, _), (late, _) = sweep(view, CODEC, first), sweep(view, CODEC, second)
    assert early is not None
    assert late is not None
    assert store.commit([late, early]) == [True, False]
    carry_out(store, first)
    assert (run.shown, held(store)) == ("b1 a2", [1, 2])


def test_of_a_run_whose_record_is_damaged_nothing_is_deleted(store: MemoryStore) -> None:
    run = Keyed(store)
    note = run.compacts("a.")
    store.commit([Batch(puts=[(keys.run("r"), b"damaged")])])
    assert carry_out(store, note) == [0]
    assert held(store) == [0, 1]
