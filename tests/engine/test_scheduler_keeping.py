"""Continuations, kept and used: what a run goes on from, what becomes of its history, and what people are told."""

from __future__ import annotations

import importlib.util
import linecache
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually, opened, reading

from continuum import (
    All,
    Compact,
    CompactRefused,
    ContinueUsing,
    Ensure,
    Handle,
    Now,
    Publish,
    Race,
    Receive,
    Retry,
    Revert,
    RunReverted,
    Save,
    Sleep,
    Workflow,
    WrongState,
    workflow,
)
from continuum.engine import scheduler
from continuum.engine.continuation import Stale
from continuum.engine.keeping import changeover, upkeep
from continuum.engine.machine import replay
from continuum.store import keys, leavings
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.opening import open_store
from continuum.store.protocol import Batch
from continuum.store.records import Continuation, Refusal, write

LEDGER = Ledger(Codec())


def kept(where: str, run_id: str = "r") -> Continuation | None:
    with reading(where) as view:
        return LEDGER.continuation(view, run_id)


def refused(where: str, run_id: str = "r") -> Refusal | None:
    with reading(where) as view:
        return LEDGER.refusal(view, run_id)


def numbers(where: str, run_id: str = "r") -> list[int]:
    """Of the entries that are there."""
    with reading(where) as view:
        return [number for number, _ in LEDGER.entries(view, run_id, load=False)]


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many entries were replayed at each taking up of a run that was begun before."""
    found: list[int] = []
    load = replay.Journal.load

    def loaded(self: replay.Journal, entries: Any, *rest: Any) -> None:
        found.append(len(entries))
        load(self, entries, *rest)

    monkeypatch.setattr(replay.Journal, "load", loaded)
    return found


def text(number: int) -> str:
    return f"step {number} " * 20


@workflow
def steps(count: int) -> Any:
    lengths = 0
    for number in range(count):
        lengths += len((yield Save(text, number, executor="inline")))
    answer = yield Receive("answer")
    return lengths, answer


@workflow
def rounds(count: int, each: int = 5) -> Any:
    total = 0
    for number in range(count):
        for step in range(each):
            total += len((yield Save(text, number * each + step, executor="inline")))
        yield Compact()
    return total, (yield Receive("answer"))


# By policy


@pytest.mark.usefixtures("soon")
def test_a_long_run_goes_on_from_its_continuation_and_replays_what_came_since(where: str, replayed: list[int]) -> None:
    with opened(where, steps) as engine:
        engine.start(steps(50), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
    continuation = kept(where)
    assert continuation is not None
    assert 10 <= continuation.number <= 50
    assert continuation.entries == continuation.number
    assert numbers(where) == list(range(50)), "the history stays"
    replayed.clear()
    with opened(where, steps) as engine:
        engine.until_idle()
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG) == (sum(len(text(n)) for n in range(50)), "yes")
        assert [step.position for step in engine.run("r").history()] == [str(n) for n in range(51)]
    assert replayed == [50 - continuation.number]
    assert kept(where) is None, "a run that has ended needs none"


@pytest.mark.usefixtures("soon")
def test_it_is_so_on_both_loops(open_engine: OpenEngine) -> None:
    with open_engine(steps) as engine:
        run = engine.start(steps(50), id="r")
        eventually(lambda: run.kept().continuation)
        engine.until_idle()
        kept = run.kept()
        assert (kept.refusal, kept.deleted) == (None, 0)
        assert kept["continuation"]["where"]
    with open_engine(steps) as engine:
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG)[1] == "yes"
        assert engine.run("r").kept().continuation is None


def once(number: int) -> int:
    attempts.append(str(number))
    return number


@workflow
def careful(count: int) -> Any:
    """There is an attempt under way that must not be repeated whenever it is looked."""
    total = 0
    for number in range(count):
        total += yield Save(once, number, at_most_once=True, retry=Retry(3, delay=0, max_elapsed=60))
    return total, (yield Receive("answer"))


@pytest.mark.usefixtures("soon", "mended")
def test_a_run_changes_over_in_the_midst_of_what_must_be_done_once(where: str) -> None:
    with opened(where, careful) as engine:
        run = engine.start(careful(50), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
        run.send("answer")
        assert run.result(TOO_LONG) == (sum(range(50)), None)
    assert attempts == [str(number) for number in range(50)]


@pytest.mark.usefixtures("soon")
def test_runs_that_nobody_waits_for_change_over_now_and_then_and_do_not_stop_others(
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(changeover, "REST", 1 << 40)
    with opened(where, steps, rounds) as engine:
        for name in "abc":
            engine.start(steps(50), id=name)
        eventually(lambda: any(kept(where, name) for name in "abc"))
        asked = engine.start(rounds(2), id="asked")
        engine.until_idle()
        assert asked.kept().deleted == 11
    assert len([name for name in "abc" if kept(where, name)]) == 1


@pytest.mark.usefixtures("soon")
def test_with_continuations_off_none_is_made_and_none_is_used(where: str, replayed: list[int]) -> None:
    with opened(where, steps) as engine:
        engine.start(steps(50), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
    replayed.clear()
    with opened(where, steps, continuations="off") as engine:
        engine.start(steps(40), id="other")
        engine.run("r").send("answer")
        engine.run("r").result(TOO_LONG)
        engine.until_idle()
    assert replayed == [50], "a new run has nothing to replay"
    assert kept(where, "other") is None


def test_a_short_run_is_never_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("continuum.engine.keeping.keeper.Keeper.attend", None)
    with opened("memory://", steps) as engine:
        run = engine.start(steps(100))
        run.send("answer")
        run.result(TOO_LONG)


@pytest.mark.usefixtures("soon")
def test_a_run_that_leaves_memory_is_kept_as_it_is(
    where: str, monkeypatch: pytest.MonkeyPatch, replayed: list[int]
) -> None:
    monkeypatch.setattr(upkeep, "ENTRIES", 1_000)
    monkeypatch.setattr(scheduler, "LINGER", 0)
    with opened(where, steps) as engine:
        run = engine.start(steps(20), id="r")
        eventually(lambda: kept(where) is not None)
        continuation = kept(where)
        assert continuation is not None
        assert continuation.number == 20
        engine.until_idle()
        replayed.clear()
        run.send("answer", "yes")
        assert run.result(TOO_LONG)[1] == "yes"
    assert replayed == [0]


@pytest.mark.usefixtures("soon")
def test_a_run_that_has_come_to_wait_meanwhile_is_kept_all_the_same(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "LINGER", 1 << 60)
    with opened(where, steps) as engine:
        engine.start(steps(16), id="r")  # it is looked at when it waits already
        eventually(lambda: kept(where) is not None)


def numbered(number: int) -> int:
    return number


@workflow
def gathers(count: int) -> Any:
    """Its state holds more than its history does."""
    gathered = []
    for number in range(count):
        step = yield Save(numbered, number, executor="inline")
        gathered += [f"{step} {each}" * 20 for each in range(100)]
    yield Receive("answer")
    return len(gathered)


@pytest.mark.usefixtures("soon")
def test_a_state_that_is_larger_than_the_history_is_not_kept(where: str) -> None:
    with opened(where, gathers) as engine:
        run = engine.start(gathers(50), id="r")
        engine.until_idle()
        eventually(lambda: refused(where) is not None)
        refusal = refused(where)
        assert refusal is not None
        assert "more than the" in refusal.reason
        assert kept(where) is None
        run.send("answer")
        assert run.result(TOO_LONG) == 50 * 100
    assert refused(where) is None


# By Compact


def test_compact_deletes_the_history_and_the_run_goes_on_without_it(where: str, replayed: list[int]) -> None:
    with opened(where, rounds) as engine:
        engine.start(rounds(10), id="r")
        engine.until_idle()
        assert [step.kind for step in engine.run("r").history()] == ["compact"]
    assert numbers(where) == [59]
    continuation = kept(where)
    assert continuation is not None
    assert (continuation.number, continuation.entries) == (59, 59)
    replayed.clear()
    with opened(where, rounds) as engine:
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG) == (sum(len(text(n)) for n in range(50)), "yes")
    assert replayed == [1]


@pytest.mark.usefixtures("open_engine")
def test_compact_works_on_both_loops_and_with_continuations_off(open_engine: OpenEngine) -> None:
    with open_engine(rounds, continuations="off") as engine:
        engine.start(rounds(3), id="r")
        engine.until_idle()
    with open_engine(rounds, continuations="off") as engine:
        engine.run("r").send("answer", 1)
        assert engine.run("r").result(TOO_LONG) == (sum(len(text(n)) for n in range(15)), 1)
        assert [step.position for step in engine.run("r").history()] == ["17", "18"]


def test_a_long_history_is_deleted_in_pieces(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", 3)
    with opened(where, rounds) as engine:
        engine.start(rounds(2, 20), id="r")
        engine.until_idle()
        eventually(lambda: numbers(where) == [41])


@workflow
def everything() -> Any:
    """One of each that a continuation holds."""
    heard: list[Any] = []
    yield Handle("word", heard.append)
    yield Publish(shown=1)
    booked = yield Save(text, 1, compensate=numbered)

    def beside() -> Any:
        yield Sleep("1d")
        return "late"

    def compacts() -> Any:
        yield Compact()
        yield Receive("go on")
        return (yield Now())

    number, at = yield Race(beside(), compacts())
    yield Ensure(lambda: len(heard) >= 2)
    return booked, number, at.tzinfo is not None, heard, (yield All(Receive("a"), Receive("b")))


def test_a_continuation_holds_handlers_branches_timers_and_events_are_not_lost(where: str) -> None:
    with opened(where, everything) as engine:
        run = engine.start(everything(), id="r")
        run.send("word", 1)
        run.send("b", "B")
        engine.until_idle()
        assert kept(where) is not None
    with opened(where, everything) as engine:
        run = engine.run("r")
        engine.until_idle()
        assert "sleep until" in run.describe().waiting_for
        assert run.state() == {"shown": 1}
        run.send("word", 2)
        run.send("go on")
        run.send("a", "A")
        assert run.result(TOO_LONG) == (text(1), 1, True, [1, 2], ["A", "B"])


@workflow
def books() -> Any:
    yield Save(numbered, 7, executor="inline", compensate=undo)
    yield Compact()
    yield Receive("go on")
    yield Revert("enough")


undone: list[int] = []


def undo(number: int) -> None:
    undone.append(number)


def test_what_was_saved_before_can_be_undone_after(where: str) -> None:
    undone.clear()
    with opened(where, books) as engine:
        engine.start(books(), id="r")
        engine.until_idle()
    with opened(where, books) as engine:
        engine.run("r").send("go on")
        with pytest.raises(RunReverted):
            engine.run("r").result(TOO_LONG)
    assert undone == [7]


@workflow
def holds_a_lock(asks: bool) -> Any:
    lock = threading.Lock()
    yield Save(numbered, 1, executor="inline")
    try:
        yield Compact()
    except CompactRefused as error:
        told = str(error)
    assert lock.acquire(blocking=False)
    yield Receive("answer")
    return told if asks else (yield Save(numbered, 2))


def test_what_cannot_be_captured_is_told_to_the_workflow_and_recorded(where: str, replayed: list[int]) -> None:
    with opened(where, holds_a_lock) as engine:
        engine.start(holds_a_lock(True), id="r")
        engine.until_idle()
        steps = engine.run("r").history()
        assert [(step.kind, step.error is not None) for step in steps] == [("save", False), ("compact", True)]
        refusal = refused(where)
        assert refusal is not None
        assert "lock" in refusal.reason
    replayed.clear()
    with opened(where, holds_a_lock) as engine:
        engine.run("r").send("answer")
        told = engine.run("r").result(TOO_LONG)
    assert "Compact() cannot delete the history of run 'r' here (test_scheduler_keeping.py:" in told
    assert "lock" in told
    assert replayed == [2], "there is nothing else to go on from"


@workflow
def goes_round(left: int) -> Any:
    yield Save(text, left, executor="inline")
    yield Compact()
    yield Save(text, left, executor="inline")
    if left:
        yield ContinueUsing(goes_round(left - 1))
    return (yield Receive("answer"))


def test_a_history_that_begins_anew_has_no_continuation_of_the_last_one(where: str) -> None:
    with opened(where, goes_round) as engine:
        engine.start(goes_round(3), id="r")
        engine.until_idle()
        continuation = kept(where)
        assert continuation is not None
        assert continuation.generation == 3
    with opened(where, goes_round) as engine:
        engine.run("r").send("answer", "over")
        assert engine.run("r").result(TOO_LONG) == "over"


# Code that has changed


def workflow_from(tmp_path: Path, source: str) -> Workflow[..., Any]:
    """The workflow of a module that is written, and perhaps changed, between two lives of an engine."""
    file = tmp_path / "kept_flow.py"
    file.write_text("from continuum import Compact, Receive, Save, workflow\n" + dedent(source))
    linecache.clearcache()
    spec = importlib.util.spec_from_file_location("kept_flow", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kept_flow"] = module
    spec.loader.exec_module(module)
    flow: Workflow[..., Any] = module.flow
    return flow


FLOW = """
    def step(number):
        return f"step {number} " * 40

    @workflow
    def flow(compacts):
        for number in range(10):
            yield Save(step, number, executor="inline")
        if compacts:
            yield Compact()
        yield Receive("nudge")
        answer = yield Receive("answer")
        return answer
"""
CHANGED = FLOW.replace("return answer", "return f'changed: {answer}'")


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Callable[[str], Workflow[..., Any]]]:
    yield partial(workflow_from, tmp_path)
    sys.modules.pop("kept_flow", None)


Module = Callable[[str], Workflow[..., Any]]


@pytest.mark.usefixtures("soon")
def test_where_the_code_has_changed_the_history_is_replayed(
    where: str, monkeypatch: pytest.MonkeyPatch, module: Module, replayed: list[int]
) -> None:
    flow = module(FLOW)
    with monkeypatch.context() as patch, opened(where, flow) as engine:
        patch.setattr(scheduler, "LINGER", 0)
        engine.start(flow(False), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
    replayed.clear()
    changed = module(CHANGED)
    with opened(where, changed) as engine:
        engine.run("r").send("nudge")
        engine.until_idle()
        refusal = refused(where)
        assert refusal is not None
        assert "kept_flow.py:6 in flow" in refusal.reason
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG) == "changed: yes"
    assert replayed == [10]


def test_where_the_code_has_changed_and_the_history_is_deleted_the_run_waits_for_the_code(
    where: str, module: Module
) -> None:
    flow = module(FLOW)
    with opened(where, flow) as engine:
        engine.start(flow(True), id="r")
        engine.until_idle()
    changed = module(CHANGED)
    with opened(where, changed) as engine:
        run = engine.run("r")
        run.send("nudge")
        run.send("answer", "yes")
        engine.until_idle()
        described = run.describe()
        assert described.status == "blocked"
        assert "the first 10 entries of its history were deleted" in described.reason
        assert "kept_flow.py:6 in flow" in described.reason
    flow = module(FLOW)
    with opened(where, flow) as engine:
        assert engine.run("r").result(TOO_LONG) == "yes"


def change(where: str, record: bytes | None) -> None:
    """Put that in the place of the run's continuation."""
    key = keys.continuation("r")
    with closing(open_store(where)) as store:
        store.commit([Batch(deletes=[key])] if record is None else [Batch(puts=[(key, record)])])


def packed(continuation: Continuation, **changes: Any) -> bytes:
    _, record = write(Codec(), keys.continuation("r"), replace(continuation, **changes))
    return record


OTHER_PYTHON = b"V\x03\x02"


@pytest.mark.parametrize("compacts", [False, True])
@pytest.mark.usefixtures("soon")
def test_code_of_another_python_is_not_loaded(
    where: str, monkeypatch: pytest.MonkeyPatch, module: Module, replayed: list[int], compacts: bool
) -> None:
    flow = module(FLOW)
    with monkeypatch.context() as patch, opened(where, flow) as engine:
        patch.setattr(scheduler, "LINGER", 0)
        engine.start(flow(compacts), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
    continuation = kept(where)
    assert continuation is not None
    change(where, packed(continuation, payload=OTHER_PYTHON + continuation.payload[1:]))
    replayed.clear()
    with opened(where, flow) as engine:
        run = engine.run("r")
        run.send("nudge")
        run.send("answer", "yes")
        if compacts:
            engine.until_idle()
            assert run.status() == "blocked"
            assert "holds code of Python 3.2" in run.describe().reason
        else:
            assert run.result(TOO_LONG) == "yes"
            assert replayed == [10]
    if compacts:
        change(where, packed(continuation))
        with opened(where, flow) as engine:
            assert engine.run("r").result(TOO_LONG) == "yes"


def test_a_continuation_that_is_damaged_or_gone_is_told(where: str, module: Module) -> None:
    flow = module(FLOW)
    with opened(where, flow) as engine:
        engine.start(flow(True), id="r")
        engine.until_idle()
    with reading(where) as view:
        data = view.get(keys.continuation("r"))
    assert data is not None
    for damage, told in ((data[:-1] + b"?", "does not fit its checksum"), (None, "the continuation is missing")):
        change(where, damage)
        with opened(where, flow) as engine:
            engine.run("r").send("nudge")
            engine.until_idle()
            described = engine.run("r").describe()
            assert described.status == "blocked"
            assert told in described.reason
    change(where, data)
    with opened(where, flow) as engine:
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG) == "yes"


# Retries

attempts: list[str] = []
MENDED: set[str] = set()


def may_fail(name: str) -> str:
    attempts.append(name)
    if name not in MENDED:
        raise ValueError(name)
    return name


@pytest.fixture
def mended() -> Iterator[set[str]]:
    yield MENDED
    MENDED.clear()
    attempts.clear()


@workflow
def fails_after() -> Any:
    yield Save(text, 1, executor="inline")
    yield Compact()
    first = yield Save(text, 2, executor="inline")
    policy = Retry(2, delay=0)
    return first, (yield Save(may_fail, "late", retry=policy))


def test_a_retry_goes_on_from_the_continuation_where_the_failure_lies_behind_it(where: str, mended: set[str]) -> None:
    with opened(where, fails_after) as engine:
        run = engine.start(fails_after(), id="r")
        assert run.wait(TOO_LONG) == "failed"
        assert attempts == ["late", "late"]
        assert kept(where) is not None
        run.retry()
        assert run.wait(TOO_LONG) == "failed"
        assert attempts == ["late"] * 4
    mended.add("late")
    with opened(where, fails_after) as engine:
        engine.run("r").retry()
        assert engine.run("r").result(TOO_LONG) == (text(2), "late")


@workflow
def fails_before(compacts: bool, steps: int = 0) -> Any:
    """What failed is raised long after."""
    yield Save(text, 1, executor="inline")
    failure = None
    try:
        yield Save(may_fail, "early")
    except ValueError as error:
        failure = error
    for number in range(steps):
        yield Save(text, number, executor="inline")
    if compacts:
        yield Compact()
    if failure is not None:
        raise failure
    return "mended"


def test_a_retry_of_what_failed_before_a_history_was_deleted_is_refused(mended: set[str]) -> None:
    with opened("memory://", fails_before) as engine:
        run = engine.start(fails_before(True), id="r")
        assert run.wait(TOO_LONG) == "failed"
        mended.add("early")
        with pytest.raises(WrongState, match="position 1, was deleted"):
            run.retry()
        assert run.status() == "failed"


@pytest.mark.usefixtures("soon")
def test_a_retry_that_goes_back_behind_a_continuation_drops_it(where: str, mended: set[str]) -> None:
    with opened(where, fails_before) as engine:
        run = engine.start(fails_before(False, 50), id="r")
        assert run.wait(TOO_LONG) == "failed"
        assert kept(where) is not None
    mended.add("early")
    with opened(where, fails_before) as engine:
        engine.run("r").retry()
        assert engine.run("r").result(TOO_LONG) == "mended"
    assert attempts == ["early"] * 2


class Unloadable:
    """Is pickled well, and never comes back."""

    def __reduce__(self) -> Any:
        return int, ("no number",)


@workflow
def holds_what_cannot_be_loaded() -> Any:
    held = Unloadable()
    try:
        yield Compact()
    except CompactRefused as error:
        return type(held).__name__, str(error)


def test_nothing_is_deleted_for_a_continuation_that_could_not_be_loaded() -> None:
    with opened("memory://", holds_what_cannot_be_loaded) as engine:
        _, told = engine.start(holds_what_cannot_be_loaded()).result(TOO_LONG)
    assert "it was pickled, but the state cannot be loaded: ValueError" in told


def test_a_fault_in_keeping_blocks_the_run_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **options: Any) -> Any:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr("continuum.engine.keeping.keeper.capture", fails)
    with opened("memory://", rounds, steps) as engine:
        run, other = engine.start(rounds(1)), engine.start(steps(2))
        other.send("answer")
        other.result(TOO_LONG)
        engine.until_idle()
        assert run.status() == "blocked"
        assert "a fault of ours" in run.describe().reason


@pytest.mark.usefixtures("soon")
def test_where_a_state_cannot_be_entered_the_history_is_replayed(
    where: str, monkeypatch: pytest.MonkeyPatch, replayed: list[int]
) -> None:
    with opened(where, steps) as engine:
        engine.start(steps(50), id="r")
        engine.until_idle()
        eventually(lambda: kept(where) is not None)
    replayed.clear()

    def fails(*args: Any) -> Any:
        raise Stale("it cannot be entered again")

    monkeypatch.setattr("continuum.engine.keeping.keeper.resume", fails)
    with opened(where, steps) as engine:
        engine.run("r").send("answer", "yes")
        assert engine.run("r").result(TOO_LONG) == (sum(len(text(n)) for n in range(50)), "yes")
    assert replayed == [50]
