"""A crash at every commit of runs that go on by ContinueUsing, just before it and just after."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, eventually, opened

from continuum import (
    Call,
    Cancelled,
    Compact,
    ContinueUsing,
    Count,
    Engine,
    Publish,
    Race,
    Receive,
    Save,
    Send,
    Sleep,
    workflow,
)
from continuum.errors import RunCancelled
from continuum.store import leavings
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.memory import MemoryStore

LIVES = pytest.mark.parametrize("lives", [1, 2])


@pytest.fixture(autouse=True, params=[2, 1_000], ids=["swept", "at once"])
def _piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", request.param)


def check_store(crashes: Crashes) -> None:
    """Nothing of the histories that were left is there any more, nor of what led from one to the next."""
    with crashes.engine() as engine:
        eventually(lambda: not [key for key in crashes.everything() if key[:1] == b"u"])
        engine.until_idle()
    ledger = Ledger(Codec())
    with MemoryStore(crashes.space).view() as view:
        for run in ledger.runs(view):
            left = [number for number, _ in ledger.entries(view, run.id) if number < run.record.journal_start]
            assert left == []
    kinds = Counter(key[:1] for key in crashes.everything())
    assert kinds[b"q"] == kinds[b"c"] == kinds[b"t"] == kinds[b"d"] == 0, kinds


@LIVES
def test_every_history_does_its_work_and_the_last_one_gives_the_result(lives: int) -> None:
    made: list[str] = []

    @workflow
    def loop(generation: int = 0, results: tuple[int, ...] = ()) -> Any:
        for number in range(2):
            results = (*results, (yield Save(_make, f"{generation}.{number}")))
            yield Sleep(0)
        yield Compact()
        yield Publish(**{f"generation {generation}": True}, generations=Count())
        if generation < 2:
            yield ContinueUsing(loop(generation + 1, results))
        return results

    def _make(name: str) -> int:
        made.append(name)
        return len(name)

    def scenario(engine: Engine) -> Any:
        run = engine.start(loop(), id="r")
        return run.result(TOO_LONG), run.state(), [step.position for step in run.history()]

    def prepare() -> Any:
        made.clear()
        crashes = Crashes(loop)

        def check(outcome: Any) -> None:
            result, state, positions = outcome
            assert result == (3,) * 6
            assert state == {"generation 0": True, "generation 1": True, "generation 2": True, "generations": 3}
            assert positions == ["4", "5"], "what lies before the Compact is deleted"
            assert made == sorted(made), "a step ran again after its result was recorded"
            assert len(made) <= 6 + crashes.count
            check_store(crashes)

        return crashes, check

    assert crash_everywhere(prepare, scenario, lives) >= 20


@LIVES
def test_events_reach_the_run_exactly_once_in_order_over_its_histories(lives: int) -> None:
    @workflow
    def sender(left: int = 4) -> Any:
        yield Send("receiver", "event", left)
        if left:
            yield ContinueUsing(sender(left - 1))

    @workflow
    def receiver(received: tuple[int, ...] = ()) -> Any:
        received = (*received, (yield Receive("event")))
        if received[-1]:
            yield ContinueUsing(receiver(received))
        return received

    def scenario(engine: Engine) -> Any:
        receiving = engine.start(receiver(), id="receiver")
        engine.start(sender(), id="sender").result(TOO_LONG)
        return receiving.result(TOO_LONG)

    def prepare() -> Any:
        crashes = Crashes(sender, receiver)

        def check(received: Any) -> None:
            assert received == (4, 3, 2, 1, 0)
            check_store(crashes)

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


def test_an_event_that_was_sent_but_not_recorded_does_not_stand_in_the_way_of_the_next_historys() -> None:
    @workflow
    def sender(generation: int = 0) -> Any:
        yield Race(Send("receiver", "event", generation), Receive("enough"))
        if not generation:
            yield ContinueUsing(sender(1))

    @workflow
    def receiver() -> Any:
        return (yield Receive("event")), (yield Receive("event"))

    def begin(engine: Engine) -> None:
        engine.start(receiver(), id="receiver")
        engine.start(sender(), id="sender")
        engine.until_idle()

    hits = 0
    for commits in [*range(20)] * 10:  # it depends on the machine which commit comes between the two
        crashes = Crashes(sender, receiver)
        crashes.live(begin, commits, applied=True)
        if any(key[:1] == b"d" for key in crashes.everything()):
            hits += 1
            with opened(MemoryStore(crashes.space), work=False) as client:
                client.run("sender").send("enough")
            with crashes.engine() as engine:
                engine.run("sender").result(TOO_LONG)
                assert engine.run("receiver").result(TOO_LONG) == (0, 1)
        if hits > 1:
            break
    assert hits, "no crash came between the sending and its recording"


@LIVES
def test_a_parent_gets_the_result_of_a_child_that_goes_on_as_another(lives: int) -> None:
    @workflow
    def first(generation: int) -> Any:
        yield ContinueUsing(second(generation))

    @workflow
    def second(generation: int) -> Any:
        yield Sleep(0)
        return generation

    @workflow
    def parent(generation: int = 0, results: tuple[int, ...] = ()) -> Any:
        mine = yield Call(first(generation))
        shared = yield Call(first(100), id="shared")
        results = (*results, mine, shared)
        if generation < 2:
            yield ContinueUsing(parent(generation + 1, results))
        return results

    def prepare() -> Any:
        crashes = Crashes(first, second, parent)

        def check(results: Any) -> None:
            assert results == (0, 100, 1, 100, 2, 100)
            check_store(crashes)

        return crashes, check

    crash_everywhere(prepare, lambda engine: engine.start(parent(), id="parent").result(TOO_LONG), lives)


@LIVES
def test_a_cancel_at_any_time_reaches_the_workflow_which_cleans_up(lives: int) -> None:
    cleaned: list[int] = []

    @workflow
    def loop(generation: int = 0) -> Any:
        try:
            yield Sleep(0)
            yield Receive("event", timeout=0, default=None)
            yield ContinueUsing(loop(generation + 1))
        except Cancelled:
            yield Save(cleaned.append, generation, executor="inline")
            raise

    def scenario(engine: Engine) -> Any:
        run = engine.start(loop(), id="r")
        eventually(lambda: run.describe().generation > 0 or run.status() == "cancelled")
        if run.status() != "cancelled" and not crashes.is_asked_to_end("r"):  # a second cancel is a kill
            run.cancel("enough")
        with pytest.raises(RunCancelled) as caught:
            run.result(TOO_LONG)
        return caught.value.reason

    crashes: Any = None

    def prepare() -> Any:
        nonlocal crashes
        cleaned.clear()
        crashes = Crashes(loop)

        def check(reason: Any) -> None:
            assert reason == "enough"
            assert cleaned
            assert len(set(cleaned)) == 1
            check_store(crashes)

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_retry_goes_on_inside_the_newest_history(lives: int) -> None:
    made: list[str] = []

    def fail_until_retried() -> str:
        if "retried" not in made:
            raise ValueError("not yet")
        return "done"

    @workflow
    def fragile(generation: int = 0) -> Any:
        yield Save(made.append, str(generation), executor="inline")
        yield Publish(generation=generation)
        if not generation:
            yield ContinueUsing(fragile(1))
        got = yield Save(fail_until_retried, executor="inline")
        yield Save(made.append, "last", executor="inline")
        return got

    def scenario(engine: Engine) -> Any:
        run = engine.start(fragile(), id="r")
        engine.until_idle()
        if run.status() == "failed":
            made.append("retried")
            run.retry()
        return run.result(TOO_LONG), run.state()

    def prepare() -> Any:
        made.clear()
        crashes = Crashes(fragile)

        def check(outcome: Any) -> None:
            assert outcome == ("done", {"generation": 1})
            order = [name for name, _ in Counter(made).items()]
            assert order == ["0", "1", "retried", "last"]
            assert made.count("0") <= 1 + crashes.count
            check_store(crashes)

        return crashes, check

    crash_everywhere(prepare, scenario, lives)
