"""Code that does not fit the journal: the run is blocked and says why, and goes on once the code fits again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import All, Engine, Now, Receive, Run, Save, Sleep, Workflow, workflow
from continuum.errors import RunCancelled

Code = Callable[[list[str]], Workflow[..., Any]]
"""Makes a workflow called ``order`` whose steps note their names in a list."""


def step(calls: list[str], name: str) -> Save[Any]:
    def note() -> str:
        calls.append(name)
        return name

    return Save(note, name=name)


def original(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        first = yield step(calls, "reserve")
        second = yield step(calls, "charge")
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def with_a_step_in_front(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        yield step(calls, "check")
        first = yield step(calls, "reserve")
        second = yield step(calls, "charge")
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def with_a_step_between(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        first = yield step(calls, "reserve")
        yield step(calls, "check")
        second = yield step(calls, "charge")
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def without_a_step(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        second = yield step(calls, "charge")
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return ["none", second, by, third]

    return order


def with_a_step_renamed(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        first = yield step(calls, "reserve")
        second = yield step(calls, "debit")
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def with_another_kind(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        first = yield step(calls, "reserve")
        second = yield Now()
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def with_a_branch(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        first, second = yield All(step(calls, "reserve"), step(calls, "charge"))
        by = yield Receive("approved")
        third = yield step(calls, "ship")
        return [first, second, by, third]

    return order


def that_ends_early(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        return (yield step(calls, "reserve"))

    return order


def that_fails_early(calls: list[str]) -> Workflow[..., Any]:
    @workflow
    def order() -> Any:
        yield step(calls, "reserve")
        raise ValueError("new and wrong")

    return order


CHANGES: dict[str, tuple[Code, str, str, str]] = {
    "a step in front": (with_a_step_in_front, "0", "save 'reserve'", "save 'check'"),
    "a step between": (with_a_step_between, "1", "save 'charge'", "save 'check'"),
    "a step removed": (without_a_step, "0", "save 'reserve'", "save 'charge'"),
    "a step renamed": (with_a_step_renamed, "1", "save 'charge'", "save 'debit'"),
    "another kind": (with_another_kind, "1", "save 'charge'", "now"),
    "a branch": (with_a_branch, "0", "save 'reserve'", "all"),
    "an early end": (that_ends_early, "1", "save 'charge'  at 1", "the end of the run (return)"),
    "an early failure": (
        that_fails_early,
        "1",
        "save 'charge'  at 1",
        "the end of the run (ValueError('new and wrong'))",
    ),
}


def reason(run: Run[Any]) -> str:
    with pytest.raises(TimeoutError) as caught:
        run.result(timeout=0)
    return str(caught.value)


def is_blocked(engine: Engine) -> bool:
    return engine.run("ord-1").status() == "blocked"


def until_it_waits(open_engine: OpenEngine, calls: list[str]) -> None:
    order = original(calls)
    with open_engine(order) as engine:
        run = engine.start(order(), id="ord-1")
        eventually(lambda: run.status() == "waiting")
    assert calls == ["reserve", "charge"]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_code_blocks_the_run_and_putting_it_back_lets_it_finish(open_engine: OpenEngine, change: str) -> None:
    code, position, recorded, attempted = CHANGES[change]
    calls: list[str] = []
    until_it_waits(open_engine, calls)
    with open_engine(code(calls)) as engine:
        run = engine.run("ord-1")
        run.send("approved", "ada")
        eventually(lambda: is_blocked(engine))
        told = reason(run)
        assert "'ord-1' has not ended within 0 s; it is blocked" in told
        assert f"run 'ord-1' (workflow 'order', version '1') does not fit its journal at position {position}:" in told
        assert f"recorded:  {recorded}\n" in told
        assert f"attempted: {attempted}\n" in told
        assert "in the code: test_blocked.py:" in told
        assert "Put the code back" in told
        assert len(run.history()) == 2
    assert calls == ["reserve", "charge"]
    with open_engine(original(calls)) as engine:
        assert engine.run("ord-1").result(TOO_LONG) == ["reserve", "charge", "ada", "ship"]
    assert calls == ["reserve", "charge", "ship"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_was_at_work_is_blocked_as_soon_as_the_changed_code_is_there(
    open_engine: OpenEngine, change: str
) -> None:
    calls: list[str] = []
    begun, released = threading.Event(), threading.Event()

    def hold() -> str:
        begun.set()
        released.wait(TOO_LONG)
        return "held"

    def code(make: Code) -> Workflow[..., Any]:
        """The same with a step at its end that is in flight when the engine is closed."""
        inner = make(calls).function

        @workflow
        def order() -> Any:
            result = yield from inner()
            return [*result, (yield Save(hold))]

        return order

    with open_engine(code(original)) as engine:
        run = engine.start(code(original)(), id="ord-1")
        run.send("approved", "ada")
        assert begun.wait(TOO_LONG)
    with open_engine(code(CHANGES[change][0])) as engine:
        eventually(lambda: is_blocked(engine))
        engine.until_idle()
        assert "Put the code back" in reason(engine.run("ord-1"))
        assert [step.name for step in engine.run("ord-1").history()] == ["reserve", "charge", "approved", "ship"]
    released.set()
    with open_engine(code(original)) as engine:
        assert engine.run("ord-1").result(TOO_LONG) == ["reserve", "charge", "ada", "ship", "held"]
    assert calls == ["reserve", "charge", "ship"]


def test_code_that_is_put_back_goes_on_without_any_event(open_engine: OpenEngine) -> None:
    calls: list[str] = []

    def code(*names: str) -> Workflow[..., Any]:
        @workflow
        def order() -> Any:
            for name in names:
                yield step(calls, name)
                yield Sleep(0.3)
            return list(names)

        return order

    with open_engine(code("a", "b", "c")) as engine:
        engine.start(code("a", "b", "c")(), id="ord-1")
        eventually(lambda: engine.run("ord-1").status() == "waiting")
    before = list(calls)  # on a slow machine the next step may have come
    with open_engine(code("new", "a", "b", "c")) as engine:
        eventually(lambda: is_blocked(engine))
    assert calls == before
    with open_engine(code("a", "b", "c")) as engine:
        assert engine.run("ord-1").result(TOO_LONG) == ["a", "b", "c"]
    assert calls == ["a", "b", "c"]


def test_a_blocked_run_stays_blocked_until_the_code_fits(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    until_it_waits(open_engine, calls)
    for make in (with_a_step_in_front, with_a_step_in_front, without_a_step, with_a_step_renamed):
        with open_engine(make(calls)) as engine:
            engine.run("ord-1").send("approved", make.__name__)
            engine.until_idle()
            assert is_blocked(engine)
            assert [run.id for run in engine.runs(status="blocked")] == ["ord-1"]
    with open_engine(original(calls)) as engine:
        assert engine.run("ord-1").result(TOO_LONG) == ["reserve", "charge", "with_a_step_in_front", "ship"]
    assert calls == ["reserve", "charge", "ship"]


def test_new_steps_behind_what_is_recorded_block_nothing(open_engine: OpenEngine) -> None:
    def longer(calls: list[str]) -> Workflow[..., Any]:
        @workflow
        def order() -> Any:
            first = yield step(calls, "reserve")
            second = yield step(calls, "charge")
            by = yield Receive("approved")
            yield step(calls, "pack")
            third = yield step(calls, "ship")
            return [first, second, by, third]

        return order

    calls: list[str] = []
    until_it_waits(open_engine, calls)
    with open_engine(longer(calls)) as engine:
        engine.run("ord-1").send("approved", "ada")
        assert engine.run("ord-1").result(TOO_LONG) == ["reserve", "charge", "ada", "ship"]
    assert calls == ["reserve", "charge", "pack", "ship"]


def test_a_blocked_run_harms_no_other(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    until_it_waits(open_engine, calls)
    changed = with_a_step_in_front(calls)
    with open_engine(changed) as engine:
        engine.run("ord-1").send("approved", "ada")
        eventually(lambda: is_blocked(engine))
        other = engine.start(changed(), id="ord-2")
        other.send("approved", "bob")
        assert other.result(TOO_LONG) == ["reserve", "charge", "bob", "ship"]
        assert is_blocked(engine)


def test_a_blocked_run_ends_by_the_second_cancel(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    until_it_waits(open_engine, calls)
    with open_engine(with_a_step_in_front(calls)) as engine:
        run = engine.run("ord-1")
        run.cancel("first")
        engine.until_idle()
        assert is_blocked(engine)
        run.cancel("second")
        with pytest.raises(RunCancelled):
            run.result(TOO_LONG)
    assert calls == ["reserve", "charge"]


# Code that is not there


def test_runs_of_a_workflow_that_is_missing_stay_as_they_are(open_engine: OpenEngine) -> None:
    @workflow
    def another() -> Any:
        return (yield Save(int))

    calls: list[str] = []
    until_it_waits(open_engine, calls)
    with open_engine(work=False) as client:
        client.start(original(calls)(), id="ord-2")
    with open_engine(another) as engine:
        for name, status in (("ord-1", "waiting"), ("ord-2", "pending")):
            engine.run(name).send("approved", "ada")
            engine.until_idle()
            assert engine.run(name).status() == status
        assert engine.start(another()).result(TOO_LONG) == 0
    assert calls == ["reserve", "charge"]
    with open_engine(original(calls), another) as engine:
        for name in ("ord-1", "ord-2"):
            assert engine.run(name).result(TOO_LONG) == ["reserve", "charge", "ada", "ship"]
    assert sorted(calls) == sorted(["reserve", "charge", "ship"] * 2)


def test_runs_of_another_version_stay_as_they_are(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    until_it_waits(open_engine, calls)
    second = workflow(name="order", version="2")(with_a_step_in_front(calls).function)
    with open_engine(second) as engine:
        engine.run("ord-1").send("approved", "ada")
        engine.until_idle()
        assert engine.run("ord-1").status() == "waiting"
        new = engine.start(second(), id="ord-2")
        new.send("approved", "bob")
        assert new.result(TOO_LONG) == ["reserve", "charge", "bob", "ship"]
    assert calls == ["reserve", "charge", "check", "reserve", "charge", "ship"]
    with open_engine(original(calls)) as engine:
        assert engine.run("ord-1").result(TOO_LONG) == ["reserve", "charge", "ada", "ship"]
    assert calls[-1:] == ["ship"]


class Gone:
    """What it refers to when it is loaded may be missing."""

    def __init__(self, value: int) -> None:
        self.value = value


@pytest.mark.parametrize("what", ["arguments", "a result", "an event"])
def test_a_value_whose_class_is_missing_blocks_the_run_until_it_is_back(
    open_engine: OpenEngine, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def make() -> Gone:
        calls.append("make")
        return Gone(2)

    @workflow
    def order(given: Any) -> Any:
        made = yield Save(make) if what == "a result" else Save(int)
        yield Receive("go")
        event = yield Receive("event")
        return [getattr(value, "value", value) for value in (given, made, event)]

    with open_engine(order) as engine:
        run = engine.start(order(Gone(1) if what == "arguments" else 1), id="ord-1")
        eventually(lambda: run.status() == "waiting")
    with open_engine(work=False) as client:
        client.run("ord-1").send("event", Gone(3) if what == "an event" else 3)
        client.run("ord-1").send("go")
    with monkeypatch.context() as patch:
        patch.delattr(f"{__name__}.Gone")
        with open_engine(order) as engine:
            eventually(lambda: is_blocked(engine))
            engine.until_idle()
            told = reason(engine.run("ord-1"))
            assert "'ord-1' cannot be loaded" in told
            assert "Gone" in told
    with open_engine(order) as engine:
        result = engine.run("ord-1").result(TOO_LONG)
    assert result == [1, 2 if what == "a result" else 0, 3]
    assert calls == ["make"] * (what == "a result")
