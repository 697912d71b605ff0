"""Lengths of time as people write them, in nanoseconds; nothing here reads a clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from continuum.errors import BadValue

__all__ = ["NANOSECONDS", "Duration", "datetime_of", "nanoseconds", "timestamp_of"]

Duration: TypeAlias = float | timedelta | str
"""Seconds as a number, a timedelta, or text such as ``"1h30m"``, ``"2d8h"`` or ``"10s"``."""

NANOSECONDS: Final = 1_000_000_000
_LONGEST: Final = 2**63 - 1  # 292 years
_UNITS: Final = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_TEXT: Final = re.compile(r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def nanoseconds(duration: Duration, what: str) -> int:
    """The duration in nanoseconds. Raises BadValue, which names `what`, unless it is zero or more."""
    match duration:
        case str():
            length = _from_text(duration, what)
        case timedelta():
            length = duration // timedelta(microseconds=1) * 1_000
        case bool():
            raise BadValue(f"{what} must be a length of time, not {duration!r}")
        case int() | float():
            if not -_LONGEST <= duration <= _LONGEST:  # nor is it a number at all, perhaps
                raise BadValue(f"{what} must be finite, not {duration!r}")
            length = round(duration * NANOSECONDS)
        case _:
            raise BadValue(
                f"{what} must be seconds, a timedelta or text such as '1h30m', not {type(duration).__name__}"
            )
    if not 0 <= length <= _LONGEST:
        raise BadValue(f"{what} must not be negative or over 292 years: {duration!r}")
    return length


def _from_text(text: str, what: str) -> int:
    found = _TEXT.fullmatch(text)
    if not text or found is None:
        raise BadValue(
            f"{what}: {text!r} is no duration; write numbers with units, largest first, as in '1h30m' or '10s'"
        )
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    seconds = sum(float(number) * unit for number, unit in parts if number)
    return round(min(seconds, _LONGEST) * NANOSECONDS)


def timestamp_of(moment: datetime, what: str) -> int:
    """Nanoseconds since the epoch, or 0 for what was before. Raises BadValue without a time zone."""
    if not isinstance(moment, datetime) or moment.utcoffset() is None:
        raise BadValue(f"{what} must be a datetime with a time zone, not {moment!r}")
    timestamp = (moment - _EPOCH) // timedelta(microseconds=1) * 1_000
    if timestamp > _LONGEST:
        raise BadValue(f"{what} must not be later than the year 2262: {moment!r}")
    return max(0, timestamp)


def datetime_of(timestamp: int) -> datetime:
    """The aware datetime, in UTC, of nanoseconds since the epoch."""
    return _EPOCH + timedelta(microseconds=timestamp // 1_000)
