"""From batches to arrays: what the function in the database is called with.

The batches of a commit see each other's effects in their order. The function checks first and
changes then, so it is called once for each *wave*: batches none of which touches a key that an earlier
one of them changes. Nearly every commit is one wave, and so one round trip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from zlib import crc32

from continuum.store.bounds import check_key
from continuum.store.postgres.arrays import Blobs, Flags, Numbers
from continuum.store.protocol import Batch

__all__ = ["STRIPES", "Wave", "locks", "waves"]

STRIPES: Final = 256
"""How many locks the keys of a store share. All who write to a store must agree on it: it belongs to the format."""

LARGEST: Final = 64 << 20
"""Bytes after which a wave ends: the server takes at most a gigabyte in one call."""


@dataclass(slots=True)
class Wave:
    """Batches in columns; the numbers say, from 1, to which batch of the wave an element belongs."""

    size: int = 0
    checked: Blobs = field(default_factory=Blobs)
    expected: Blobs = field(default_factory=Blobs)
    checked_by: Numbers = field(default_factory=Numbers)
    absent: Blobs = field(default_factory=Blobs)
    absent_by: Numbers = field(default_factory=Numbers)
    deleted: Blobs = field(default_factory=Blobs)
    deleted_by: Numbers = field(default_factory=Numbers)
    put: Blobs = field(default_factory=Blobs)
    given: Blobs = field(default_factory=Blobs)
    put_by: Numbers = field(default_factory=Numbers)
    telling: Numbers = field(default_factory=Numbers)
    length: int = 0

    def add(self, checks: list[tuple[bytes, bytes | None]], changes: dict[bytes, bytes | None], tell: bool) -> None:
        """One more batch."""
        self.size += 1
        for key, value in checks:
            if value is None:
                self.absent.append(key)
                self.absent_by.append(self.size)
            else:
                self.checked.append(key)
                self.expected.append(value)
                self.checked_by.append(self.size)
                self.length += len(value)
        for key, value in changes.items():
            if value is None:
                self.deleted.append(key)
                self.deleted_by.append(self.size)
            else:
                self.put.append(key)
                self.given.append(value)
                self.put_by.append(self.size)
                self.length += len(value)
        if tell:
            self.telling.append(self.size)


def waves(batches: Sequence[Batch]) -> list[Wave]:
    """The batches, in as few waves as there can be. Raises BadValue for a key that cannot be."""
    found = [Wave()]
    changed: set[bytes] = set()
    for batch in batches:
        changes: dict[bytes, bytes | None] = {**dict.fromkeys(batch.deletes), **dict(batch.puts)}
        for key, _ in batch.checks:
            check_key(key)
        for key in changes:
            check_key(key)
        met = not changed.isdisjoint(changes) or any(key in changed for key, _ in batch.checks)
        if met or found[-1].length > LARGEST:
            found.append(Wave())
            changed.clear()
        found[-1].add(batch.checks, changes, batch.notify)
        changed.update(changes)
    return found


def locks(found: Sequence[Wave]) -> tuple[Numbers, Flags]:
    """The stripes that hold the keys, in order, and which of them must be had alone since something in it changes."""
    changed = {crc32(key) % STRIPES for wave in found for keys in (wave.deleted, wave.put) for key in keys}
    read = {crc32(key) % STRIPES for wave in found for keys in (wave.checked, wave.absent) for key in keys}
    stripes = sorted(changed | read)
    return Numbers(stripes), Flags(stripe in changed for stripe in stripes)
