"""Graphs of steps end to end: through a crash at every commit, on every store and loop, large, and after a retry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import AsyncEngine, Engine, Retry, Save, Sleep, workflow
from continuum.dag import Dag
from continuum.errors import BadValue, RunFailed, RunReverted

Prepared = tuple[Crashes, Callable[[Any], None]]


def diamond(made: list[str], executor: str = "inline") -> Dag:
    """a, then b and c, then d; each gives its name and what it got, and notes that it was called."""

    def noting(name: str) -> Callable[..., str]:
        def note(*results: str) -> str:
            made.append(name)
            return f"{name}({', '.join(results)})"

        return note

    def slowly(*results: str) -> Any:
        yield Sleep(0.001)
        return (yield Save(noting("c"), *results, executor=executor))

    dag = Dag()
    dag.step("a", noting("a"), executor=executor)
    dag.step("b", noting("b"), needs=("a",), executor=executor)
    dag.step("c", slowly, needs=("a",))
    dag.step("d", noting("d"), needs=("b", "c"), executor=executor)
    return dag


@pytest.mark.parametrize("lives", [1, 2])
@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_no_step_runs_again_once_its_result_is_recorded(lives: int, executor: str) -> None:
    made: list[str] = []
    dag = diamond(made, executor)

    @workflow
    def works() -> Any:
        return (yield from dag.run())

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(works)

        def check(results: Any) -> None:
            assert results == {"a": "a()", "b": "b(a())", "c": "c(a())", "d": "d(b(a()), c(a()))"}
            assert len(made) <= 4 + 2 * crashes.count
            assert max(n for n, name in enumerate(made) if name == "a") < min(made.index("b"), made.index("c"))
            assert made.index("d") > max(n for n, name in enumerate(made) if name in "bc")

        return crashes, check

    assert crash_everywhere(prepare, lambda engine: engine.start(works(), id="r").result(TOO_LONG), lives) >= 10


@pytest.mark.parametrize("lives", [1, 2])
def test_a_retry_repeats_the_step_that_failed_through_crashes(lives: int) -> None:
    made: list[str] = []
    dag = diamond(made)

    def fragile(*results: str) -> str:
        if "retried" not in made:
            raise ValueError("not yet")
        return "e"

    dag.step("e", fragile, needs=("b",), executor="inline")
    dag.step("f", lambda *results: results, needs=("d", "e"), executor="inline")

    @workflow
    def works() -> Any:
        return (yield from dag.run(final="f"))

    def scenario(engine: Engine) -> Any:
        run = engine.start(works(), id="r")
        engine.until_idle()
        if run.status() == "failed":
            made.append("retried")
            run.retry()
        return run.result(TOO_LONG)

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(works)

        def check(result: Any) -> None:
            assert result == ("d(b(a()), c(a()))", "e")
            assert made.index("retried") > max(n for n, name in enumerate(made) if name in "ab")

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


def test_a_graph_goes_on_in_another_engine(open_engine: OpenEngine) -> None:
    made: list[str] = []
    gate = threading.Event()
    dag = diamond(made)
    dag.step("slow", gate.wait)
    dag.step("end", lambda d, slow: d, needs=("d", "slow"), executor="inline")

    @workflow
    def works() -> Any:
        return (yield from dag.run(final="end"))

    with open_engine(works) as engine:
        engine.start(works(), id="r")
        eventually(lambda: "d" in made and len(engine.run("r").history()) >= 7)
    gate.set()
    with open_engine(works) as engine:
        assert engine.run("r").result(TOO_LONG) == "d(b(a()), c(a()))"
    assert sorted(made) == ["a", "b", "c", "d"]


@pytest.mark.anyio
async def test_a_graph_runs_on_the_callers_loop(where: str) -> None:
    async def shout(text: str) -> str:
        return text.upper()

    dag = Dag()
    dag.step("shout", shout, needs=("text",), retry=Retry(2), timeout="10s")
    dag.step("length", len, needs=("shout",))

    @workflow
    def works(text: str) -> Any:
        return (yield from dag.run(inputs={"text": text}))

    async with AsyncEngine(where, workflows=[works]) as engine:
        run = await engine.start(works("ada"))
        assert await run.result(TOO_LONG) == {"shout": "ADA", "length": 3}


@pytest.mark.parametrize("shape", ["chain", "wide"])
def test_a_thousand_steps(open_engine: OpenEngine, shape: str) -> None:
    dag = Dag()
    for number in range(1_000):
        needs = (str(number - 1),) if shape == "chain" and number else ()
        dag.step(str(number), lambda *before: sum(before) + 1, needs=needs, executor="inline")
    dag.step("sum", lambda *all_of_them: sum(all_of_them), needs=map(str, range(1_000)), executor="inline")

    @workflow
    def works() -> Any:
        return (yield from dag.run(final="sum"))

    with open_engine(works, durability="process") as engine:
        expected = 1_000 * 1_001 // 2 if shape == "chain" else 1_000
        assert engine.start(works(), id="r").result(60) == expected


def test_what_is_refused_fails_the_run_and_nothing_was_run(open_engine: OpenEngine) -> None:
    made: list[str] = []
    dag = diamond(made)
    dag.step("e", lambda x: x, needs=("nobody",))

    @workflow
    def works() -> Any:
        yield from dag.run()

    with open_engine(works) as engine:
        run = engine.start(works())
        with pytest.raises(RunFailed, match="'e' needs 'nobody'") as caught:
            run.result(TOO_LONG)
        assert isinstance(caught.value.__cause__, BadValue)
        assert run.history() == []
    assert made == []


def test_the_steps_of_a_graph_are_undone_last_first(open_engine: OpenEngine) -> None:
    undone: list[str] = []

    def refuse(b: str) -> None:
        raise ValueError("no")

    dag = Dag()
    dag.step("a", lambda: "a", compensate=undone.append)
    dag.step("b", lambda a: "b", needs=("a",), compensate=undone.append)
    dag.step("c", refuse, needs=("b",), compensate=undone.append)

    @workflow(compensate_on_failure=True)
    def works() -> Any:
        yield from dag.run()

    with open_engine(works) as engine, pytest.raises(RunReverted):
        engine.start(works()).result(TOO_LONG)
    assert undone == ["b", "a"]
