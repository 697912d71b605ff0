"""Runs that are started together: what tasks ask for in one turn of the loop is one plan, and one batch.

They are created in the hands of the worker beside the client, which begins them as soon as they are durable. What
is the same for all of them is looked up, checked, committed and told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from continuum.errors import ContinuumError
from continuum.journal import RunId
from continuum.promise import Promise, keep
from continuum.store.committer import Single
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, View
from continuum.store.records import RunRecord
from continuum.store.tenure import Tenure

__all__ = ["Starts"]

LARGEST: Final = 1 << 20
"""Bytes of arguments that a batch may have before one more run is added."""


Begin: TypeAlias = Callable[[Mapping[str, RunRecord], Mapping[RunId, bytes], Tenure], object]


class Starts:
    """Runs to be started under that tenure, and the promises that are kept once that is done.

    Before these ``begin(records, claims, tenure)`` is called, for runs too that nobody waits for any more. What has no
    claim was not created in the worker's hands: it was there, or is for any worker, or is not there.
    """

    __slots__ = ("_begin", "_doubtful", "_found", "_ledger", "_promises", "_records", "_size", "_tenure", "job")

    def __init__(self, ledger: Ledger, tenure: Tenure, begin: Begin) -> None:
        self._ledger = ledger
        self._tenure = tenure
        self._begin = begin
        self._records: dict[str, RunRecord] = {}
        self._promises: list[Promise[None]] = []
        self._size = 0
        self._doubtful: list[str] = []  # what may be there already, as an id that was made here is not
        self._found: dict[str, ContinuumError | None] = {}  # what is there, and the error that this is
        self.job: Single[Mapping[RunId, bytes]] = Single(self._plan, self._tell)
        """What the committer is to be given, once; more runs may be added until then."""

    def takes(self, record: RunRecord, tenure: Tenure) -> bool:
        """Whether that run may go with the others."""
        return tenure is self._tenure and record.id not in self._records and self._size < LARGEST

    def add(self, record: RunRecord, promise: Promise[None], *, new: bool) -> None:
        """One more run; it is `new` where its id was made for it."""
        self._records[record.id] = record
        self._promises.append(promise)
        self._size += len(record.payload)
        if not new:
            self._doubtful.append(record.id)

    def check(self, run_id: str) -> None:
        """Raise what has kept that run from being started."""
        self.job.result()
        error = self._found.get(run_id)
        if error is not None:
            raise error

    def _plan(self, view: View) -> tuple[Batch | None, Mapping[RunId, bytes]]:
        self._found = self._look_for(view, self._doubtful)
        self._doubtful = list(self._records)  # where this is planned anew, somebody was faster
        records = [record for run_id, record in self._records.items() if run_id not in self._found]
        return self._ledger.start_held(view, records, self._tenure) if records else (None, {})

    def _look_for(self, view: View, ids: Iterable[str]) -> dict[str, ContinuumError | None]:
        found: dict[str, ContinuumError | None] = {}
        for run_id in ids:
            try:
                if self._ledger.exists(view, self._records[run_id]):
                    found[run_id] = None
            except ContinuumError as error:
                found[run_id] = error
        return found

    def _tell(self, job: Single[Mapping[RunId, bytes]]) -> None:
        self._begin(self._records, job.result() if job.error is None else {}, self._tenure)
        for promise in self._promises:
            keep(promise, None)
