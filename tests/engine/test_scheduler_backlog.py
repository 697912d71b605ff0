"""Very much waits in the store: the worker takes up what it has room for, and its own runs do not wait for the rest."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from continuum import AsyncEngine, Limit, Receive, Save, Sleep, workflow
from continuum.engine import scheduler
from continuum.errors import RunCancelled
from continuum.store.look import Look
from continuum.store.protocol import View
from continuum.store.worklist import Worklist

pytestmark = pytest.mark.anyio

WAITING = 300

begun: list[str] = []
gates: dict[str, anyio.Event]


@workflow
def gated(name: str) -> Any:
    begun.append(name)
    yield Save(pass_gate, "all")


@workflow
def listening() -> Any:
    return (yield Receive("word"))


@workflow
def one_by_one(name: str) -> Any:
    yield Save(pass_gate, name)
    return name


@workflow
def limited(name: str) -> Any:
    yield Save(pass_gate, name, limit=Limit(1))
    begun.append(name)


@workflow
def sharing(name: str) -> Any:
    yield Save(pass_gate, "first", once="key")
    begun.append(name)


@workflow
def sleeping() -> Any:
    yield Sleep(0.01)


async def pass_gate(name: str) -> None:
    await gates[name].wait()


def _set_window(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(scheduler, "WINDOW", size)
    monkeypatch.setattr(scheduler, "SHARED_WINDOW", size)  # that of a worker which does not know yet who is beside it


@pytest.fixture(autouse=True)
def _a_small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    global gates
    _set_window(monkeypatch, 4)
    gates = {name: anyio.Event() for name in ("all", "first", "second")}
    begun.clear()


class Pair:
    """An engine that works, and a client of the same store, which is in another process as far as they know."""

    def __init__(self, where: str) -> None:
        flows = [gated, listening, limited, sharing, sleeping]
        self.worker = AsyncEngine(where, workflows=flows, concurrency=2, grace=0.0)
        self.client = AsyncEngine(where, workflows=flows, work=False)

    async def __aenter__(self) -> Pair:
        await self.worker.__aenter__()
        await self.client.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        for gate in gates.values():
            gate.set()
        await self.client.__aexit__(None, None, None)
        await self.worker.__aexit__(None, None, None)

    async def fill(self) -> None:
        """Have very many runs wait."""
        async with anyio.create_task_group() as group:
            for number in range(WAITING):
                group.start_soon(self._start, f"run {number}")

    async def _start(self, name: str) -> None:
        await self.client.start(gated(name), id=name)

    async def until(self, status: str, name: str) -> None:
        """Return when the run has come to that."""
        run = self.client.run(name)
        while await run.status() != status:
            await checkpoint()


async def test_an_event_reaches_a_run_in_memory_though_much_waits(where: str) -> None:
    async with Pair(where) as pair:
        run = await pair.client.start(listening(), id="listens")
        await pair.until("waiting", "listens")
        await pair.fill()
        await run.send("word", "hello")
        assert await run.result() == "hello"
        assert len(begun) == 4


async def test_a_cancel_reaches_a_run_in_memory_though_much_waits(where: str) -> None:
    async with Pair(where) as pair:
        run = await pair.client.start(listening(), id="listens")
        await pair.until("waiting", "listens")
        await pair.fill()
        await run.cancel("enough")
        with pytest.raises(RunCancelled, match="enough"):
            await run.result()
        assert len(begun) == 4


async def test_an_event_reaches_a_run_that_this_engine_started_and_has_not_begun(where: str) -> None:
    async with Pair(where) as pair:
        for number in range(4):
            await pair.worker.start(gated(f"mine {number}"))
        while len(begun) < 4:
            await checkpoint()
        run = await pair.worker.start(listening(), id="listens")
        await pair.fill()
        await pair.client.run("listens").send("word", "hello")
        assert await run.result() == "hello"


async def test_who_waits_for_a_slot_gets_it_though_much_waits(where: str) -> None:
    async with Pair(where) as pair:
        await pair.client.start(limited("first"), id="first")
        await pair.until("running", "first")
        await pair.client.start(limited("second"), id="second")
        await pair.until("waiting", "second")
        await pair.fill()
        gates["first"].set()
        await pair.until("running", "second")
        assert len(begun) < 10


async def test_who_waits_for_a_shared_result_gets_it_though_much_waits(where: str) -> None:
    async with Pair(where) as pair:
        await pair.client.start(sharing("first"), id="first")
        await pair.until("running", "first")
        await pair.client.start(sharing("second"), id="second")
        await pair.until("waiting", "second")
        await pair.fill()
        gates["first"].set()
        await pair.client.run("second").result()
        assert len(begun) < 10


async def test_a_run_that_is_due_does_not_wait_for_all_that_came_before(where: str) -> None:
    async with AsyncEngine(where, workflows=[gated, sleeping], work=False) as client:
        await client.start(sleeping(), id="due", delay=0.001)
        for number in range(WAITING):
            await client.start(gated(f"run {number}"))
    async with AsyncEngine(where, workflows=[gated, sleeping], concurrency=2, grace=0.0) as worker:
        await worker.run("due").result()
        assert len(begun) < 10


@pytest.mark.parametrize("where", ["lmdb", "postgresql"], indirect=True)  # each end wakes who is on one in memory
async def test_a_long_queue_is_not_looked_at_for_each_free_place(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []
    find = Worklist.look

    def look(worklist: Worklist, view: View, look: Look) -> None:
        rooms.append(look.room)
        find(worklist, view, look)

    monkeypatch.setattr(Worklist, "look", look)
    _set_window(monkeypatch, 40)
    names = [f"run {number}" for number in range(100)]
    gates.update((name, anyio.Event()) for name in names)
    async with AsyncEngine(where, workflows=[one_by_one], work=False) as client:
        for name in names:
            await client.start(one_by_one(name), id=name)
    async with AsyncEngine(where, workflows=[one_by_one], concurrency=1) as engine:
        for name in names:
            gates[name].set()
            assert await engine.run(name).result() == name
    assert rooms[0] == 40
    assert all(room == 0 or room >= 10 for room in rooms), rooms
