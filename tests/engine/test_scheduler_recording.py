"""What cannot be recorded, through the whole engine: an error at the yield, recorded itself, and a retry behind it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import Call, ContinueUsing, Log, Publish, Receive, Save, Send, Start, workflow
from continuum.errors import PayloadTooLarge, RunFailed, UnpicklableValue

LOCK = threading.Lock()
HERE = "test_scheduler_recording.py"


@workflow
def other(*args: Any, **kwargs: Any) -> Any:
    yield Save(int, executor="inline")
    return args


COMMANDS: dict[str, Any] = {
    "what Log says: dict key 'fields' → dict key 'lock'": lambda value: Log("it is", lock=value),
    "what Publish shows: dict key 'lock'": lambda value: Publish(lock=value),
    "the payload of Send 'go'": lambda value: Send("another", "go", value),
    "Call: the arguments of other: tuple item 0 → tuple item 0": lambda value: Call(other(value)),
    "Start: the arguments of other: tuple item 1 → dict key 'lock'": lambda value: Start(other(lock=value)),
    "ContinueUsing: the arguments of other: tuple item 0 → tuple item 0": lambda value: ContinueUsing(other(value)),
    "the default of Receive 'go'": lambda value: Receive("go", timeout=0, default=value),
}


@workflow
def tries(which: str, size: int = 0) -> Any:
    yield Save(int, executor="inline")
    try:
        yield COMMANDS[which](bytes(size) if size else LOCK)
    except (UnpicklableValue, PayloadTooLarge) as error:
        told = f"{type(error).__name__}: {error}"
    yield Receive("go on")
    return told


PLACE = f"{HERE}:{tries.function.__code__.co_firstlineno + 4} in tries"


@pytest.mark.parametrize("which", COMMANDS)
def test_what_cannot_be_pickled_is_told_at_the_yield_also_after_a_restart(open_engine: OpenEngine, which: str) -> None:
    with open_engine(tries, other) as engine:
        run = engine.start(tries(which), id="r")
        eventually(lambda: run.describe().waiting_for == "receive 'go on'")
        history = [(step.position, step.kind) for step in run.history()]
        assert history[1][0] == "1"
    with open_engine(tries, other) as engine:
        run = engine.run("r")
        run.send("go on")
        assert run.result(TOO_LONG) == f"UnpicklableValue: {PLACE}: {which}: cannot pickle '_thread.lock' object"
        assert [(step.position, step.kind) for step in run.history()][: len(history)] == history
        assert [each.id for each in engine.runs()] == ["r"]


@pytest.mark.parametrize("which", COMMANDS)
def test_so_is_what_is_too_large(open_engine: OpenEngine, which: str) -> None:
    with open_engine(tries, other, payload_limit=5_000) as engine:
        run = engine.start(tries(which, 10_000))
        run.send("go on")
        told = run.result(TOO_LONG)
        assert told.startswith(
            f"PayloadTooLarge: {PLACE}: {which.partition(': tuple')[0].partition(': dict')[0]}: 10,0"
        )


def test_what_was_published_counts_against_the_limit_and_stays(open_engine: OpenEngine) -> None:
    @workflow
    def publishes() -> Any:
        yield Publish(first=bytes(3_000))
        try:
            yield Publish(second=bytes(3_000))
        except PayloadTooLarge:
            yield Publish(second="too large")

    with open_engine(publishes, payload_limit=5_000) as engine:
        run = engine.start(publishes())
        run.result(TOO_LONG)
        assert run.state() == {"first": bytes(3_000), "second": "too large"}


def test_a_retry_goes_on_from_the_command_whose_value_was_refused(open_engine: OpenEngine) -> None:
    done: list[str] = []
    values: list[Any] = [LOCK]

    @workflow
    def publishes() -> Any:
        yield Save(done.append, "before", executor="inline")
        yield Publish(value=values[-1])
        return "well"

    with open_engine(publishes) as engine:
        run = engine.start(publishes())
        with pytest.raises(RunFailed, match="what Publish shows: dict key 'value'"):
            run.result(TOO_LONG)
        assert [step.kind for step in run.history()] == ["save", "publish"]
        values.append(5)
        run.retry()
        assert run.result(TOO_LONG) == "well"
        assert run.state() == {"value": 5}
    assert done == ["before"]


def test_what_changes_after_it_was_published_is_shown_as_it_was(open_engine: OpenEngine) -> None:
    @workflow
    def publishes() -> Any:
        items = ["first"]
        yield Publish(items=items)
        items.append("second")
        yield Publish(n=len(items))

    with open_engine(publishes) as engine:
        run = engine.start(publishes())
        run.result(TOO_LONG)
        assert run.state() == {"items": ["first"], "n": 2}
