"""When a failed step is tried again, as workflows say it; :mod:`continuum.engine.machine.retry` reckons it out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from math import inf
from typing import ClassVar, Literal

from continuum.durations import Duration, nanoseconds
from continuum.errors import BadValue

__all__ = ["Retry"]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and when a failed step is tried again.

    `attempts` counts all tries, the first included. Between them is a delay (seconds, a timedelta or
    text): with ``backoff="exponential"`` the n-th is ``delay * factor ** (n - 1)``, with ``"linear"`` it
    is ``delay * n``, never over `max_delay`; `jitter` is the part of it by which it varies at random, up
    or down. `max_elapsed` is a limit for all attempts together: none begins later than that after the
    first one began. `on` chooses the errors that are worth another try: a type, a tuple of types, or a
    predicate; what is permanent (see :func:`continuum.permanent`) never is. For a limit on each attempt give the
    step a `timeout`.

    Raises BadValue for values that make no sense.

    >>> Retry(attempts=5, delay=0.5, max_elapsed="10m", on=ConnectionError).attempts
    5
    """

    attempts: int = 3
    _: KW_ONLY
    delay: Duration = 1.0
    factor: float = 2.0
    max_delay: Duration = 60.0
    max_elapsed: Duration | None = None
    jitter: float = 0.1
    backoff: Literal["exponential", "linear"] = "exponential"
    on: type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool] = Exception

    none: ClassVar[Retry]
    """One attempt: for a step whose function has another policy attached."""

    def __post_init__(self) -> None:
        if not isinstance(self.attempts, int) or isinstance(self.attempts, bool) or self.attempts < 1:
            raise BadValue(f"Retry(attempts=) must be a whole number of 1 or more, not {self.attempts!r}")
        nanoseconds(self.delay, "Retry(delay=)")
        nanoseconds(self.max_delay, "Retry(max_delay=)")
        if self.max_elapsed is not None and not nanoseconds(self.max_elapsed, "Retry(max_elapsed=)"):
            raise BadValue("Retry(max_elapsed=) must be more than nothing")
        if not isinstance(self.factor, int | float) or not 1 <= self.factor < inf:
            raise BadValue(f"Retry(factor=) must be a number of 1 or more, not {self.factor!r}")
        if not isinstance(self.jitter, int | float) or not 0 <= self.jitter <= 1:
            raise BadValue(f"Retry(jitter=) must be a number from 0 to 1, not {self.jitter!r}")
        if self.backoff not in ("exponential", "linear"):
            raise BadValue(f"Retry(backoff=) must be 'exponential' or 'linear', not {self.backoff!r}")
        if not (_are_error_types(self.on) if isinstance(self.on, type | tuple) else callable(self.on)):
            raise BadValue(f"Retry(on=) must be an exception type, a tuple of them or a predicate: {self.on!r}")


def _are_error_types(on: object) -> bool:
    types = on if isinstance(on, tuple) else (on,)
    return all(isinstance(each, type) and issubclass(each, BaseException) for each in types)


Retry.none = Retry(attempts=1)
