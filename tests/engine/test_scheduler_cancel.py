"""Cancellation and deadlines: pending, at work, waiting, in backoff, cleaning up, with children."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import All, Call, Engine, Receive, Retry, Revert, Run, Save, Sleep, Start, workflow
from continuum.errors import Cancelled, RunCancelled, RunFailed, RunFinished, RunNotFound, RunReverted, RunTimedOut


@workflow
def waits() -> Any:
    yield Receive("event")


def cancelled_with(run: Run[Any]) -> str:
    with pytest.raises(RunCancelled) as caught:
        run.result(TOO_LONG)
    assert caught.value.run_id == run.id
    assert run.status() == "cancelled"
    return caught.value.reason


def test_a_pending_run_is_cancelled_at_once_without_a_worker(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(waits())
        run.cancel("not needed")
        assert run.status() == "cancelled"
        assert cancelled_with(run) == "not needed"


def test_a_run_cancelled_while_pending_is_never_begun(open_engine: OpenEngine) -> None:
    begun: list[str] = []

    @workflow
    def works() -> Any:
        yield Save(begun.append, "works")

    with open_engine(work=False) as client:
        client.start(works(), id="cancelled").cancel()
    with open_engine(works) as engine:
        assert engine.start(works()).result(TOO_LONG) is None
        assert cancelled_with(engine.run("cancelled")) == ""
    assert begun == ["works"]


def test_a_waiting_run_is_cancelled_and_the_reason_travels(open_engine: OpenEngine) -> None:
    seen: list[str] = []

    @workflow
    def watches() -> Any:
        try:
            yield Receive("event")
        except Exception as error:  # Cancelled is none
            seen.append(repr(error))
        except Cancelled as cancelled:
            seen.append(cancelled.reason)
            raise

    with open_engine(watches) as engine:
        run = engine.start(watches())
        engine.until_idle()
        run.cancel("enough")
        assert cancelled_with(run) == "enough"
    assert "enough" in seen


def test_a_running_async_step_is_cancelled(open_engine: OpenEngine) -> None:
    import anyio

    begun, ended = threading.Event(), threading.Event()

    async def endless() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    @workflow
    def works() -> Any:
        yield Save(endless)

    with open_engine(works) as engine:
        run = engine.start(works())
        assert begun.wait(TOO_LONG)
        run.cancel("stop")
        assert cancelled_with(run) == "stop"
        assert ended.wait(TOO_LONG)


def test_a_running_thread_step_does_not_hold_up_the_cancelling(open_engine: OpenEngine) -> None:
    begun, released = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        released.wait()

    @workflow
    def works() -> Any:
        yield Save(stuck)

    with open_engine(works) as engine:
        run = engine.start(works())
        assert begun.wait(TOO_LONG)
        run.cancel()
        cancelled_with(run)
        released.set()


def test_a_run_in_backoff_is_cancelled_and_its_step_is_not_tried_again(open_engine: OpenEngine) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("always")

    @workflow
    def persists() -> Any:
        yield Save(fail, retry=Retry(attempts=5, delay=3600))

    with open_engine(persists) as engine:
        run = engine.start(persists())
        eventually(lambda: run.status() == "waiting")
        run.cancel()
        cancelled_with(run)
    assert calls == [1]


def test_cleanup_commands_in_finally_are_carried_out_also_after_a_restart(open_engine: OpenEngine) -> None:
    cleaned: list[str] = []

    @workflow
    def cleans_up() -> Any:
        try:
            yield Receive("event")
        finally:
            yield Save(cleaned.append, "first")
            yield Receive("go on cleaning")
            yield Save(cleaned.append, "second")

    with open_engine(cleans_up) as engine:
        run = engine.start(cleans_up(), id="r")
        engine.until_idle()
        run.cancel("enough")
        eventually(lambda: run.describe().waiting_for == "receive 'go on cleaning'")
    with open_engine(cleans_up) as engine:
        engine.run("r").send("go on cleaning")
        assert cancelled_with(engine.run("r")) == "enough"
    assert cleaned == ["first", "second"]


def test_a_workflow_that_swallows_its_cancellation_completes(open_engine: OpenEngine) -> None:
    @workflow
    def stubborn() -> Any:
        try:
            yield Receive("event")
        except Cancelled:
            return "done all the same"

    with open_engine(stubborn) as engine:
        run = engine.start(stubborn())
        engine.until_idle()
        run.cancel()
        assert run.result(TOO_LONG) == "done all the same"


def test_a_second_cancel_ends_a_run_that_does_not_come_to_an_end(open_engine: OpenEngine) -> None:
    @workflow
    def lingers() -> Any:
        try:
            yield Receive("event")
        finally:
            yield Receive("never")

    with open_engine(lingers) as engine:
        run = engine.start(lingers())
        engine.until_idle()
        run.cancel("first")
        eventually(lambda: run.describe().waiting_for == "receive 'never'")
        run.cancel("second")
        assert cancelled_with(run) == "second"


def test_a_cancel_leaves_an_undoing_alone_and_a_second_one_does_not(open_engine: OpenEngine) -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    undone: list[str] = []

    def undo(name: str) -> None:
        begun.release()
        assert go_on.acquire(timeout=TOO_LONG)
        undone.append(name)

    @workflow
    def reverts() -> Any:
        yield Save(str, "a", compensate=undo)
        yield Save(str, "b", compensate=undo)
        yield Revert("as planned")

    with open_engine(reverts) as engine:
        run = engine.start(reverts(), id="once")
        assert begun.acquire(timeout=TOO_LONG)
        run.cancel("too late")
        go_on.release(2)
        with pytest.raises(RunReverted) as caught:
            run.result(TOO_LONG)
        assert (caught.value.reason, undone) == ("as planned", ["b", "a"])
        assert begun.acquire(timeout=TOO_LONG)
        run = engine.start(reverts(), id="twice")
        assert begun.acquire(timeout=TOO_LONG)
        run.cancel("too late")
        run.cancel("at once")
        assert cancelled_with(run) == "at once"
        go_on.release()


def test_two_cancels_end_a_waiting_run_that_no_worker_has(open_engine: OpenEngine) -> None:
    with open_engine(waits) as engine:
        engine.start(waits(), id="r")
        engine.until_idle()
    with open_engine(work=False) as client:
        run = client.run("r")
        run.cancel("first")
        assert run.status() == "waiting"
        run.cancel("second")
        assert cancelled_with(run) == "second"


def test_a_finished_or_unknown_run_cannot_be_cancelled(open_engine: OpenEngine) -> None:
    with open_engine(waits) as engine:
        run = engine.start(waits(), id="r")
        run.send("event")
        run.result(TOO_LONG)
        with pytest.raises(RunFinished, match="'r' is completed"):
            run.cancel()
        with pytest.raises(RunNotFound, match="'nowhere'"):
            engine.run("nowhere").cancel()


# Deadlines


@pytest.mark.parametrize("by_start", [True, False])
def test_a_run_that_is_over_its_deadline_times_out(open_engine: OpenEngine, by_start: bool) -> None:
    limit = timedelta(milliseconds=20)

    @workflow(timeout=None if by_start else limit)
    def slow() -> Any:
        yield Sleep(3600)

    with open_engine(slow) as engine:
        run = engine.start(slow(), timeout=limit if by_start else None)
        with pytest.raises(RunTimedOut) as caught:
            run.result(TOO_LONG)
        assert isinstance(caught.value, RunFailed)
        assert run.status() == "timed_out"


def test_a_deadline_passes_while_no_worker_is_there(open_engine: OpenEngine) -> None:
    with open_engine(waits) as engine:
        engine.start(waits(), id="r", timeout=0.05)
        engine.until_idle()
    with open_engine(waits) as engine, pytest.raises(RunTimedOut):
        engine.run("r").result(TOO_LONG)


# Children


@workflow
def child() -> Any:
    yield Receive("event")
    return "child"


@workflow
def parent_that_calls() -> Any:
    return (yield Call(child(), id="child"))


@workflow
def parent_that_starts() -> Any:
    yield Start(child(), id="child")
    yield Receive("event")


def until_the_child_waits(engine: Engine) -> None:
    def waits_for_it() -> bool:
        return any(run.id == "child" and run.status() == "waiting" for run in engine.runs())

    eventually(waits_for_it)


def test_a_parents_cancel_reaches_the_child_it_waits_for(open_engine: OpenEngine) -> None:
    with open_engine(parent_that_calls, child) as engine:
        run = engine.start(parent_that_calls())
        until_the_child_waits(engine)
        run.cancel("all of it")
        assert cancelled_with(run) == "all of it"
        assert cancelled_with(engine.run("child")) == "all of it"


def test_a_parents_cancel_reaches_the_child_in_a_queue_of_its_own(open_engine: OpenEngine) -> None:
    @workflow
    def calls_elsewhere() -> Any:
        yield Call(child(), id="child", queue="elsewhere")

    with open_engine(calls_elsewhere, child, queues=["default", "elsewhere"]) as engine:
        engine.start(calls_elsewhere(), id="parent")
        until_the_child_waits(engine)
        assert engine.run("child").describe().queue == "elsewhere"
    with open_engine(calls_elsewhere, child) as engine:
        engine.run("parent").cancel("all of it")
        assert cancelled_with(engine.run("parent")) == "all of it"
        engine.until_idle()
        assert engine.run("child").status() == "waiting", "nobody here takes runs of that queue"
    with open_engine(calls_elsewhere, child, queues=["elsewhere"]) as engine:
        assert cancelled_with(engine.run("child")) == "all of it"


def test_a_parents_cancel_does_not_reach_a_detached_child(open_engine: OpenEngine) -> None:
    with open_engine(parent_that_starts, child) as engine:
        run = engine.start(parent_that_starts())
        until_the_child_waits(engine)
        run.cancel()
        cancelled_with(run)
        engine.run("child").send("event")
        assert engine.run("child").result(TOO_LONG) == "child"


def test_a_child_that_is_called_and_cancelled_in_one_go_is_not_left_behind(open_engine: OpenEngine) -> None:
    @workflow
    def calls_when_told() -> Any:
        yield Receive("go")
        yield Call(child(), id="child")

    with open_engine(calls_when_told, child) as engine:
        engine.start(calls_when_told(), id="parent")
        engine.until_idle()
    with open_engine(work=False) as client:
        client.run("parent").send("go")
        client.run("parent").cancel("changed our mind")
    with open_engine(calls_when_told, child) as engine:
        assert cancelled_with(engine.run("parent")) == "changed our mind"
        engine.until_idle()
        assert [run.id for run in engine.runs() if run.status() not in ("cancelled",)] == []


def test_the_first_failure_cancels_the_sibling_that_is_a_child_run(open_engine: OpenEngine) -> None:
    released = threading.Event()

    def fail() -> None:
        released.wait(TOO_LONG)
        raise ValueError("this one failed")

    @workflow
    def both() -> Any:
        yield All(Call(child(), id="child"), Save(fail))

    with open_engine(both, child) as engine:
        run = engine.start(both())
        until_the_child_waits(engine)
        released.set()
        with pytest.raises(RunFailed, match="this one failed"):
            run.result(TOO_LONG)
        cancelled_with(engine.run("child"))


def test_a_childs_error_keeps_its_type_in_the_chain_of_causes(open_engine: OpenEngine) -> None:
    class OutOfStock(Exception):
        pass

    def look() -> None:
        raise OutOfStock("none left")

    @workflow
    def failing_child() -> Any:
        yield Save(look)

    @workflow
    def failing_parent() -> Any:
        try:
            yield Call(failing_child())
        except RunFailed as error:
            assert isinstance(error.__cause__, OutOfStock)
            raise

    with open_engine(failing_parent, failing_child) as engine, pytest.raises(RunFailed) as caught:
        engine.start(failing_parent()).result(TOO_LONG)
    chain = [caught.value.__cause__, caught.value.__cause__.__cause__]  # type: ignore[union-attr]
    assert [type(error) for error in chain] == [RunFailed, OutOfStock]


def test_a_child_gives_its_result_also_when_it_ends_while_no_parent_is_in_memory(open_engine: OpenEngine) -> None:
    with open_engine(parent_that_calls, child) as engine:
        engine.start(parent_that_calls(), id="parent")
        until_the_child_waits(engine)
    with open_engine(child) as engine:  # this worker does not know the parent
        engine.run("child").send("event")
        assert engine.run("child").result(TOO_LONG) == "child"
    with open_engine(parent_that_calls, child) as engine:
        assert engine.run("parent").result(TOO_LONG) == "child"


def test_the_child_of_a_failed_call_is_retried_with_its_parent(open_engine: OpenEngine) -> None:
    calls: list[int] = []

    def fail_first() -> str:
        calls.append(1)
        if len(calls) == 1:
            raise ValueError("not yet")
        return "at last"

    @workflow
    def fragile() -> Any:
        return (yield Save(fail_first))

    @workflow
    def parent() -> Any:
        return (yield Call(fragile()))

    with open_engine(parent, fragile) as engine:
        run = engine.start(parent())
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        assert run.result(TOO_LONG) == "at last"


WAYS: dict[str, Callable[[Run[Any]], None]] = {
    "send": lambda run: run.send("event"),
    "cancel": lambda run: run.cancel(),
}


@pytest.mark.parametrize("way", WAYS)
def test_two_parents_that_call_the_same_child_both_learn_how_it_ended(open_engine: OpenEngine, way: str) -> None:
    with open_engine(parent_that_calls, child) as engine:
        parents = [engine.start(parent_that_calls()) for _ in range(2)]
        until_the_child_waits(engine)
        WAYS[way](engine.run("child"))
        for parent in parents:
            if way == "send":
                assert parent.result(TOO_LONG) == "child"
            else:
                with pytest.raises(RunFailed) as caught:
                    parent.result(TOO_LONG)
                assert isinstance(caught.value.__cause__, RunCancelled)
