"""What a run records, page by page, and what is new in it as long as the run goes on.

Shared by ``continuum history`` and ``continuum logs``. A page is read and let go: neither a long
journal nor a long time of following it is held in memory, or holds the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

from continuum.blocking import Run
from continuum.cli import output
from continuum.description import HistoryStep, history_step
from continuum.journal import FINISHED
from continuum.store.ledger import HistoryRow

__all__ = ["Reader", "steps", "tell"]

LOOK: Final = 0.3  # seconds between two looks at a run that is followed
PAGE: Final = 500  # entries


def steps(run: Run[Any], wanted: Callable[[str], bool], *, follow: bool) -> Iterator[list[HistoryStep]]:
    """What the run has recorded of the kinds that are wanted; with `follow` what it still records, until its end."""
    reader = Reader(run)
    ended = False
    while not ended:
        ended = not follow or run.status() in FINISHED  # before the journal: what is added later is not missed
        for rows in reader.unseen():
            yield [history_step(row) for row in rows if wanted(row.kind)]
        if not ended:
            with suppress(TimeoutError):
                run.wait(LOOK)


def tell(pages: Iterator[list[HistoryStep]], shape: Callable[[HistoryStep], dict[str, Any]], *, follow: bool) -> None:
    """Print them as JSON: a list, or one object a line where more may come."""
    if not follow:
        output.json([shape(step) for page in pages for step in page])
        return
    for page in pages:
        for step in page:
            output.json(shape(step), indent=None)


class Reader:
    """Reads on in a journal. What stood at its end may be taken back by a retry, and other entries follow."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._last: HistoryRow | None = None
        self._newest = -1  # the time of the newest entry so far, in nanoseconds since the epoch

    def unseen(self) -> Iterator[list[HistoryRow]]:
        """The pages that were not read yet; what was taken back and recorded anew is new."""
        last, newest = self._last, self._newest
        if last is not None and self._run.recorded(last.number, 1) != [last]:
            last = self._last = None  # begin anew, and tell what was recorded since
        for rows in _pages(self._run, 0 if last is None else last.number + 1):
            if rows:
                self._last = rows[-1]
                self._newest = max(self._newest, *(row.at for row in rows))
            yield rows if last is not None else [row for row in rows if row.at > newest]


def _pages(run: Run[Any], start: int) -> Iterator[list[HistoryRow]]:
    """The journal from that number on; one page at least, be it empty."""
    while True:
        rows = run.recorded(start, PAGE)
        yield rows
        if len(rows) < PAGE:
            return
        start = rows[-1].number + 1
