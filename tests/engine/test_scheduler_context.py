"""What code can know of the run that it belongs to: in workflows, in steps wherever they are performed."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import anyio
import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import (
    All,
    AsyncEngine,
    Context,
    ContinueUsing,
    Ensure,
    Handle,
    Map,
    Receive,
    Retry,
    Revert,
    Save,
    current,
    workflow,
)
from continuum.errors import RunReverted, UsageError


def look(*_: Any) -> Context:
    return current()


async def look_later(*_: Any) -> Context:
    await anyio.sleep(0)
    return current()


def look_later_from_inline() -> Any:
    assert current().attempt == 1
    return look_later()


@workflow
def looks() -> Any:
    seen = [current()]
    seen.append((yield Save(look)))
    seen.append((yield Save(look, executor="inline")))
    seen.append((yield Save(look_later)))
    seen.append((yield Save(look_later_from_inline, executor="inline")))
    seen.append((yield Save(look, executor="process")))
    return [*seen, current()]


def test_every_step_knows_its_run_and_itself(open_engine: OpenEngine) -> None:
    with open_engine(looks) as engine:
        first, *steps, last = engine.start(looks(), id="r").result(TOO_LONG)
    assert first == last == Context("r", "looks")
    assert [(step.run_id, step.workflow, step.position, step.attempt) for step in steps] == [
        ("r", "looks", str(number), 1) for number in range(5)
    ]
    keys = {step.key for step in steps}
    assert len(keys) == 5
    assert all(str(UUID(key)) == key for key in keys)


def test_branches_children_and_compensations_know_where_they_are(open_engine: OpenEngine) -> None:
    undone: list[Context] = []

    @workflow
    def child() -> Any:
        return current(), (yield Save(look))

    def branch(item: int) -> Any:
        assert current().run_id == "r"
        return (yield Save(look, item))

    @workflow
    def parent() -> Any:
        yield Save(look, compensate=lambda _: undone.append(current()))
        mapped = yield Map(branch, [1, 2])
        (nested,) = yield All(child())
        assert nested[0] == Context("r", "parent")
        assert [each.position for each in (*mapped, nested[1])] == ["1.0.0", "1.1.0", "2.0.0"]
        yield Revert("enough")

    with open_engine(parent, child) as engine:
        with pytest.raises(RunReverted):
            engine.start(parent(), id="r").result(TOO_LONG)
        assert engine.start(child(), id="c").result(TOO_LONG)[0] == Context("c", "child")
    assert [(each.run_id, each.position) for each in undone] == [("r", "3.0.0")]


def test_callbacks_and_predicates_know_the_run(open_engine: OpenEngine) -> None:
    @workflow
    def listens() -> Any:
        seen: list[str] = []
        yield Handle("go", lambda _: seen.append(current().run_id))
        yield Ensure(lambda: current().run_id == "r" and seen)
        return seen

    with open_engine(listens) as engine:
        run = engine.start(listens(), id="r")
        run.send("go")
        assert run.result(TOO_LONG) == ["r"]


def test_every_attempt_has_the_same_key_also_after_a_restart_and_a_retry(open_engine: OpenEngine) -> None:
    seen: list[Context] = []

    def fail_at_first() -> None:
        seen.append(current())
        if len(seen) < 5:
            raise ValueError("not yet")

    @workflow
    def persists() -> Any:
        yield Save(fail_at_first, retry=Retry(attempts=2, delay=0.001))
        yield Receive("go on")

    def live(attempts: int, end: str) -> None:
        with open_engine(persists) as engine:
            run = engine.start(persists(), id="r")
            if attempts > 2:
                run.retry()
            eventually(lambda: len(seen) == attempts and run.status() == end)

    live(2, "failed")
    live(4, "failed")
    live(5, "waiting")
    assert [context.attempt for context in seen] == [1, 2, 1, 2, 1]
    assert len({context.key for context in seen}) == 1


def test_no_other_run_and_no_other_history_has_the_key(open_engine: OpenEngine) -> None:
    seen: list[Context] = []

    @workflow
    def goes_on(more: int) -> Any:
        yield Save(lambda: seen.append(current()), executor="inline")
        if more:
            yield ContinueUsing(goes_on(more - 1))

    with open_engine(goes_on) as engine:
        for run_id in ("a", "b"):
            engine.start(goes_on(2), id=run_id).result(TOO_LONG)
    assert {(context.position, context.attempt) for context in seen} == {("0", 1)}
    assert len({context.key for context in seen}) == len(seen) == 6


def test_where_there_is_no_run_it_says_so(open_engine: OpenEngine) -> None:
    told: list[str] = []

    def ask() -> None:
        try:
            current()
        except UsageError as error:
            told.append(str(error))

    def in_a_thread_of_its_own() -> None:
        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()

    @workflow
    def asks() -> Any:
        yield Save(in_a_thread_of_its_own)
        yield Save(int, executor="inline")

    ask()
    with open_engine(asks) as engine:
        engine.start(asks()).result(TOO_LONG)
    ask()
    assert len(told) == 3
    assert all("call it in a workflow or in a step" in text for text in told)


@pytest.mark.anyio
async def test_the_callers_own_loop_is_not_changed(where: str) -> None:
    async with AsyncEngine(where, workflows=[looks], grace=0.0) as engine:
        runs = [await engine.start(looks(), id=f"r{number}") for number in range(3)]
        for run in runs:
            seen = await run.result(TOO_LONG)
            assert {context.run_id for context in seen} == {run.id}
        with pytest.raises(UsageError):
            current()
