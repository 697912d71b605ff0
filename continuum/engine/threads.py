"""A pool of plain threads for steps, fed by one queue.

Threads are daemons, made when needed, and reused. One that is stuck in a step can be *abandoned*:
another takes its place, and the interpreter's exit never waits for it. When it comes back after all it
rejoins, and if that makes one too many, some thread is let go.

All counting is done by the owner, on one thread; the workers themselves count nothing, so there is
no lock and no race. It knows nothing of steps: a job is whatever `run` takes, and `run` must not raise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Generic, TypeVar

__all__ = ["Threads"]

J = TypeVar("J")


class Threads(Generic[J]):
    """At most `size` threads that run jobs, those that were abandoned not counted."""

    def __init__(self, run: Callable[[J], None], size: int) -> None:
        self._run = run
        self._size = size
        self._jobs: SimpleQueue[J | None] = SimpleQueue()
        self._busy = 0
        self._members = 0
        self._living = 0
        self._started = 0

    def submit(self, job: J) -> None:
        """Have `run(job)` called on a thread; a free one is there or is made."""
        self._busy += 1
        if self._busy > self._members:
            self._grow()
        self._jobs.put(job)

    def done(self) -> None:
        """A job came back; its thread is free."""
        self._busy -= 1

    def abandon(self) -> None:
        """Count a busy thread as lost."""
        self._busy -= 1
        self._members -= 1

    def rejoin(self) -> None:
        """A thread that was abandoned has come back."""
        self._members += 1
        if self._members > self._size:
            self._let_go()

    def close(self) -> None:
        """End every thread: the free ones now, the others when their job is done."""
        for _ in range(self._living):
            self._let_go()

    def _grow(self) -> None:
        assert self._busy <= self._size, "more jobs than the pool has room for"
        self._started += 1
        self._members += 1
        self._living += 1
        name = f"continuum-step-{self._started}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _let_go(self) -> None:
        self._members -= 1
        self._living -= 1
        self._jobs.put(None)

    def _work(self) -> None:
        get, run = self._jobs.get, self._run
        while (job := get()) is not None:
            # A copy, so that what a step sets in its context does not reach the next one.
            copy_context().run(run, job)
            del job  # an idle thread must not keep a step's arguments alive
