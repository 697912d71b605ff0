"""A pool of plain threads for steps, fed by one line.

Threads are daemons, made when needed, and reused. One that is stuck in a step can be *abandoned*:
another takes its place, and the interpreter's exit never waits for it. When it comes back after all it
rejoins, and if that makes one too many, some thread is let go.

Waking a thread costs more than most steps, and many that are awake take the interpreter from each other. So
at most one is on its way to the line at any moment: before a thread begins a job it calls another one, if there
is more, and after it takes the next job itself. Steps that wait all run side by side, and a burst of
steps that never wait is done by one thread or two.

All counting is done by the owner, on one thread; the workers themselves count nothing, so there is
no lock and no race. It knows nothing of steps: a job is whatever `run` takes, and `run` must not raise.
"""

from __future__ import annotations

import threading
from collections import deque
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
        self._line: deque[J] = deque()
        self._calls: SimpleQueue[bool] = SimpleQueue()  # to the line; False lets the thread go that gets it
        self._coming = False  # a thread is on its way to the line
        self._busy = 0
        self._members = 0
        self._living = 0
        self._started = 0

    def submit(self, job: J) -> None:
        """Have `run(job)` called on a thread; a free one is there or is made."""
        self._busy += 1
        if self._busy > self._members:
            self._grow()
        self._line.append(job)
        if not self._coming:
            self._call()

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
        self._calls.put(False)

    def _call(self) -> None:
        self._coming = True
        self._calls.put(True)

    def _work(self) -> None:
        line, run = self._line, self._run
        while self._calls.get():
            self._coming = False  # before it looks: who adds to the line from now on calls again
            while line:
                try:
                    job = line.popleft()
                except IndexError:  # another thread was faster
                    break
                if line and not self._coming:
                    self._call()
                # A copy, so that what a step sets in its context does not reach the next one.
                copy_context().run(run, job)
                del job  # an idle thread must not keep a step's arguments alive
