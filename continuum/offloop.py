"""Calls on a thread that are always waited for, whatever befalls the task that waits.

anyio's ``to_thread`` leaves the thread behind when the waiting task is cancelled by asyncio itself, or by
Ctrl-C: no scope shields from those. What opens, holds and closes a store must not go on unseen
beside what comes next, so here the interruption waits too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import anyio

from continuum.mailbox import Mailbox

__all__ = ["on_thread"]

T = TypeVar("T")


async def on_thread(function: Callable[[], T]) -> T:
    """Call the function on a thread of its own, and give or raise what came of it.

    Returns when the function has ended, never before. A cancelled scope shows at the next checkpoint;
    ``task.cancel()`` and Ctrl-C are raised in place of the result. A second Ctrl-C is not put off.
    """
    outcome: Future[T] = Future()
    bell: Mailbox[None] = Mailbox()
    bell.bind()

    def call() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:
            outcome.set_exception(error)
        bell.wake()

    threading.Thread(target=call, name="continuum-call", daemon=True).start()
    interruption: BaseException | None = None
    with anyio.CancelScope(shield=True):
        while not outcome.done():
            try:
                await bell.wait()
            except (asyncio.CancelledError, KeyboardInterrupt) as error:
                if isinstance(interruption, KeyboardInterrupt):
                    raise
                interruption = error
    if interruption is not None:
        raise interruption
    return outcome.result()
