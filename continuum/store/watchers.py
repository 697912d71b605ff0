"""Who is to be woken in this process after a commit. How one hears of the commits of others is a backend's matter."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Ear", "Watcher", "Watchers", "call"]

log = logging.getLogger("continuum.store")

E = TypeVar("E", bound="Ear")


def call(wake: Callable[[], None]) -> None:
    """Wake a waiter. The commit that it is told of is done and must not seem to have failed."""
    try:
        wake()
    except Exception:
        log.exception("what waited for commits failed when it was woken")


class Watcher:
    """A handle's registration (see :class:`continuum.store.protocol.Watch`)."""

    def __init__(self, watchers: Watchers[Any], owner: object, wake: Callable[[], None]) -> None:
        self._watchers = watchers
        self.owner = owner
        self.wake = wake

    def close(self) -> None:
        self._watchers.remove(self)


class Ear(Protocol):
    """What listens for the commits of others, on a thread of its own."""

    def stop(self) -> None:
        """Listen no more."""
        ...


class Watchers(Generic[E]):
    """All registrations of one store in this process. `listen(wake)` is called to listen while there are any."""

    def __init__(self, listen: Callable[[Callable[[], None]], E]) -> None:
        self._listen = listen
        self._lock = threading.Lock()
        self._watchers: tuple[Watcher, ...] = ()
        self.listener: E | None = None

    def add(self, owner: object, wake: Callable[[], None]) -> Watcher:
        watcher = Watcher(self, owner, wake)
        with self._lock:
            self._watchers += (watcher,)
            if self.listener is None:
                self.listener = self._listen(self._wake_all)
        return watcher

    def remove(self, watcher: Watcher) -> None:
        self._keep(lambda other: other is not watcher)

    def remove_all_of(self, owner: object) -> None:
        self._keep(lambda other: other.owner is not owner)

    def _keep(self, wanted: Callable[[Watcher], bool]) -> None:
        with self._lock:
            self._watchers = tuple(filter(wanted, self._watchers))
            if not self._watchers and self.listener is not None:
                self.listener.stop()
                self.listener = None

    def wake_others(self, owner: object) -> None:
        """Wake all but those of `owner`, who has committed."""
        for watcher in self._watchers:
            if watcher.owner is not owner:
                call(watcher.wake)

    def _wake_all(self) -> None:
        for watcher in self._watchers:
            call(watcher.wake)

    def close(self) -> None:
        self._keep(lambda _: False)
