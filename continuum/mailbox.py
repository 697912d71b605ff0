"""The one door through which everything reaches the loop: results of steps, commits, signals to look up.

A mailbox has many posters, on any thread, and one reader, on the loop that :meth:`Mailbox.bind` was
called from. Waking a loop from another thread is a system call, so posters ring only when the reader
sleeps, and only the first of them does: however many items come in before it wakes, they cost one
native wake-up.

The lock `_awake` is a flag that can be tested and set in one go. It is held while the reader is awake
or has been rung for; the reader says that it is about to sleep, lets go of it, then looks once more. So an
item is either seen by that look or rings.

It knows nothing of what is posted.
"""

from __future__ import annotations

import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import anyio
from anyio.lowlevel import checkpoint, current_token

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Items from any thread, in the order posted, for one reader on a loop of asyncio or trio.

    Signal handlers of the loop's own thread must not post: the loop may be asleep under them.
    """

    def __init__(self) -> None:
        self._items: list[T] = []
        self._awake = threading.Lock()
        self._awake.acquire()
        self._sleeper: anyio.Event | None = None
        self._woken = False
        self._loop_thread: int | None = None
        self._call_soon: Callable[[Callable[[], None]], object] | None = None

    def bind(self) -> None:
        """Make the running loop the one to be woken. What was posted before is kept."""
        loop: Any = current_token().native_token
        on_asyncio = isinstance(loop, AbstractEventLoop)
        self._call_soon = loop.call_soon_threadsafe if on_asyncio else loop.run_sync_soon
        self._loop_thread = threading.get_ident()

    def post(self, item: T) -> None:
        """Add an item. If the loop is gone the item is lost with it."""
        self._items.append(item)
        self._ring()

    def post_many(self, items: Iterable[T]) -> None:
        """Add items that stay together and in order."""
        self._items.extend(items)
        self._ring()

    def wake(self) -> None:
        """Let the reader's wait end, now or the next time, though nothing was posted."""
        self._woken = True
        self._ring()

    async def wait(self, timeout_seconds: float | None = None) -> None:
        """Return when something is there, after :meth:`wake`, when the time is over, or now and then for nothing.

        Always a checkpoint, so that a reader whose mailbox never runs dry starves nobody.
        """
        if self._has_news():
            self._woken = False
            await checkpoint()
        else:
            await self._sleep(timeout_seconds)

    def drain(self, limit: int | None = None) -> list[T]:
        """Take what is there, oldest first, or the first `limit` of it."""
        taken = self._items[:limit]
        # Never a swap of lists: a poster may have the old one in hand.
        del self._items[: len(taken)]
        return taken

    async def _sleep(self, timeout_seconds: float | None) -> None:
        assert self._sleeper is None, "a mailbox has one reader"
        sleeper = self._sleeper = anyio.Event()
        self._awake.release()
        try:
            with anyio.move_on_after(timeout_seconds):
                if not self._has_news():
                    await sleeper.wait()
        finally:
            self._awake.acquire(blocking=False)
            self._sleeper = None
            self._woken = False

    def _has_news(self) -> bool:
        return bool(self._items) or self._woken

    def _ring(self) -> None:
        if self._sleeper is None:
            return  # the reader looks once more before it sleeps
        if threading.get_ident() == self._loop_thread:
            self._rouse()
        elif self._call_soon is not None and self._awake.acquire(False):
            with suppress(RuntimeError):  # asyncio's "loop is closed", trio's RunFinishedError
                self._call_soon(self._rouse)

    def _rouse(self) -> None:
        # A ring may come late, when the reader has woken by itself, emptied the box and sleeps again. It
        # is woken for nothing then: the ringer holds the flag, and only a reader that is awake gives it back.
        if self._sleeper is not None:
            self._sleeper.set()
