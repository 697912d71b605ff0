"""Start, send, read: everything that needs a store and no worker.

A :class:`Client` lives on one loop. Every question to the store is a plan for its committer, whose
answers come back through its mailbox; who reads the mailbox, and whether there is a worker beside
the client, is the business of :mod:`continuum.host`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import copy
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeVar

import anyio

from continuum.checks import check_id, check_invocation, check_queue
from continuum.description import describe
from continuum.door import check_limit, check_priority, name_of_workflow, status_of
from continuum.durations import Duration, nanoseconds
from continuum.errors import BadValue, ContinuumError, StoreClosed, UnknownWorkflow, UsageError
from continuum.journal import RunId, Status
from continuum.mailbox import Mailbox
from continuum.promise import Promise, keep, promises
from continuum.runs import AsyncRun
from continuum.stamps import Stamps
from continuum.starts import Starts
from continuum.store.carried import pack
from continuum.store.committer import Committer, Job, Single
from continuum.store.ledger import Ledger, Plan
from continuum.store.protocol import Store, View
from continuum.store.records import Message, RunEnd, RunRecord
from continuum.store.tenure import Tenure
from continuum.workflow import Invocation, Registry, Workflow

__all__ = ["Client"]

logger = logging.getLogger("continuum.engine")

T = TypeVar("T")

Call = Callable[[], object]


class Worker(Protocol):
    """What a client asks of the worker beside it."""

    def poke(self) -> None:
        """Something came into the store."""

    def added(self) -> None:
        """A run came into the store that nobody has."""

    def holds(self, run_id: str) -> bool:
        """Whether the run is in its memory: then it will tell of its end."""

    def reserve(self, record: RunRecord) -> Tenure | None:
        """The tenure under which the run may be started, if there is room to work on it at once."""

    def begin(self, records: Mapping[str, RunRecord], claims: Mapping[RunId, bytes], tenure: Tenure) -> None:
        """Of the runs for which there was room under that tenure those have been started that have a claim."""


class Client:
    """What an engine offers to those who start, send and read. Made by :class:`~continuum.AsyncEngine`."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        registry: Registry,
        *,
        clock: Callable[[], int],
        works: bool,
        default_queue: str,
    ) -> None:
        self.ledger = ledger
        self.location = store.location
        self.mailbox: Mailbox[Call] = Mailbox()
        self.committer = Committer(store, self._deliver)
        self.stamps = Stamps(clock)
        self._clock = clock
        self._registry = registry
        self._works = works
        self._default_queue = default_queue
        self._promise = promises()
        self._waiters: dict[str, list[Promise[RunEnd | None]]] = {}  # those who wait for the end of a run
        self._looking = False
        self._look_again = False
        self._asking: set[Promise[None]] = set()
        self._questions: list[Job[Any]] = []  # that the committer is to have next
        self._starts: Starts | None = None  # the last of these that is one
        self._failure: BaseException | None = None
        self.worker: Worker | None = None  # beside this client

    # What a user asks for

    async def start(
        self,
        invocation: Invocation[T],
        id: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay: Duration | None = None,
        timeout: Duration | None = None,
    ) -> AsyncRun[T]:
        """Start a run, or give the one that has this id; it is durable on return.

        Without `id` the run gets a time-ordered one. Runs of higher `priority` are taken up first;
        `delay` puts the start off, `timeout` sets a deadline from there (seconds, timedelta or text). Where
        nothing is executed here, and no other program can import the workflow, the run carries its
        code. Raises RunExists if the id belongs to another workflow, UnknownWorkflow, InvalidId,
        UnpicklableValue, PayloadTooLarge.
        """
        record, wake = self._new_record(invocation, id, queue, priority, delay, timeout)
        self.check()
        tenure = self.worker.reserve(record) if self.worker is not None and wake is None else None
        if tenure is None:
            await self._start_for_any(record, wake, invocation.workflow)
            return AsyncRun(self, record.id)
        starts, started = self._starts_for(record, tenure), self._promise()
        starts.add(record, started, new=id is None)
        await self._answer(starts.job, started)  # once it is committed the worker has it, whether or not anyone waits
        starts.check(record.id)
        return AsyncRun(self, record.id)

    async def _start_for_any(self, record: RunRecord, wake: int | None, workflow: Workflow[..., Any]) -> None:
        code, lacking = None, ""
        if not self._works and workflow.import_name is None:
            try:
                record, code = pack(self.ledger.codec, record, workflow)
            except UsageError as error:
                lacking = f"a worker that has workflow {record.workflow!r}, since its code cannot travel: {error}"
        plan = partial(self.ledger.start, record=record, wake=wake, code=code, waiting_for=lacking)
        created = await self.ask(plan)
        if created and lacking:
            logger.warning("run %s waits for %s", record.id, lacking, extra={"run_id": record.id})
        if self.worker is not None:
            self.worker.added()

    def _starts_for(self, record: RunRecord, tenure: Tenure) -> Starts:
        """Those that the run is to go with: the committer does not have them yet."""
        starts = self._starts
        if starts is None or not starts.takes(record, tenure):
            assert self.worker is not None, "the tenure is its"
            starts = Starts(self.ledger, tenure, self.worker.begin)
            self._submit(starts.job)
            self._starts = starts
        return starts

    def run(self, id: str) -> AsyncRun[Any]:
        """A handle to the run with that id. Raises InvalidId; whether it exists shows when it is used."""
        return AsyncRun(self, check_id(id))

    async def runs(
        self, *, status: str | None = None, workflow: str | Workflow[..., Any] | None = None, limit: int | None = None
    ) -> list[AsyncRun[Any]]:
        """The runs, newest first; of one status or one workflow, if they are given. Raises BadValue."""
        asked, name, most = status_of(status), name_of_workflow(workflow), check_limit(limit)
        infos = await self.read(partial(self.ledger.runs, status=asked, workflow=name, limit=most))
        return [AsyncRun(self, info.id, describe(info)) for info in infos]

    # What handles use

    async def send(self, run_id: str, name: str, payload: Any) -> None:
        """Put an event into a run's inbox."""
        if not isinstance(name, str) or not name:
            raise BadValue(f"the name of an event must be text and not empty, not {name!r}")
        data = self.ledger.codec.encode(payload, f"the payload of event {name!r}")
        message = Message("event", name, payload=data)
        await self.ask(partial(self.ledger.send, run_id=run_id, message=message, stamp=self.stamps.next()))
        self.poke()

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask a run to end."""
        if not isinstance(reason, str):
            raise BadValue(f"the reason of a cancel must be text, not {reason!r}")
        ended = await self.ask(partial(self.ledger.cancel, run_id=run_id, reason=reason, stamp=self.stamps.next()))
        if ended:
            await self._call_waiters(run_id)
            self.look_for_ends()
        self.poke()

    async def _call_waiters(self, run_id: str) -> None:
        """Wake the runs that wait for what this one, that has ended without a worker, had taken."""
        results = self.ledger.results
        for part in await self.read(partial(results.left, run_id=run_id)):
            await self.ask(partial(results.conclude, part_key=part))
            await self.ask(partial(results.call, part_key=part, stamp=self.stamps.next()))
        limits = self.ledger.limits
        for digest in await self.read(limits.lines):
            await self.ask(partial(limits.call, digest=digest, now=self._clock(), stamp=self.stamps.next()))

    async def retry(self, run_id: str) -> None:
        """Let a failed run go on."""
        await self.ask(partial(self.ledger.retry, run_id=run_id, stamp=self.stamps.next()))
        self.poke()

    async def wait_for_end(self, run_id: str, timeout: Duration | None = None) -> RunEnd:
        """Wait until a run has ended. Raises RunNotFound, TimeoutError."""
        self.check()
        limit = None if timeout is None else nanoseconds(timeout, "timeout") / 1e9
        promise: Promise[RunEnd | None] = self._promise()
        self._waiters.setdefault(run_id, []).append(promise)
        try:
            end = None
            if self.worker is None or not self.worker.holds(run_id):
                end = await self.read(partial(self._end_of_existing, run_id=run_id))
            if end is None and limit is None:
                end = await promise
            elif end is None:
                with anyio.move_on_after(limit):
                    end = await promise
        finally:
            if run_id in self._waiters:
                self._wait_no_more(run_id, promise)
        if end is None:
            self.check()
            raise TimeoutError(await self._why_late(run_id, limit))
        return end

    def _wait_no_more(self, run_id: str, promise: Promise[RunEnd | None]) -> None:
        waiting = self._waiters[run_id]
        if promise in waiting:  # else it was told, and these others wait for the end of a retry
            waiting.remove(promise)
            if not waiting:
                del self._waiters[run_id]

    async def read(self, reading: Callable[[View], T]) -> T:
        """What this function makes of a view."""
        return await self.ask(lambda view: (None, reading(view)))

    async def ask(self, plan: Plan[T]) -> T:
        """Have a plan carried out, and give its answer."""
        self.check()
        answered: Promise[None] = self._promise()
        job: Single[T] = Single(plan, partial(_told, answered))
        self._submit(job)
        await self._answer(job, answered)
        return job.result()

    async def _answer(self, job: Single[Any], answered: Promise[None]) -> None:
        """Wait until the job has been through. Raises what has stopped the engine, if that comes first."""
        self._asking.add(answered)
        try:
            await answered
        finally:
            self._asking.discard(answered)
        if not job.done:
            self.check()

    def _submit(self, question: Job[Any]) -> None:
        """Put a question to the committer, together with those that other tasks ask before the mailbox is read.

        One that it had at once it would begin with, and it and the loop would be in each other's way.
        """
        self.committer.check()
        if not self._questions:
            self.mailbox.post(self._submit_all)
        self._questions.append(question)

    def _submit_all(self) -> None:
        questions, self._questions, self._starts = self._questions, [], None
        self.committer.submit(*questions)

    def poke(self) -> None:
        """Tell the worker beside this client, if there is one, that something came into the store."""
        if self.worker is not None:
            self.worker.poke()

    # What happens around it

    def settled(self, run_id: str, end: RunEnd) -> None:
        """A run has ended."""
        for promise in self._waiters.pop(run_id, ()):
            keep(promise, end)

    def look_for_ends(self) -> None:
        """Something changed in the store: see whether a run that is waited for has ended."""
        if self._looking:
            self._look_again = True
        elif self._waiters and self._failure is None:
            self._looking = True
            waited = list(self._waiters)
            plan: Plan[list[tuple[str, RunEnd | None]]] = lambda view: (  # noqa: E731
                None,
                [(run_id, self.ledger.end(view, run_id)) for run_id in waited],
            )
            self.committer.submit(Single(plan, self._looked))

    @property
    def failed(self) -> bool:
        """Whether nothing will be answered any more."""
        return self._failure is not None

    def fail(self, error: BaseException) -> None:
        """Nothing will be answered any more: tell everyone who waits."""
        self._failure = error
        for answered in self._asking:
            keep(answered, None)
        for promise in chain.from_iterable(self._waiters.values()):
            keep(promise, None)

    async def pump(self) -> None:
        """Read the mailbox, where no worker does."""
        while True:
            await self.mailbox.wait()
            for call in self.mailbox.drain():
                call()

    def _looked(self, job: Single[list[tuple[str, RunEnd | None]]]) -> None:
        self._looking = False
        for run_id, end in job.result():
            if end is not None:
                self.settled(run_id, end)
        if self._look_again:
            self._look_again = False
            self.look_for_ends()

    def _deliver(self, jobs: list[Job[Any]]) -> None:
        self.mailbox.post_many([job.tell for job in jobs])

    def check(self) -> None:
        """Raise what has stopped the engine, if something has."""
        if self._failure is None:
            return
        if isinstance(self._failure, ContinuumError):
            raise copy(self._failure) from self._failure
        raise StoreClosed(f"the engine has stopped: {self._failure!r}") from self._failure

    def _end_of_existing(self, view: View, run_id: str) -> RunEnd | None:
        self.ledger.state(view, run_id)
        return self.ledger.end(view, run_id)

    async def _why_late(self, run_id: str, limit: float | None) -> str:
        state = await self.read(partial(self.ledger.state, run_id=run_id))
        text = f"run {run_id!r} has not ended within {limit:g} s; it is {state.status}"
        if state.status is Status.BLOCKED:
            return f"{text}: {state.reason}"
        return text + (f" for {state.waiting_for}" if state.waiting_for else "")

    def _new_record(
        self,
        invocation: Invocation[Any],
        run_id: str | None,
        queue: str | None,
        priority: int,
        delay: Duration | None,
        timeout: Duration | None,
    ) -> tuple[RunRecord, int | None]:
        workflow, now = self._known(invocation), self._clock()
        limit = workflow.timeout if timeout is None else nanoseconds(timeout, "timeout")
        begins = now if delay is None else now + nanoseconds(delay, "delay")
        arguments = invocation.args, dict(invocation.kwargs)
        record = RunRecord(
            RunId(self.stamps.run_id() if run_id is None else check_id(run_id)),
            workflow.name,
            workflow.version,
            workflow.queue or self._default_queue if queue is None else check_queue(queue),
            now,
            self.stamps.seed(),
            check_priority(priority),
            None if limit is None else begins + limit,
            payload=self.ledger.codec.encode(arguments, f"the arguments of {workflow.name}"),
        )
        return record, begins if begins > now else None

    def _known(self, invocation: object) -> Workflow[..., Any]:
        workflow = check_invocation(invocation, "start").workflow
        if self._works and self._registry.get(workflow.name) is None:
            raise UnknownWorkflow(workflow.name, (each.name for each in self._registry))
        return workflow


def _told(answered: Promise[None], job: Job[Any]) -> None:
    """Who asked has the answer in the job."""
    keep(answered, None)
