"""Retry: a machine that goes on from the command that failed.

What was recorded before the failure is replayed like any journal, strictly. All that came since is taken
back, for the failure may have been seen by any branch of the run; what still fits of it is used
again (:mod:`continuum.engine.machine.recall`). Where that alone makes the run fail once more, as it may if
branches go by each other's state, nothing is used again. So a retry never meets what does not fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from continuum.engine.machine.recall import Recall
from continuum.engine.machine.requests import Request, Settle, Started
from continuum.errors import StepUncertain
from continuum.journal import MARKS, Entry, Failure, Kind, Position, Status

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["retry"]


def retry(
    make: Callable[[], Machine], entries: Sequence[Entry], failed_at: Position, now: int
) -> tuple[Machine, Sequence[Entry], Sequence[Request]]:
    """The machine, those of the entries that it has replayed, and what it asks for.

    A child that was cancelled with its parent, and is to go on with that, has failed at ``()``.
    `make` makes a machine, and is called twice where the first one shows that it takes another.
    """
    cut = _cut(entries, failed_at)
    before = [entry for entry in entries[:cut] if entry.position != failed_at or entry.kind not in MARKS]
    after = entries[cut:]
    machine = make()
    machine.begin_anew(failed_at)
    requests = machine.feed(Started(before, Recall(after, failed_at)), now)
    if _fails_elsewhere(requests, failed_at):
        other = make()
        other.begin_anew(failed_at)
        afresh = other.feed(Started(before), now)
        if not _fails_elsewhere(afresh, failed_at):
            machine.discard()
            return other, before, afresh
        other.discard()
    return machine, before, requests


def _cut(entries: Sequence[Entry], failed_at: Position) -> int:
    """The index of the entry with which the failure began.

    Where the code itself was at fault it may have been so before, in another branch. That has been mended
    with it, so the run goes on from the first time.
    """
    ends = (n for n, entry in enumerate(entries) if entry.position == failed_at and _is_end(entry))
    cut = next(ends, len(entries))
    if cut < len(entries) and entries[cut].kind is Kind.RAISE:
        return next(n for n, entry in enumerate(entries) if entry.kind is Kind.RAISE)
    return cut


def _is_end(entry: Entry) -> bool:
    """Whether it ends its command; what earlier histories had published stands at ``()``, and ends nothing."""
    published = entry.kind is Kind.PUBLISH and not isinstance(entry.outcome, Failure)
    return entry.kind not in MARKS and not published


def _fails_elsewhere(requests: Sequence[Request], failed_at: Position) -> bool:
    """Whether the run fails at once, not in the same way as before, and for no step that must not be repeated."""
    ends = (request for request in requests if isinstance(request, Settle) and request.status is Status.FAILED)
    return any(end.failed_at != failed_at for end in ends) and not any(map(_is_uncertain, requests))


def _is_uncertain(request: Request) -> bool:
    outcome = request.outcome if isinstance(request, Entry) else None
    return isinstance(outcome, Failure) and isinstance(outcome.error, StepUncertain)
