"""What a journal is made of: the records and words that the machine and the store share.

A journal is the list of entries of one run, in the order in which they were committed. Replaying
them in that order, each at its position, leads the workflow to where it was. Most entries are
completions: what a command gave back. The *marks* (see :data:`MARKS`) note something about a
command that is still under way: that an attempt failed, that a timer was armed, that a step began.

Entries are values and are never changed once made. They are frozen for the type checker alone:
several are made at every step, and a frozen slotted dataclass costs three times a plain one.

This module imports nothing of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NewType, TypeAlias, TypeVar, dataclass_transform

__all__ = [
    "FINISHED",
    "MARKS",
    "TAKES",
    "Entry",
    "Failure",
    "Kind",
    "Outcome",
    "Position",
    "RunId",
    "Status",
    "Value",
    "position_text",
    "record",
]

T = TypeVar("T")

RunId = NewType("RunId", str)

Position: TypeAlias = tuple[int, ...]
"""Where a command stands: its number in its fiber, then branch and number, as deep as branches go."""


class Status(StrEnum):
    """The states of a run."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REVERTED = "reverted"
    TIMED_OUT = "timed_out"
    BLOCKED = "blocked"


FINISHED: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.REVERTED, Status.TIMED_OUT})


class Kind(StrEnum):
    """What an entry records. The order is part of the store's format: add at the end."""

    SAVE = "save"
    SLEEP = "sleep"
    RECEIVE = "receive"
    HANDLE = "handle"
    EVENT = "event"  # an event that a handler took
    ENSURE = "ensure"
    NOW = "now"
    RANDOM = "random"
    UUID4 = "uuid4"
    LOG = "log"
    PUBLISH = "publish"
    ALL = "all"
    RACE = "race"
    MAP = "map"
    CALL = "call"
    START = "start"
    SEND = "send"
    REVERT = "revert"
    CONTINUE = "continue"
    COMPACT = "compact"
    PATCH = "patch"
    CANCEL = "cancel"  # the run was asked to stop
    ATTEMPT = "attempt"  # mark: an attempt of a step failed, the next is due at `ref`
    BEGUN = "begun"  # mark: an at-most-once step is about to start
    ARMED = "armed"  # mark: a timer is due at `ref`, or no attempt of a step is to begin after it
    RAISE = "raise"  # the code of a branch raised an error of its own


MARKS: Final = frozenset({Kind.ATTEMPT, Kind.BEGUN, Kind.ARMED})

TAKES: Final = frozenset({Kind.RECEIVE, Kind.EVENT, Kind.CALL, Kind.CANCEL})
"""Kinds whose entry, where `ref` is set, takes message `ref` out of the run's inbox."""


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
    """A slotted value class: frozen to the type checker, plain at run time (see the module's text)."""
    return dataclass(slots=True)(cls)


@record
class Value:
    """A command gave this back. `data` is the pickled form, where someone has made it already."""

    value: Any
    data: bytes | None = None


@record
class Failure:
    """A command raised this. `data` is the pickled form, where someone has made it already."""

    error: BaseException
    data: bytes | None = None


Outcome: TypeAlias = Value | Failure


@record
class Entry:
    """One line of a journal.

    `at` is nanoseconds since the epoch, UTC. `attempts` counts the tries of a step, the one that
    gave the outcome included. `ref` belongs to the kind: the number of the inbox message that was
    taken (see :data:`TAKES`), or the time at which a timer or the next attempt is due. `key` is that of a Save
    which gave a value: the last entry of each key stays where a history is deleted.
    """

    position: Position
    kind: Kind
    name: str
    outcome: Outcome | None
    at: int
    attempts: int = 0
    ref: int = 0
    key: str = ""


def position_text(position: Position) -> str:
    """The form people see: ``4`` or ``4.1.0``."""
    return ".".join(map(str, position))
