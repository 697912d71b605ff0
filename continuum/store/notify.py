"""Wake-ups between the processes that use one store.

Every process that waits hangs a bell, a datagram socket in the store's ``notify`` directory; whoever
has committed sends one byte to each of them. A wake-up can be lost (a full queue, a process that just
came), so a listener also asks from time to time whether the store has moved. Where there can be no
bells, on Windows or where the path is too long for sockets, asking is all it does, more often.

This module knows nothing of LMDB: `moved` and `wake` are given to it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

from continuum.store.bells import Bells
from continuum.store.system import system

__all__ = ["Listener"]

HEARTBEAT: Final = 1.0
"""Seconds between two looks at the store by a listener that has a bell."""

POLL: Final = 0.05
"""Seconds between two looks by a listener that has none."""


class Listener:
    """A thread that calls `wake` after another process rang, or when `moved()` says that it should have."""

    def __init__(self, bells: Bells, moved: Callable[[], bool], wake: Callable[[], None]) -> None:
        self._moved = moved
        self._wake = wake
        bound = bells.bind()
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


system.after_fork(_forget_inherited)


@atexit.register
def _unlink_all() -> None:
    for listener in tuple(_listening):
        listener.unlink()
