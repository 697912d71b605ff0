"""Journal entries that nobody needs any more: marking them, and deleting them a piece at a time.

They are those of a history that its run has left by ContinueUsing, and those behind a continuation that
took their place. A piece is bounded, so that nobody who waits for the committer waits for long.

What a run has left may be long, so it is noted in the batch that leaves it and deleted afterwards. A
worker that dies in between leaves the note, and the next one goes on (:func:`unswept`).
"""

from __future__ import annotations

import struct
from typing import Final

from continuum.store import keys
from continuum.store.codec import seal, unseal
from continuum.store.protocol import Batch, View

__all__ = ["leave", "sweep", "unswept"]

ENTRIES: Final = 1_000

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


def sweep(view: View, note: bytes) -> tuple[Batch | None, bytes | None]:
    """Delete the first entries that a note tells of, and give the note about the rest of them."""
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
    return batch, rest
