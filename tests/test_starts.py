"""Runs that are started together: which of them are created, in whose hands, and what their starters are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
from hosts import TOO_LONG

from continuum import AsyncEngine, AsyncRun, Invocation, Receive, RunExists, workflow
from continuum.errors import StoreFull
from continuum.journal import RunId, Status
from continuum.promise import Promise
from continuum.starts import LARGEST, Starts
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch, View
from continuum.store.records import RunRecord
from continuum.store.tenure import Tenure, dismiss, enlist

LEDGER = Ledger(Codec())


class Kept:
    """A promise that nobody waits for."""

    def __init__(self) -> None:
        self.kept = False

    def done(self) -> bool:
        return self.kept

    def set_result(self, result: None) -> None:
        self.kept = True

    def __await__(self) -> Any:
        raise NotImplementedError


class Shop:
    """A store with a worker, and what is started there."""

    def __init__(self) -> None:
        self.store = MemoryStore(Space())
        self.tenure = Tenure(b"sometime", b"somebody")
        self.begun: dict[str, bytes | None] = {}
        batch = enlist(self.tenure, (keys.worker(b"somebody"), b""), (keys.move(), None))
        assert self.store.commit([batch]) == [True]

    def starts(self, *records: RunRecord, new: bool = True) -> Starts:
        """These runs, which nobody has asked the store about yet."""
        starts = Starts(LEDGER, self.tenure, self.begin)
        for each in records:
            promise: Promise[None] = Kept()
            starts.add(each, promise, new=new)
        return starts

    def begin(self, records: Mapping[str, RunRecord], claims: Mapping[RunId, bytes], tenure: Tenure) -> None:
        """What the worker is told."""
        assert tenure is self.tenure
        self.begun.update({run_id: claims.get(RunId(run_id)) for run_id in records})

    def ask(self, starts: Starts) -> list[Batch]:
        """What is to be committed."""
        with self.store.view() as view:
            return starts.job.ask(view)

    def carry_out(self, starts: Starts) -> None:
        """What the committer does."""
        for _ in range(2):  # nobody is faster twice
            if starts.job.settle(self.store.commit(self.ask(starts))):
                break
        assert starts.job.done
        starts.job.tell()

    def status(self, run_id: str) -> Status:
        """How the run stands."""
        with self.store.view() as view:
            return LEDGER.state(view, run_id).status

    def claims(self) -> dict[str, bytes]:
        """Who has what, as the store says."""
        with self.store.view() as view:
            return {keys.run_of_claim(key): claim for key, claim in view.scan(keys.claims())}


def record(run_id: str, workflow: str = "first", payload: bytes = b"") -> RunRecord:
    """A run of that id."""
    return RunRecord(RunId(run_id), workflow, "1", "default", 1, "00", payload=payload or LEDGER.codec.encode(((), {})))


def test_runs_that_are_started_together_are_one_batch_and_each_has_its_own_claim() -> None:
    shop = Shop()
    starts = shop.starts(record("a"), record("b"), record("c"))
    assert len(shop.ask(starts)) == 1
    shop.carry_out(starts)
    assert shop.claims() == shop.begun
    assert len({*shop.begun.values()}) == 3
    assert all(claim is not None and shop.tenure.made(claim) for claim in shop.begun.values())
    with shop.store.view() as view:
        assert [info.record for info in LEDGER.runs(view, Status.RUNNING)] == [record("c"), record("b"), record("a")]


def test_an_id_that_was_made_for_its_run_is_not_looked_for() -> None:
    class Looking:
        def __init__(self, view: View) -> None:
            self._view = view
            self.scan = view.scan

        def get(self, key: bytes) -> bytes | None:
            looked.append(key)
            return self._view.get(key)

    shop = Shop()
    for new, expected in ((True, False), (False, True)):
        looked: list[bytes] = []
        with shop.store.view() as view:
            shop.starts(record("a"), new=new).job.ask(Looking(view))
        assert (keys.run("a") in looked) is expected


def test_a_run_that_is_there_is_not_started_again_and_the_others_are() -> None:
    shop = Shop()
    shop.carry_out(shop.starts(record("a"), record("b")))
    before = shop.claims()
    starts = shop.starts(record("a"), record("b", "other"), record("c"), new=False)
    shop.carry_out(starts)
    starts.check("a")
    with pytest.raises(RunExists, match="'first'"):
        starts.check("b")
    starts.check("c")
    assert shop.begun == {"a": None, "b": None, "c": shop.claims()["c"]}
    assert {**before, **shop.claims()} == {**shop.claims(), **before}


def test_where_all_are_there_nothing_is_committed() -> None:
    shop = Shop()
    shop.carry_out(shop.starts(record("a")))
    assert shop.ask(shop.starts(record("a"), new=False)) == []


def test_where_somebody_was_faster_it_is_seen_anew_what_is_there() -> None:
    shop = Shop()
    slow, fast = shop.starts(record("a"), record("b")), shop.starts(record("b"))
    batches = shop.ask(slow)
    shop.carry_out(fast)
    (claim,) = shop.begun.values()
    assert not slow.job.settle(shop.store.commit(batches))
    assert not slow.job.done
    shop.carry_out(slow)
    assert slow.job.done
    assert shop.begun["b"] is None
    assert shop.claims() == {"a": shop.begun["a"], "b": claim}


def test_where_the_tenure_is_over_the_runs_are_for_any_worker() -> None:
    shop = Shop()
    starts = shop.starts(record("a"), record("b"))
    batches = shop.ask(starts)
    with shop.store.view() as view:
        assert shop.store.commit([dismiss(view)]) == [True]
    assert not starts.job.settle(shop.store.commit(batches))
    shop.carry_out(starts)
    assert shop.begun == {"a": None, "b": None}
    assert shop.claims() == {}
    assert {shop.status("a"), shop.status("b")} == {Status.PENDING}
    with shop.store.view() as view:
        assert len(list(view.scan(keys.ready_prefix("default")))) == 2


def test_what_stops_the_store_is_told_to_all() -> None:
    shop = Shop()
    starts = shop.starts(record("a"), record("b"))
    shop.ask(starts)
    starts.job.error = StoreFull("there is no room")
    assert starts.job.done
    starts.job.tell()
    assert shop.begun == {"a": None, "b": None}
    for run_id in ("a", "b"):
        with pytest.raises(StoreFull):
            starts.check(run_id)


def test_what_does_not_go_with_the_others_goes_by_itself() -> None:
    shop = Shop()
    starts = shop.starts(record("a"))
    assert starts.takes(record("b"), shop.tenure)
    assert not starts.takes(record("a", "other"), shop.tenure)
    assert not starts.takes(record("b"), Tenure(b"another1", b"somebody"))
    starts.add(record("b", payload=bytes(LARGEST)), Kept(), new=True)
    assert not starts.takes(record("c"), shop.tenure)


# In an engine


@workflow
def waits(word: str) -> Any:
    return word, (yield Receive("go"))


@workflow
def differs() -> Any:
    yield Receive("go")


class Counting(MemoryStore):
    """A store that remembers how many runs each batch created."""

    def __init__(self, created: list[int]) -> None:
        super().__init__(Space())
        self._created = created

    def another(self) -> Counting:
        return self

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        for batch in batches:
            runs = sum(keys.is_run(key) for key, _ in batch.puts)
            if runs:
                self._created.append(runs)
        return super().commit(batches)


@pytest.mark.anyio
async def test_what_tasks_start_in_one_turn_of_the_loop_is_one_batch() -> None:
    created: list[int] = []
    async with AsyncEngine(Counting(created), workflows=[differs]) as engine:
        await engine.until_idle()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(engine.start, differs())
        await engine.start(differs())
    assert created == [20, 1]


@pytest.mark.anyio
async def test_one_id_that_is_started_by_many_tasks_at_once_is_one_run(where: str) -> None:
    runs: list[AsyncRun[Any]] = []
    refused: list[RunExists] = []

    async def start(invocation: Invocation[Any]) -> None:
        try:
            runs.append(await engine.start(invocation, id="same"))
        except RunExists as error:
            refused.append(error)

    async with AsyncEngine(where, workflows=[waits, differs]) as engine:
        await engine.until_idle()
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(start, waits(str(number)))
                group.start_soon(start, differs())
        assert (len(runs), len(refused)) == (5, 5)
        await runs[0].send("go", 1)
        ends = [await run.result(TOO_LONG) for run in runs]
    assert all(end == ends[0] for end in ends)


@pytest.mark.anyio
async def test_runs_that_tasks_start_at_once_are_told_apart(where: str) -> None:
    ended: dict[str, Any] = {}

    async def start(word: str) -> None:
        run = await engine.start(waits(word))
        await run.send("go", word.upper())
        ended[word] = await run.result(TOO_LONG)

    words = [f"word {number}" for number in range(20)]
    async with AsyncEngine(where, workflows=[waits]) as engine:
        await engine.until_idle()
        async with anyio.create_task_group() as group:
            for word in words:
                group.start_soon(start, word)
    assert ended == {word: (word, word.upper()) for word in words}
