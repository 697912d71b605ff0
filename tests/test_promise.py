"""What is waited for is had by who waits, on asyncio and on trio."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from continuum.promise import keep, promises

pytestmark = pytest.mark.anyio


async def test_who_waits_has_what_was_given() -> None:
    promise = promises()()
    had = []

    async def wait() -> None:
        had.append(await promise)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await checkpoint()
        assert (had, promise.done()) == ([], False)
        keep(promise, 1)
    assert (had, promise.done()) == ([1], True)


async def test_what_was_given_before_is_had_at_once() -> None:
    promise = promises()()
    keep(promise, 1)
    assert await promise == 1


async def test_only_the_first_thing_that_is_given_counts() -> None:
    promise = promises()()
    keep(promise, 1)
    keep(promise, 2)
    assert await promise == 1


async def test_nothing_happens_where_nobody_waits_any_more() -> None:
    promise = promises()()
    with anyio.move_on_after(0):
        await promise
    keep(promise, 1)
