"""What was recorded after a failure that a retry takes back, and is used again where it fits.

The code may well ask for the same once more, such as the next step of a branch that had nothing to do
with the failure. Then what is recorded of it is used in place of doing it again: for the same command at
the same position, in the order in which it was recorded, and only as long as everything that its branch
did before goes as it is recorded too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final

from continuum.errors import Cancelled
from continuum.journal import MARKS, Entry, Failure, Kind, Position, Value

__all__ = ["Recall", "is_outcome"]

_GROUPS: Final = frozenset({Kind.ALL, Kind.RACE, Kind.MAP})


class Recall:
    """Entries to be used again, for a retry of the command at `failed_at`.

    A fiber that goes another way than its entries tell is said to stray; what else is recorded of it, and
    of its branches, is not used.
    """

    def __init__(self, entries: Sequence[Entry], failed_at: Position) -> None:
        self._left = deque(entry for entry in entries if entry.position != failed_at)
        self._completions = {entry.position: entry for entry in self._left if entry.kind not in MARKS}
        self._strayed: set[Position] = set()  # fibers
        self._seen = 0  # of what the machine has asked for since
        self._apart: Counter[Position] = Counter()  # group -> in how much its branches differ from what is recorded
        for entry in self._completions.values():
            self._count(entry, 1)

    def next(self, requests: Sequence[Any]) -> Entry | None:
        """The next entry that may be used, given all that the machine has asked for; None behind the last."""
        self._compare(requests)
        while self._left:
            entry = self._left.popleft()
            if not self._has_strayed(entry.position):
                return entry
        return None

    def put_back(self, entry: Entry) -> None:
        """Undo the last next."""
        self._left.appendleft(entry)

    def at(self, position: Position, requests: Sequence[Any]) -> Entry | None:
        """What is recorded of the command at this position, if its fiber has not strayed."""
        self._compare(requests)
        return None if self._has_strayed(position) else self._completions.get(position)

    def _compare(self, requests: Sequence[Any]) -> None:
        """Look at what was completed since the last time: has it gone as it is recorded?"""
        for request in requests[self._seen :]:
            if isinstance(request, Entry) and request.kind not in MARKS:
                fits = self._fits(request)
                self._count(request, -1 if fits else 1)
                if not fits:
                    self._strayed.add(request.position[:-1])
        self._seen = len(requests)

    def _fits(self, entry: Entry) -> bool:
        """Whether a completion is as it is recorded; a group's end is if its branches went as they are recorded."""
        recorded = self._completions.get(entry.position)
        if recorded is None or _form(recorded) != _form(entry):
            return False
        return entry.kind not in _GROUPS or not self._apart[entry.position]

    def _count(self, entry: Entry, difference: int) -> None:
        if entry.kind is not Kind.EVENT:  # events may be handled when the branch of the handler has ended
            for length in range(1, len(entry.position) - 1, 2):
                self._apart[entry.position[:length]] += difference

    def _has_strayed(self, position: Position) -> bool:
        """Whether its fiber has, or one that this is a branch of."""
        return any(position[:length] in self._strayed for length in range(0, len(position), 2))


def is_outcome(entry: Entry) -> bool:
    """Whether the entry tells what came from outside, rather than what the run itself made of that."""
    if entry.kind is Kind.ENSURE and isinstance(entry.outcome, Value):
        return False  # it is for the predicate to say
    return not (isinstance(entry.outcome, Failure) and isinstance(entry.outcome.error, Cancelled))


def _form(entry: Entry) -> tuple[Kind, str, type]:
    """In what two completions of one command have to be alike to lead on in the same way."""
    outcome = entry.outcome
    return entry.kind, entry.name, type(outcome.error if isinstance(outcome, Failure) else outcome)
