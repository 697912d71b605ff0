"""Performing steps: on the loop, on threads, in processes, a bounded number at a time.

A step that is taken on is a *flight*. It takes off at once or waits in a queue for a place; its outcome is
posted when it lands. All bookkeeping happens on the loop: threads only run the function, encode what
it gave and put both into a mailbox, which is emptied in batches by the one task that also watches the
timeouts of what cannot be cancelled from inside.

Who is cancelled or timed out is *over*: nothing it still brings is posted. A step on the loop keeps its
place until it has cleaned up; a thread cannot be stopped, so it is abandoned and its place given
away; a process is killed.

Nothing here decides whether a step is to be run, or tried again. Where threads and processes come from:
:mod:`continuum.engine.threads`, :mod:`continuum.engine.processes`.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Literal, Self

import anyio
from anyio.abc import TaskGroup
from anyio.to_thread import run_sync

from continuum.engine.calling import Codec, call, is_async, result_name
from continuum.engine.deadlines import Deadlines
from continuum.engine.processes import Call, Processes
from continuum.engine.tasks import Tasks
from continuum.engine.threads import Threads
from continuum.errors import StepTimeout
from continuum.journal import Outcome, record
from continuum.mailbox import Mailbox

__all__ = ["Codec", "Performer", "Task"]


@record
class Task:
    """A step to be performed. Without an `executor` async functions run on the loop, others on a thread.

    `key` is unique among those in hand; `timeout` is in seconds.
    """

    key: Hashable
    fn: Callable[..., Any]
    args: tuple[Any, ...] = ()
    executor: Literal["thread", "inline", "process"] | None = None
    timeout: float | None = None
    name: str = "step"


class _Flight:
    __slots__ = ("call", "over", "scope", "task", "threaded")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.over = False
        self.threaded = False
        self.call: Call | None = None  # of one whose thread talks to a process
        self.scope: anyio.CancelScope | None = None  # of one on the loop


class Performer:
    """Performs tasks and posts their outcomes; use it as an async context manager.

    `post(key, outcome)` is called on the loop. All methods are for the loop's thread.
    """

    def __init__(self, post: Callable[[Hashable, Outcome], None], codec: Codec, *, concurrency: int) -> None:
        self._post = post
        self._codec = codec
        self._concurrency = concurrency
        self._flights: dict[Hashable, _Flight] = {}
        self._queue: deque[_Flight] = deque()
        self._in_flight = 0
        self._taking = True
        self._empty: anyio.Event | None = None
        self._landed: Mailbox[tuple[_Flight, Outcome | None]] = Mailbox()
        self._deadlines: Deadlines[_Flight] = Deadlines()
        self._tasks: Tasks[tuple[_Flight, Awaitable[Any] | None]] = Tasks(self._run_on_loop)
        self._threads: Threads[_Flight] = Threads(self._run_off_loop, concurrency)
        self._processes = Processes(codec)
        self._group: TaskGroup

    @property
    def in_flight(self) -> int:
        """How many steps hold a place. An abandoned thread holds none."""
        return self._in_flight

    async def __aenter__(self) -> Self:
        self._landed.bind()
        self._group = anyio.create_task_group()
        await self._group.__aenter__()
        self._group.start_soon(self._land, name="continuum steps")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._taking = False
        self._cancel_all()
        self._group.cancel_scope.cancel()
        try:
            # The group is not told of the body's error, which goes on by itself and not in an ExceptionGroup.
            await self._group.__aexit__(None, None, None)
        finally:
            self._threads.close()
            with anyio.CancelScope(shield=True):
                await run_sync(self._processes.close)

    def perform(self, task: Task) -> None:
        """Start the task, or queue it if `concurrency` steps are in flight."""
        assert task.key not in self._flights, f"step {task.key!r} is in hand already"
        flight = self._flights[task.key] = _Flight(task)
        self._queue.append(flight)
        self._fill()

    def cancel(self, key: Hashable) -> None:
        """Stop that step as far as it can be stopped. Its outcome is never posted."""
        flight = self._flights.pop(key, None)
        if flight is None:
            return
        flight.over = True
        if flight.scope is not None:
            flight.scope.cancel()
        elif flight.threaded:
            self._abandon(flight)

    async def drain(self, grace: float) -> bool:
        """Start nothing more and let what is in flight land; True if all of it did.

        What has not landed after `grace` seconds is cancelled; what was queued is dropped. Neither
        is posted: whoever starts next performs it.
        """
        self._taking = False
        with anyio.move_on_after(grace):
            while self._in_flight:
                self._empty = anyio.Event()
                await self._empty.wait()
        all_landed = self._in_flight == 0
        self._cancel_all()
        return all_landed

    def _cancel_all(self) -> None:
        for key in list(self._flights):
            self.cancel(key)
        self._queue.clear()

    # Taking off

    def _fill(self) -> None:
        while self._queue and self._taking and self._in_flight < self._concurrency:
            flight = self._queue.popleft()
            if not flight.over:
                self._take_off(flight)

    def _take_off(self, flight: _Flight) -> None:
        task = flight.task
        if task.executor in (None, "inline") and is_async(task.fn):
            self._start_on_loop(flight)
        elif task.executor == "inline":
            self._run_inline(flight)
        else:
            self._start_on_thread(flight)

    def _start_on_loop(self, flight: _Flight, awaitable: Awaitable[Any] | None = None) -> None:
        self._in_flight += 1
        self._tasks.submit(self._group, (flight, awaitable))

    def _start_on_thread(self, flight: _Flight) -> None:
        task = flight.task
        self._in_flight += 1
        flight.threaded = True
        if task.executor == "process":
            flight.call = Call()
        if task.timeout is not None and self._deadlines.add(flight, anyio.current_time() + task.timeout):
            self._landed.wake()
        self._threads.submit(flight)

    # Running

    def _run_inline(self, flight: _Flight) -> None:
        task = flight.task
        try:
            value = task.fn(*task.args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._settle(flight, self._codec.failure(error))
        else:
            if isinstance(value, Awaitable):
                self._start_on_loop(flight, value)
            else:
                self._settle(flight, self._codec.outcome(value, result_name(task.name)))

    def _run_off_loop(self, flight: _Flight) -> None:
        """On a thread: run what is still wanted, and come back in any case."""
        task = flight.task
        outcome = None
        if flight.over:
            pass
        elif flight.call is not None:
            outcome = self._processes.perform(flight.call, task.name, task.fn, task.args)
        else:
            outcome = call(self._codec, task.name, task.fn, task.args)
        self._landed.post((flight, outcome))

    async def _run_on_loop(self, job: tuple[_Flight, Awaitable[Any] | None], scope: anyio.CancelScope) -> None:
        flight, awaitable = job
        outcome: Outcome | None = None
        try:
            if not flight.over:
                outcome = await self._await_step(flight, awaitable, scope)
            elif isinstance(awaitable, Coroutine):
                awaitable.close()
        finally:
            if outcome is not None and not flight.over:
                self._settle(flight, outcome)
            self._release()

    async def _await_step(
        self, flight: _Flight, awaitable: Awaitable[Any] | None, scope: anyio.CancelScope
    ) -> Outcome | None:
        """What the step came to; None if it was cancelled, by itself or with its host."""
        task = flight.task
        flight.scope = scope
        if task.timeout is not None:
            scope.deadline = anyio.current_time() + task.timeout
        try:
            value = await (task.fn(*task.args) if awaitable is None else awaitable)
            return self._codec.outcome(value, result_name(task.name))
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            if not scope.cancel_called and _host_is_ending(error):
                if cancelled:
                    raise
                return None
            if cancelled and scope.cancel_called:
                if not flight.over:
                    self._settle(flight, self._timed_out(task))
                raise
            return self._codec.failure(error)

    # Landing

    async def _land(self) -> None:
        while True:
            await self._landed.wait(self._deadlines.seconds_left())
            for flight, outcome in self._landed.drain():
                self._come_back(flight, outcome)
            for flight in self._deadlines.take_passed():
                self._settle(flight, self._timed_out(flight.task))
                self._abandon(flight)

    def _come_back(self, flight: _Flight, outcome: Outcome | None) -> None:
        if flight.over:
            self._threads.rejoin()
            return
        assert outcome is not None, "only what is over comes back with nothing"
        self._threads.done()
        self._deadlines.discard(flight)
        self._settle(flight, outcome)
        self._release()

    def _abandon(self, flight: _Flight) -> None:
        if flight.call is not None:
            flight.call.kill()
        self._deadlines.discard(flight)
        self._threads.abandon()
        self._release()

    def _settle(self, flight: _Flight, outcome: Outcome) -> None:
        flight.over = True
        del self._flights[flight.task.key]
        self._post(flight.task.key, outcome)

    def _release(self) -> None:
        self._in_flight -= 1
        self._fill()
        if self._empty is not None and not self._in_flight:
            self._empty.set()

    def _timed_out(self, task: Task) -> Outcome:
        return self._codec.failure(StepTimeout(f"step {task.name!r} took longer than {task.timeout:g} seconds"))


def _host_is_ending(error: BaseException) -> bool:
    """Did this error come of the host's cancellation, and not from the step itself?

    A step may let out a stray CancelledError, of a task that it had cancelled: that is its own.
    """
    if anyio.current_effective_deadline() == -math.inf:
        return True
    if isinstance(error, Exception) or anyio.get_cancelled_exc_class() is not asyncio.CancelledError:
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
