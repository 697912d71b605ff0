"""Runs that carry their code, worked on by engines that do not have the workflow.

Here all of it happens in one process; with programs of their own it is done in `tests/cli/test_carried_runs.py`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, dump, eventually

from continuum import Call, Compact, ContinueUsing, Engine, Limit, Map, Receive, Save, Sleep, Start, Workflow, workflow
from continuum.errors import CompactRefused, RunExists, RunFailed, RunReverted, UnknownWorkflow, UnpicklableValue
from continuum.store import keys

NOTES: list[str] = []


def note(name: str) -> str:
    """A step that can be imported, so that there is one list of what was done."""
    NOTES.append(name)
    return name


def ask_whether_it_works() -> None:
    note("asked")
    raise ValueError("not yet")


@pytest.fixture(autouse=True)
def notes() -> Iterator[list[str]]:
    yield NOTES
    NOTES.clear()


def an_order(greeting: str) -> Workflow[..., Any]:
    """A workflow that nobody can import."""

    @workflow
    def order(who: str) -> Any:
        first = yield Save(note, "first")
        by = yield Receive("approved")
        return [greeting, who, first, by]

    return order


@workflow
def imported() -> Any:
    return (yield Save(note, "imported"))


def carries(engine: Engine, run_id: str) -> bool:
    return engine.run(run_id).describe().code is not None


# Which runs carry their code, and who executes them


def test_a_closure_is_executed_by_an_engine_that_does_not_have_it(open_engine: OpenEngine, where: str) -> None:
    with open_engine(work=False) as client, open_engine(imported, carried=True) as engine:
        run = client.start(an_order("hello")("ada"), id="ord-1")
        run.send("approved", "bob")
        assert run.result(TOO_LONG) == ["hello", "ada", "first", "bob"]
        assert engine.start(imported()).result(TOO_LONG) == "imported"
        described = client.run("ord-1").describe()
        assert described.code is not None
        assert described.code["python"].startswith("3.")
    assert described.code["bytes"] == len(dict(dump(where))[keys.code("ord-1")]) - 4  # without the checksum


def test_it_goes_on_with_the_engine_that_comes_after(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(an_order("hello")("ada"), id="ord-1")
        with open_engine(carried=True):
            eventually(lambda: "receive" in run.describe().waiting_for)
        run.send("approved", "bob")
        with open_engine(carried=True):
            assert run.result(TOO_LONG) == ["hello", "ada", "first", "bob"]
    assert NOTES == ["first"]


def test_an_engine_takes_no_code_unless_told_to(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(an_order("hello")("ada"))
        with open_engine(imported) as engine:
            assert engine.start(imported()).result(TOO_LONG) == "imported"
            engine.until_idle()
            assert run.status() == "pending"


def test_an_engine_that_has_the_workflow_uses_its_own(open_engine: OpenEngine) -> None:
    own = an_order("its own")
    with open_engine(work=False) as client, open_engine(own, carried=True):
        run = client.start(an_order("the one that came")("ada"))
        run.send("approved")
        assert run.result(TOO_LONG)[0] == "its own"


def test_of_another_version_it_uses_what_came(open_engine: OpenEngine) -> None:
    own = workflow(name="order", version="2")(an_order("its own").function)
    with open_engine(work=False) as client, open_engine(own, carried=True):
        run = client.start(an_order("the one that came")("ada"))
        run.send("approved")
        assert run.result(TOO_LONG)[0] == "the one that came"


def test_what_can_be_imported_goes_by_name(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(imported(), id="a")
        assert not carries(client, "a")
        with open_engine(carried=True) as engine:
            engine.until_idle()
            assert run.status() == "pending"


def test_an_engine_that_works_still_refuses_what_it_does_not_know(open_engine: OpenEngine) -> None:
    with open_engine(imported, carried=True) as engine, pytest.raises(UnknownWorkflow):
        engine.start(an_order("hello")("ada"))


def test_a_second_start_is_the_same_run(open_engine: OpenEngine) -> None:
    @workflow
    def other() -> Any:
        yield Sleep(1)

    with open_engine(work=False) as client:
        client.start(an_order("hello")("ada"), id="ord-1")
        again = client.start(an_order("good morning")("ada"), id="ord-1")
        with pytest.raises(RunExists, match="'order'"):
            client.start(other(), id="ord-1")
        with open_engine(carried=True):
            again.send("approved")
            assert again.result(TOO_LONG)[0] == "hello"


def test_the_options_of_the_decorator_travel(open_engine: OpenEngine) -> None:
    def fail(undone: str) -> None:
        raise ValueError("no")

    @workflow(name="spend", version="7", queue="slow", timeout=60, compensate_on_failure=True)
    def spending() -> Any:
        yield Save(note, "spend", compensate=lambda result: note(f"not {result}"))
        yield Save(fail, "x")

    with open_engine(work=False) as client, open_engine(carried=True, queues=["slow"]):
        run = client.start(spending())
        with pytest.raises(RunReverted):
            run.result(TOO_LONG)
        described = run.describe()
    assert (described.workflow, described.version, described.queue) == ("spend", "7", "slow")
    assert described.deadline is not None
    assert NOTES == ["spend", "not spend"]


def test_a_run_that_failed_is_retried_with_its_code(open_engine: OpenEngine) -> None:
    @workflow
    def trying() -> Any:
        yield Save(note, "once")
        return (yield Save(ask_whether_it_works))

    with open_engine(work=False) as client:
        run = client.start(trying())
        for _ in range(2):
            with open_engine(carried=True), pytest.raises(RunFailed):
                run.result(TOO_LONG)
            run.retry()
    assert NOTES == ["once", "asked", "asked"]


# Other versions of Python


def test_code_for_another_python_is_left_to_a_worker_of_that(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_engine(work=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            run = client.start(an_order("hello")("ada"), id="ord-1")
        with open_engine(carried=True) as engine:
            engine.until_idle()
            assert run.status() == "pending"
            assert run.describe().code["python"] == "3.99"
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            with open_engine(carried=True):
                eventually(lambda: "receive" in run.describe().waiting_for)
        run.send("approved", "bob")
        with open_engine(carried=True) as engine:
            engine.until_idle()
            assert run.status() == "waiting"
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            with open_engine(carried=True):
                assert run.result(TOO_LONG) == ["hello", "ada", "first", "bob"]
    assert NOTES == ["first"]


def test_timers_and_cancels_of_code_for_another_python_are_left_to_a_worker_of_that(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow
    def sleeps(seconds: float) -> Any:
        yield Sleep(seconds)

    now = time.time_ns()
    take = partial(open_engine, carried=True, clock=lambda: now)
    with open_engine(work=False, clock=lambda: now) as client:
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            runs = [client.start(sleeps(3600)), client.start(sleeps(7200))]
            with take() as engine:
                engine.until_idle()
        runs[1].cancel("enough")
        now += 3601 * 1_000_000_000
        with take() as engine:
            engine.until_idle()
            assert [run.status() for run in runs] == ["waiting", "waiting"]
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            with take() as engine:
                engine.until_idle()
                assert [run.status() for run in runs] == ["completed", "cancelled"]


def test_an_engine_that_has_the_workflow_needs_no_code(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_engine(work=False) as client:
        with monkeypatch.context() as patch:
            patch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
            run = client.start(an_order("hello")("ada"), id="ord-1")
        with open_engine(an_order("its own")):
            run.send("approved", "bob")
            assert run.result(TOO_LONG) == ["its own", "ada", "first", "bob"]


# What it starts, and goes on as


def test_children_carry_their_code_too(open_engine: OpenEngine) -> None:
    @workflow
    def child(number: int) -> Any:
        yield Save(note, f"child {number}")
        return number * number

    @workflow
    def parent() -> Any:
        def call(number: int) -> Any:
            return (yield Call(child(number)))

        detached = yield Start(child(9), id="detached")
        return detached, sum((yield Map(call, range(3))))

    with open_engine(work=False) as client:
        run = client.start(parent(), id="p")
        with open_engine(carried=True) as engine:
            assert run.result(TOO_LONG) == ("detached", 5)
            assert engine.run("detached").result(TOO_LONG) == 81
            assert carries(engine, "detached")
    assert sorted(NOTES) == ["child 0", "child 1", "child 2", "child 9"]


def test_a_child_that_can_be_imported_goes_by_name(open_engine: OpenEngine) -> None:
    @workflow
    def parent() -> Any:
        return (yield Call(imported(), id="c"))

    with open_engine(work=False) as client:
        run = client.start(parent())
        with open_engine(carried=True) as engine:
            eventually(lambda: "c" in [each.id for each in client.runs()])
            engine.until_idle()
            assert client.run("c").status() == "pending"
            assert not carries(client, "c")
        with open_engine(imported, carried=True):
            assert run.result(TOO_LONG) == "imported"


def test_a_child_that_cannot_travel_is_an_error_at_the_yield(open_engine: OpenEngine) -> None:
    @workflow
    def parent() -> Any:
        lock = threading.Lock()

        @workflow
        def child() -> Any:
            with lock:
                yield Sleep(0)

        try:
            yield Call(child())
        except UnpicklableValue as error:
            return str(error)

    with open_engine(work=False) as client, open_engine(carried=True):
        told = client.start(parent()).result(TOO_LONG)
    assert "the code of workflow 'child': variable 'lock' of function" in told


def test_children_are_cancelled_with_their_parent(open_engine: OpenEngine) -> None:
    @workflow
    def child() -> Any:
        yield Receive("never")

    @workflow
    def parent() -> Any:
        yield Call(child(), id="c")

    with open_engine(work=False) as client:
        run = client.start(parent())
        with open_engine(carried=True):
            eventually(lambda: run.status() == "waiting" and "c" in [each.id for each in client.runs()])
            run.cancel("enough")
            eventually(lambda: (run.status(), client.run("c").status()) == ("cancelled", "cancelled"))


def test_it_goes_on_as_itself_with_the_same_code(open_engine: OpenEngine) -> None:
    @workflow
    def counting(number: int) -> Any:
        yield Save(note, f"{number}")
        if number == 2:
            return (yield Receive("end"))
        yield ContinueUsing(counting(number + 1))

    with open_engine(work=False) as client:
        run = client.start(counting(0))
        before = run.describe().code
        with open_engine(carried=True):
            eventually(lambda: "receive 'end'" in run.describe().waiting_for)
        run.send("end", "done")
        with open_engine(carried=True):
            assert run.result(TOO_LONG) == "done"
        assert run.describe().code == before
    assert NOTES == ["0", "1", "2"]


def test_it_goes_on_as_another_with_that_ones_code(open_engine: OpenEngine, where: str) -> None:
    def counting_up_to(limit: int) -> Workflow[..., Any]:
        @workflow(name="counting")
        def counting(number: int) -> Any:
            yield Save(note, f"{number} of {limit}")
            if number == limit:
                return (yield Receive("end"))
            yield ContinueUsing(counting_up_to(limit - 1)(number + 1))

        return counting

    with open_engine(work=False) as client:
        run = client.start(counting_up_to(4)(0))
        with open_engine(carried=True):
            eventually(lambda: "receive 'end'" in run.describe().waiting_for)
        run.send("end", "done")
        with open_engine(carried=True):
            assert run.result(TOO_LONG) == "done"
    assert NOTES == ["0 of 4", "1 of 3", "2 of 2"]


def test_it_goes_on_as_one_that_can_be_imported_without_code(open_engine: OpenEngine, where: str) -> None:
    @workflow
    def beginning() -> Any:
        yield ContinueUsing(imported())

    with open_engine(work=False) as client:
        run = client.start(beginning(), id="b")
        with open_engine(carried=True) as engine:
            eventually(lambda: run.describe().workflow == "imported")
            engine.until_idle()
            assert run.status() == "waiting"
            assert not carries(client, "b")
        with open_engine(imported):
            assert run.result(TOO_LONG) == "imported"
    assert keys.code("b") not in dict(dump(where))


def test_an_engine_with_its_own_code_keeps_what_came_as_long_as_that_fits(open_engine: OpenEngine) -> None:
    @workflow
    def second() -> Any:
        return (yield Receive("end"))

    @workflow
    def first(rounds: int) -> Any:
        if rounds == 2:
            yield ContinueUsing(second())
        if (yield Receive("go on")):
            yield ContinueUsing(first(rounds + 1))
        return f"{rounds} rounds"

    with open_engine(work=False) as client:
        run, other = client.start(first(0), id="a"), client.start(first(2), id="b")
        run.send("go on", True)
        with open_engine(first, second):
            eventually(lambda: run.describe().generation == 1 and "receive" in run.describe().waiting_for)
            eventually(lambda: "receive 'end'" in other.describe().waiting_for)
        assert carries(client, "a")
        assert not carries(client, "b")
        run.send("go on", False)
        with open_engine(carried=True):
            assert run.result(TOO_LONG) == "1 rounds"


def test_it_fails_if_what_it_goes_on_as_cannot_travel(open_engine: OpenEngine) -> None:
    @workflow
    def beginning() -> Any:
        lock = threading.Lock()

        @workflow
        def end() -> Any:
            with lock:
                yield Sleep(0)

        yield ContinueUsing(end())

    with open_engine(work=False) as client, open_engine(carried=True):
        with pytest.raises(RunFailed) as caught:
            client.start(beginning()).result(TOO_LONG)
        assert "variable 'lock'" in str(caught.value.__cause__)


# What cannot travel


def with_a_lock() -> Workflow[..., Any]:
    lock = threading.Lock()

    def locked() -> str:
        with lock:
            return note("locked")

    @workflow
    def careful() -> Any:
        return (yield Save(locked))

    return careful


def test_what_cannot_travel_waits_for_an_engine_that_has_it(
    open_engine: OpenEngine, caplog: pytest.LogCaptureFixture
) -> None:
    careful = with_a_lock()
    with open_engine(work=False) as client:
        with caplog.at_level(logging.WARNING, logger="continuum.engine"):
            run = client.start(careful(), id="a")
        told = run.describe().waiting_for
        assert "a worker that has workflow 'careful'" in told
        assert "variable 'locked' of function" in told
        assert "variable 'lock' of function" in told
        assert told in caplog.text
        assert run.describe().code is None
        with pytest.raises(TimeoutError, match="variable 'lock'"):
            run.result(0)
        with open_engine(carried=True) as engine:
            engine.until_idle()
            assert run.status() == "pending"
        with open_engine(careful):
            assert run.result(TOO_LONG) == "locked"


def test_code_over_the_payload_limit_does_not_travel(open_engine: OpenEngine) -> None:
    table = bytes(range(256)) * 100

    @workflow
    def large() -> Any:
        yield Save(len, table)

    with open_engine(work=False, payload_limit=10_000) as client:
        run = client.start(large())
        assert "the code of workflow 'large': " in run.describe().waiting_for
        assert "over the limit of 10,000" in run.describe().waiting_for


# Code that cannot be loaded


def test_a_run_whose_code_needs_what_is_not_there_is_blocked(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_engine(work=False) as client:
        run = client.start(an_order("hello")("ada"))
        run.send("approved")
        with monkeypatch.context() as patch:
            patch.delattr(f"{__name__}.note")
            with open_engine(carried=True):
                eventually(lambda: run.status() == "blocked")
                assert "note" in run.describe().reason
        with open_engine(carried=True):
            assert run.result(TOO_LONG)[0] == "hello"


# Continuations


def test_no_continuation_is_kept_of_what_is_executed_by_code_that_came(open_engine: OpenEngine) -> None:
    @workflow
    def compacting() -> Any:
        yield Save(note, "before")
        try:
            yield Compact()
        except CompactRefused as error:
            return str(error)

    with open_engine(work=False) as client, open_engine(carried=True):
        told = client.start(compacting()).result(TOO_LONG)
    assert "it is executed by the code that came with it" in told


def test_a_history_that_was_deleted_is_gone_for_the_code_that_came(open_engine: OpenEngine) -> None:
    @workflow
    def compacting() -> Any:
        yield Save(note, "before")
        yield Compact()
        return (yield Receive("end"))

    with open_engine(work=False) as client:
        run = client.start(compacting())
        with open_engine(compacting):
            eventually(lambda: "receive" in run.describe().waiting_for)
        run.send("end", "the end")
        with open_engine(carried=True):
            eventually(lambda: run.status() == "blocked")
            reason = run.describe().reason
            assert "history were deleted" in reason
            assert "no workflow 'compacting' is registered here" in reason
        with open_engine(compacting):
            assert run.result(TOO_LONG) == "the end"
    assert NOTES == ["before"]


def test_a_limit_travels_with_the_code(open_engine: OpenEngine, where: str) -> None:
    @workflow(limit=Limit(1))
    def counted(name: str) -> Any:
        if name == "first":
            yield ContinueUsing(goes_on("first"))
        return (yield Receive("go"))

    @workflow(limit=Limit(1))
    def goes_on(name: str) -> Any:
        return (yield Receive("go"))

    with open_engine(work=False) as client:
        runs = [client.start(counted(name), id=name) for name in ("first", "second", "third")]
        with open_engine(carried=True) as engine:
            engine.until_idle()
            assert [run.status() for run in runs] == ["waiting", "waiting", "pending"]
            for run in runs:
                run.send("go", run.id)
            assert [run.result(TOO_LONG) for run in runs] == ["first", "second", "third"]
            engine.until_idle()
    assert [key for key, _ in dump(where) if key[:2] in (b"fr", b"fs", b"fw")] == []
