"""Steps in worker processes, which can be killed, and may crash, without harm to the host.

A worker is a new interpreter, started as a command: nothing is forked from a process with threads, and
`__main__` is not imported again. It is reused for one step after the other; a thread of the pool
talks to it and waits. Functions and arguments travel by cloudpickle, those of `__main__` by value; on
the way back cloudpickle finds the classes that it sent, so that they are the same ones.

What runs at the other end is :mod:`continuum.engine.process_main`.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import cloudpickle

from continuum.context import Context
from continuum.engine.calling import Codec
from continuum.engine.process_main import read_message, write_message
from continuum.errors import StepCrashed, UnpicklableValue
from continuum.journal import Outcome

__all__ = ["Call", "Processes"]

PATIENCE: Final = 1.0  # seconds that a worker has to end by itself
STDERR: Final = 2

# Ctrl-C, and Ctrl-Break on Windows, reach the whole terminal; what becomes of a step is for the parent to decide.
BOOT: Final = """\
import signal, sys
for name in ("SIGINT", "SIGBREAK"):
    if hasattr(signal, name):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
sys.path[:] = {path!r}
from continuum.engine.process_main import main
main({shown})
"""


class Worker:
    """One process and the pipes to it."""

    def __init__(self, codec: bytes) -> None:
        shown = _shown()
        boot = BOOT.format(path=sys.path, shown=shown)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-c", boot],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[shown] if shown != STDERR else [],
            )
        finally:
            if shown != STDERR:
                os.close(shown)
        assert self._process.stdin is not None, "asked for above"
        assert self._process.stdout is not None, "asked for above"
        self._requests, self._replies = self._process.stdin, self._process.stdout
        with suppress(OSError):  # then it is found dead at the first request
            write_message(self._requests, codec)

    def ask(self, request: bytes) -> bytes | None:
        """The reply, or None if the process is gone."""
        try:
            write_message(self._requests, request)
        except OSError:
            return None
        return read_message(self._replies)

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """From any thread, at any time."""
        self._process.kill()

    def dismiss(self) -> None:
        """Let it end by itself; to be called by whoever talks to it."""
        with suppress(OSError):  # it did not read to the end
            self._requests.close()
        self._replies.close()

    def reap(self) -> int:
        """Wait for the end of a worker that was dismissed, and give its exit code."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Call:
    """One step's use of a worker. It can be killed from another thread at any moment.

    The lock sees to it that a kill meets the worker while it works for this step, and never after.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._killed = False

    def begin(self, worker: Worker) -> None:
        with self._lock:
            self._worker = worker
            if self._killed:
                worker.kill()

    def end(self) -> None:
        with self._lock:
            self._worker = None

    def kill(self) -> None:
        with self._lock:
            self._killed = True
            if self._worker is not None:
                self._worker.kill()

    @property
    def killed(self) -> bool:
        return self._killed


class Processes:
    """Worker processes, as many as there are calls at a time; idle ones are kept up to the cpu count."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._room = os.cpu_count() or 1
        self._idle: list[Worker] = []
        self._leaving: list[Worker] = []
        self._calls = 0
        self._changed = threading.Condition()

    def perform(
        self, call: Call, name: str, fn: Callable[..., Any], args: tuple[Any, ...], context: Context
    ) -> Outcome:
        """Run a step in a worker, on a thread that can wait for it. Whatever goes wrong is its outcome."""
        try:
            request = _request(name, fn, args, context)
            with self._counted():
                failed, data = pickle.loads(self._exchange(call, name, request))
            if failed:
                return self._codec.failure(self._codec.decode_error(data))
            # Encoded again, since what went there by value has a name here.
            return self._codec.result(self._codec.decode(data), name)
        except BaseException as error:
            return self._codec.failure(error)

    def close(self) -> None:
        """End all workers and wait for it. The calls under way must have been killed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._calls, PATIENCE)
            for worker in self._idle:
                worker.dismiss()
            for worker in self._idle + self._leaving:
                worker.reap()
            self._idle, self._leaving = [], []

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._calls -= 1
                self._changed.notify_all()

    def _exchange(self, call: Call, name: str, request: bytes) -> bytes:
        worker = self._take()
        call.begin(worker)
        reply = worker.ask(request)
        call.end()
        if reply is None or call.killed:
            worker.dismiss()
            raise StepCrashed(f"the process of step {name!r} {_ending(worker.reap())}")
        self._give_back(worker)
        return reply

    def _take(self) -> Worker:
        with self._changed:
            while self._idle:
                worker = self._idle.pop()
                if worker.is_alive:
                    return worker
                worker.dismiss()
        return Worker(cloudpickle.dumps(self._codec))

    def _give_back(self, worker: Worker) -> None:
        with self._changed:
            if len(self._idle) < self._room:
                self._idle.append(worker)
            else:
                worker.dismiss()
                self._leaving.append(worker)
            self._leaving = [leaving for leaving in self._leaving if leaving.is_alive]


def _request(name: str, fn: Callable[..., Any], args: tuple[Any, ...], context: Context) -> bytes:
    try:
        body = cloudpickle.dumps((fn, args))
    except Exception as error:  # any code of the user's may run in a pickler
        raise UnpicklableValue(f"step {name!r} cannot be sent to a process: {error}") from error
    return pickle.dumps((name, context, body))


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:  # the real-time signals have no names
        return f"was killed by signal {-code}"


def _shown() -> int:
    """A descriptor that shows what steps print, for a child: our standard output where that can be."""
    try:
        return os.dup(1) if os.name == "posix" else STDERR
    except OSError:  # a daemon may have closed it
        return STDERR
