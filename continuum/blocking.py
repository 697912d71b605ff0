"""Engine: the same engine for code without a loop, through a portal to a thread that has one."""

from __future__ import annotations

import inspect
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import ExitStack, contextmanager, suppress
from functools import update_wrapper
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from continuum.durations import Duration
from continuum.errors import ForkedStore, StoreClosed
from continuum.host import AsyncEngine
from continuum.runs import AsyncRun
from continuum.workflow import Invocation, Workflow

__all__ = ["Engine", "Run"]

P = ParamSpec("P")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

BACKEND = "asyncio"  # of the loop that nobody but the engine sees

# Windows lets no signal interrupt a wait: there Ctrl-C counts between one wait of so many seconds and the next.
SLICE: float | None = 0.2 if sys.platform == "win32" else None


def _blocking(
    method: Callable[Concatenate[AsyncRun[Any], P], Awaitable[T]],
) -> Callable[Concatenate[Run[Any], P], T]:
    """The method of an AsyncRun as one of Run, that waits for its end."""

    def wait(run: Run[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run._engine._wait(method, run._run, *args, **kwargs)

    return update_wrapper(wait, method)


def _made_like(
    model: Callable[P, AsyncEngine],
) -> Callable[[Callable[..., None]], Callable[Concatenate[Engine, P], None]]:
    """Give a constructor the parameters of another one."""

    def describe(constructor: Callable[..., None]) -> Callable[Concatenate[Engine, P], None]:
        constructor.__signature__ = inspect.signature(model.__init__)  # type: ignore[attr-defined]
        return constructor

    return describe


@contextmanager
def _portal() -> Iterator[BlockingPortal]:
    """A portal to a loop on a thread of its own. Ctrl-C ends it at any moment, while it opens too."""
    opened: Future[BlockingPortal] = Future()
    thread = threading.Thread(target=_serve, args=(opened,), name="continuum", daemon=True)
    try:
        thread.start()
        portal = opened.result()
    except BaseException:
        if not opened.cancel() and opened.exception() is None:
            _stop(opened.result(), cancel=True)
        raise
    cancel = True
    try:
        yield portal
        cancel = False
    finally:
        _end(portal, thread, cancel=cancel)


def _end(portal: BlockingPortal, thread: threading.Thread, *, cancel: bool) -> None:
    """Have a loop end, and wait for that; in a forked child there is none. The first Ctrl-C comes out behind that."""
    interrupted: KeyboardInterrupt | None = None
    while thread.is_alive():
        try:
            with suppress(RuntimeError):  # it has ended just now
                _stop(portal, cancel=cancel)
            thread.join()
        except KeyboardInterrupt as error:
            if interrupted is not None:
                raise
            interrupted, cancel = error, True  # it may have struck before the loop was told
    if interrupted is not None:
        raise interrupted


def _serve(opened: Future[BlockingPortal]) -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            if opened.set_running_or_notify_cancel():
                opened.set_result(portal)
                await portal.sleep_until_stopped()

    try:
        anyio.run(serve, backend=BACKEND)
    except BaseException as error:
        if opened.done():
            raise
        opened.set_exception(error)


def _stop(portal: BlockingPortal, *, cancel: bool) -> None:
    portal.start_task_soon(portal.stop, cancel)


class Run(Generic[T_co]):
    """A handle to one run, for code without a loop. See :class:`continuum.AsyncRun` for what may be raised."""

    def __init__(self, engine: Engine, run: AsyncRun[T_co]) -> None:
        self._engine = engine
        self._run = run
        self.id = run.id
        self.listed = run.listed

    def __repr__(self) -> str:
        return repr(self._run)

    def result(self, timeout: Duration | None = None) -> T_co:
        """Wait until the run has ended, and give its result; see :meth:`AsyncRun.result`."""
        return self._engine._wait(self._run.result, timeout)

    wait = _blocking(AsyncRun.wait)
    status = _blocking(AsyncRun.status)
    describe = _blocking(AsyncRun.describe)
    kept = _blocking(AsyncRun.kept)
    send = _blocking(AsyncRun.send)
    cancel = _blocking(AsyncRun.cancel)
    retry = _blocking(AsyncRun.retry)
    state = _blocking(AsyncRun.state)
    published = _blocking(AsyncRun.published)
    history = _blocking(AsyncRun.history)
    recorded = _blocking(AsyncRun.recorded)


class Engine:
    """Durable execution in a program without a loop: the scheduler has its own thread.

    The arguments, and what they raise, are those of :class:`continuum.AsyncEngine`. All methods may be
    called from any thread.

    >>> with Engine("./state", workflows=[order]) as engine:
    ...     run = engine.start(order("ord-1"), id="ord-1")
    ...     print(run.result(timeout=30))
    """

    @_made_like(AsyncEngine)
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._engine = AsyncEngine(*args, **kwargs)
        self._engine.cancels_host = False  # the block is on another thread
        self._portal: BlockingPortal | None = None
        self._pid = 0  # of the process that opened it
        self._stack = ExitStack()

    def start(
        self,
        invocation: Invocation[T],
        id: str | None = None,
        queue: str | None = None,
        priority: int = 0,
        delay: Duration | None = None,
        timeout: Duration | None = None,
    ) -> Run[T]:
        """Start a run, or give the one that has this id; see :meth:`continuum.client.Client.start`."""
        return Run(self, self._wait(self._engine.start, invocation, id, queue, priority, delay, timeout))

    def run(self, id: str) -> Run[Any]:
        """A handle to the run with that id. Raises InvalidId."""
        return Run(self, self._engine.run(id))

    def runs(
        self, *, status: str | None = None, workflow: str | Workflow[..., Any] | None = None, limit: int | None = None
    ) -> list[Run[Any]]:
        """The runs, newest first; of one status or one workflow, if they are given. Raises BadValue."""
        runs = self._wait(self._engine.runs, status=status, workflow=workflow, limit=limit)
        return [Run(self, run) for run in runs]

    def until_idle(self) -> None:
        """Return when nothing can be done now: every run has ended, waits, or is for another worker."""
        self._wait(self._engine.until_idle)

    def open(self) -> Self:
        """Open the store and start to work; for programs whose engine lives as long as they do."""
        with ExitStack() as stack:
            portal = stack.enter_context(_portal())
            stack.enter_context(portal.wrap_async_context_manager(self._engine))
            self._portal = portal
            self._pid = os.getpid()
            self._stack = stack.pop_all()
        return self

    def close(self) -> None:
        """Let steps in flight end, for a bounded time, and let go of the store."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._portal = None
        if self._pid != os.getpid():
            self._stack.pop_all()  # what a forked child inherited is its parent's to close
        return self._stack.__exit__(kind, error, trace)

    def _wait(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Have something done on the engine's loop, and wait for it. Ctrl-C ends the wait, not the run."""

        async def call() -> T:
            return await function(*args, **kwargs)

        portal = self._portal  # another thread may be closing the engine
        if portal is not None and self._pid != os.getpid():
            raise ForkedStore("the engine was opened before this process was forked; open one of its own here")
        try:
            future = None if portal is None else portal.start_task_soon(call)
        except RuntimeError:
            if self._portal is not None:
                raise
            future = None
        if future is None:
            raise StoreClosed("the engine is not open; use it in a block: `with Engine(...) as engine:`")
        try:
            while SLICE is not None and not future.done():
                wait_for((future,), SLICE)
            return future.result()
        except BaseException:
            future.cancel()
            raise
