"""Policy and attempts so far: wait how long, or give up and say why."""

from __future__ import annotations

from contextlib import suppress

from continuum.durations import nanoseconds
from continuum.errors import is_permanent
from continuum.journal import Failure
from continuum.retry import Retry

__all__ = ["given_up", "next_delay"]


def next_delay(policy: Retry, attempts: int, error: BaseException, chance: float) -> int | str:
    """Nanoseconds to wait after the failed attempt number `attempts`, or why there is to be no other.

    `chance`, 0.0 <= x < 1.0, places the delay within the policy's jitter.
    """
    if attempts >= policy.attempts:
        return "it was the last"
    if is_permanent(error):
        return "the error is permanent"
    if (unworthy := _why_unworthy(policy, error)) is not None:
        return unworthy
    delay, longest = nanoseconds(policy.delay, "delay"), nanoseconds(policy.max_delay, "max_delay")
    try:
        grown = delay * (attempts if policy.backoff == "linear" else policy.factor ** (attempts - 1))
    except OverflowError:
        grown = longest
    return round(min(grown, longest) * (1 + policy.jitter * (2 * chance - 1)))


def given_up(name: str, policy: Retry, attempts: int, failure: Failure, why: str) -> Failure:
    """The failure of a step for good, with a note on its error that says after how many attempts, and why."""
    with suppress(Exception):  # an error may refuse to be written on
        failure.error.add_note(f"step {name!r} was given up after attempt {attempts} of {policy.attempts}: {why}")
    return Failure(failure.error)  # the bytes that were made of it know nothing of the note


def _why_unworthy(policy: Retry, error: BaseException) -> str | None:
    try:
        worthy = isinstance(error, policy.on) if isinstance(policy.on, type | tuple) else policy.on(error)
    except Exception as fault:  # what matters is the step's own error
        return f"Retry(on=) itself failed: {fault!r}"
    return None if worthy else "Retry(on=) does not cover the error"
