"""How much of something may be done at a time, or in a time, by all workers together.

What counts and who waits is told in :mod:`continuum.store.limits`.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Final

from continuum.durations import Duration, nanoseconds
from continuum.errors import BadValue

__all__ = ["Limit"]

_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """How much may be under way at a time, and how much may begin in a time, by all workers of a store together.

    At most `concurrency` at a time; at most `rate` begin within any time of the length `per` (seconds, a
    timedelta or text). At least one of `concurrency` and `rate` is given. A limit belongs to the steps, or
    to the workflow, of one name; with `name` several share one.

    Raises BadValue for values that make no sense.

    >>> Limit(concurrency=3, rate=100, per="1m").rate
    100
    """

    concurrency: int | None = None
    _: KW_ONLY
    rate: int | None = None
    per: Duration = 1.0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.concurrency is None and self.rate is None:
            raise BadValue("Limit needs concurrency=, how many at a time, or rate=, how many in a time, or both")
        for what, number in (("concurrency", self.concurrency), ("rate", self.rate)):
            whole = number is None or (isinstance(number, int) and not isinstance(number, bool))
            if not whole or (number is not None and not 1 <= number <= _MOST):
                raise BadValue(f"Limit({what}=) must be a whole number from 1 to {_MOST:,}, not {number!r}")
        if not nanoseconds(self.per, "Limit(per=)"):
            raise BadValue("Limit(per=) must be more than nothing")
        if self.name is not None and (not isinstance(self.name, str) or not self.name):
            raise BadValue(f"Limit(name=) must be text and not empty, not {self.name!r}")
