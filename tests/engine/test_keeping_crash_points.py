"""A crash after every single commit while continuations are written and history is deleted: nothing is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, eventually, opened

from continuum import All, Compact, ContinueUsing, Engine, Handle, Publish, Receive, Save, Sleep, Workflow, workflow
from continuum.engine.keeping import changeover, keeper, upkeep
from continuum.store import leavings
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.memory import MemoryStore

made: list[int] = []


@pytest.fixture(autouse=True, params=["swept", "at once"])
def _often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Continuations are made all the time; what is deleted goes at once, or bit by bit."""
    monkeypatch.setattr(keeper, "LONG", 2)
    monkeypatch.setattr(upkeep, "LONG", 2)
    monkeypatch.setattr(upkeep, "ENTRIES", 3)
    monkeypatch.setattr(upkeep, "COST", 1 << 60)
    monkeypatch.setattr(changeover, "REST", 0)
    if request.param == "swept":
        monkeypatch.setattr(leavings, "ENTRIES", 1)
    made.clear()
    yield
    made.clear()


def make(number: int) -> str:
    made.append(number)
    return f"made {number} " * 40


def beside() -> Any:
    yield Sleep(0)
    yield Compact()
    return "beside"


@workflow
def compacts(generation: int = 0) -> Any:
    heard: list[int] = []
    lengths = []
    yield Handle("word", heard.append)
    for number in range(3):
        made_now = yield Save(make, 10 * generation + number)
        lengths.append(len(made_now))
        yield Compact()
    yield All(beside(), Save(make, 10 * generation + 3))
    yield Publish(generation=generation)
    heard.append((yield Receive("last")))
    if generation == 0:
        yield ContinueUsing(compacts(1))
    return lengths, sorted(heard)


@workflow(history="since_continuation")
def by_itself(count: int) -> Any:
    lengths = []
    for number in range(count):
        lengths.append(len((yield Save(make, number))))
    return lengths, (yield Receive("last"))


@workflow
def with_all_history(count: int) -> Any:
    lengths = []
    for number in range(count):
        lengths.append(len((yield Save(make, number))))
    return lengths, (yield Receive("last"))


@workflow
def compacts_by_key(generation: int = 0) -> Any:
    for number in range(3):
        yield Save(make, 10 * generation + number, key="last")
        yield Save(make, 10 * generation + 3 + number, key=f"number {number % 2}")
        yield Compact()
    if generation == 0:
        yield ContinueUsing(compacts_by_key(1))
    return (yield Receive("last"))


def check_store(crashes: Crashes) -> None:
    """What was deleted is gone, and of a run that has ended nothing is kept to go on from."""
    with crashes.engine() as engine:
        eventually(lambda: not [key for key in crashes.everything() if key[:1] == b"u"])
        engine.until_idle()
    ledger = Ledger(Codec())
    with MemoryStore(crashes.space).view() as view:
        for run in ledger.runs(view):
            left = [entry.key for number, entry in ledger.entries(view, run.id) if number < run.record.journal_start]
            assert left == LEFT.get(run.workflow, [])
            assert [row.key for row in ledger.history(view, run.id) if row.key] == left
    kinds = Counter(key[:1] for key in crashes.everything())
    assert kinds[b"q"] == kinds[b"c"] == kinds[b"t"] == kinds[b"k"] == kinds[b"n"] == kinds[b"i"] == 0, kinds


LEFT = {"compacts_by_key": ["number 1", "last", "number 0"]}
"""The keys of the entries that stay."""

LIVES = pytest.mark.parametrize("lives", [1, 2])


def everywhere(flow: Workflow[..., Any], *args: Any, expected: Any, steps: list[int], lives: int) -> None:
    """Crash after every number of commits, and see that each step was done and gave its result."""

    def prepare() -> Any:
        made.clear()
        crashes = Crashes(flow)
        with opened(MemoryStore(crashes.space), work=False) as client:
            run = client.start(flow(*args), id="r")
            for name, payload in (("word", 1), ("last", 2), ("last", 3)):
                run.send(name, payload)

        def check(result: Any) -> None:
            assert result == expected
            assert sorted(set(made)) == steps
            assert len(made) <= len(steps) + 2 * crashes.count, "a step ran again after its result was recorded"
            check_store(crashes)

        return crashes, check

    def scenario(engine: Engine) -> Any:
        return engine.run("r").result(TOO_LONG)

    assert crash_everywhere(prepare, scenario, lives) >= 2 * len(steps)


@LIVES
def test_a_history_that_is_compacted_over_and_over(lives: int) -> None:
    lengths = [len(f"made {number} " * 40) for number in (10, 11, 12)]
    everywhere(compacts, expected=(lengths, [3]), steps=[0, 1, 2, 3, 10, 11, 12, 13], lives=lives)


@LIVES
def test_the_last_entry_of_each_key_is_all_that_is_left(lives: int) -> None:
    everywhere(compacts_by_key, expected=2, steps=[*range(6), *range(10, 16)], lives=lives)


@LIVES
@pytest.mark.parametrize("flow", [by_itself, with_all_history], ids=lambda flow: flow.name)
def test_a_run_that_is_kept_by_itself(flow: Workflow[..., Any], lives: int) -> None:
    lengths = [len(f"made {number} " * 40) for number in range(12)]
    everywhere(flow, 12, expected=(lengths, 2), steps=list(range(12)), lives=lives)
