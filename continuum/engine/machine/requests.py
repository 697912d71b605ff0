"""What a machine is told, and what it asks of its host.

Events go in, one at a time; requests come out, in order. The host's one law, *durable before
visible*: a request is carried out after every entry before it is committed. Nothing here has
behaviour. In a request, `data` is the pickled form of what it hands over, where the machine was told how
to make it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from continuum.commands import Save
from continuum.engine.machine.recall import Recall
from continuum.errors import ReplayMismatch
from continuum.journal import Entry, Outcome, Position, Status, Value, record
from continuum.workflow import Invocation

__all__ = [
    "CancelAsked",
    "CancelChild",
    "CancelStep",
    "ChildDone",
    "ContinueRun",
    "DropHistory",
    "EmitLog",
    "Event",
    "EventArrived",
    "FreeSlot",
    "HistoryDropped",
    "LookUp",
    "Mismatch",
    "PublishState",
    "Request",
    "RunStep",
    "SendDone",
    "SendEvent",
    "Settle",
    "SlotGiven",
    "StartChild",
    "Started",
    "StepDone",
    "StepKnown",
    "StepWanted",
    "TakeSlot",
    "TimerFired",
    "WakeAt",
]

# Events


@record
class Started:
    """The run is taken up; `journal` is what was recorded of it so far, in order, `events` are in its inbox.

    In a retry `journal` is what was recorded before the failure, and `recall` what came after it. It is told
    of its events later: those that it took since come first.
    """

    journal: Sequence[Entry]
    recall: Recall | None = None
    events: Sequence[EventArrived] = ()


@record
class StepDone:
    """An attempt of the step at `position` ended."""

    position: Position
    outcome: Outcome


@record
class StepWanted:
    """Nobody has made the result looked up with LookUp: the step is to be performed."""

    position: Position


@record
class SlotGiven:
    """The attempt for which TakeSlot asked may begin."""

    position: Position


@record
class StepKnown:
    """The step at `position` is not performed: what was looked up for it is this."""

    position: Position
    outcome: Outcome


@record
class TimerFired:
    """The time asked for with WakeAt has come; at ``()`` it is the run's deadline."""

    position: Position


@record
class EventArrived:
    """Event number `ref` of the run's inbox."""

    ref: int
    name: str
    payload: Value


@record
class ChildDone:
    """The child called, or started, at `position` gave this; for a detached child it is its id.

    `ref` is the number of the message that told it, if one did.
    """

    position: Position
    outcome: Outcome
    ref: int = 0


@record
class SendDone:
    """The event sent at `position` was delivered, or could not be."""

    position: Position
    outcome: Outcome


@record
class HistoryDropped:
    """What was recorded before the Compact at `position` is gone; or it is not, and why."""

    position: Position
    outcome: Outcome


@record
class CancelAsked:
    """Someone wants the run to end, by message `ref`. Asked a second time, it ends at once."""

    reason: str
    ref: int = 0


Event: TypeAlias = (
    Started
    | StepDone
    | StepWanted
    | StepKnown
    | SlotGiven
    | TimerFired
    | EventArrived
    | ChildDone
    | SendDone
    | HistoryDropped
    | CancelAsked
)

# Requests: an Entry is to be added to the run's journal, and the following


@record
class RunStep:
    """Perform the step; `attempt` counts from 1."""

    position: Position
    command: Save[Any]
    attempt: int


@record
class LookUp:
    """See whether the result of a step is there that runs share, before any attempt at it is made here.

    The answer is StepKnown or StepWanted, after a wait if another run is at work on it. Who was told that it is
    wanted may hold what others wait for, until the entry of the step is recorded or the run has ended.
    """

    position: Position
    command: Save[Any]


@record
class TakeSlot:
    """Have SlotGiven told when the limit of the step lets another attempt at it begin.

    A slot that was given is taken until an entry for the step is recorded, be it only the mark of a failed attempt.
    """

    position: Position
    command: Save[Any]


@record
class FreeSlot:
    """A slot that the step may still have from a worker that is gone is not needed: no attempt will be made."""

    position: Position
    command: Save[Any]


@record
class CancelStep:
    """Nobody waits for the step any more: stop it if that can be done."""

    position: Position


@record
class WakeAt:
    """Feed TimerFired at `due`, in nanoseconds since the epoch, or soon after."""

    position: Position
    due: int


@record
class StartChild:
    """Start the Invocation as run `run_id`, and tell its result if it is `awaited`, else its id.

    `queue` and `timeout` (nanoseconds from now) are as chosen by the command, or None.
    """

    position: Position
    run_id: str
    invocation: Invocation[Any]
    awaited: bool
    queue: str | None = None
    timeout: int | None = None
    data: bytes | None = None  # of the pair of arguments, those by position and those by name


@record
class CancelChild:
    """The run no longer waits for the child that it called at `position`: have it end."""

    position: Position
    run_id: str
    invocation: Invocation[Any]
    reason: str
    queue: str | None = None


@record
class SendEvent:
    """Deliver an event to another run, exactly once."""

    position: Position
    run_id: str
    name: str
    payload: Any
    data: bytes | None = None


@record
class EmitLog:
    """Hand a log entry to the logger."""

    entry: Entry


@record
class PublishState:
    """What the run shows to the world is now this."""

    state: Mapping[str, Any]
    data: bytes | None = None


@record
class DropHistory:
    """Keep a continuation of the run as it is now in place of its history; the answer is HistoryDropped."""

    position: Position


@record
class ContinueRun:
    """The run goes on as the Invocation, with a journal that begins with these entries.

    This machine is done then. But it may be told before that the run is to end: then that counts.
    """

    invocation: Invocation[Any]
    opening: Sequence[Entry]
    data: bytes | None = None  # as in StartChild


@record
class Settle:
    """The run has ended. `failed_at` is the position of the command whose error ended it."""

    status: Status
    outcome: Outcome
    failed_at: Position | None = None


@record
class Mismatch:
    """The code does not fit the journal; nothing more will come from this machine."""

    error: ReplayMismatch


Request: TypeAlias = (
    Entry
    | RunStep
    | LookUp
    | TakeSlot
    | FreeSlot
    | CancelStep
    | WakeAt
    | StartChild
    | CancelChild
    | SendEvent
    | EmitLog
    | PublishState
    | DropHistory
    | ContinueRun
    | Settle
    | Mismatch
)
