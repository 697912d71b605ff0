"""Performing steps on the loop and on threads. Processes have their own file."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import threading
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from posted import TOO_LONG, Posted, until

from continuum.engine.steps import Performer, Task
from continuum.errors import StepTimeout, UnpicklableValue, is_permanent
from continuum.store.codec import Codec

pytestmark = pytest.mark.anyio

SHORT = 0.01  # a timeout that is meant to pass


@pytest.fixture
def posted() -> Posted:
    return Posted()


def performer(posted: Posted, concurrency: int = 10) -> Performer[Task]:
    return Performer(posted.post, Codec(), concurrency=concurrency)


def add(a: int, b: int) -> int:
    return a + b


async def add_later(a: int, b: int) -> int:
    await anyio.sleep(0)
    return a + b


class AddLater:
    async def __call__(self, a: int, b: int) -> int:
        return await add_later(a, b)


def fail(error: BaseException) -> None:
    raise error


async def fail_later(error: BaseException) -> None:
    await anyio.sleep(0)
    raise error


def inline_awaitable(a: int, b: int) -> Any:
    return add_later(a, b)


# Results and errors

RESULTS = [
    pytest.param(add, None, id="thread by default"),
    pytest.param(add, "thread", id="thread"),
    pytest.param(add, "inline", id="inline"),
    pytest.param(add_later, None, id="async"),
    pytest.param(add_later, "inline", id="async inline"),
    pytest.param(partial(add_later), None, id="partial of async"),
    pytest.param(AddLater(), None, id="async callable"),
    pytest.param(partial(AddLater()), None, id="partial of async callable"),
    pytest.param(AddLater().__call__, None, id="async method"),
    pytest.param(inline_awaitable, "inline", id="inline function that returns an awaitable"),
]


@pytest.mark.parametrize(("fn", "executor"), RESULTS)
async def test_the_result_is_posted_with_its_payload(posted: Posted, fn: Any, executor: Any) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("a", fn, (1, 2), executor))
        await posted.reach(1)
        assert steps.in_flight == 0
    assert posted.value("a") == 3
    data = posted.outcomes["a"].data
    assert data is not None
    assert Codec().decode(data) == 3


ERRORS = [
    pytest.param(fail, "thread", id="thread"),
    pytest.param(fail, "inline", id="inline"),
    pytest.param(fail_later, None, id="async"),
]


@pytest.mark.parametrize(("fn", "executor"), ERRORS)
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), StopIteration()], ids=repr)
async def test_what_a_step_raises_is_its_outcome_and_harms_nobody(
    posted: Posted, fn: Any, executor: Any, error: BaseException
) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("bad", fn, (error,), executor))
        steps.perform(Task("good", add_later, (1, 2)))
        await posted.reach(2)
        assert steps.in_flight == 0
    expected = RuntimeError if fn is fail_later and type(error) is StopIteration else type(error)
    assert type(posted.error("bad")) is expected
    assert posted.value("good") == 3


@pytest.mark.parametrize("executor", ["thread", "inline"])
async def test_a_result_that_cannot_be_pickled_is_the_steps_error(posted: Posted, executor: Any) -> None:
    async def lock_later() -> object:
        return threading.Lock()

    async with performer(posted) as steps:
        steps.perform(Task("sync", threading.Lock, (), executor, name="lock"))
        steps.perform(Task("async", lock_later, (), name="lock"))
        await posted.reach(2)
    for key in ("sync", "async"):
        assert isinstance(posted.error(key), UnpicklableValue)
        assert "the result of step 'lock'" in str(posted.error(key))


async def test_an_awaitable_that_a_thread_cannot_await_is_a_clear_error(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("a", lambda: add_later(1, 2), name="sum"))
        steps.perform(Task("b", add_later, (1, 2), "thread", name="sum"))
        await posted.reach(2)
    for key in ("a", "b"):
        assert isinstance(posted.error(key), TypeError)
        assert "step 'sum' returned an awaitable" in str(posted.error(key))
        assert is_permanent(posted.error(key))


async def test_a_base_exception_on_a_thread_leaves_the_thread_in_service(posted: Posted) -> None:
    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("a", fail, (KeyboardInterrupt(),)))
        steps.perform(Task("b", add, (1, 2)))
        await posted.reach(2)
    assert type(posted.error("a")) is KeyboardInterrupt
    assert posted.value("b") == 3


async def test_an_inline_keyboard_interrupt_is_for_the_host(posted: Posted) -> None:
    async with performer(posted) as steps:
        with pytest.raises(KeyboardInterrupt):
            steps.perform(Task("a", fail, (KeyboardInterrupt(),), "inline"))
    assert posted.keys == []


async def test_a_stray_cancelled_error_is_the_steps_own(posted: Posted, anyio_backend: str) -> None:
    async def stray() -> None:
        raise asyncio.CancelledError

    async with performer(posted) as steps:
        steps.perform(Task("a", stray))
        await posted.reach(1)
        steps.perform(Task("b", add_later, (1, 2)))
        await posted.reach(2)
    assert type(posted.error("a")) is asyncio.CancelledError
    assert posted.value("b") == 3


async def test_async_steps_use_the_loop_natively(posted: Posted, anyio_backend: str) -> None:
    async def native_sleep() -> str:
        if anyio_backend == "asyncio":
            return await asyncio.sleep(0.001, "slept")
        import trio

        await trio.sleep(0.001)
        return "slept"

    async with performer(posted) as steps:
        steps.perform(Task("a", native_sleep))
        await posted.reach(1)
    assert posted.value("a") == "slept"


async def test_a_step_on_a_thread_sees_no_running_loop(posted: Posted, anyio_backend: str) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("a", lambda: anyio.run(add_later, 1, 2, backend=anyio_backend)))
        await posted.reach(1)
    assert posted.value("a") == 3


async def test_thread_names_tell_what_they_are_for(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("a", lambda: threading.current_thread().name))
        await posted.reach(1)
    assert posted.value("a") == "continuum-step-1"


# Timeouts


async def test_an_async_step_that_takes_too_long_is_cancelled(posted: Posted) -> None:
    cleaned_up: list[bool] = []

    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(True)

    async with performer(posted) as steps:
        steps.perform(Task("a", hang, timeout=SHORT, name="slow"))
        await posted.reach(1)
        assert cleaned_up == [True]
        assert steps.in_flight == 0
    assert isinstance(posted.error("a"), StepTimeout)
    assert str(posted.error("a")) == "step 'slow' took longer than 0.01 seconds"


async def test_a_thread_that_takes_too_long_is_abandoned_and_replaced(posted: Posted) -> None:
    release = threading.Event()
    stuck: list[threading.Thread] = []

    def hang() -> str:
        stuck.append(threading.current_thread())
        release.wait()
        return "late"

    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("a", hang, timeout=SHORT, name="slow"))
        await posted.reach(1)
        assert isinstance(posted.error("a"), StepTimeout)
        assert stuck[0].is_alive()
        steps.perform(Task("b", lambda: threading.current_thread().name))
        await posted.reach(2)
        assert posted.value("b") == "continuum-step-2"
        release.set()
        steps.perform(Task("c", add, (1, 2)))
        await posted.reach(3)
    stuck[0].join(TOO_LONG)
    assert posted.keys == ["a", "b", "c"]


async def test_timeouts_are_told_in_the_order_in_which_they_pass(posted: Posted) -> None:
    release = threading.Event()
    async with performer(posted) as steps:
        steps.perform(Task("late", release.wait, timeout=0.1))
        await checkpoint()
        steps.perform(Task("soon", release.wait, timeout=SHORT))
        steps.perform(Task("quick", add, (1, 2), timeout=SHORT * 2000))
        await posted.reach(3)
        release.set()
    assert posted.keys.index("soon") < posted.keys.index("late")
    assert isinstance(posted.error("soon"), StepTimeout)
    assert isinstance(posted.error("late"), StepTimeout)
    assert posted.value("quick") == 3


# Cancelling


async def test_a_cancelled_async_step_cleans_up_and_posts_nothing(posted: Posted) -> None:
    started, cleaned_up = anyio.Event(), anyio.Event()

    async def hang() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            cleaned_up.set()

    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("a", hang))
        steps.perform(Task("b", add, (1, 2)))
        await until(started.is_set)
        steps.cancel(None, "a")
        assert steps.in_flight == 1  # it has its cleaning up to do
        await posted.reach(1)
    assert cleaned_up.is_set()
    assert posted.keys == ["b"]


async def test_an_async_step_cancelled_before_it_began_never_begins(posted: Posted) -> None:
    began: list[bool] = []

    async def begin() -> None:
        began.append(True)

    async with performer(posted) as steps:
        steps.perform(Task("a", begin))
        steps.cancel(None, "a")
        steps.perform(Task("a", add_later, (1, 2)))
        await posted.reach(1)
        await until(lambda: steps.in_flight == 0)
    assert began == []
    assert posted.value("a") == 3


async def test_the_late_result_of_a_cancelled_thread_step_is_never_posted(posted: Posted) -> None:
    release = threading.Event()
    threads: list[threading.Thread] = []

    def wait_for_release() -> None:
        threads.append(threading.current_thread())
        release.wait()

    def remember_thread() -> None:
        threads.append(threading.current_thread())

    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("a", wait_for_release))
        await until(lambda: len(threads) == 1)
        steps.cancel(None, "a")
        assert steps.in_flight == 0
        steps.perform(Task("a", remember_thread))
        await posted.reach(1)
        release.set()
        # The late one makes the pool one too large: that a thread is let go shows that it came back.
        await until(lambda: not all(thread.is_alive() for thread in threads))
        steps.perform(Task("b", add, (1, 2)))
        await posted.reach(2)
    assert threads[0] is not threads[1]
    assert posted.keys == ["a", "b"]


async def test_a_cancelled_step_that_is_queued_never_runs(posted: Posted) -> None:
    release, ran = threading.Event(), threading.Event()
    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("a", release.wait))
        steps.perform(Task("b", ran.set))
        steps.perform(Task("c", add, (1, 2)))
        steps.cancel(None, "b")
        release.set()
        await posted.reach(2)
    assert posted.keys == ["a", "c"]
    assert not ran.is_set()


async def test_cancelling_what_is_not_in_hand_does_nothing(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.cancel(None, "never")
        steps.perform(Task("a", add, (1, 2)))
        await posted.reach(1)
        steps.cancel(None, "a")
        assert steps.in_flight == 0
    assert posted.keys == ["a"]


async def test_abandoned_threads_take_nothing_from_the_pool(posted: Posted) -> None:
    release, meet = threading.Event(), threading.Barrier(2)
    async with performer(posted, concurrency=2) as steps:
        for key in ("a", "b"):
            steps.perform(Task(key, release.wait))
            steps.cancel(None, key)
        for key in ("c", "d"):
            steps.perform(Task(key, meet.wait, (TOO_LONG,)))
        await posted.reach(2)
        release.set()
    assert {posted.value("c"), posted.value("d")} == {0, 1}


# Concurrency


async def test_no_more_threads_run_than_there_are_places(posted: Posted) -> None:
    meet, lock = threading.Barrier(3), threading.Lock()
    running, peaks = 0, []

    def step() -> None:
        nonlocal running
        with lock:
            running += 1
            peaks.append(running)
        meet.wait(TOO_LONG)  # needs three at a time
        with lock:
            running -= 1

    async with performer(posted, concurrency=3) as steps:
        for key in range(12):
            steps.perform(Task(key, step))
            assert steps.in_flight <= 3
        await posted.reach(12)
    assert max(peaks) == 3
    assert all(posted.value(key) is None for key in range(12))


async def test_no_more_async_steps_run_than_there_are_places_and_they_begin_in_order(posted: Posted) -> None:
    running, peaks, order = 0, [], []

    async def step(number: int) -> None:
        nonlocal running
        running += 1
        peaks.append(running)
        order.append(number)
        for _ in range(3):
            await checkpoint()
        running -= 1

    async with performer(posted, concurrency=1) as steps:
        for key in range(10):
            steps.perform(Task(key, step, (key,)))
        await posted.reach(10)
    assert order == list(range(10))
    assert max(peaks) == 1


async def test_queued_steps_run_in_order_whatever_they_run_on(posted: Posted) -> None:
    order: list[int] = []
    gate = threading.Event()

    async def append_later(number: int) -> None:
        order.append(number)

    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("gate", gate.wait))
        for key in range(0, 9, 3):
            steps.perform(Task(key, order.append, (key,)))
            steps.perform(Task(key + 1, order.append, (key + 1,), "inline"))
            steps.perform(Task(key + 2, append_later, (key + 2,)))
        assert order == []
        gate.set()
        await posted.reach(10)
    assert order == list(range(9))


async def test_owners_take_turns_and_keep_their_own_order(posted: Posted) -> None:
    order: list[tuple[str, int]] = []
    gate = threading.Event()
    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("gate", gate.wait))
        for owner, count in (("a", 5), ("b", 1), ("c", 2)):
            for number in range(count):
                steps.perform(Task((owner, number), order.append, ((owner, number),), owner=owner))
        steps.cancel("a", ("a", 1))
        gate.set()
        await posted.reach(8)
    assert [owner for owner, _ in order] == list("abccaaa")
    for each in "abc":
        mine = [number for owner, number in order if owner == each]
        assert mine == sorted(mine)


async def test_a_long_queue_of_inline_steps_runs_flat(posted: Posted) -> None:
    gate = threading.Event()
    async with performer(posted, concurrency=1) as steps:
        steps.perform(Task("gate", gate.wait))
        for key in range(5000):
            steps.perform(Task(key, add, (key, 1), "inline"))
        gate.set()
        await posted.reach(5001)
    assert posted.value(4999) == 5000


async def test_threads_hand_back_in_batches(posted: Posted, monkeypatch: pytest.MonkeyPatch) -> None:
    async with performer(posted, concurrency=50) as steps:
        landed = steps._landed
        batches: list[int] = []
        drain = landed.drain

        def counted_drain() -> list[Any]:
            batch = drain()
            batches.append(len(batch))
            return batch

        monkeypatch.setattr(landed, "drain", counted_drain)
        waited, together = threading.Event(), threading.Barrier(51)
        for key in range(50):
            steps.perform(Task(key, together.wait))
        await until(lambda: together.n_waiting == 50)
        together.wait()
        while len(landed._items) < 50:  # the loop is held up until all are back
            waited.wait(0.001)
        await posted.reach(50)
    assert max(batches) == 50


# Draining and closing


async def test_drain_waits_for_what_is_in_flight_and_drops_what_is_queued(posted: Posted) -> None:
    release, ran = threading.Event(), threading.Event()
    async with performer(posted, concurrency=2) as steps:

        async def release_and_end() -> None:
            release.set()

        steps.perform(Task("a", release.wait))
        steps.perform(Task("b", release_and_end))
        steps.perform(Task("c", ran.set))
        with anyio.fail_after(TOO_LONG):
            assert await steps.drain(math.inf)
        assert steps.in_flight == 0
        steps.perform(Task("d", ran.set, (), "inline"))
    assert sorted(map(str, posted.keys)) == ["a", "b"]
    assert not ran.is_set()


async def test_drain_with_nothing_in_flight_is_done_at_once(posted: Posted) -> None:
    async with performer(posted) as steps:
        assert await steps.drain(0)


async def test_drain_beyond_its_grace_cancels_and_leaves_threads_alone(posted: Posted) -> None:
    release = threading.Event()
    cleaned_up: list[bool] = []
    threads: list[threading.Thread] = []

    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(True)

    def stuck() -> None:
        threads.append(threading.current_thread())
        release.wait()

    async with performer(posted) as steps:
        steps.perform(Task("async", hang))
        steps.perform(Task("thread", stuck))
        await until(lambda: len(threads) == 1)
        with anyio.fail_after(TOO_LONG):
            assert not await steps.drain(SHORT)
    assert cleaned_up == [True]
    assert threads[0].is_alive()
    release.set()
    threads[0].join(TOO_LONG)
    assert not threads[0].is_alive()
    assert posted.keys == []


async def test_idle_threads_end_with_the_performer(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(Task("a", threading.get_ident))
        await posted.reach(1)
        [thread] = [thread for thread in threading.enumerate() if thread.ident == posted.value("a")]
    thread.join(TOO_LONG)
    assert not thread.is_alive()


async def test_a_step_that_the_host_cancels_posts_nothing(posted: Posted) -> None:
    started = anyio.Event()
    seen: list[str] = []

    async def hang() -> None:
        try:
            started.set()
            await anyio.sleep_forever()
        finally:
            seen.append("cancelled")

    async def turn_it_into_an_error() -> None:
        try:
            await anyio.sleep_forever()
        except BaseException:
            seen.append("error")
            raise ValueError("interrupted") from None

    with anyio.CancelScope() as scope:
        async with performer(posted) as steps:
            steps.perform(Task("a", turn_it_into_an_error))
            steps.perform(Task("b", hang))
            await started.wait()
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(seen) == ["cancelled", "error"]
    assert posted.keys == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # on trio all cancelling is by scopes
async def test_a_native_cancel_of_the_host_posts_nothing(posted: Posted) -> None:
    async def host() -> None:
        async with performer(posted) as steps:
            steps.perform(Task("a", anyio.sleep_forever, name="lone step"))
            await anyio.sleep_forever()

    task = asyncio.create_task(host())
    for _ in range(10):
        await checkpoint()
    # asyncio.run cancels all tasks at its end, in any order: here the step hears of it before its host.
    [step] = [each for each in asyncio.all_tasks() if each.get_name() == "continuum step"]
    step.cancel()
    await until(step.done)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert posted.keys == []


async def test_an_error_of_the_body_comes_out_as_it_is(posted: Posted) -> None:
    async def host() -> None:
        async with performer(posted) as steps:
            steps.perform(Task("a", anyio.sleep_forever))
            await checkpoint()
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await host()
    assert posted.keys == []


def test_a_stuck_thread_does_not_hold_up_the_end_of_the_program() -> None:
    program = """
import anyio, anyio.lowlevel, threading
from continuum.engine.steps import Performer, Task
from continuum.store.codec import Codec

async def main():
    begun = threading.Event()
    def hang():
        begun.set()
        threading.Event().wait()
    async with Performer(print, Codec(), concurrency=1) as steps:
        steps.perform(Task("a", hang))
        while not begun.is_set():
            await anyio.lowlevel.checkpoint()

anyio.run(main)
print("ended")
"""
    ended = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, timeout=TOO_LONG)
    assert (ended.stdout, ended.stderr, ended.returncode) == (b"ended\n", b"", 0)
