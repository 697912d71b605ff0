"""A pool of plain threads for steps, fed by one line.

Threads are daemons, made when needed, and reused. One that is stuck in a step is simply not there: another
takes its place, and the interpreter's exit never waits for it.

Waking a thread costs more than most steps, and many that are awake take the interpreter from each other. So
jobs are put in line first and begun together, and at most one thread is on its way to the line at any moment:
before a thread begins a job it calls another one, if there is more, and after it takes the next job itself.
Steps that wait all run side by side, and a burst of steps that never wait is done by one thread or two.

It knows nothing of steps: a job is whatever `run` takes, and `run` must not raise. How many jobs there are at
a time is for the owner to bound.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from itertools import count
from typing import Generic, TypeVar

__all__ = ["Threads"]

J = TypeVar("J")


class Threads(Generic[J]):
    """Threads that run jobs, as many as it takes; at most `keep` of them wait for more."""

    def __init__(self, run: Callable[[J], None], keep: int) -> None:
        self._run = run
        self._keep = keep
        self._line: deque[J] = deque()
        self._resting: list[threading.Lock] = []  # of each thread that waits one, held until it is called
        self._coming = False  # a thread is on its way to the line
        self._begun = threading.Event()  # all jobs in line are, since it was cleared
        self._numbers = count(1)
        self._closed = False

    def submit(self, job: J) -> bool:
        """Put a job in line, for a thread to call `run(job)` after :meth:`begin`. True if it is the first there."""
        self._line.append(job)
        return len(self._line) == 1

    def begin(self, give_way: float = 0.0) -> None:
        """See to it that the jobs in line are begun.

        A caller that goes on with work in Python would be in the threads' way, and they in the caller's: it may
        `give_way` until all are begun, so many seconds at most. It takes as long only where jobs keep the
        interpreter.
        """
        waiting = len(self._line)
        self._begun.clear()
        if waiting and not self._coming:
            self._call()
        if waiting > 1 and give_way:
            self._begun.wait(give_way)

    def close(self) -> None:
        """End every thread: those that wait now, the others when there is nothing left to do for them."""
        self._closed = True
        while self._resting:
            with suppress(IndexError):  # it was called at this moment
                self._resting.pop().release()

    def _call(self) -> None:
        self._coming = True
        try:
            called = self._resting.pop()
        except IndexError:
            self._start()
        else:
            called.release()

    def _start(self) -> None:
        name = f"continuum-step-{next(self._numbers)}"
        try:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        except RuntimeError:  # there are too many
            self._coming = False
            raise

    def _work(self) -> None:
        called = threading.Lock()
        called.acquire()
        while True:
            self._coming = False  # before it looks: who adds to the line from now on calls again
            self._work_off()
            if self._closed or len(self._resting) >= self._keep:
                return
            self._resting.append(called)
            if not self._closed:  # else nobody may have seen it there
                called.acquire()

    def _work_off(self) -> None:
        line, run = self._line, self._run
        while line:
            try:
                job = line.popleft()
            except IndexError:  # another thread was faster
                break
            if not line:
                self._begun.set()
            elif not self._coming:
                with suppress(RuntimeError):  # then the next one, too, is done by this thread
                    self._call()
            # A copy, so that what a step sets in its context does not reach the next one.
            copy_context().run(run, job)
            del job  # an idle thread must not keep a step's arguments alive
