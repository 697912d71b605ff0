"""Which runs call for a worker: in its queues, among the timers, and those of its own that something came for.

What waits in a queue may be very much more than a worker can take up, so calls are read one after the other, and
no further than they are asked for. A call for a run that the worker has in memory stands in the queue like any
other, and may lie behind all that; so where a worker has not read to the end, it looks for such calls at the place
that each of them comes from (:class:`InHand`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, TypeVar

from continuum.journal import RunId
from continuum.store import keys
from continuum.store.limits import Limits
from continuum.store.protocol import View
from continuum.store.records import Message, RunRecord
from continuum.store.results import Results

__all__ = ["Call", "Held", "InHand", "calls", "gather"]

T = TypeVar("T")
Call: TypeAlias = tuple[RunId, bytes | None]
"""A run that is to be looked at, and the key that says so, which goes with that; a timer goes by itself."""


def calls(view: View, queues: Sequence[str], wanted: Callable[[str], bool], now: int) -> Iterator[Call]:
    """The runs that a worker should look at: from each queue, most urgent first, and those that are due, in turns.

    `wanted` says by a run's label whether this worker can do anything for it.
    """
    known: dict[bytes, bool] = {}

    def is_wanted(label: bytes) -> bool:
        if label not in known:
            known[label] = wanted(label.decode())
        return known[label]

    def ready(queue: str) -> Iterator[Call]:
        for key, label in view.scan(keys.ready_prefix(queue)):
            if is_wanted(label):
                yield keys.run_of_ready(queue, key), key

    due = ((keys.run_of_timer(key), None) for key, _ in view.scan(keys.timers(), stop=keys.timers_until(now)))
    return _in_turns(*map(ready, queues), due)


def _in_turns(*sources: Iterable[T]) -> Iterator[T]:
    """One from each, again and again; where one has come to its end, from the others."""
    waiting = deque(map(iter, sources))
    while waiting:
        source = waiting.popleft()
        for each in source:
            yield each
            waiting.append(source)
            break


def gather(called: Iterator[Call], most: int) -> dict[RunId, list[bytes]]:
    """So many of the next runs that call, with their keys."""
    gathered: dict[RunId, list[bytes]] = {}
    for run_id, ready in called:
        gathered.setdefault(run_id, []).extend([] if ready is None else [ready])
        if len(gathered) == most:
            break
    return gathered


class Held(Protocol):
    """A run in a worker's memory, as others see it who look into the store meanwhile."""

    record: RunRecord

    def knows(self, number: int) -> bool:
        """Whether it has been told of the message of that number, or nothing can be news to it. On any thread."""


@dataclass(slots=True)
class InHand:
    """The runs that a worker has in memory at one moment, and what may call for them.

    `results` and `places` tell by their digests for which shared results and at which places in the lines of
    limits they wait.
    """

    runs: Mapping[RunId, Held]
    results: dict[bytes, list[RunId]] = field(default_factory=dict)
    places: dict[bytes, dict[bytes, RunId]] = field(default_factory=dict)

    def called(self, view: View, results: Results, limits: Limits) -> Iterator[RunId]:
        """Those that something came for; some of them may be named twice."""
        yield from self._with_news(view)
        for digest, waiting in self.results.items():
            if not results.is_taken(view, digest):
                yield from waiting
        for places in self.places.values():
            yield from (places[place] for place in limits.called(view, sorted(places)))

    def _with_news(self, view: View) -> Iterator[RunId]:
        """Those that have a message which they do not know. Empty inboxes are passed over, and cost nothing."""
        ids: Sequence[RunId] = ()
        found = _first_inbox(view, "")
        while found is not None:
            ids = ids or sorted(self.runs)
            at = bisect_left(ids, found)
            if at < len(ids) and ids[at] == found:
                held = self.runs[found]
                if not all(held.knows(keys.number_of(key)) for key, _ in view.scan(keys.inbox_prefix(found))):
                    yield found
                at += 1
            found = _first_inbox(view, ids[at]) if at < len(ids) else None

    def keys_for(self, run_id: RunId, messages: Sequence[tuple[int, Message]]) -> list[bytes]:
        """The keys that called for a run when these messages came."""
        held = self.runs.get(run_id)
        return [] if held is None else keys_for(held.record, (n for n, _ in messages if not held.knows(n)))


def _first_inbox(view: View, run_id: str) -> RunId | None:
    """The first run, from that one on, that has a message in its inbox."""
    start = keys.inbox_prefix(run_id) if run_id else None
    return next((keys.run_of_inbox(key) for key, _ in view.scan(keys.inboxes(), start=start, limit=1)), None)


def keys_for(record: RunRecord, numbers: Iterable[int]) -> list[bytes]:
    """The keys that called for a run when the messages of those numbers came: they bear the same stamps."""
    return [keys.ready(record.queue, record.priority, number, record.id) for number in numbers]
