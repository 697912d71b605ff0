"""Calls on a thread: they are waited for, however the task that waits is interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from continuum.offloop import on_thread

pytestmark = pytest.mark.anyio

TOO_LONG = 10  # seconds after which a test that hangs fails

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


class Slow:
    """A call that lasts until it is released."""

    def __init__(self) -> None:
        self.begun, self.released = threading.Event(), threading.Event()
        self.ended = False

    def __call__(self) -> str:
        self.begun.set()
        assert self.released.wait(TOO_LONG)
        self.ended = True
        return "done"

    async def has_begun(self) -> None:
        while not self.begun.is_set():
            await anyio.sleep(0.001)


async def test_what_a_call_gives_and_what_it_raises_comes_out() -> None:
    assert await on_thread(threading.current_thread) is not threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        await on_thread(lambda: 1 / 0)


async def test_a_cancelled_scope_shows_at_the_next_checkpoint() -> None:
    slow = Slow()
    results: list[str] = []

    async def interfere(cancel: Callable[[], object]) -> None:
        await slow.has_begun()
        cancel()
        await anyio.wait_all_tasks_blocked()
        slow.released.set()

    async with anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:
            group.start_soon(interfere, scope.cancel)
            results.append(await on_thread(slow))
            await checkpoint()
            results.append("not reached")
    assert results == ["done"]
    assert scope.cancelled_caught


@on_asyncio
async def test_a_task_that_asyncio_cancels_ends_when_the_call_has_ended() -> None:
    slow = Slow()
    task = asyncio.create_task(on_thread(slow))
    await slow.has_begun()
    for _ in range(3):
        task.cancel("enough")
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
    slow.released.set()
    with pytest.raises(asyncio.CancelledError, match="enough"):
        await task
    assert slow.ended


@on_asyncio
async def test_a_timeout_of_asyncio_is_a_timeout() -> None:
    slow = Slow()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            asyncio.get_running_loop().call_soon(slow.released.set)
            await on_thread(slow)
    assert slow.ended


@on_asyncio
@pytest.mark.parametrize("times", [1, 2])
async def test_ctrl_c_is_put_off_until_the_call_has_ended_and_a_second_one_is_not(times: int) -> None:
    slow = Slow()
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await on_thread(slow)
        except KeyboardInterrupt:
            ended.append(slow.ended)

    task: Any = asyncio.create_task(wait())
    await slow.has_begun()
    for _ in range(times):
        assert not ended
        task._fut_waiter.set_exception(KeyboardInterrupt())  # as if it came while the task sleeps
        await anyio.wait_all_tasks_blocked()
    slow.released.set()
    await task
    assert ended == [times == 1]
