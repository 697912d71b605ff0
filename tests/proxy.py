"""A network that fails on purpose: a proxy in front of a PostgreSQL of the tests."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

__all__ = ["Proxy", "proxy_to"]

CHUNK: Final = 1 << 16


class Proxy:
    """Forwards connections to a socket, and fails as it is told to.

    Set one of the flags, and the next message that goes that way is where the connection breaks: the
    client is cut off, and that flag is unset.
    """

    def __init__(self, target: str) -> None:
        self.lose_answer = False  # it was carried out, and nobody is told
        self.lose_request = False  # it never arrived
        self.keep_request = False  # it arrives later, by :meth:`let_go`
        self.flowing = threading.Event()  # while it is not set, nothing is forwarded and nothing is broken
        self.flowing.set()
        self.cuts = 0
        self.unheard = b""  # what the server said to clients that had been cut off
        self.target = target
        self._kept: list[tuple[socket.socket, bytes]] = []
        self._open: set[socket.socket] = set()  # towards clients
        self._servers: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the server behind it, without a schema."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def cut(self) -> None:
        """Break all connections that there are; the server does not hear of it."""
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            _hang_up(end)

    def forget(self) -> None:
        """Have the server hear that the clients are gone whose connections were broken."""
        with self._lock:
            servers, self._servers = self._servers, set()
        for server in servers:
            _hang_up(server)

    def let_go(self) -> None:
        """Let the requests arrive that were kept."""
        kept, self._kept = self._kept, []
        for server, request in kept:
            with contextlib.suppress(OSError):
                server.sendall(request)

    def close(self) -> None:
        """Let nobody through any more."""
        self.flowing.set()
        _hang_up(self._door)
        self.cut()
        self.forget()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                server = socket.socket(socket.AF_UNIX)
                try:
                    server.connect(self.target)
                except OSError:
                    server.close()
                    client.close()
                    continue
                with self._lock:
                    self._open.add(client)
                    self._servers.add(server)
                threading.Thread(target=self._requests, args=(client, server), daemon=True).start()
                threading.Thread(target=self._answers, args=(client, server), daemon=True).start()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(CHUNK):
                self.flowing.wait()
                if self.lose_request:
                    self.lose_request = False
                    break
                if self.keep_request:
                    self.keep_request = False
                    self._kept.append((server, data))
                    self._cut_off(client)
                    return
                server.sendall(data)
        if client in self._open:
            self._cut_off(client)
            _hang_up(server)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(CHUNK):
                self.flowing.wait()
                if self.lose_answer:
                    self.lose_answer = False
                    self._cut_off(client)
                if client in self._open:
                    client.sendall(data)
                else:
                    self.unheard += data
        self._cut_off(client)

    def _cut_off(self, client: socket.socket) -> None:
        with self._lock:
            self.cuts += client in self._open
            self._open.discard(client)
        _hang_up(client)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@contextmanager
def proxy_to(target: str) -> Iterator[Proxy]:
    """A proxy to a Unix socket."""
    proxy = Proxy(target)
    yield proxy
    proxy.close()
