"""The one thread of an engine that talks to its store: it reads, commits, and groups what it commits.

Work comes as *plans*: functions that read a view and give batches to commit, each with the answer it
leads to. All plans that wait when the thread comes round are asked together, from one view, and
committed together, in one commit: while it is under way the next plans pile up, so grouping needs no
timer. A plan whose check failed because somebody else was faster is asked anew.

Answers are handed back in batches too, through one call of `deliver` for each round.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Sequence
from itertools import chain, islice
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from continuum.errors import CommitUnknown, ForkedStore, StoreClosed, StoreError, StoreFull, ViewLost
from continuum.store.ledger import Plan
from continuum.store.protocol import Batch, Store, View
from continuum.store.switching import Turn
from continuum.store.system import system

__all__ = ["Committer", "Job", "Plans", "Prepared", "Single"]

T = TypeVar("T")
Plans = Callable[[View], Sequence[tuple[Batch | None, T]]]


class Job(Generic[T]):
    """Plans on their way through the committer, and then their answers.

    `answers` pairs each plan's answer with whether its batch was applied (a plan without a batch
    counts as applied); `error` is what stopped them instead.
    """

    __slots__ = ("_planned", "_plans", "answers", "error", "then")

    def __init__(self, plans: Plans[T], then: Callable[[Job[T]], object]) -> None:
        self._plans = plans
        self._planned: Sequence[tuple[Batch | None, T]] = ()
        self.then = then
        self.answers: list[tuple[bool, T]] = []
        self.error: Exception | None = None

    def ask(self, view: View) -> list[Batch]:
        """Have the batches made; an error ends the job."""
        self.error = None
        try:
            self._planned = self._plans(view)
        except Exception as error:
            self.error = error
            self._planned = ()  # of an earlier round
        return [batch for batch, _ in self._planned if batch is not None]

    def settle(self, applied: Sequence[bool]) -> bool:
        """Take note of which batches were applied; False if the job has to go round again."""
        left = iter(applied)
        self.answers = [(True if batch is None else next(left), answer) for batch, answer in self._planned]
        return True

    def tell(self) -> None:
        """Have the answers heard by who gave the job."""
        self.then(self)


class Single(Job[T]):
    """A job of one plan, which is asked anew until its checks hold."""

    __slots__ = ("_answer", "_plan", "_settled")

    def __init__(self, plan: Plan[T], then: Callable[[Single[T]], object]) -> None:
        self._plan = plan
        self._settled = False
        self.then = then  # type: ignore[assignment]  # it is called with this job
        self.error = None

    def ask(self, view: View) -> list[Batch]:
        self.error = None
        try:
            batch, self._answer = self._plan(view)
        except Exception as error:
            self.error = error
            return []
        return [] if batch is None else [batch]

    def settle(self, applied: Sequence[bool]) -> bool:
        self._settled = all(applied)
        return self._settled

    @property
    def done(self) -> bool:
        """Whether it has been through."""
        return self._settled or self.error is not None

    def result(self) -> T:
        """The answer. Raises what stopped it."""
        if self.error is not None:
            raise self.error
        return self._answer


class Prepared(Job[None]):
    """Batches that need no look at the store: their checks are all that has to hold.

    `applied` tells of each of them, once it has been through, whether it was.
    """

    __slots__ = ("_batches", "applied")

    def __init__(self, batches: list[Batch], then: Callable[[Prepared], None]) -> None:
        super().__init__(_nothing, then)  # type: ignore[arg-type]  # it is called with this job
        self._batches = batches
        self.applied: Sequence[bool] = ()

    def ask(self, view: View) -> list[Batch]:
        return self._batches

    def settle(self, applied: Sequence[bool]) -> bool:
        self.applied = applied
        return True


def _nothing(view: View) -> Sequence[tuple[Batch | None, None]]:
    return ()


class Committer:
    """The thread. Jobs end by a call of ``deliver(jobs)`` on it; the caller takes them to where they belong."""

    def __init__(self, store: Store, deliver: Callable[[list[Job[Any]]], None]) -> None:
        self._store = store
        self._deliver = deliver
        self._queue: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._broken: Exception | None = None  # the store refuses work since this
        self._refusal: Callable[[str], StoreError] | None = None
        self._turn = Turn()
        self._thread = threading.Thread(target=self._run, name="continuum-committer", daemon=True)
        self._thread.start()
        _living.add(self)

    def submit(self, *jobs: Job[Any], give_way: float = 0.0) -> None:
        """Put jobs in line. Raises StoreClosed after close, ForkedStore in a child.

        A caller that goes on with work in Python would be in the way of a large job, and it in the caller's:
        it may `give_way` until only the disk is waited for, so many seconds at most.
        """
        self.check()
        if give_way:
            self._turn.expect()
        for job in jobs:
            self._queue.put(job)
        if give_way:
            self._turn.wait(give_way)

    def check(self) -> None:
        """Raise what :meth:`submit` would."""
        if self._refusal is not None:
            raise self._refusal(self._store.location)

    def close(self) -> None:
        """Carry out what is in line, then end. May be called more than once."""
        self._refusal = _closed
        self.end()

    def end(self) -> None:
        """Carry out what is in line, and what comes after it no more."""
        self._queue.put(None)
        self._thread.join()

    def leave_to_parent(self) -> None:
        """In a forked child, which does not have the thread: refuse work, as nobody would do it."""
        self._refusal = _forked

    def _run(self) -> None:
        ending = False
        while not ending:
            jobs = [self._queue.get()]
            while not self._queue.empty():
                jobs.append(self._queue.get())
            ending = None in jobs
            self._round([job for job in jobs if job is not None])
            del jobs  # which would stay in memory, with all that they are about, until something comes again

    def _round(self, jobs: list[Job[Any]]) -> None:
        while jobs:
            again = self._carry_out(jobs)
            done = [job for job in jobs if job not in again] if again else jobs
            if done:
                self._deliver(done)
            jobs = again

    def _carry_out(self, jobs: list[Job[Any]]) -> list[Job[Any]]:
        """One view, one commit; gives the jobs that have to go round again."""
        try:
            if self._broken is not None:
                raise self._broken
            with self._turn:
                with self._store.view() as view:
                    asked = [job.ask(view) for job in jobs]
                batches = list(chain.from_iterable(asked))
                applied = iter(self._store.commit(batches) if batches else ())
        except ViewLost:  # by now the store can be reached again
            return jobs
        except Exception as error:
            if isinstance(error, CommitUnknown | StoreFull):
                self._broken = error
            for job in jobs:
                job.error = error
            return []
        results = [list(islice(applied, len(batches))) for batches in asked]
        return [job for job, result in zip(jobs, results, strict=True) if not job.settle(result)]


_living: Final[WeakSet[Committer]] = WeakSet()


@atexit.register
def _end_all() -> None:
    """Let no thread be inside a store when the interpreter takes it down: that would crash the process."""
    for committer in list(_living):
        committer.end()


def _forget_inherited() -> None:
    for committer in list(_living):
        committer.leave_to_parent()


system.after_fork(_forget_inherited)


def _closed(location: str) -> StoreClosed:
    return StoreClosed(f"the engine on {location} is closed")


def _forked(location: str) -> ForkedStore:
    return ForkedStore(f"the engine on {location} was opened before this process was forked; open one of its own here")
