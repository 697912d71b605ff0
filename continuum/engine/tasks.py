"""A pool of tasks for what is awaited on the loop: making a task and its scope costs more than most waits.

A task takes jobs from a line one after the other. One that suspends holds its task meanwhile, so before
each job there is seen to it that another task will look at the line: at most one is on its way at any
moment, which costs a burst of jobs that never suspend one switch in all.

A job is given its task's cancel scope, and gives it back with no deadline. Whoever cancels it ends the
task with the job; the next job gets another one. So does a job after one that has changed the task's context variables.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Final, Generic, TypeVar

import anyio
from anyio.abc import TaskGroup

__all__ = ["Tasks"]

J = TypeVar("J")

_IDLE: Final = 100  # tasks that are kept for later


class Tasks(Generic[J]):
    """Runs jobs by ``await run(job, scope)``, which lets the cancellation of the scope pass."""

    def __init__(self, run: Callable[[J, anyio.CancelScope], Awaitable[None]]) -> None:
        self._run = run
        self._line: deque[J] = deque()
        self._resting: list[anyio.Event] = []
        self._coming = False  # a task is on its way to the line

    def submit(self, group: TaskGroup, job: J) -> None:
        """Put a job in line, to be run in a task of the group."""
        self._group = group
        self._line.append(job)
        if not self._coming:
            self._call()

    def _call(self) -> None:
        """Have a task look at the line."""
        self._coming = True
        if self._resting:
            self._resting.pop().set()
        else:
            self._group.start_soon(self._work, name="continuum step")

    async def _work(self) -> None:
        usual, run = copy_context(), self._run
        self._coming = False
        with anyio.CancelScope() as scope:
            while len(self._resting) < _IDLE:
                while self._line:
                    job = self._line.popleft()
                    if self._line and not self._coming:
                        self._call()
                    await run(job, scope)
                    if scope.cancel_called or copy_context() != usual:
                        return self._pass_on()
                await self._rest()
        return self._pass_on()

    def _pass_on(self) -> None:
        if self._line and not self._coming:
            self._call()

    async def _rest(self) -> None:
        called = anyio.Event()
        self._resting.append(called)
        await called.wait()
        self._coming = False
