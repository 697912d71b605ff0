"""A run that comes to its end while what led there is still being committed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from hosts import TOO_LONG
from posted import until

from continuum import All, AsyncEngine, AsyncRun, Call, Limit, Race, Receive, Save, workflow
from continuum.errors import RunFailed
from continuum.store import keys
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch
from continuum.store.tenure import FELL, bury

pytestmark = pytest.mark.anyio


class SlowStore(MemoryStore):
    """A store whose commits can be held up, and be let through one by one."""

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.slow = False
        self.commits = 0  # that were begun while it was slow
        self._permits = threading.Semaphore(0)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        if self.slow:
            self.commits += 1
            assert self._permits.acquire(timeout=TOO_LONG)
        return super().commit(batches)

    def let_one_through(self) -> None:
        self._permits.release()


@pytest.mark.parametrize("end", ["returns", "fails", "wins"])
async def test_a_run_that_ends_while_an_earlier_batch_of_it_is_being_committed(end: str) -> None:
    space = Space()
    first, second = anyio.Event(), anyio.Event()
    begun: list[str] = []
    reached: list[str] = []
    told: list[str] = []

    async def step(name: str, gate: anyio.Event) -> str:
        begun.append(name)
        await gate.wait()
        return name

    def goes_on() -> Any:
        yield Save(step, "first", first)
        if end != "returns":
            yield Save(step, "late", first)

    def ends() -> Any:
        yield Save(step, "second", second)
        reached.append("the end")
        if end == "fails":
            raise LookupError("as asked")

    @workflow
    def runs() -> Any:
        yield (Race if end == "wins" else All)(goes_on(), ends())
        return "the end"

    async def wait(run: AsyncRun[Any]) -> None:
        try:
            told.append(await run.result())
        except RunFailed as error:
            told.append(repr(error.__cause__))

    store = SlowStore(space)
    async with AsyncEngine(store, workflows=[runs], grace=0.0) as engine, anyio.create_task_group() as group:
        group.start_soon(wait, await engine.start(runs(), id="r"))
        await until(lambda: begun == ["first", "second"])
        store.slow = True
        first.set()
        await until(lambda: store.commits == 1)
        second.set()
        await until(lambda: reached == ["the end"])
        store.let_one_through()
        await until(lambda: store.commits == 2)
        await anyio.wait_all_tasks_blocked()
        assert told == [], "the end was told before it was written down"
        store.slow = False
        store.let_one_through()
        await until(lambda: len(told) == 1)
        assert told == ["LookupError('as asked')" if end == "fails" else "the end"]
    async with AsyncEngine(MemoryStore(space), workflows=[runs]) as engine:
        assert await engine.run("r").status() == ("failed" if end == "fails" else "completed")
        assert [step.value for step in (await engine.run("r").history())[:2]] == ["first", "second"]
    assert begun == ["first", "second"], "a step was begun that had been called off"
    assert reached == ["the end"]


async def test_what_came_too_late_to_matter_leaves_with_the_run() -> None:
    @workflow
    def waits() -> Any:
        return (yield Receive("go"))

    space = Space()
    async with AsyncEngine(MemoryStore(space), workflows=[waits], grace=0.0) as engine:
        await engine.start(waits(), id="r")
        await engine.until_idle()
    async with AsyncEngine(MemoryStore(space), workflows=[waits], work=False) as client:
        await client.run("r").send("go", 1)
        await client.run("r").cancel("too late")
    async with AsyncEngine(MemoryStore(space), workflows=[waits], grace=0.0) as engine:
        assert await engine.run("r").result() == 1
    with MemoryStore(space).view() as view:
        assert not list(view.scan(keys.inbox_prefix("r")))


class Telling(MemoryStore):
    """A store that remembers, for each run that ended, the first letters of the keys that were checked for that."""

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.checked: dict[str, bytes] = {}

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        for batch in batches:
            for key, _ in batch.puts:
                if key[:1] == keys.outcome(""):
                    self.checked[key[1:].decode()] = b"".join(sorted(check[:1] for check, _ in batch.checks))
        return super().commit(batches)


async def test_what_is_checked_for_the_end_of_a_run() -> None:
    """That the worker's tenure goes on; the run's own claim where more than its own is changed with that."""

    @workflow
    def alone() -> Any:
        return (yield Save(int))

    @workflow(limit=Limit(concurrency=1))
    def limited() -> Any:
        return (yield Save(int))

    @workflow
    def parent() -> Any:
        return (yield Call(alone(), id="child"))

    store = Telling(Space())
    async with AsyncEngine(store, workflows=[alone, limited, parent]) as engine:
        for name, code in [("alone", alone), ("limited", limited), ("parent", parent)]:
            await (await engine.start(code(), id=name)).result()
    tenure, claim, message = keys.tenure(b""), keys.claims(), keys.inboxes()
    child = next(name for name in store.checked if name not in ("alone", "limited", "parent"))
    assert store.checked == {"alone": tenure, "limited": claim, "parent": claim, child: claim + message}


async def test_a_worker_that_was_given_up_ends_no_run() -> None:
    gate = anyio.Event()
    begun: list[str] = []

    async def step() -> None:
        begun.append("step")
        await gate.wait()

    @workflow
    def runs() -> Any:
        yield Save(step)
        return "the end"

    space = Space()
    store, other = SlowStore(space), MemoryStore(space)
    async with AsyncEngine(store, workflows=[runs]) as engine:
        run = await engine.start(runs(), id="r")
        await until(lambda: begun == ["step"])
        store.slow = True
        gate.set()
        await until(lambda: store.commits == 1)
        with other.view() as view:
            [worker] = [keys.token_of(key) for key, _ in view.scan(keys.tenures())]
            assert other.commit([bury(view, worker, FELL)]) == [True]
        store.slow = False
        store.let_one_through()
        assert await run.result() == "the end"
    assert begun == ["step"] * 2, "what was to be committed with the end has not been refused"
