"""AsyncEngine: a client, and a worker beside it, inside the caller's own loop.

The engine opens the store and runs one background task: the scheduler, or for a client that executes
nothing the reader of its mailbox. If that task fails, the caller's block is cancelled and the reason
raised at its end.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import anyio
from anyio.lowlevel import checkpoint

from continuum.client import Client
from continuum.door import check_count, check_lease, check_queues
from continuum.durations import NANOSECONDS, Duration, nanoseconds
from continuum.engine.forgotten import check_yields
from continuum.engine.lease import LEASE, Registration
from continuum.engine.scheduler import Scheduler
from continuum.errors import BadValue, StoreClosed
from continuum.offloop import on_thread
from continuum.runs import AsyncRun
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.opening import open_store
from continuum.store.protocol import Store
from continuum.workflow import Invocation, Registry, Workflow

__all__ = ["AsyncEngine"]

logger = logging.getLogger("continuum.engine")

T = TypeVar("T")

DEFAULT_STORE: Final = "./.continuum"
DEFAULT_CONCURRENCY: Final = 200
GRACE: Final = 10.0
PAYLOAD_LIMIT: Final = 16 * 1024 * 1024


class AsyncEngine:
    """Durable execution in an asyncio or trio program. Use it as an async context manager.

    `store` is a path, a URL (``lmdb:///path``, ``postgresql://host/db``, ``memory://``) or a Store;
    `workflows` are those it knows. With ``work=False`` it starts, sends and reads but executes nothing,
    and with ``create=False`` it refuses a store that is not there. With ``carried=True`` it also executes
    runs of workflows that it does not know by the code that they carry, as a daemon does. It takes runs of
    its `queues`, and performs at most `concurrency` steps at a time. ``durability="process"`` skips fsync:
    what was acknowledged survives ``kill -9``, but a power cut may destroy the store. On leaving,
    steps in flight get `grace` (seconds, a timedelta or text); what has not ended then is repeated by whoever
    goes on. With ``continuations="auto"`` long runs are kept so that they can go on without a replay; with
    ``"off"`` they are only where a workflow asks for it by Compact.

    Several engines may work on one store. What one has in hand when it dies the others go on with; they
    notice its death at once on the same machine, else when it has been silent for its `lease` (seconds,
    a timedelta or text; at least one).

    Raises on entering: StoreError and its kinds; on making: BadValue, NotAWorkflow,
    and BadCommand for a workflow that makes a command and does not yield it.

    >>> async def main():
    ...     async with AsyncEngine("./state", workflows=[order]) as engine:
    ...         run = await engine.start(order("ord-1"), id="ord-1")
    ...         print(await run.result(timeout=30))
    """

    def __init__(
        self,
        store: str | os.PathLike[str] | Store = DEFAULT_STORE,
        *,
        workflows: Iterable[Workflow[..., Any]] = (),
        queues: Iterable[str] = ("default",),
        work: bool = True,
        carried: bool = False,
        create: bool = True,
        concurrency: int = DEFAULT_CONCURRENCY,
        durability: Literal["power", "process"] = "power",
        payload_limit: int = PAYLOAD_LIMIT,
        grace: Duration = GRACE,
        continuations: Literal["auto", "off"] = "auto",
        lease: Duration = LEASE / NANOSECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.registry = Registry(workflows)
        for workflow in self.registry:
            check_yields(workflow)
        self._where = store
        self._queues = check_queues(queues)
        self._concurrency = check_count(concurrency, "concurrency")
        self._codec = Codec(check_count(payload_limit, "payload_limit"))
        if durability not in ("power", "process"):
            raise BadValue(f"durability must be 'power' or 'process', not {durability!r}")
        self._durability: Literal["power", "process"] = durability
        if continuations not in ("auto", "off"):
            raise BadValue(f"continuations must be 'auto' or 'off', not {continuations!r}")
        self._continuations = continuations
        self._works = work
        self._carried = carried
        self._create = create
        self._grace = nanoseconds(grace, "grace") / NANOSECONDS
        self._lease = check_lease(lease)
        self._clock = clock
        self._client: Client | None = None
        self._scheduler: Scheduler | None = None
        self._failure: Exception | None = None
        self.cancels_host = True
        """Whether a failure of the engine cancels the block that it is used in; if not it is raised at its end."""
        self.when_given_up: Callable[[], object] = lambda: None
        """Called, on another thread, when a run holds up the loop and others go on with what this engine had."""

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
        """See :meth:`continuum.client.Client.start`."""
        return await self.client.start(invocation, id, queue, priority, delay, timeout)

    def run(self, id: str) -> AsyncRun[Any]:
        """See :meth:`continuum.client.Client.run`."""
        return self.client.run(id)

    async def runs(
        self, *, status: str | None = None, workflow: str | Workflow[..., Any] | None = None, limit: int | None = None
    ) -> list[AsyncRun[Any]]:
        """See :meth:`continuum.client.Client.runs`."""
        return await self.client.runs(status=status, workflow=workflow, limit=limit)

    async def until_idle(self) -> None:
        """Return when nothing can be done now: every run has ended, waits, or is for another worker."""
        client = self.client
        client.check()
        if self._scheduler is not None:
            await self._scheduler.until_idle()
            client.check()

    @property
    def client(self) -> Client:
        """The client of an engine that is open. Raises StoreClosed."""
        if self._client is None:
            raise StoreClosed("the engine is not open; use it in a block: `with Engine(...) as engine:`")
        return self._client

    # Opening and closing

    async def __aenter__(self) -> Self:
        if self._client is not None:
            raise BadValue("the engine is open already")
        self._failure = None  # of an earlier use
        async with AsyncExitStack() as stack:
            opened = ExitStack()  # closed last, in one call, whatever has become of the rest
            stack.push_async_callback(on_thread, opened.close)
            store = await on_thread(partial(self._open_store, opened))
            await checkpoint()  # a scope that was cancelled meanwhile
            client = self._make_client(store)
            client.mailbox.bind()
            opened.callback(client.committer.close)
            opened.callback(store.watch(lambda: client.mailbox.post(self._on_change)).close)
            group = anyio.create_task_group()
            await stack.enter_async_context(_Unwrapped(group))
            self._client = client
            self._background_scope = anyio.CancelScope()
            group.start_soon(self._background, client, name="continuum")
            stack.push_async_exit(self._leave)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        handled = await self._stack.__aexit__(kind, error, trace)
        if error is None and self._failure is not None:
            raise self._failure
        return handled

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let the background task end: at once after an error, else when steps in flight had their time."""
        client, self._client = self.client, None
        group_ends_by_itself = False
        with anyio.CancelScope(shield=True):
            if self._scheduler is not None and not client.failed:
                await self._scheduler.stop(self._grace if kind is None else 0.0)
                group_ends_by_itself = True
        if not group_ends_by_itself:
            self._background_scope.cancel()

    async def _background(self, client: Client) -> None:
        with self._background_scope:
            try:
                await (client.pump() if self._scheduler is None else self._scheduler.run())
                client.fail(StoreClosed(f"the engine on {client.location} was closed"))
            except BaseException as error:
                if isinstance(error, Exception):
                    logger.error("the engine on %s has stopped: %s", client.location, error)
                client.fail(error if isinstance(error, Exception) else StoreClosed("the engine is closed"))
                if self.cancels_host or not isinstance(error, Exception):
                    raise
                self._failure = error

    def _open_store(self, opened: ExitStack) -> Store:
        """Open the store, and register the worker; `opened` undoes both."""
        store = open_store(self._where, durability=self._durability, create=self._create)
        opened.callback(store.close)
        if self._works:
            self._registration = Registration(store, Ledger(self._codec), self._queues, self._clock())
            opened.callback(self._registration.end)
            self._registration.begin()
        return store

    def _make_client(self, store: Store) -> Client:
        ledger = Ledger(self._codec)
        client = Client(
            store, ledger, self.registry, clock=self._clock, works=self._works, default_queue=self._queues[0]
        )
        if self._works:
            self._scheduler = Scheduler(
                store,
                client.committer,
                client.mailbox,
                ledger,
                self.registry,
                queues=self._queues,
                concurrency=self._concurrency,
                carried=self._carried,
                registration=self._registration,
                lease=self._lease,
                clock=self._clock,
                stamps=client.stamps,
                continuations=self._continuations == "auto",
                settled=client.settled,
                given_up=lambda: self.when_given_up(),
            )
            client.worker = self._scheduler
        return client

    def _on_change(self) -> None:
        if self._client is not None:
            self._client.look_for_ends()
            self._client.poke()


class _Unwrapped:
    """A task group whose errors are raised as they are, where there is one of them."""

    def __init__(self, group: anyio.abc.TaskGroup) -> None:
        self._group = group

    async def __aenter__(self) -> None:
        await self._group.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            for each in group.exceptions:
                if isinstance(each, KeyboardInterrupt | SystemExit) and each is not error:
                    raise each from None  # not what came of it: under trio Ctrl-C may strike in the engine's task
            if any(each is error for each in group.exceptions):
                return False  # the block's own error matters to who wrote it; ours has been logged
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from group.exceptions[0].__cause__
