"""Journal entries that nobody needs any more: marking them, and deleting them a piece at a time.

They are those of a history that its run has left by ContinueUsing, and those behind a continuation that
took their place. A piece is bounded, so that nobody who waits for the committer waits for long.

What a run has left may be long, so it is noted in the batch that leaves it and deleted afterwards. A
worker that dies in between leaves the note, and the next one goes on (:func:`unswept`).

Behind a continuation the last entry of each key stays where it is, as a *survivor*: who reads the history finds it
there. Which one that is, is written down for each key as the entries are deleted, so that the next
survivor takes its place; and for each generation of the history, so that they all go when the run has left that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from continuum.errors import CorruptRecord, UnsupportedRecord
from continuum.journal import Entry
from continuum.store import keys
from continuum.store.codec import Codec, seal, unseal
from continuum.store.protocol import Batch, View
from continuum.store.records import RunRecord, read

__all__ = ["leave", "survivors", "sweep", "unswept"]

ENTRIES: Final = 1_000

_NUMBER: Final = struct.Struct(">Q")


def leave(batch: Batch, run_id: str, start: int, end: int, *, keyed: bool = False) -> bytes | None:
    """Let go of the run's entries from `start` up to `end`, those that the batch puts included.

    Few are deleted in the batch itself; for more the batch makes a note, whose key is given. It does so too where
    there may be some that are `keyed`, among them or before: to find those, one has to look.
    """
    if end - start <= ENTRIES and not keyed:
        prefix = keys.journal_prefix(run_id)
        batch.puts = [pair for pair in batch.puts if not pair[0].startswith(prefix)]
        batch.deletes.extend(keys.journal(run_id, number) for number in range(start, end))
        return None
    note = keys.unswept(run_id, start)
    batch.puts.append(_noted(note, end))
    return note


def unswept(view: View) -> list[bytes]:
    """The keys of all notes."""
    return [key for key, _ in view.scan(keys.unswept_prefix())]


def sweep(view: View, codec: Codec, note: bytes) -> tuple[Batch | None, bytes | None]:
    """Delete the first entries that a note tells of, and give the note about the rest of them.

    Where what the store has of the run is damaged, nothing is deleted.
    """
    try:
        return _sweep(view, codec, note)
    except (CorruptRecord, UnsupportedRecord):
        return None, None


def _sweep(view: View, codec: Codec, note: bytes) -> tuple[Batch | None, bytes | None]:
    data = view.get(note)
    if data is None:
        return None, None
    run_id, start = keys.run_of_unswept(note), keys.number_of(note)
    end = _number(note, data)
    record_key = keys.run(run_id)
    record_data = view.get(record_key)
    batch = Batch(checks=[(note, data), (record_key, record_data)], deletes=[note])
    record = None if record_data is None else read(codec, RunRecord, record_key, record_data)
    if _forget_survivors(view, batch, run_id, record):
        batch.puts.append((note, data))
        return batch, note
    stop = min(start + ENTRIES, end)
    kept = set() if record is None or end <= record.first else _keep_survivors(view, batch, codec, record, start, stop)
    batch.deletes += [keys.journal(run_id, number) for number in range(start, stop) if number not in kept]
    if stop == end:
        return batch, None
    rest = keys.unswept(run_id, stop)
    batch.puts.append(_noted(rest, end))
    return batch, rest


def _forget_survivors(view: View, batch: Batch, run_id: str, record: RunRecord | None) -> bool:
    """Delete the first of those of histories that the run has left; whether there were any."""
    stop = None if record is None else keys.lasts(run_id, record.generation)
    found = list(view.scan(keys.lasts(run_id), stop=stop, limit=ENTRIES))
    batch.deletes += [key for key, _ in found]
    batch.deletes += [keys.journal(run_id, _number(key, data)) for key, data in found]
    return bool(found)


def _keep_survivors(view: View, batch: Batch, codec: Codec, record: RunRecord, start: int, stop: int) -> set[int]:
    """Have the last entry of each key between those numbers take the place of an earlier one; gives which."""
    kept = set()
    for key, number in _lasts(view, codec, record.id, start, stop).items():
        place = keys.last(record.id, record.generation, key)
        data = view.get(place)
        batch.checks.append((place, data))
        before = None if data is None else _number(place, data)
        if before is not None and before > number:
            continue  # another worker has deleted what came later
        if before is not None:
            batch.deletes.append(keys.journal(record.id, before))
        batch.puts.append(_noted(place, number))
        kept.add(number)
    return kept


def _lasts(view: View, codec: Codec, run_id: str, start: int, stop: int) -> dict[str, int]:
    """The number of the last entry of each key, between those numbers."""
    last = {}
    first, end = keys.journal(run_id, start), keys.journal(run_id, stop)
    for place, data in view.scan(keys.journal_prefix(run_id), start=first, stop=end):
        key = codec.key_of(place, data)
        if key:
            last[key] = keys.number_of(place)
    return last


def survivors(view: View, codec: Codec, record: RunRecord, start: int = 0) -> Iterator[tuple[int, Entry]]:
    """The last entry of each key, of those that were deleted of the run's history, from that number on.

    What is still to be deleted is not told. No value is unpickled.
    """
    start = max(start, record.first)
    if start >= record.journal_start:
        return
    notes = (keys.number_of(note) for note, _ in view.scan(keys.unswept_of(record.id)))
    dirty = next((number for number in notes if number >= record.first), record.journal_start)
    last = _lasts(view, codec, record.id, dirty, record.journal_start)
    first, end = keys.journal(record.id, start), keys.journal(record.id, record.journal_start)
    for place, data in view.scan(keys.journal_prefix(record.id), start=first, stop=end):
        number = keys.number_of(place)
        key = codec.key_of(place, data)
        if key and last.get(key, number) == number:
            yield number, codec.decode_entry(unseal(place, data), load=False)


def _noted(key: bytes, number: int) -> tuple[bytes, bytes]:
    return key, seal(key, _NUMBER.pack(number))


def _number(key: bytes, data: bytes) -> int:
    number: int = _NUMBER.unpack(unseal(key, data))[0]
    return number
