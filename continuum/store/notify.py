"""Wake-ups between the processes that use one store.

Every process that waits binds a datagram socket in the store's ``notify`` directory; whoever has
committed sends one byte to each of them. A wake-up can be lost (a full queue, a process that just
came), so a listener also asks from time to time whether the store has moved. Where there are no such
sockets, on Windows or where the path is too long for them, asking is all it does, more often.

This module knows nothing of LMDB: `moved` and `wake` are given to it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

__all__ = ["Folder", "Listener"]

HEARTBEAT: Final = 1.0
"""Seconds between two looks at the store by a listener that has a socket."""

POLL: Final = 0.05
"""Seconds between two looks by a listener that has none."""

LONGEST_ADDRESS: Final = 100
"""Bytes of a socket's path: a little less than the 104 of macOS and the 108 of Linux."""

SETTLED: Final = 1_000_000_000
"""Nanoseconds after which a directory's mtime tells it from its past: clocks of file systems are coarse."""

SUFFIX: Final = ".sock"


class Folder:
    """The directory of sockets: where to bind one, and how to reach all the others."""

    def __init__(self, path: str) -> None:
        self._fd: int | None = None
        self._root = self._find_root(path)
        self._names: list[str] = []
        self._seen = 0
        self._sender: socket.socket | None = None

    def _find_root(self, path: str) -> str | None:
        """What to put before a socket's name, or None if no address would be short enough."""
        if not hasattr(socket, "AF_UNIX"):
            return None
        if len(os.fsencode(path)) + 40 <= LONGEST_ADDRESS:
            return path
        if sys.platform != "linux" or not os.path.isdir("/proc/self/fd"):
            return None
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}"

    def bind(self) -> tuple[socket.socket, str] | None:
        """A socket of our own and its path, or None where there can be none."""
        if self._root is None:
            return None
        address = os.path.join(self._root, f"{os.getpid()}-{secrets.token_hex(6)}{SUFFIX}")
        bell = _datagram_socket()
        try:
            bell.bind(address)
            os.chmod(address, 0o600)
        except OSError:
            bell.close()
            return None
        return bell, address

    def ring(self, own: str | None) -> None:
        """Send a byte to every socket but `own`."""
        root = self._root
        if root is None:
            return
        for name in self._peers(root):
            address = os.path.join(root, name)
            if address != own:
                self._send(address)

    def _send(self, address: str) -> None:
        sender = self._sender or _datagram_socket()
        self._sender = sender
        try:
            sender.sendto(b"\0", address)
        except ConnectionRefusedError:
            # Its process died: the kernel closed the socket and left the name.
            with contextlib.suppress(OSError):
                os.unlink(address)
        except OSError:
            # Gone by now, or its queue is full, which means that it is about to wake in any case.
            pass

    def _peers(self, root: str) -> list[str]:
        """The names of all sockets; the directory is read only after it has changed."""
        try:
            changed = os.stat(root).st_mtime_ns
            if changed != self._seen:
                self._names = [name for name in os.listdir(root) if name.endswith(SUFFIX)]
                # A later change within the same tick of the file system's clock would not show.
                self._seen = changed if time.time_ns() - changed > SETTLED else 0
        except OSError:
            return []
        return self._names

    def close(self) -> None:
        self._root = None
        if self._sender is not None:
            self._sender.close()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _datagram_socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


class Listener:
    """A thread that calls `wake` after another process rang, or when `moved()` says that it should have."""

    def __init__(self, folder: Folder, moved: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._moved = moved
        self._wake = wake
        bound = folder.bind()
        self._bell = bound[0] if bound is not None else None
        self.address = bound[1] if bound is not None else None
        self._stopper, self._stopped = socket.socketpair()
        _listening.add(self)
        threading.Thread(target=self._listen, name="continuum-listener", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end. It is not waited for: it may be the one that calls, or wait for the caller."""
        try:
            _listening.remove(self)
        except KeyError:
            return
        self.unlink()
        self._stopper.send(b"\0")

    def unlink(self) -> None:
        """Take the socket's name out of the directory."""
        if self.address is not None:
            with contextlib.suppress(OSError):
                os.unlink(self.address)

    def forget(self) -> None:
        """Close the sockets that a forked child inherited; as long as one is open, its name seems alive."""
        for inherited in (self._bell, self._stopper, self._stopped):
            if inherited is not None:
                inherited.close()

    def _listen(self) -> None:
        with self._stopper, self._stopped, selectors.DefaultSelector() as selector:
            selector.register(self._stopped, selectors.EVENT_READ)
            if self._bell is None:
                self._wait_with(selector, POLL)
            else:
                with self._bell:
                    selector.register(self._bell, selectors.EVENT_READ)
                    self._wait_with(selector, HEARTBEAT)

    def _wait_with(self, selector: selectors.BaseSelector, interval: float) -> None:
        while True:
            ready = [key.fileobj for key, _ in selector.select(interval)]
            if self._stopped in ready:
                return
            moved = self._moved()
            if ready:
                self._drain()
            if ready or moved:
                self._wake()

    def _drain(self) -> None:
        assert self._bell is not None, "only a bell can be ready"
        with contextlib.suppress(BlockingIOError):
            while True:
                self._bell.recv(16)


_listening: set[Listener] = set()


def _forget_inherited() -> None:
    for listener in _listening:
        listener.forget()
    _listening.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_inherited)


@atexit.register
def _unlink_all() -> None:
    for listener in tuple(_listening):
        listener.unlink()
