"""What a workflow may yield: frozen values, checked when they are made, without behaviour.

What a command means is told here; how it is carried out is the business of
:mod:`continuum.engine.machine`. Those about steps are in :mod:`continuum.steps`, those about branches in
:mod:`continuum.branches`; all can be had from here. Every command works by ``x = yield command`` and by
``x = yield from command``; the second form is typed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn, TypeVar
from uuid import UUID

from continuum.branches import All, Map, Race
from continuum.checks import (
    check_callback,
    check_id,
    check_invocation,
    check_positive,
    check_queue,
    check_text,
    check_yielded,
)
from continuum.command import Command, fill, told_unyielded
from continuum.durations import Duration, nanoseconds, timestamp_of
from continuum.errors import BadCommand, BadValue
from continuum.place import caller
from continuum.retry import Retry
from continuum.steps import Save, StepOptions, step
from continuum.workflow import Invocation

__all__ = [
    "All",
    "Call",
    "Command",
    "Compact",
    "ContinueUsing",
    "Count",
    "Ensure",
    "Handle",
    "Log",
    "Map",
    "Now",
    "Patch",
    "Publish",
    "Race",
    "Random",
    "Receive",
    "Retry",
    "Revert",
    "Save",
    "Send",
    "Sleep",
    "Start",
    "StepOptions",
    "Uuid4",
    "step",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


# Waiting


@dataclass(frozen=True, slots=True, init=False)
class Sleep(Command[None]):
    """A durable timer: for a duration (seconds, timedelta or text), or `until` an aware datetime.

    The due time is recorded when the timer starts, so a restart neither shortens nor prolongs it.
    `name` is what the history shows. Raises BadValue unless exactly one of the two is given and makes sense.

    >>> Sleep("1h30m") == Sleep(5400)
    True
    """

    duration: int | None
    until: int | None
    name: str

    def __init__(
        self, duration: Duration | None = None, *, until: datetime | None = None, name: str | None = None
    ) -> None:
        if (duration is None) == (until is None):
            raise BadValue("Sleep takes either a duration or until=, one of them")
        fill(self, "duration", None if duration is None else nanoseconds(duration, "Sleep"))
        fill(self, "until", None if until is None else timestamp_of(until, "Sleep(until=)"))
        fill(self, "name", "" if name is None else check_text(name, "the name of a timer"))


@dataclass(frozen=True, slots=True, init=False)
class Receive(Command[Any]):
    """Wait for the next event of that name, first in, first out; events sent before are kept.

    With `timeout` it gives back `default` when none comes in time, or raises :exc:`ReceiveTimeout`
    where there is no default.

    >>> Receive("approved", timeout="2d", default=None).name
    'approved'
    """

    name: str
    timeout: int | None
    default: Any

    def __init__(self, name: str, timeout: Duration | None = None, default: Any = MISSING) -> None:
        fill(self, "name", check_text(name, "the name of an event"))
        fill(self, "timeout", None if timeout is None else nanoseconds(timeout, "Receive(timeout=)"))
        fill(self, "default", default)


@dataclass(frozen=True, slots=True, init=False)
class Handle(Command[None]):
    """Call ``callback(payload)`` for each event of that name, in order of arrival.

    What has come already is handled before the workflow goes on, the rest whenever a command is reached.
    Callbacks change the workflow's own state and do no work of their own: they run again on replay.
    """

    name: str
    callback: Callable[[Any], object]

    def __init__(self, name: str, callback: Callable[[Any], object]) -> None:
        check_callback(callback, "the callback of Handle")
        fill(self, "name", check_text(name, "the name of an event"))
        fill(self, "callback", callback)


@dataclass(frozen=True, slots=True, init=False)
class Ensure(Command[bool]):
    """Wait until ``predicate()`` holds; it is looked at again after each handled event.

    Raises :exc:`EnsureTimeout` when `timeout` passes first.
    """

    predicate: Callable[[], object]
    timeout: int | None

    def __init__(self, predicate: Callable[[], object], timeout: Duration | None = None) -> None:
        check_callback(predicate, "the predicate of Ensure")
        fill(self, "predicate", predicate)
        fill(self, "timeout", None if timeout is None else nanoseconds(timeout, "Ensure(timeout=)"))


# What replay must see again


@dataclass(frozen=True, slots=True)
class Now(Command[datetime]):
    """The time at which it is reached first, as an aware datetime in UTC."""


@dataclass(frozen=True, slots=True)
class Random(Command[float]):
    """A random number, 0.0 <= x < 1.0."""


@dataclass(frozen=True, slots=True)
class Uuid4(Command[UUID]):
    """A random UUID."""


@dataclass(frozen=True, slots=True, init=False)
class Log(Command[None]):
    """Emit a message to the logger ``continuum.workflow``, with `fields` beside it, once: not on replay.

    It is recorded first; ``continuum logs`` shows what was, also if the worker died before it was emitted.
    """

    message: str
    fields: Mapping[str, Any]

    def __init__(self, message: str, /, **fields: Any) -> None:
        check_yielded(fields.values(), "a field of Log")
        fill(self, "message", check_text(message, "the message of Log", empty=True))
        fill(self, "fields", fields)


@dataclass(frozen=True, slots=True)
class Count:
    """In a :class:`Publish`: not a value but what is to be added to the one that is there, which begins at 0.

    Raises BadValue unless `amount` is an int or a float.

    >>> Publish(done=Count(), bytes=Count(4_096))
    Publish(state={'done': Count(amount=1), 'bytes': Count(amount=4096)})
    """

    amount: float = 1

    def __post_init__(self) -> None:
        if not isinstance(self.amount, int | float):
            raise BadValue(f"Count takes a number, not {self.amount!r}")


@dataclass(frozen=True, slots=True, init=False)
class Publish(Command[None]):
    """Set values that anyone can read with ``run.state()``; names not mentioned keep theirs.

    A :class:`Count` is added to what is there. Raises BadValue at the yield where that is no number.
    """

    state: Mapping[str, Any]

    def __init__(self, **state: Any) -> None:
        if not state:
            raise BadValue("Publish needs at least one name, such as Publish(progress=0.5)")
        check_yielded(state.values(), "a value of Publish")
        fill(self, "state", state)


@dataclass(frozen=True, slots=True, init=False)
class Patch(Command[bool]):
    """True for runs that reach it first on new code, False for runs recorded without it."""

    name: str

    def __init__(self, name: str) -> None:
        fill(self, "name", check_text(name, "the name of a patch"))

    def __bool__(self) -> NoReturn:
        # It is there to be tested, and without its yield it would always hold.
        raise BadCommand(f"{caller()} tests {told_unyielded(self)}")


# Other runs


@dataclass(frozen=True, slots=True, init=False)
class Call(Command[T_co]):
    """Run an Invocation as a child run and wait for its result; its failure is raised as RunFailed.

    The child's id is made from the parent's and the position, or is `id`. It waits in `queue` (default:
    its workflow's, else the parent's), and has `timeout` from its start to its end (seconds, a timedelta
    or text; default: its workflow's); one that is late raises :exc:`RunTimedOut`. Raises BadValue, InvalidId.
    """

    invocation: Invocation[Any]
    id: str | None
    queue: str | None
    timeout: int | None

    def __init__(
        self: Call[T],
        invocation: Invocation[T],
        id: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        fill(self, "invocation", check_invocation(invocation, "Call"))
        fill(self, "id", None if id is None else check_id(id))
        fill(self, "queue", None if queue is None else check_queue(queue))
        fill(self, "timeout", None if timeout is None else check_positive(timeout, "Call(timeout=)"))


@dataclass(frozen=True, slots=True, init=False)
class Start(Command[str]):
    """Start an Invocation as a run of its own and give back its id; nobody waits for it.

    `id`, `queue` and `timeout` are as in :class:`Call`.
    """

    invocation: Invocation[Any]
    id: str | None
    queue: str | None
    timeout: int | None

    def __init__(
        self,
        invocation: Invocation[Any],
        id: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        fill(self, "invocation", check_invocation(invocation, "Start"))
        fill(self, "id", None if id is None else check_id(id))
        fill(self, "queue", None if queue is None else check_queue(queue))
        fill(self, "timeout", None if timeout is None else check_positive(timeout, "Start(timeout=)"))


@dataclass(frozen=True, slots=True, init=False)
class Send(Command[None]):
    """Send an event to another run, exactly once. Raises RunNotFound or RunFinished at the yield."""

    run_id: str
    name: str
    payload: Any

    def __init__(self, run_id: str, name: str, payload: Any = None) -> None:
        check_yielded([payload], "the payload of Send")
        fill(self, "run_id", check_id(run_id))
        fill(self, "name", check_text(name, "the name of an event"))
        fill(self, "payload", payload)


# Ends


@dataclass(frozen=True, slots=True, init=False)
class Revert(Command[Any]):
    """Run the compensations of the saved steps, last first, then end the run as reverted.

    Before that it raises Cancelled where it is yielded and in all branches, which may clean up.
    """

    reason: str

    def __init__(self, reason: str = "") -> None:
        fill(self, "reason", check_text(reason, "the reason of Revert", empty=True))


@dataclass(frozen=True, slots=True, init=False)
class ContinueUsing(Command[Any]):
    """End the run's history here and go on as that workflow, under the same id: for what runs for ever.

    Code after it is not run. The new workflow begins with an empty journal; what it needs of the old
    one, it is given as arguments. Events that were not received wait for it, and what was published
    stays, as do queue, priority and deadline. Handlers, patches and what could still be undone end with
    the old history. Who waits for the run goes on waiting for its id.

    In a branch :exc:`BadCommand` is raised: only the workflow itself can go on as another. In a run that
    was asked to end :exc:`Cancelled` is raised.

    >>> @workflow
    ... def poll(seen: int = 0):
    ...     yield Sleep("1h")
    ...     yield ContinueUsing(poll(seen + 1))
    """

    invocation: Invocation[Any]

    def __init__(self, invocation: Invocation[Any]) -> None:
        fill(self, "invocation", check_invocation(invocation, "ContinueUsing"))


@dataclass(frozen=True, slots=True)
class Compact(Command[None]):
    """Delete what was recorded of the run so far, and keep a continuation in its place.

    The run goes on with all that it has in memory, and in a store that does not grow. Raises CompactRefused where
    that cannot be captured; then nothing is deleted. Of the steps that have a ``key=`` the last value of each key stays
    in the history.
    """
