"""The waist: every command meets the journal here.

Recorded: the command is compared with its entry and answered from it. Past the end: the entry is
made and asked to be appended. Nothing goes round this, so what a replay sees is what was seen.

Two kinds of commands meet the journal at two moments, the same ones live and on replay. What can be
answered at once (the time, a random number, the end of a group) is recorded the moment it is
reached: then the next entry of the journal is its own, or the journal is at its end, or code and
journal disagree. What has to be waited for is recorded when it completes: its entry is taken from
the journal while every fiber waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from continuum.engine.machine.recall import Recall
from continuum.engine.machine.requests import Request
from continuum.errors import ReplayMismatch
from continuum.journal import Entry, Kind, Outcome, Position, position_text

__all__ = ["Journal", "Whereabouts", "described"]


class Whereabouts(Protocol):
    """What can tell where in the user's code it is."""

    def where(self) -> str:
        """Such as ``order.py:12 in order``."""


class Journal:
    """The journal of one run as its machine sees it: what is left to replay, what is to be appended."""

    __slots__ = ("_next", "_present", "_recorded", "_run_id", "_version", "_workflow", "live", "now",
                 "recall", "requests")  # fmt: skip

    def __init__(self, run_id: str, workflow: str, version: str) -> None:
        self._run_id = run_id
        self._workflow = workflow
        self._version = version
        self._recorded: Sequence[Entry] = ()
        self._next = 0  # of what is recorded, to be replayed
        self.live = True
        """Whether everything recorded has been replayed."""
        self.recall: Recall | None = None
        """What is used again behind that, in a retry."""
        self.requests: list[Request] = []
        self.now = 0
        self._present = 0  # while `now` is the time at which something that is used again was recorded

    def load(self, entries: Sequence[Entry], recall: Recall | None = None) -> None:
        """Set what is to be replayed, and what is to be used again after that."""
        self._replay(entries)
        self.recall, self._present = recall, self.now

    def _replay(self, entries: Sequence[Entry]) -> None:
        self._recorded, self._next, self.live = entries, 0, not entries

    def meet(
        self,
        position: Position,
        kind: Kind,
        name: str,
        outcome: Outcome,
        whereabouts: Whereabouts,
        ref: int = 0,
    ) -> Entry:
        """The recorded entry of a command that is answered at once, else a new one of `outcome`."""
        if self.live:
            return self.append(Entry(position, kind, name, outcome, self.now, 0, ref))
        entry = self._recorded[self._next]
        if entry.position != position or entry.kind != kind or entry.name != name:
            raise self.mismatch(entry, position, described(kind, name), whereabouts.where())
        return self.take()

    def peek(self) -> Entry | None:
        """The next entry to replay, if there is one."""
        return None if self.live else self._recorded[self._next]

    def take(self) -> Entry:
        """The next entry to replay, which there must be."""
        entry = self._recorded[self._next]
        self._next += 1
        if self._next == len(self._recorded):
            self._replay(())
        return entry

    def put_back(self, entry: Entry) -> None:
        """Undo the last take."""
        if self.live:
            self._replay((entry,))
        else:
            self._next -= 1

    def recalled(self) -> Entry | None:
        """The next entry that may be used again; None behind the last of them, and then it is over."""
        assert self.recall is not None
        entry = self.recall.next(self.requests)
        if entry is None:
            self.recall, self.now = None, self._present
        else:
            self.now = entry.at
        return entry

    def known(self, position: Position) -> Entry | None:
        """What is recorded of the command that is reached now; the next entry, whatever it is, on replay."""
        if not self.live:
            return self._recorded[self._next]
        return None if self.recall is None else self.recall.at(position, self.requests)

    def append(self, entry: Entry) -> Entry:
        """Record something new. Only past the end of what was recorded."""
        assert self.live, "nothing is appended before the replay is over"
        self.requests.append(entry)
        return entry

    def mismatch(self, entry: Entry, position: Position, attempted: str, where: str) -> ReplayMismatch:
        """The error that says how the code and this recorded entry disagree."""
        recorded_at, attempted_at = position_text(entry.position), position_text(position)
        recorded = described(entry.kind, entry.name)
        apart = recorded_at != attempted_at
        run = f"run {self._run_id!r} (workflow {self._workflow!r}, version {self._version!r})"
        lines = [
            f"the code of {run} does not fit its journal at position {recorded_at or '(start)'}:",
            f"  recorded:  {recorded}" + (f"  at {recorded_at}" if apart and recorded_at else ""),
            f"  attempted: {attempted}" + (f"  at {attempted_at}" if apart and attempted_at else ""),
            f"  in the code: {where}",
            "Nothing is lost. Put the code back, or guard the change with `if (yield Patch('name')):`, or give the "
            "new code another name= and keep the old workflow registered until its runs are done; then "
            "start a worker again.",
        ]
        return ReplayMismatch("\n".join(lines), position=recorded_at, recorded=recorded, attempted=attempted)


def described(kind: Kind, name: str) -> str:
    """A command as messages show it, such as ``save 'charge'``; a mark as what it belongs to."""
    kind_text = _MARKED.get(kind, kind)
    return f"{kind_text} {name!r}" if name else str(kind_text)


_MARKED: Final[dict[Kind, str]] = {Kind.ATTEMPT: "save", Kind.BEGUN: "save", Kind.ARMED: "timer"}
