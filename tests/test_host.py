"""AsyncEngine in its host's loop: opening, closing in every way there is, and what is left behind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from hosts import TOO_LONG, dump, opened

from continuum import AsyncEngine, AsyncRun, Receive, Save, Sleep, workflow
from continuum.errors import BadValue, RunFinished, StoreClosed
from continuum.store.committer import Committer
from continuum.store.memory import MemoryStore, Space
from continuum.store.opening import open_store
from continuum.store.protocol import Batch

pytestmark = pytest.mark.anyio


@workflow
def waits() -> Any:
    return (yield Receive("event"))


@workflow
def adds(a: int, b: int) -> Any:
    return (yield Save(add, a, b)) + (yield Save(add_later, a, b)) + (yield Save(add, a, b, executor="inline"))


def add(a: int, b: int) -> int:
    return a + b


async def add_later(a: int, b: int) -> int:
    await anyio.sleep(0)
    return a + b


def engine_on(where: str, *workflows: Any, **options: Any) -> AsyncEngine:
    return AsyncEngine(where, workflows=workflows, **{"grace": 0.0, **options})


async def until(condition: Any) -> None:
    with anyio.fail_after(TOO_LONG):
        while not condition():
            await anyio.sleep(0.001)


async def until_waiting(run: AsyncRun[Any]) -> None:
    with anyio.fail_after(TOO_LONG):
        while await run.status() != "waiting":
            await anyio.sleep(0.001)


@asynccontextmanager
async def no_thread_is_left() -> AsyncIterator[None]:
    before = set(threading.enumerate())
    yield
    await until(lambda: not [t for t in set(threading.enumerate()) - before if t.name.startswith("continuum")])


async def test_a_run_is_started_and_gives_its_result(where: str) -> None:
    async with engine_on(where, adds) as engine:
        run = await engine.start(adds(2, b=3), id="r")
        assert await run.result(timeout=TOO_LONG) == 15
        assert await run.status() == "completed"
        assert [listed.id for listed in await engine.runs()] == ["r"]


async def test_one_who_gives_up_waiting_takes_no_other_along(where: str) -> None:
    results = []

    async with engine_on(where, waits) as engine:
        run = await engine.start(waits(), id="r")

        async def wait() -> None:
            results.append(await run.result(timeout=TOO_LONG))

        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as impatient:
                group.start_soon(wait)
                async with anyio.create_task_group() as other:
                    other.start_soon(run.result)
                    await anyio.wait_all_tasks_blocked()
                    impatient.cancel()
            assert impatient.cancelled_caught
            await run.send("event", 1)
    assert results == [1]


async def test_a_handle_can_be_awaited_to_see_whether_the_run_exists(where: str) -> None:
    async with engine_on(where, adds) as engine:
        await engine.start(adds(1, 1), id="r")
        assert (await engine.run("r")).id == "r"


@pytest.mark.parametrize("works", [True, False])
async def test_an_engine_that_is_closed_at_once_closes(where: str, works: bool) -> None:
    async with no_thread_is_left():
        async with engine_on(where, adds, work=works):
            pass
        async with engine_on(where, adds, work=works) as engine:
            await engine.start(adds(1, 1), id="r")


@pytest.mark.parametrize("works", [True, False])
async def test_an_engine_can_be_opened_again_after_it_was_closed(where: str, works: bool) -> None:
    engine = engine_on(where, waits, work=works)
    for number in range(3):
        async with engine:
            run = await engine.start(waits(), id=f"r{number}")
            assert await run.status() in ("pending", "running", "waiting")


async def test_an_engine_that_is_open_cannot_be_opened_again(where: str) -> None:
    engine = engine_on(where)
    async with engine:
        with pytest.raises(BadValue, match="open already"):
            async with engine:
                pass


async def test_a_closed_engine_says_that_it_is_closed(where: str) -> None:
    engine = engine_on(where, waits)
    async with engine:
        run = await engine.start(waits())
    with pytest.raises(StoreClosed):
        await engine.start(waits())
    with pytest.raises(StoreClosed):
        await run.status()
    with pytest.raises(StoreClosed):
        await run.result(timeout=TOO_LONG)


@pytest.mark.parametrize("works", [True, False])
async def test_who_waits_for_a_result_is_told_that_the_engine_closes(where: str, works: bool) -> None:
    told: list[BaseException] = []

    async def wait(run: AsyncRun[Any]) -> None:
        try:
            await run.result()
        except StoreClosed as error:
            told.append(error)

    with anyio.fail_after(TOO_LONG):
        async with anyio.create_task_group() as group:
            async with engine_on(where, waits, work=works) as engine:
                run = await engine.start(waits())
                for _ in range(3):
                    group.start_soon(wait, run)
                await anyio.wait_all_tasks_blocked()
                if works:
                    await until_waiting(run)
    assert len(told) == 3


async def test_who_waits_for_idleness_is_not_left_waiting(where: str) -> None:
    async with engine_on(where, waits) as engine:
        await engine.start(waits())
        with anyio.fail_after(TOO_LONG):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(engine.until_idle)


async def test_an_error_in_the_block_comes_out_as_it_is_and_the_store_resumes(where: str) -> None:
    async with no_thread_is_left():
        with pytest.raises(LookupError, match="the host's own"):
            async with engine_on(where, waits) as engine:
                await until_waiting(await engine.start(waits(), id="r"))
                raise LookupError("the host's own")
    await resumes(where)


def test_ctrl_c_that_strikes_in_the_engine_comes_out_as_such_and_the_store_resumes(tmp_path: Path) -> None:
    strikes = [KeyboardInterrupt]

    def struck() -> None:
        if strikes:
            raise strikes.pop()

    @workflow(name="waits")
    def is_struck() -> Any:
        yield Save(struck, executor="inline")
        return (yield Receive("event"))

    async def main() -> None:
        async with engine_on(where, is_struck) as engine:
            run = await engine.start(is_struck(), id="r")
            if not strikes:
                await run.send("event", "still here")
            assert await run.result(TOO_LONG) == "still here"

    where = str(tmp_path / "store")
    with pytest.raises(KeyboardInterrupt):
        anyio.run(main, backend="trio")
    anyio.run(main, backend="trio")


async def test_a_cancelled_scope_around_an_engine_leaves_a_store_that_resumes(where: str) -> None:
    async with no_thread_is_left():
        with anyio.CancelScope() as scope:
            async with engine_on(where, waits) as engine:
                await until_waiting(await engine.start(waits(), id="r"))
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
    await resumes(where)


async def test_a_cancelled_scope_at_any_moment_leaves_a_store_that_resumes(where: str) -> None:
    async with no_thread_is_left():
        for rounds in range(60):
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(partial(cancel_after, scope.cancel, rounds))
                    async with engine_on(where, waits, adds) as engine:
                        await engine.start(waits(), id="r")
                        await (await engine.start(adds(1, 1), id=f"adds-{rounds}")).result()
                    scope.cancel()
    async with engine_on(where, waits, adds) as engine:
        for run in await engine.runs(workflow=adds):
            assert await run.result(timeout=TOO_LONG) == 6
        with suppress(BadValue):
            await engine.start(waits(), id="r")
    await resumes(where)


# Cancelled by asyncio itself, from which no scope shields

on_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"])


@on_asyncio
@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
async def test_a_task_cancelled_by_asyncio_at_any_moment_leaves_a_store_that_resumes(where: str, again: bool) -> None:
    async def use(number: int) -> None:
        async with engine_on(where, waits, adds) as engine:
            await engine.start(waits(), id="r")
            await (await engine.start(adds(1, 1), id=f"adds-{number}")).result()

    async with no_thread_is_left():
        for rounds in range(60):
            task = asyncio.create_task(use(rounds))
            await asyncio.sleep(rounds * 0.0002)
            task.cancel()
            while again and not task.done():
                await asyncio.sleep(0)
                task.cancel()
            with anyio.fail_after(TOO_LONG):
                await asyncio.wait([task])
            assert task.cancelled() or task.exception() is None
    async with engine_on(where, waits, adds) as engine:
        for run in await engine.runs(workflow=adds):
            assert await run.result(timeout=TOO_LONG) == 6
        await engine.start(waits(), id="r")
    await resumes(where)


@on_asyncio
@pytest.mark.parametrize("works", [True, False])
async def test_a_task_cancelled_by_asyncio_while_a_slow_store_opens_closes_it_again(
    where: str, works: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, released = threading.Event(), threading.Event()
    handles: list[Any] = []

    def open_slowly(*args: Any, **kwargs: Any) -> Any:
        handles.append(open_store(*args, **kwargs))
        opening.set()
        assert released.wait(TOO_LONG)
        return handles[-1]

    async def use() -> None:
        async with engine_on(where, waits, work=works):
            raise AssertionError("the block was entered")

    monkeypatch.setattr("continuum.host.open_store", open_slowly)
    async with no_thread_is_left():
        task = asyncio.create_task(use())
        await until(opening.is_set)
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
        released.set()
        with anyio.fail_after(TOO_LONG):
            await asyncio.wait([task])
    assert task.cancelled()
    with pytest.raises(StoreClosed):
        handles[0].view()
    async with engine_on(where, waits) as engine:
        await engine.start(waits(), id="r")
    await resumes(where)


@on_asyncio
async def test_a_task_cancelled_by_asyncio_while_the_engine_closes_lets_it_close(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing, released = threading.Event(), threading.Event()
    close = Committer.close

    def close_slowly(committer: Committer) -> None:
        closing.set()
        assert released.wait(TOO_LONG)
        close(committer)

    async def use() -> None:
        async with engine_on(where, waits) as engine:
            await engine.start(waits(), id="r")

    monkeypatch.setattr(Committer, "close", close_slowly)
    async with no_thread_is_left():
        task = asyncio.create_task(use())
        await until(closing.is_set)
        for _ in range(3):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
            assert not task.done()
        released.set()
        with anyio.fail_after(TOO_LONG):
            await asyncio.wait([task])
    assert task.cancelled()
    await resumes(where)


async def resumes(where: str) -> None:
    async with engine_on(where, waits) as engine:
        run = engine.run("r")
        await run.send("event", "after all")
        assert await run.result(timeout=TOO_LONG) == "after all"


async def test_two_workers_and_a_client_share_a_store(where: str) -> None:
    async with engine_on(where, waits) as one, engine_on(where, adds, waits) as two:
        run = await one.start(waits(), id="r")
        other = await two.start(adds(1, 2), id="s")
        async with engine_on(where, work=False) as client:
            await client.run("r").send("event", 1)
            assert await client.run("r").result(timeout=TOO_LONG) == 1
            assert await client.run("s").result(timeout=TOO_LONG) == 9
        assert await run.status() == "completed"
        assert await other.status() == "completed"


async def test_steps_in_flight_are_drained_when_the_engine_closes(where: str) -> None:
    calls: list[str] = []
    begun, released = threading.Event(), threading.Event()

    def slow() -> str:
        calls.append("slow")
        begun.set()
        released.wait(TOO_LONG)
        return "done"

    @workflow
    def works() -> Any:
        return (yield Save(slow)), (yield Save(calls.append, "next"))

    async with engine_on(where, works, grace=TOO_LONG) as engine:
        await engine.start(works(), id="r")
        await until(begun.is_set)
        released.set()
    assert calls[0] == "slow"
    async with engine_on(where, works) as engine:
        assert await engine.run("r").result(timeout=TOO_LONG) == ("done", None)
    assert calls == ["slow", "next"]


async def test_a_step_that_outlives_the_grace_is_repeated_by_the_next_engine(where: str) -> None:
    calls: list[int] = []
    begun = threading.Event()
    released = threading.Event()

    def slow() -> int:
        calls.append(len(calls))
        begun.set()
        if len(calls) == 1:
            released.wait()
        return len(calls)

    @workflow
    def works() -> Any:
        return (yield Save(slow))

    async with engine_on(where, works, grace=0.01) as engine:
        await engine.start(works(), id="r")
        await until(begun.is_set)
    async with engine_on(where, works) as engine:
        assert await engine.run("r").result(timeout=TOO_LONG) == 2
        released.set()
    async with engine_on(where, works) as engine:
        assert await engine.run("r").result(timeout=TOO_LONG) == 2
    assert len(calls) == 2


async def test_result_that_comes_too_late_says_how_the_run_stands(where: str) -> None:
    async with engine_on(where, waits) as engine:
        run = await engine.start(waits(), id="r")
        await until_waiting(run)
        with pytest.raises(TimeoutError, match="'r' has not ended within 0 s; it is waiting for receive 'event'"):
            await run.result(timeout=0)
        await run.send("event")
        await run.result(timeout=TOO_LONG)
        with pytest.raises(RunFinished):
            await run.send("event")


async def test_a_closed_engine_writes_nothing_more(where: str) -> None:
    @workflow
    def naps() -> Any:
        for _ in range(1000):
            yield Sleep(0.001)

    async with engine_on(where, naps) as engine:
        await engine.start(naps(), id="r")
        await until_waiting(engine.run("r"))
    before = dump(where)
    await anyio.sleep(0.01)
    assert dump(where) == before
    with opened(where, work=False) as client:
        assert client.run("r").status() == "waiting"


async def test_a_run_that_wakes_sooner_than_a_commit_takes_does_not_keep_an_engine_from_closing() -> None:
    class SlowStore(MemoryStore):
        def commit(self, batches: Sequence[Batch]) -> list[bool]:
            time.sleep(0.005)
            return super().commit(batches)

    @workflow
    def naps() -> Any:
        while True:
            yield Sleep(0.001)

    with anyio.fail_after(TOO_LONG):
        async with AsyncEngine(SlowStore(Space()), workflows=[naps], grace=0.0) as engine:
            await engine.start(naps(), id="r")
            await until_waiting(engine.run("r"))


async def cancel_after(cancel: Any, rounds: int) -> None:
    for _ in range(rounds):
        await anyio.sleep(0.0002)
    cancel()
