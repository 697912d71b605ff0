"""Processes that are born grown up: Python has started and the package is imported, which is most of a short life.

A *nursery* is a process that imports the package and then waits, with one thread and nothing open. For each
process that a test wants it forks one, with the arguments, the directory, the environment and the standard
streams that the test says. That one goes on as if Python had been started with them, dies as any process does,
and shares nothing with another. A test that is about Python's start has it started, by :mod:`subprocess`.

As a program this is the nursery: it serves at the socket of that descriptor until nobody asks any more.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

import anyio

import continuum.cli.main

__all__ = ["Born", "Nursery", "nursery"]

ROOT = Path(continuum.__file__).parent.parent
STDERR = 2
STREAMS = 4  # standard input, output and error, and the line to who asks


class Born:
    """A process of a nursery, with pipes to and from it, which is dead at the end of the block."""

    def __init__(self, guard: socket.socket, stdin: TextIO, stdout: TextIO) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._guard = guard
        self.pid = heard(guard)

    def __enter__(self) -> Born:
        return self

    def __exit__(self, *_: object) -> None:
        if self.poll() is None:
            self.kill()
            self.wait()
        for end in (self.stdin, self.stdout, self._guard):
            end.close()

    def wait(self, seconds: float | None = None) -> int:
        """How it has ended, in the words of :mod:`subprocess`."""
        if self.returncode is None:
            self._guard.settimeout(seconds)
            self.returncode = heard(self._guard)
        return self.returncode

    def poll(self) -> int | None:
        """The same, if it has ended."""
        try:
            return self.wait(0)
        except BlockingIOError:
            return None

    def kill(self) -> None:
        """With SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """If it is still there."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """Bears processes that are `python ARGUMENTS`: a file's, or with ``-m`` a module's, and what these are given."""

    def __init__(self, door: socket.socket) -> None:
        self._door = door

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """One that does its work to the end."""
        with open(os.devnull) as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            guard = self._bear(arguments, cwd, env, (nothing.fileno(), out.fileno(), err.fileno()))
            with Born(guard, nothing, out) as born:
                code = born.wait(timeout)
                out.seek(0)
                err.seek(0)
                return subprocess.CompletedProcess(arguments, code, out.read(), err.read())

    def start(self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> Born:
        """One that lives beside the test."""
        stdin, given = os.pipe()
        shown, stdout = os.pipe()
        with open(stdin), open(stdout, "w"):
            guard = self._bear(arguments, cwd, env, (stdin, stdout, STDERR))
        return Born(guard, open(given, "w"), open(shown))

    def _bear(
        self, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], streams: tuple[int, int, int]
    ) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._door, [b"!"], [*streams, theirs.fileno()])
        ours.sendall(json.dumps([list(arguments), str(cwd), dict(env)]).encode())
        ours.shutdown(socket.SHUT_WR)
        return ours


@contextmanager
def nursery() -> Iterator[Nursery]:
    """A nursery, until the end of the block."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        serving = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        theirs.close()
        yield Nursery(ours)
    serving.wait()


# The nursery itself


def serve(door: socket.socket) -> None:
    """Bear a process whenever one is asked for. Returns in each of them."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for guards
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for those who run the tests
    while True:
        asked, streams, _, _ = socket.recv_fds(door, 1, STREAMS)
        if not asked:
            sys.exit()
        if os.fork() == 0:
            break
        for stream in streams:
            os.close(stream)
    door.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    born = os.fork()
    if born:
        guard(born, streams)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begin(*streams)


def guard(born: int, streams: Sequence[int]) -> None:
    """Tell how that process ends."""
    *others, line = streams
    for stream in others:
        os.close(stream)
    with suppress(OSError), socket.socket(fileno=line) as teller:  # nobody may be there any more
        tell(teller, born)
        _, status = os.waitpid(born, 0)
        tell(teller, os.waitstatus_to_exitcode(status))
    os._exit(0)


def begin(*streams: int) -> None:
    """Make this process what is asked for."""
    *standard, line = streams
    with open(line) as asked:
        arguments, directory, environment = json.load(asked)
    for number, stream in enumerate(standard):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[:] = arguments


def tell(teller: socket.socket, number: int) -> None:
    teller.send(number.to_bytes(4, "big", signed=True))


def heard(guard: socket.socket) -> int:
    number = guard.recv(4)
    assert len(number) == 4, "the nursery is gone"
    return int.from_bytes(number, "big", signed=True)


def main(descriptor: int) -> None:
    """Be the nursery, and then each of the processes that are born in it."""
    anyio.run(anyio.sleep, 0)  # imports what a loop needs
    gc.freeze()
    serve(socket.socket(fileno=descriptor))
    if sys.argv[0] == "-m":
        del sys.argv[0]
        sys.path[0] = os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
