"""Bells made of datagram sockets in a directory. POSIX only: Windows has no such sockets."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import sys
import time
from typing import TYPE_CHECKING, Final

from continuum.store.bells import Bells, NoBells

assert not TYPE_CHECKING or sys.platform != "win32"

__all__ = ["Sockets", "bells_in"]

LONGEST_ADDRESS: Final = 100
"""Bytes of a socket's path: a little less than the 104 of macOS and the 108 of Linux."""

LONGEST_NAME: Final = 40
"""Bytes of a socket's name and the slash before it."""

SETTLED: Final = 1_000_000_000
"""Nanoseconds after which a directory's mtime tells it from its past: clocks of file systems are coarse."""

SUFFIX: Final = ".sock"


def bells_in(path: str) -> Bells:
    """The bells in the directory at `path`; none if no address there would be short enough."""
    if len(os.fsencode(path)) + LONGEST_NAME <= LONGEST_ADDRESS:
        return Sockets(path)
    if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return Sockets(f"/proc/self/fd/{fd}", fd)
    return NoBells()


class Sockets:
    """One socket for each process that waits (see :class:`continuum.store.bells.Bells`)."""

    def __init__(self, root: str, fd: int | None = None) -> None:
        self._root: str | None = root
        self._fd = fd
        self._names: list[str] = []
        self._seen = 0
        self._sender: socket.socket | None = None

    def bind(self) -> tuple[socket.socket, str] | None:
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
