"""Policy and attempts so far: wait how long, or give up."""

from __future__ import annotations

from continuum.commands import Retry
from continuum.durations import NANOSECONDS

__all__ = ["next_delay"]


def next_delay(policy: Retry, attempts: int, error: BaseException, chance: float) -> int | None:
    """Nanoseconds to wait after the failed attempt number `attempts`, or None to give up.

    `chance`, 0.0 <= x < 1.0, places the delay within the policy's jitter.
    """
    if attempts >= policy.attempts or not _worth_another_try(policy, error):
        return None
    if policy.backoff == "linear":
        delay = policy.delay * attempts
    else:
        try:
            delay = policy.delay * policy.factor ** (attempts - 1)
        except OverflowError:
            delay = policy.max_delay
    spread = 1 + policy.jitter * (2 * chance - 1)
    return round(min(delay, policy.max_delay) * spread * NANOSECONDS)


def _worth_another_try(policy: Retry, error: BaseException) -> bool:
    if isinstance(policy.on, type | tuple):
        return isinstance(error, policy.on)
    return bool(policy.on(error))
