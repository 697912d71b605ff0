"""Which entries of a journal a retry takes back: the failure, and what followed from it.

A position follows from another if it comes later in the same fiber, or lies in a branch of what comes
later. What branches beside the failed one recorded is kept, unless it records that they were cancelled
because of the failure: by a group around it that failed, or when the run was stopped after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from continuum.errors import Cancelled
from continuum.journal import MARKS, Entry, Failure, Kind, Position

__all__ = ["rewind"]


def rewind(entries: Sequence[Entry], failed_at: Position) -> set[int]:
    """The indices of the entries to take back so that the command at `failed_at` is carried out again."""
    dropped: set[int] = set()
    first_dropped: dict[Position, int] = {}  # fiber -> the first of its commands that is taken back
    failed_groups = _failed_groups(entries, failed_at)
    started = stopped = False
    for index, entry in enumerate(entries):
        mine = entry.position == failed_at  # its marks, too: attempts are counted anew
        started = started or (mine and entry.kind not in MARKS)
        stopped = stopped or (started and entry.kind is Kind.CANCEL)
        struck = _was_cancelled(entry) and (stopped or _lies_in(entry.position, failed_groups))
        if mine or (started and (struck or _follows(entry.position, first_dropped))):
            dropped.add(index)
            _note(entry.position, first_dropped)
    return dropped


def _failed_groups(entries: Sequence[Entry], failed_at: Position) -> list[Position]:
    """The positions of the groups around the failed command that ended in failure."""
    around = {failed_at[:length] for length in range(1, len(failed_at), 2)}
    return [entry.position for entry in entries if entry.position in around and isinstance(entry.outcome, Failure)]


def _was_cancelled(entry: Entry) -> bool:
    return isinstance(entry.outcome, Failure) and isinstance(entry.outcome.error, Cancelled)


def _lies_in(position: Position, groups: Sequence[Position]) -> bool:
    return any(position[: len(group)] == group for group in groups)


def _note(position: Position, first_dropped: dict[Position, int]) -> None:
    """What waits for the command is taken back with it: all the way up, nothing later stays."""
    for length in range(len(position), 0, -2):
        fiber, number = position[: length - 1], position[length - 1]
        if number < first_dropped.get(fiber, number + 1):
            first_dropped[fiber] = number


def _follows(position: Position, first_dropped: dict[Position, int]) -> bool:
    """Whether it comes after something taken back, in its own fiber or in one that it is a branch of.

    Being a branch of a command that is taken back as it waits is no reason: only the command itself is.
    """
    if not position:  # the run as a whole was stopped
        return True
    if len(position) % 2 == 0:  # an event that was handled goes with its handler
        position = position[:-1]
    last = position[-1] >= first_dropped.get(position[:-1], position[-1] + 1)
    above = range(len(position) - 2, 0, -2)
    return last or any(position[n - 1] > first_dropped.get(position[: n - 1], position[n - 1]) for n in above)
