"""Runs that this engine has started itself, in its worker's hands, until there is room to begin them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from continuum.journal import RunId
from continuum.store.look import Fresh
from continuum.store.records import RunRecord

__all__ = ["Line"]

LENGTH: Final = 1_000
"""How many runs may wait in memory to be begun."""


class Line:
    """Those runs, in the order of their start. ``takes(record)`` tells whether they may be runs of that kind."""

    def __init__(self, takes: Callable[[RunRecord], bool]) -> None:
        self._takes = takes
        self._taken: set[tuple[str, str, str]] = set()  # kinds for which it was asked
        self._runs: OrderedDict[RunId, Fresh] = OrderedDict()
        self._reserved = 0  # places for runs that are being started

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._runs

    @property
    def runs(self) -> Mapping[RunId, Fresh]:
        """Those in line."""
        return self._runs

    @property
    def at_work(self) -> bool:
        """Whether a run is in line, or about to be."""
        return bool(self._runs) or self._reserved > 0

    def reserve(self, record: RunRecord) -> bool:
        """Keep a place for a run that is to be started. False where there is none, or it is not of such a kind."""
        if len(self._runs) + self._reserved >= LENGTH:
            return False
        kind = record.workflow, record.version, record.queue
        if kind not in self._taken:
            if not self._takes(record):
                return False
            self._taken.add(kind)
        self._reserved += 1
        return True

    def give_back(self, places: int) -> None:
        """What became of the runs that so many places were kept for is known."""
        self._reserved -= places

    def add(self, records: Mapping[str, RunRecord], claims: Mapping[RunId, bytes]) -> None:
        """Runs that were started with these claims."""
        for run_id, claim in claims.items():
            self._runs[run_id] = Fresh(records[run_id], claim)

    def pop(self, run_id: RunId) -> Fresh:
        """Take that run out of the line."""
        return self._runs.pop(run_id)

    def take(self, most: int) -> Iterator[Fresh]:
        """Take out the next so many at the most, each as it is asked for."""
        for _ in range(min(most, len(self._runs))):
            yield self._runs.popitem(last=False)[1]

    def clear(self) -> None:
        """Forget those in line: they are not this worker's any more."""
        self._runs.clear()
