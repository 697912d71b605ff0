"""Who is to be woken after a commit: in this process by a call, in others by their bells."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from continuum.store.bells import Bells
from continuum.store.notify import Listener

__all__ = ["Watcher", "Watchers", "call"]

log = logging.getLogger("continuum.store")


def call(wake: Callable[[], None]) -> None:
    """Wake a waiter. The commit that it is told of is done and must not seem to have failed."""
    try:
        wake()
    except Exception:
        log.exception("what waited for commits failed when it was woken")


class Watcher:
    """A handle's registration (see :class:`continuum.store.protocol.Watch`)."""

    def __init__(self, watchers: Watchers, owner: object, wake: Callable[[], None]) -> None:
        self._watchers = watchers
        self.owner = owner
        self.wake = wake

    def close(self) -> None:
        self._watchers.remove(self)


class Watchers:
    """All registrations of one store in this process. A listener runs while there are any."""

    def __init__(self, bells: Bells, moved: Callable[[], bool]) -> None:
        self._bells = bells
        self._moved = moved
        self._lock = threading.Lock()
        self._watchers: tuple[Watcher, ...] = ()
        self._listener: Listener | None = None

    def add(self, owner: object, wake: Callable[[], None]) -> Watcher:
        watcher = Watcher(self, owner, wake)
        with self._lock:
            self._watchers += (watcher,)
            if self._listener is None:
                self._listener = Listener(self._bells, self._moved, self._wake_all)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        self._keep(lambda other: other is not watcher)

    def remove_all_of(self, owner: object) -> None:
        self._keep(lambda other: other.owner is not owner)

    def _keep(self, wanted: Callable[[Watcher], bool]) -> None:
        with self._lock:
            self._watchers = tuple(filter(wanted, self._watchers))
            if not self._watchers and self._listener is not None:
                self._listener.stop()
                self._listener = None

    def announce(self, owner: object) -> None:
        """Tell everybody but `owner` that something was committed."""
        listener = self._listener
        self._bells.ring(listener.address if listener is not None else None)
        for watcher in self._watchers:
            if watcher.owner is not owner:
                call(watcher.wake)

    def _wake_all(self) -> None:
        for watcher in self._watchers:
            call(watcher.wake)

    def close(self) -> None:
        self._keep(lambda _: False)
        self._bells.close()
