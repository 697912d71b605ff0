"""What went wrong in LMDB, in continuum's words: none of its errors leaves the store as it is."""

from __future__ import annotations

import errno
import os
import shutil
from typing import Final

import lmdb

from continuum.errors import BadValue, CommitUnknown, ContinuumError, StoreError, StoreFull
from continuum.store.bounds import LONGEST_KEY
from continuum.store.system import system

__all__ = ["explain", "outcome_unknown", "says_full"]

LITTLE: Final = 16 << 20


def says_full(error: lmdb.Error, path: str) -> bool:
    """Whether the error means that there was no room to write.

    LMDB reports a write that the disk took in part, which is how a disk becomes full, as EIO.
    """
    code = getattr(error, "code", None)
    if isinstance(error, lmdb.MapFullError) or code in system.NO_ROOM:
        return True
    return code == errno.EIO and (free := _free_bytes(path)) is not None and free < LITTLE


def explain(error: lmdb.Error, path: str) -> ContinuumError:
    """The error to raise where LMDB raised `error` and nothing was written."""
    if isinstance(error, lmdb.BadValsizeError):
        return BadValue(f"a key has 1 to {LONGEST_KEY} bytes, and a value less than 4 GiB")
    if says_full(error, path):
        return _full(error, path)
    if isinstance(error, lmdb.PanicError):
        return outcome_unknown(error, path)
    if isinstance(error, lmdb.MapResizedError):
        return StoreError(f"another process opened {path} with a larger map_size; open it with that one too")
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError):
        return StoreError(f"the store at {path} is damaged, restore it from a backup: {error}")
    return StoreError(f"the store at {path} cannot be used: {error}")


def outcome_unknown(error: lmdb.Error, path: str) -> CommitUnknown:
    """The error to raise when LMDB failed at a point where the commit may be on the disk or not."""
    return CommitUnknown(
        f"a commit to {path} ended in an error ({error}): whether it took place is not known. "
        "See to the disk, then open the store again"
    )


def _full(error: lmdb.Error, path: str) -> StoreFull:
    if isinstance(error, lmdb.MapFullError):
        return StoreFull(f"the map of {path} is full: nothing was recorded; open it with a larger map_size")
    free = _free_bytes(path)
    room = "" if free is None else f", {free:,} bytes are free"
    return StoreFull(
        f"no room to write to {path}{room}: nothing was recorded; free some space and start again ({error})"
    )


def _free_bytes(path: str) -> int | None:
    try:
        return shutil.disk_usage(os.path.dirname(path) if os.path.isfile(path) else path).free
    except OSError:
        return None
