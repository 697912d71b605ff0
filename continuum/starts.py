"""Runs that are started together: what tasks ask for in one turn of the loop is one plan, and one batch.

They are created in the hands of the worker beside the client, which begins them as soon as they are durable. What
is the same for all of them is looked up, checked, committed and told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from continuum.errors import ContinuumError
from continuum.journal import RunId
from continuum.promise import Promise, keep
from continuum.store.committer import Job
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch, View
from continuum.store.records import RunRecord
from continuum.store.tenure import Tenure

__all__ = ["Starts"]

LARGEST: Final = 1 << 20
"""Bytes of arguments that a batch may have before one more run is added."""


Begin: TypeAlias = Callable[[Mapping[str, RunRecord], Mapping[RunId, bytes], Tenure], object]


class Starts(Job[None]):
    """Runs to be started under that tenure, and the promises that are kept once that is done.

    Before these ``begin(records, claims, tenure)`` is called, for runs too that nobody waits for any more. What has no
    claim was not created in the worker's hands: it was there, or is for any worker, or is not there.
    """

    __slots__ = (
        "_begin",
        "_claims",
        "_doubtful",
        "_found",
        "_ledger",
        "_promises",
        "_records",
        "_settled",
        "_size",
        "_tenure",
    )

    def __init__(self, ledger: Ledger, tenure: Tenure, begin: Begin) -> None:
        self.error = None
        self._ledger = ledger
        self._tenure = tenure
        self._begin = begin
        self._records: dict[str, RunRecord] = {}
        self._promises: list[Promise[None]] = []
        self._size = 0
        self._doubtful: list[str] = []  # what may be there already, as an id that was made here is not
        self._found: dict[str, ContinuumError | None] = {}  # what is there, and the error that this is
        self._claims: dict[RunId, bytes] = {}
        self._settled = False

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

    def ask(self, view: View) -> list[Batch]:
        self.error = None
        try:
            self._found = self._look_for(view, self._doubtful)
            records = [record for run_id, record in self._records.items() if run_id not in self._found]
            batch, self._claims = self._ledger.start_held(view, records, self._tenure)
        except Exception as error:
            self.error = error
            return []
        return [batch] if records else []

    def _look_for(self, view: View, ids: Iterable[str]) -> dict[str, ContinuumError | None]:
        found: dict[str, ContinuumError | None] = {}
        for run_id in ids:
            try:
                if self._ledger.exists(view, self._records[run_id]):
                    found[run_id] = None
            except ContinuumError as error:
                found[run_id] = error
        return found

    def settle(self, applied: Sequence[bool]) -> bool:
        self._settled = all(applied)
        if not self._settled:  # somebody was faster, and it may be anywhere
            self._doubtful = list(self._records)
        return self._settled

    def tell(self) -> None:
        self._begin(self._records, self._claims if self.error is None else {}, self._tenure)
        for promise in self._promises:
            keep(promise, None)

    @property
    def done(self) -> bool:
        """Whether it has been through."""
        return self._settled or self.error is not None

    def check(self, run_id: str) -> None:
        """Raise what has kept that run from being started."""
        error = self.error or self._found.get(run_id)
        if error is not None:
            raise error
