"""``continuum run --processes N``: a parent that has N workers on one store, since one interpreter is one core.

The workers are processes of the same command. Each ends in good order when its standard input ends: so
all of them are asked to at once, on any operating system, and they do it also when the parent dies. They are
in sessions of their own, so that Ctrl-C on a terminal reaches the parent alone.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import anyio
from anyio.abc import Process

from continuum.cli import output
from continuum.cli.exits import OK
from continuum.cli.options import STORE_VARIABLE
from continuum.cli.signals import Signals

__all__ = ["supervise", "worker_command"]

SHORTEST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
"""Seconds before another worker takes the place of one that has died: doubled from time to time."""

STEADY: Final = 60.0
"""A worker that has lived for so many seconds did not die of how it was started."""


async def supervise(command: Sequence[str], store: str, processes: int, *, until_idle: bool) -> int:
    """Have so many processes of that command at work on the store until a signal comes, and give the exit code."""
    pool = _Pool(command, store, until_idle=until_idle)
    with Signals(pool.abort) as signals:
        async with anyio.create_task_group() as group:
            for _ in range(processes):
                group.start_soon(pool.keep_one)
            await _until_stopped(pool, signals, processes)
    return 128 + signals.first if signals.first == signal.SIGINT else OK


async def _until_stopped(pool: _Pool, signals: Signals, processes: int) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(pool.wait_until_idle, processes, signals.came)
        await signals.came.wait()
        group.cancel_scope.cancel()
    if signals.first is not None:
        output.note("stopping: steps in flight may end; a second signal stops at once")
    await pool.stop()


class _Pool:
    def __init__(self, command: Sequence[str], store: str, *, until_idle: bool) -> None:
        self._command = command
        self._environment = {**os.environ, STORE_VARIABLE: store}
        self._until_idle = until_idle
        self._processes: set[Process] = set()
        self._stopping = anyio.Event()
        self._idle = anyio.Semaphore(0)

    async def keep_one(self) -> None:
        """Have one worker, and another one when it has died."""
        pause = SHORTEST_PAUSE
        while not self._stopping.is_set():
            began = anyio.current_time()
            process = await self._start()
            code = await process.wait()
            self._processes.discard(process)
            await process.aclose()
            if self._stopping.is_set():
                return
            if self._until_idle and code == OK:
                self._idle.release()
                return
            pause = SHORTEST_PAUSE if anyio.current_time() - began > STEADY else pause
            output.note(f"worker process {process.pid} ended with {_cause(code)}; another one starts in {pause:g} s")
            with anyio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _start(self) -> Process:
        start = partial(anyio.open_process, stdin=subprocess.PIPE, stdout=None, stderr=None, start_new_session=True)
        process = await start(list(self._command), env=self._environment)
        self._processes.add(process)
        if self._stopping.is_set():
            await _ask_to_end(process)
        return process

    async def wait_until_idle(self, processes: int, idle: anyio.Event) -> None:
        """Set that event when all workers have ended since there was nothing to do."""
        for _ in range(processes):
            await self._idle.acquire()
        idle.set()

    async def stop(self) -> None:
        """Ask all to end."""
        self._stopping.set()
        for process in list(self._processes):
            await _ask_to_end(process)

    def abort(self) -> None:
        """End all at once."""
        for process in list(self._processes):
            with suppress(ProcessLookupError):
                process.kill()


async def _ask_to_end(process: Process) -> None:
    assert process.stdin is not None, "it was started with a pipe"
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
        await process.stdin.aclose()


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def worker_command(targets: Sequence[str], options: Sequence[str]) -> list[str]:
    """The command of one worker: this program, by this interpreter.

    The store is told by the environment: its URL may hold a password, and everybody may see commands.
    """
    return [sys.executable, "-m", "continuum", "run", *options, "--supervised", "--", *targets]
