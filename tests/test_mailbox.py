"""The mailbox: nothing is lost, nobody sleeps on, and the loop is rung for once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import pytest

from continuum.mailbox import Mailbox

pytestmark = pytest.mark.anyio

TOO_LONG = 10  # seconds after which a test that hangs fails


def bound() -> Mailbox[int]:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.bind()
    return mailbox


def count_rings(mailbox: Mailbox[int]) -> list[object]:
    rings: list[object] = []
    native = mailbox._call_soon
    assert native is not None

    def counted(rouse: Callable[[], None]) -> None:
        rings.append(rouse)
        native(rouse)

    mailbox._call_soon = counted
    return rings


def in_a_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


async def asleep(mailbox: Mailbox[int]) -> None:
    """Returns when the reader sleeps."""
    while mailbox._sleeper is None:
        await anyio.lowlevel.checkpoint()


async def test_what_is_posted_is_drained_once_and_in_order() -> None:
    mailbox = bound()
    mailbox.post(1)
    mailbox.post_many([2, 3])
    assert mailbox.drain() == [1, 2, 3]
    assert mailbox.drain() == []


async def test_what_was_posted_before_binding_is_there() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.post(1)
    in_a_thread(lambda: mailbox.post(2))
    mailbox.bind()
    with anyio.fail_after(TOO_LONG):
        await mailbox.wait()
    assert mailbox.drain() == [1, 2]


async def test_a_post_from_a_thread_wakes_the_sleeping_reader() -> None:
    mailbox = bound()
    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await asleep(mailbox)
            in_a_thread(lambda: mailbox.post(1))
    assert mailbox.drain() == [1]


async def test_a_post_from_the_loop_wakes_the_reader_without_a_ring() -> None:
    mailbox = bound()
    rings = count_rings(mailbox)
    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await asleep(mailbox)
            mailbox.post(1)
    assert mailbox.drain() == [1]
    assert rings == []


async def test_many_posts_before_the_reader_wakes_ring_once() -> None:
    mailbox = bound()
    rings = count_rings(mailbox)
    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await asleep(mailbox)
            for start in range(0, 100, 10):
                in_a_thread(lambda start=start: [mailbox.post(start + i) for i in range(10)])
    assert mailbox.drain() == list(range(100))
    assert len(rings) == 1


async def test_nobody_rings_while_the_reader_is_awake() -> None:
    mailbox = bound()
    rings = count_rings(mailbox)
    in_a_thread(lambda: mailbox.post(1))
    with anyio.fail_after(TOO_LONG):
        await mailbox.wait()
    in_a_thread(lambda: mailbox.post(2))
    assert mailbox.drain() == [1, 2]
    assert rings == []


async def test_a_post_between_the_last_look_and_sleep_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox = bound()
    make_event = anyio.Event

    def post_then_make_event() -> anyio.Event:
        in_a_thread(lambda: mailbox.post(1))
        return make_event()

    monkeypatch.setattr(anyio, "Event", post_then_make_event)
    with anyio.fail_after(TOO_LONG):
        await mailbox.wait()
    assert mailbox.drain() == [1]


async def test_a_wait_ends_when_its_time_is_over() -> None:
    mailbox = bound()
    with anyio.fail_after(TOO_LONG):
        await mailbox.wait(0)
        await mailbox.wait(0.001)
    assert mailbox.drain() == []


async def test_a_cancelled_wait_leaves_a_mailbox_that_still_wakes() -> None:
    mailbox = bound()
    async with anyio.create_task_group() as group:
        group.start_soon(mailbox.wait)
        await asleep(mailbox)
        group.cancel_scope.cancel()
    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await asleep(mailbox)
            in_a_thread(lambda: mailbox.post(1))
    assert mailbox.drain() == [1]


async def test_wake_ends_a_wait_though_nothing_was_posted() -> None:
    mailbox = bound()
    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            group.start_soon(mailbox.wait)
            await asleep(mailbox)
            in_a_thread(mailbox.wake)
    assert mailbox.drain() == []


async def test_a_wake_that_nobody_waited_for_ends_the_next_wait_and_no_other() -> None:
    mailbox = bound()
    mailbox.wake()
    with anyio.fail_after(TOO_LONG):
        await mailbox.wait()
    with anyio.move_on_after(0.001) as scope:
        await mailbox.wait()
    assert scope.cancelled_caught


async def test_a_wait_lets_others_run_even_if_the_mailbox_is_full() -> None:
    mailbox = bound()
    mailbox.post(1)
    ran: list[bool] = []

    async def other() -> None:
        ran.append(True)

    async with anyio.create_task_group() as group:
        group.start_soon(other)
        for _ in range(10):
            await mailbox.wait()
        assert ran == [True]


async def test_nothing_posted_by_many_threads_is_lost_or_reordered() -> None:
    mailbox = bound()
    threads = [
        threading.Thread(target=lambda start=start: [mailbox.post(start + i) for i in range(1000)])
        for start in range(0, 4000, 1000)
    ]
    for thread in threads:
        thread.start()
    taken: list[int] = []
    with anyio.fail_after(TOO_LONG):
        while len(taken) < 4000:
            await mailbox.wait()
            taken += mailbox.drain()
    for thread in threads:
        thread.join()
    for start in range(0, 4000, 1000):
        assert [item for item in taken if start <= item < start + 1000] == list(range(start, start + 1000))
    assert len(taken) == 4000


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_posting_to_a_loop_that_has_ended_is_no_error(backend: str) -> None:
    mailbox: Mailbox[int] = Mailbox()

    async def sleep_and_end() -> None:
        mailbox.bind()
        await mailbox.wait(0)
        mailbox._sleeper = anyio.Event()  # as if the loop ended while the reader slept
        mailbox._awake.release()

    anyio.run(sleep_and_end, backend=backend)
    failures: list[BaseException] = []

    def post() -> None:
        try:
            mailbox.post(1)
        except BaseException as error:
            failures.append(error)

    in_a_thread(post)
    assert failures == []
    assert mailbox._awake.locked()
