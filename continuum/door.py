"""What is asked of engines and clients, looked at before anything is done about it.

Each of these gives back what it was given if it makes sense, and raises BadValue if not. What commands
take is looked at in :mod:`continuum.checks`, lengths of time in :mod:`continuum.durations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from continuum.checks import check_queue
from continuum.durations import NANOSECONDS, Duration, nanoseconds
from continuum.errors import BadValue
from continuum.journal import Status
from continuum.workflow import Workflow

__all__ = [
    "check_count",
    "check_lease",
    "check_limit",
    "check_priority",
    "check_queues",
    "name_of_workflow",
    "status_of",
]

PRIORITIES: Final = range(-(2**31) + 1, 2**31)  # those that the store keeps apart
SHORTEST_LEASE: Final = NANOSECONDS
MOST: Final = 2**62  # above any number of runs


def check_count(count: object, what: str) -> int:
    """A whole number of one or more."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise BadValue(f"{what} must be a whole number of 1 or more, not {count!r}")
    return count


def check_lease(lease: Duration) -> int:
    """How long a worker may be silent, in nanoseconds: a second or more, since it shows itself three times as often."""
    length = nanoseconds(lease, "lease")
    if length < SHORTEST_LEASE:
        raise BadValue(f"lease must be one second or more, not {lease!r}")
    return length


def check_queues(queues: Iterable[str]) -> list[str]:
    """The names of one or more queues."""
    if isinstance(queues, str) or not isinstance(queues, Iterable):
        raise BadValue(f"queues must be a list of names, such as ['default'], not {queues!r}")
    checked = [check_queue(queue) for queue in queues]
    if not checked:
        raise BadValue("queues must name at least one queue")
    return checked


def check_priority(priority: object) -> int:
    """A whole number of 32 bits, negative or not."""
    if not isinstance(priority, int) or isinstance(priority, bool):
        raise BadValue(f"priority must be a whole number, not {priority!r}")
    if priority not in PRIORITIES:
        first, last = PRIORITIES[0], PRIORITIES[-1]
        raise BadValue(f"priority must be from {first:,} to {last:,}, not {priority:,}")
    return priority


def check_limit(limit: object) -> int | None:
    """How many at the most: a whole number, or None for all."""
    if limit is None:
        return None
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise BadValue(f"limit must be a whole number and not negative, not {limit!r}")
    return min(limit, MOST)


def status_of(word: str | None) -> Status | None:
    """The status of that word, or None for any."""
    try:
        return None if word is None else Status(word)
    except ValueError:
        raise BadValue(f"no status {word!r}; it is one of {', '.join(Status)}") from None


def name_of_workflow(workflow: str | Workflow[..., Any] | None) -> str | None:
    """The name of a workflow that is given as such or by name, or None for any."""
    if workflow is not None and not isinstance(workflow, str | Workflow):
        raise BadValue(f"workflow must be a workflow or the name of one, not {workflow!r}")
    return workflow.name if isinstance(workflow, Workflow) else workflow
