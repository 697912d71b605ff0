"""One look into the store, for a worker: what it may do, and what it finds.

Who looks: :mod:`continuum.store.worklist`.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from continuum.journal import Entry, RunId, Status
from continuum.store.calls import InHand
from continuum.store.carried import Carried
from continuum.store.protocol import Batch
from continuum.store.records import Continuation, Message, RunEnd, RunRecord, RunState
from continuum.store.tenure import Roll, Tenure

__all__ = ["Freed", "Look", "Nudge", "Queued", "Taken"]

T = TypeVar("T")


@dataclass(slots=True)
class Taken:
    """A run that was claimed, with all it takes to go on; or `error`, where something cannot be loaded.

    It is `grave` where the run is to blame if its worker goes down once more. `carried` is the code that came
    with it, where the worker does not have the workflow itself. Where the run is `resumed` from its `continuation`,
    `journal` holds what was recorded since; where it could have been and is not, `unfit` says why.
    """

    record: RunRecord
    state: RunState
    claim: bytes
    grave: bool = False
    journal: Sequence[tuple[int, Entry]] = ()
    messages: Sequence[tuple[int, Message]] = ()
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    carried: Carried | None = None
    continuation: Continuation | None = None
    resumed: Any = None
    unfit: str = ""
    error: Exception | None = None

    def knows(self, number: int) -> bool:
        """Whether that message is among those that it was claimed with."""
        return any(number == known for known, _ in self.messages)


@dataclass(slots=True)
class Fresh:
    """A run that was started in the hands of this worker, which has not begun it yet."""

    record: RunRecord
    claim: bytes

    @property
    def state(self) -> RunState:
        """As which it was started."""
        return RunState(Status.RUNNING, self.record.created)

    def knows(self, number: int) -> bool:
        """Everything that came for it is news."""
        return False


@dataclass(slots=True)
class Nudge:
    """Something came for a run that is in memory; `ready` are the keys that said so."""

    run_id: RunId
    ready: list[bytes]
    messages: list[tuple[int, Message]]


@dataclass(slots=True)
class Queued:
    """A run that may not begin yet was put in the line of a limit; when to look at the line again, and at the run."""

    digest: bytes
    again: int | None
    wake: int | None


@dataclass(slots=True)
class Freed:
    """A run whose worker is gone may be claimed from now on."""


@dataclass(slots=True)
class Look:
    """One look into the store, for a worker: what it may do, and what it has found.

    At most `room` runs are claimed; where that leaves some, it is seen to those in `hand` that something came for,
    which may lie behind what was left. With `orphans` those are set free whose worker is gone, and `blocked` are
    runs that are to be tried again (None: all that are blocked). Of those whose worker has died it takes
    `risks`, which are few, and only one that is grave: when the next worker dies no other is to be blamed for it.
    """

    tenure: Tenure
    roll: Roll
    now: int
    room: int
    orphans: bool = False
    blocked: set[RunId] | None = field(default_factory=set)
    risks: int = 1
    grave_risks: int = 1
    hand: InHand | None = None
    found: list[tuple[Batch | None, Taken | Nudge | Queued | Freed | Tenure | None]] = field(default_factory=list)
    more: bool = False  # there was more than it was to take
    shied: bool = False  # there were some that it did not take for the risk
    lost: bool = False  # nothing was looked at: others have ended the worker's tenure
    next_timer: int | None = None
    ends: list[tuple[RunId, RunEnd]] = field(default_factory=list)  # of runs that it asked for

    def begun(self) -> Look:
        """The same look, to be begun: it has found nothing yet."""
        return replace(self, blocked=None if self.blocked is None else set(self.blocked), found=[], ends=[])

    @property
    def claims(self) -> bool:
        """Whether it wants to claim a run."""
        return any(isinstance(answer, Taken) for _, answer in self.found)

    @property
    def crew(self) -> int:
        """How many workers there are."""
        return len({*self.roll.workers, self.tenure.token})

    def dares(self, crashes: int, *, grave: bool) -> bool:
        """Whether it may take another run whose workers have died so many times in a row."""
        if crashes and (self.risks <= 0 or (grave and self.grave_risks <= 0)):
            self.shied = True
            return False
        self.risks -= crashes > 0
        self.grave_risks -= grave
        return True

    def share_of(self, runs: Sequence[T]) -> list[T]:
        """The runs in the order in which this worker is to try them, so that workers do not fight for the same."""
        tokens = sorted({*self.roll.workers, self.tenure.token})
        rank, step = tokens.index(self.tenure.token), len(tokens)
        if step == 1:
            return list(runs)
        first = runs[rank::step]
        return [*first, *(run for at, run in enumerate(runs) if at % step != rank)]

    def most_of(self, runs: Sized) -> int:
        """How many of them it may take now; others are to have theirs."""
        return min(self.room, -(-len(runs) // self.crew))
