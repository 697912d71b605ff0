"""Journal entries that no replay needs any more: marking them, and deleting them a piece at a time.

There are two sorts: the entries of a history that its run has left by ContinueUsing, and the marks
behind a Compact. A piece is bounded in entries and in the bytes that are read for it, so that nobody
who waits for the committer waits for long; it gives the piece that is to follow.

What a run has left may be long, so it is noted in the batch that leaves it and deleted afterwards. A
worker that dies in between leaves the note, and the next one goes on (:func:`unswept`). Marks are not
worth a note: those that stay do no harm.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from continuum.journal import MARKS
from continuum.store import keys
from continuum.store.codec import Codec, seal, unseal
from continuum.store.protocol import Batch, View

__all__ = ["Piece", "drop_marks", "leave", "sweep", "unswept"]

Piece: TypeAlias = "Callable[[View], tuple[Batch | None, Piece | None]]"
"""Gives what is to be committed, and what is to be done after it."""

ENTRIES: Final = 1_000
BYTES: Final = 1 << 20

_NUMBER: Final = struct.Struct(">Q")


def leave(batch: Batch, run_id: str, start: int, end: int) -> bytes | None:
    """Let go of the run's entries from `start` up to `end`, those that the batch puts included.

    Few are deleted in the batch itself; for more the batch makes a note, whose key is given.
    """
    prefix = keys.journal_prefix(run_id)
    batch.puts = [pair for pair in batch.puts if not pair[0].startswith(prefix)]
    if end - start <= ENTRIES:
        batch.deletes.extend(keys.journal(run_id, number) for number in range(start, end))
        return None
    note = keys.unswept(run_id, start)
    batch.puts.append((note, seal(note, _NUMBER.pack(end))))
    return note


def unswept(view: View) -> list[bytes]:
    """The keys of all notes."""
    return [key for key, _ in view.scan(keys.unswept_prefix())]


def sweep(view: View, note: bytes) -> tuple[Batch | None, Piece | None]:
    """Delete the first entries that a note tells of; the last piece deletes the note."""
    data = view.get(note)
    if data is None:
        return None, None
    run_id, start = keys.run_of_unswept(note), keys.number_of(note)
    end: int = _NUMBER.unpack(unseal(note, data))[0]
    stop = min(start + ENTRIES, end)
    batch = Batch(checks=[(note, data)], deletes=[keys.journal(run_id, number) for number in range(start, stop)])
    batch.deletes.append(note)
    if stop == end:
        return batch, None
    rest = keys.unswept(run_id, stop)
    batch.puts.append((rest, seal(rest, _NUMBER.pack(end))))
    return batch, partial(sweep, note=rest)


def drop_marks(
    view: View, codec: Codec, fence: tuple[bytes, bytes], run_id: str, start: int, end: int
) -> tuple[Batch | None, Piece | None]:
    """Delete the marks among the run's entries from `start` up to `end`, if the check `fence` holds."""
    batch = Batch([fence])
    number, size = start, 0
    low, high = keys.journal(run_id, start), keys.journal(run_id, end)
    for key, data in view.scan(keys.journal_prefix(run_id), start=low, stop=high, limit=ENTRIES):
        number, size = keys.number_of(key) + 1, size + len(data)
        if codec.decode_entry(unseal(key, data), load=False).kind in MARKS:
            batch.deletes.append(key)
        if size > BYTES:
            break
    rest = partial(drop_marks, codec=codec, fence=fence, run_id=run_id, start=number, end=end)
    return (batch if batch.deletes else None), (rest if number > start else None)
