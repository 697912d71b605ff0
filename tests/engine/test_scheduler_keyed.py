"""What Save(key=) leaves of a history that is deleted: the last value of each key, for whoever reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually, opened

from continuum import (
    All,
    Cancelled,
    Compact,
    CompactRefused,
    ContinueUsing,
    Engine,
    Receive,
    Retry,
    Run,
    Save,
    workflow,
)
from continuum.store import keys, leavings
from continuum.store.copying import copy
from continuum.store.memory import MemoryStore, Space


def value(number: int) -> int:
    return number


def fails(number: int) -> int:
    raise ValueError(number)


def look(number: int, key: str | None = None) -> Save[int]:
    return Save(value, number, key=key, executor="inline")


def history(run: Run[Any]) -> list[str]:
    """In short: the key and the value, or the kind."""
    return [f"{step.key} {step.value}" if step.key else step.kind for step in run.history()]


def left_over(space: Space) -> list[bytes]:
    """What is noted to be deleted."""
    with MemoryStore(space).view() as view:
        return [key for key, _ in view.scan(keys.unswept_prefix())]


def swept(engine: Engine, space: Space) -> None:
    engine.until_idle()
    eventually(lambda: not left_over(space))


@workflow
def rounds(count: int, each: int = 1) -> Any:
    for number in range(count):
        for step in range(each):
            yield look(100 * step + number, "a")
        yield look(number)
        if number % 2:
            yield look(number, "odd")
        yield All(look(number, f"branch {number}"), look(number))
        yield Compact()
    return (yield Receive("end"))


LEFT = ["branch 0 0", "odd 1", "branch 1 1", "a 2", "branch 2 2", "compact"]


def test_the_last_value_of_each_key_stays_in_the_history(open_engine: OpenEngine) -> None:
    with open_engine(rounds) as engine:
        run = engine.start(rounds(3), id="r")
        engine.until_idle()
        assert history(run) == LEFT
        kept = run.kept()
        assert (kept.keys, kept.deleted, kept.continuation and kept.continuation["entries"]) == (5, 13, 18)
        assert [row.key for row in run.recorded(limit=2)] == ["branch 0", "odd"]
        run.send("end", "over")
        assert run.result(TOO_LONG) == "over"
        assert history(run) == [*LEFT, "receive"]
    with open_engine(rounds) as engine:
        assert history(engine.run("r")) == [*LEFT, "receive"], "of a run that has ended, too"


def test_with_continuations_off_it_is_the_same(open_engine: OpenEngine) -> None:
    with open_engine(rounds, continuations="off") as engine:
        run = engine.start(rounds(3))
        engine.until_idle()
        assert history(run) == LEFT


@pytest.mark.parametrize("pieces", [1, 1_000])
def test_a_history_of_any_length_leaves_the_same_whoever_deletes_it(
    monkeypatch: pytest.MonkeyPatch, pieces: int
) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", pieces)
    space = Space()
    with opened(MemoryStore(space), rounds) as engine:
        run = engine.start(rounds(2, each=9), id="r")
        swept(engine, space)
        assert history(run) == ["branch 0 0", "a 801", "odd 1", "branch 1 1", "compact"]
    with MemoryStore(space).view() as view:
        assert len(list(view.scan(keys.journal_prefix("r")))) == 5, "all else is gone"


@workflow
def listens() -> Any:
    number = 0
    while True:
        word = yield Receive("word")
        if word == "end":
            return number
        if word == "compact":
            yield Compact()
        else:
            number += 1
            yield look(number, word)


def say(engine: Engine, *words: str) -> Run[Any]:
    run = engine.run("r")
    for word in words:
        run.send("word", word)
    engine.until_idle()
    return run


def test_it_goes_on_over_restarts(open_engine: OpenEngine) -> None:
    with open_engine(listens) as engine:
        engine.start(listens(), id="r")
        say(engine, "a", "b", "a")
    with open_engine(listens) as engine:
        assert history(say(engine, "compact")) == ["b 2", "a 3", "compact"]
    with open_engine(listens) as engine:
        say(engine, "b")
    with open_engine(listens) as engine:
        assert history(say(engine, "compact")) == ["a 3", "b 4", "compact"]
        run = say(engine, "b")
        assert history(run) == ["a 3", "b 4", "compact", "receive", "b 5"], "the next Compact drops the earlier one"
        assert history(say(engine, "compact")) == ["a 3", "b 5", "compact"]


@pytest.mark.usefixtures("soon")
def test_it_is_known_to_who_goes_on_from_a_continuation_that_has_deleted_nothing() -> None:
    """It has not seen the entries with a key: they lie behind what it goes on from."""
    space = Space()
    with opened(MemoryStore(space), listens) as engine:
        run = engine.start(listens(), id="r")
        say(engine, "a", "b", *["a"] * 20)
        eventually(lambda: run.kept().continuation)
        engine.until_idle()
    with opened(MemoryStore(space), listens) as engine:
        run = say(engine, "compact")
        swept(engine, space)
        assert history(run) == ["b 2", "a 22", "compact"]


@workflow(history="since_continuation")
def by_itself(count: int) -> Any:
    for number in range(count):
        yield look(number, "a" if number % 2 else "b" if number < 9 else None)
    return (yield Receive("end"))


@pytest.mark.usefixtures("soon")
def test_history_since_continuation_keeps_it_too() -> None:
    space = Space()
    with opened(MemoryStore(space), by_itself) as engine:
        run = engine.start(by_itself(101), id="r")
        swept(engine, space)
        eventually(lambda: run.kept().deleted)
        shown = history(run)
        assert len(shown) < 60
        assert "b 8" in shown
        assert "a 99" in shown


@workflow
def holds_a_lock() -> Any:
    yield look(1, "a")
    yield look(2, "a")
    lock = threading.Lock()
    try:
        yield Compact()
    except CompactRefused:
        pass
    yield look(3, "a")
    return lock.locked()


def test_where_it_is_refused_nothing_is_dropped() -> None:
    with opened("memory://", holds_a_lock) as engine:
        run = engine.start(holds_a_lock())
        assert run.result(TOO_LONG) is False
        assert history(run) == ["a 1", "a 2", "compact", "a 3"]


@workflow
def next_history(generation: int) -> Any:
    yield look(generation, "a")
    yield look(generation, f"of {generation}")
    yield Compact()
    yield look(10 + generation, "a")
    if generation < 2:
        yield ContinueUsing(next_history(generation + 1))
    yield Receive("end")


def test_the_next_history_begins_without_it() -> None:
    space = Space()
    with opened(MemoryStore(space), next_history) as engine:
        run = engine.start(next_history(0), id="r")
        swept(engine, space)
        assert history(run) == ["a 2", "of 2 2", "compact", "a 12"]
    with MemoryStore(space).view() as view:
        assert len(list(view.scan(keys.lasts("r")))) == 2


mended: set[str] = set()


@pytest.fixture
def mending() -> Iterator[set[str]]:
    yield mended
    mended.clear()


def may_fail() -> str:
    if not mended:
        raise ValueError("not mended")
    return "mended"


@workflow
def fails_and_says_so() -> Any:
    yield look(0, "status")
    yield Compact()
    yield look(1, "status")
    try:
        yield Save(may_fail, retry=Retry(attempts=1))
    except ValueError:
        yield look(-1, "status")
        yield look(-1, "only if it failed")
        raise
    yield look(2)
    yield Compact()
    yield Receive("end")


def test_what_a_retry_takes_back_is_no_last_value(mending: set[str]) -> None:
    with opened("memory://", fails_and_says_so) as engine:
        run = engine.start(fails_and_says_so())
        assert run.wait(TOO_LONG) == "failed"
        assert history(run) == ["status 0", "compact", "status 1", "save", "status -1", "only if it failed -1"]
        mending.add("yes")
        run.retry()
        engine.until_idle()
        assert history(run) == ["status 1", "compact"]


@workflow
def cleans_up() -> Any:
    yield look(0, "a")
    yield Compact()
    try:
        yield Receive("end")
    except Cancelled:
        yield look(1, "a")
        yield Compact()
        raise


def test_the_history_of_a_run_that_was_cancelled_keeps_it() -> None:
    with opened("memory://", cleans_up) as engine:
        run = engine.start(cleans_up())
        engine.until_idle()
        run.cancel()
        assert run.wait(TOO_LONG) == "cancelled"
        engine.until_idle()
        assert history(run) == ["a 1", "compact"]


def test_it_moves_with_the_run_to_another_store() -> None:
    here, there = Space(), Space()
    with opened(MemoryStore(here), listens) as engine:
        engine.start(listens(), id="r")
        say(engine, "a", "b", "compact", "b")
    copy(MemoryStore(here), MemoryStore(there), now=1)
    with opened(MemoryStore(there), listens) as engine:
        run = engine.run("r")
        assert history(run) == ["a 1", "b 2", "compact", "receive", "b 3"]
        assert history(say(engine, "compact")) == ["a 1", "b 3", "compact"]
