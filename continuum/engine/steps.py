"""Performing steps: on the loop, on threads, in processes, a bounded number at a time.

A step takes off at once or waits for a place, for which runs take turns; its outcome is
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
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import Any, Final, Generic, Literal, Self, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup

from continuum.context import Context, enter, leave
from continuum.engine.calling import Codec, call, is_async, is_awaitable
from continuum.engine.deadlines import Deadlines
from continuum.engine.processes import Call, Processes
from continuum.engine.tasks import Tasks
from continuum.engine.threads import Threads
from continuum.engine.turns import Turns
from continuum.errors import StepTimeout
from continuum.journal import Outcome
from continuum.mailbox import Mailbox
from continuum.offloop import on_thread

__all__ = ["Codec", "Performer", "Task"]

GIVE_WAY: Final = 0.001
"""Seconds for which the loop lets threads begin what is in line, at the most, before it goes on beside them."""

Executor: TypeAlias = Literal["thread", "inline", "process"]


T = TypeVar("T", bound="Task")


class Task:
    """A step to be performed. Without an `executor` async functions run on the loop, others on a thread.

    Those of one `owner` begin in order, and owners take turns; among them `key` is unique. `timeout` is in seconds.
    """

    __slots__ = ("args", "awaitable", "call", "executor", "fn", "key", "name", "over", "owner", "scope", "threaded",
                 "timeout")  # fmt: skip

    def __init__(
        self,
        key: Hashable,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        executor: Executor | None = None,
        timeout: float | None = None,
        name: str = "step",
        owner: Hashable = None,
    ) -> None:
        self.key = key
        self.fn = fn
        self.args = args
        self.executor = executor
        self.timeout = timeout
        self.name = name
        self.owner = owner
        # What has become of it; for the performer alone.
        self.over = False
        self.threaded = False
        self.call: Call | None = None  # of one whose thread talks to a process
        self.scope: anyio.CancelScope | None = None  # of one on the loop
        self.awaitable: Awaitable[Any] | None = None  # what an inline function returned

    def context(self) -> Context:
        """What the step can know of itself."""
        return Context("", "")


class Performer(Generic[T]):
    """Performs tasks and posts their outcomes; use it as an async context manager.

    `post(task, outcome)` is called on the loop. All methods are for the loop's thread.
    """

    def __init__(self, post: Callable[[T, Outcome], None], codec: Codec, *, concurrency: int) -> None:
        self._post = post
        self._codec = codec
        self._concurrency = concurrency
        self._in_hand: dict[tuple[Hashable, Hashable], T] = {}
        self._queue: Turns[T] = Turns()
        self._in_flight = 0
        self._taking = True
        self._empty: anyio.Event | None = None
        self._landed: Mailbox[tuple[T, Outcome | None]] = Mailbox()
        self._deadlines: Deadlines[T] = Deadlines()
        self._tasks: Tasks[T] = Tasks(self._run_on_loop)
        self._threads: Threads[T] = Threads(self._run_off_loop, concurrency)
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
            await on_thread(self._processes.close)

    def perform(self, task: T) -> None:
        """Start the task, or queue it if `concurrency` steps are in flight."""
        if self._in_flight >= self._concurrency or not self._taking:  # else none is in line
            self._keep_in_hand(task)
            self._queue.add(task.owner, task)
        elif task.executor == "inline":
            self._run_inline(task)
        elif task.executor is None and is_async(task.fn):
            self._start_on_loop(task)
        else:
            self._start_on_thread(task)

    def cancel(self, owner: Hashable, key: Hashable) -> None:
        """Stop that step as far as it can be stopped. Its outcome is never posted."""
        task = self._in_hand.pop((owner, key), None)
        if task is None:
            return
        task.over = True
        if task.scope is not None:
            task.scope.cancel()
        elif task.threaded:
            self._abandon(task)

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
        for owner, key in list(self._in_hand):
            self.cancel(owner, key)
        self._queue.clear()

    # Taking off

    def _fill(self) -> None:
        while self._queue.next and self._taking and self._in_flight < self._concurrency:
            task = self._queue.take()
            if not task.over:
                del self._in_hand[task.owner, task.key]
                self.perform(task)

    def _keep_in_hand(self, task: T) -> None:
        """Have it found by who wants to cancel it; nobody can while an inline step runs."""
        place = task.owner, task.key
        assert place not in self._in_hand, f"step {task.key!r} is in hand already"
        self._in_hand[place] = task

    def _start_on_loop(self, task: T) -> None:
        self._keep_in_hand(task)
        self._in_flight += 1
        self._tasks.submit(self._group, task)

    def _start_on_thread(self, task: T) -> None:
        self._keep_in_hand(task)
        self._in_flight += 1
        task.threaded = True
        if task.executor == "process":
            task.call = Call()
        sooner = task.timeout is not None and self._deadlines.add(task, anyio.current_time() + task.timeout)
        if self._threads.submit(task) or sooner:
            self._landed.wake()

    # Running

    def _run_inline(self, task: T) -> None:
        token = enter(task.context)
        try:
            value = task.fn(*task.args)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._post(task, self._codec.failure(error))
        else:
            if is_awaitable(value):
                task.awaitable = value
                self._start_on_loop(task)
            else:
                self._post(task, self._codec.result(value, task.name))
        finally:
            leave(token)

    def _run_off_loop(self, task: T) -> None:
        """On a thread: run what is still wanted, and come back in any case."""
        outcome = None
        if task.over:
            pass
        elif task.call is not None:
            outcome = self._processes.perform(task.call, task.name, task.fn, task.args, task.context())
        else:
            enter(task.context)  # the thread has a context of its own for each job
            outcome = call(self._codec, task.name, task.fn, task.args)
        self._landed.post((task, outcome))

    async def _run_on_loop(self, task: T, scope: anyio.CancelScope) -> None:
        outcome: Outcome | None
        try:
            if task.over:  # it was cancelled in line
                if isinstance(task.awaitable, Coroutine):
                    task.awaitable.close()
                return
            task.scope = scope
            if task.timeout is not None:
                scope.deadline = anyio.current_time() + task.timeout
            token = enter(task.context)
            try:
                value = await (task.fn(*task.args) if task.awaitable is None else task.awaitable)
                outcome = self._codec.result(value, task.name)
            except (KeyboardInterrupt, GeneratorExit):
                raise
            except BaseException as error:
                outcome = self._failed_on_loop(task, scope, error)
            leave(token)  # a task whose context was changed would not be used again
            if outcome is not None and not task.over:
                self._settle(task, outcome)
        finally:
            if task.timeout is not None:
                scope.deadline = math.inf
            self._release()

    def _failed_on_loop(self, task: T, scope: anyio.CancelScope, error: BaseException) -> Outcome | None:
        """What an error comes to; None if the step ends with its host. Raises it where it is the cancellation."""
        cancelled = isinstance(error, anyio.get_cancelled_exc_class())
        if not scope.cancel_called and _host_is_ending(error):
            if cancelled:
                raise error
            return None
        if cancelled and scope.cancel_called:
            if not task.over:
                self._settle(task, self._timed_out(task))
            raise error
        return self._codec.failure(error)

    # Landing

    async def _land(self) -> None:
        while True:
            await self._landed.wait(self._deadlines.seconds_left())
            self._threads.begin(GIVE_WAY)
            for task, outcome in self._landed.drain():
                self._come_back(task, outcome)
            for task in self._deadlines.take_passed():
                self._settle(task, self._timed_out(task))
                self._abandon(task)

    def _come_back(self, task: T, outcome: Outcome | None) -> None:
        if not task.over:
            assert outcome is not None, "only what is over comes back with nothing"
            if task.timeout is not None:
                self._deadlines.discard(task)
            self._settle(task, outcome)
            self._release()

    def _abandon(self, task: T) -> None:
        if task.call is not None:
            task.call.kill()
        self._deadlines.discard(task)
        self._release()

    def _settle(self, task: T, outcome: Outcome) -> None:
        task.over = True
        del self._in_hand[task.owner, task.key]
        self._post(task, outcome)

    def _release(self) -> None:
        self._in_flight -= 1
        if self._queue.next:
            self._fill()
        if self._empty is not None and not self._in_flight:
            self._empty.set()

    def _timed_out(self, task: T) -> Outcome:
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
