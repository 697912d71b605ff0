"""What a key may be, and which stretch of keys a scan covers: the rules that all backends share.

It knows nothing of what keys mean; that is :mod:`continuum.store.keys`.
"""

from __future__ import annotations

from typing import Final

from continuum.errors import BadValue

__all__ = ["LONGEST_KEY", "STAMP", "bounds", "check_key"]

LONGEST_KEY: Final = 511

STAMP: Final = b"\x00continuum"
"""The key under which a backend keeps what tells its files from another program's."""


def check_key(key: bytes) -> None:
    """Raise BadValue unless `key` is one that a batch or a view may use."""
    if not 0 < len(key) <= LONGEST_KEY:
        raise BadValue(f"a key has 1 to {LONGEST_KEY} bytes, this one has {len(key)}: {key[:40]!r}")
    if key == STAMP:
        raise BadValue(f"the key {STAMP!r} belongs to the store itself")


def bounds(prefix: bytes, start: bytes | None, stop: bytes | None) -> tuple[bytes, bytes | None]:
    """The first key that a scan may give, and the first one past it (None: there is no end)."""
    low = prefix if start is None else max(prefix, start)
    high = _past(prefix)
    if stop is not None and (high is None or stop < high):
        high = stop
    return low, high


def _past(prefix: bytes) -> bytes | None:
    """The least key that is greater than every key beginning with `prefix`."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else None
