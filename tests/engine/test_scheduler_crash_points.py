"""A crash at every commit of a scenario, just before it and just after: what survives, and what is repeated."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, eventually

from continuum import (
    All,
    Call,
    Count,
    Engine,
    Log,
    Map,
    Publish,
    Race,
    Receive,
    Retry,
    Revert,
    Save,
    Send,
    Sleep,
    Start,
    permanent,
    workflow,
)
from continuum.errors import Cancelled, RunCancelled, RunFailed, RunFinished, RunReverted, RunTimedOut, StepUncertain

LIVES = pytest.mark.parametrize("lives", [1, 2])

Prepared = tuple[Crashes, Callable[[Any], None]]


@LIVES
@pytest.mark.parametrize("executor", ["inline", "thread"])
def test_steps_one_after_the_other_are_repeated_only_when_in_flight(lives: int, executor: Any) -> None:
    made: list[int] = []

    @workflow
    def steps() -> Any:
        for number in range(5):
            yield Save(made.append, number, executor=executor)

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(steps)

        def check(_: None) -> None:
            assert made == sorted(made), "a step ran again after its result was recorded"
            assert set(made) == set(range(5))
            assert max(Counter(made).values()) <= 1 + crashes.count
            assert len(made) <= 5 + crashes.count

        return crashes, check

    assert crash_everywhere(prepare, lambda engine: engine.start(steps(), id="r").result(TOO_LONG), lives) >= 10


@LIVES
def test_branches_side_by_side_are_repeated_only_when_in_flight(lives: int) -> None:
    made: list[int] = []

    def make(number: int) -> int:
        made.append(number)
        return number * number

    @workflow
    def branches() -> Any:
        squares = yield Map(make, range(6), limit=2)
        return squares, (yield All(Save(make, 10, executor="inline"), Save(make, 11)))

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(branches)

        def check(result: Any) -> None:
            assert result == ([0, 1, 4, 9, 16, 25], [100, 121])
            assert len(made) <= 8 + 2 * crashes.count

        return crashes, check

    crash_everywhere(prepare, lambda engine: engine.start(branches(), id="r").result(TOO_LONG), lives)


@LIVES
def test_an_event_from_run_to_run_arrives_exactly_once(lives: int) -> None:
    @workflow
    def sender() -> Any:
        for number in range(3):
            yield Send("receiver", "event", number)
        yield Send("receiver", "event", "end")

    @workflow
    def receiver() -> Any:
        received = []
        while not received or received[-1] != "end":
            received.append((yield Receive("event")))
        return received

    def scenario(engine: Engine) -> Any:
        receiving = engine.start(receiver(), id="receiver")
        engine.start(sender(), id="sender").result(TOO_LONG)
        return receiving.result(TOO_LONG)

    def prepare() -> Prepared:
        def check(received: Any) -> None:
            assert received == [0, 1, 2, "end"]

        return Crashes(sender, receiver), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_child_runs_once_and_its_parent_gets_the_result(lives: int) -> None:
    made: list[str] = []

    @workflow
    def child(name: str) -> Any:
        yield Save(made.append, name, executor="inline")
        return name.upper()

    @workflow
    def parent() -> Any:
        first = yield Call(child("a"))
        return first, (yield All(Call(child("b"), id="b"), Call(child("c"))))

    def scenario(engine: Engine) -> Any:
        result = engine.start(parent(), id="parent").result(TOO_LONG)
        return result, sorted(run.id for run in engine.runs(status="completed"))

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(parent, child)

        def check(outcome: Any) -> None:
            assert outcome == (("A", ["B", "C"]), ["b", "parent", "parent/0", "parent/1.1.0"])
            assert len(made) <= 3 + 2 * crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_child_goes_to_its_queue_and_ends_at_its_deadline(lives: int) -> None:
    @workflow(timeout="1d")
    def child() -> Any:
        yield Receive("never")

    @workflow
    def parent() -> Any:
        started = yield Start(child(), id="started", queue="second", timeout="1h")
        try:
            yield Call(child(), id="called", queue="second", timeout=0.001)
        except RunTimedOut:
            return started

    def scenario(engine: Engine) -> Any:
        result = engine.start(parent(), id="parent").result(TOO_LONG)
        engine.until_idle()
        return result, {run.id: (run.status(), run.describe().queue) for run in engine.runs()}

    def prepare() -> Prepared:
        def check(outcome: Any) -> None:
            result, runs = outcome
            assert result == "started"
            assert runs == {
                "parent": ("completed", "default"),
                "called": ("timed_out", "second"),
                "started": ("waiting", "second"),
            }

        return Crashes(parent, child, queues=["default", "second"]), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_counters_add_up_over_crashes(lives: int) -> None:
    @workflow
    def counts() -> Any:
        def one(number: int) -> Any:
            yield Save(int, executor="inline")
            yield Publish(done=Count(), sum=Count(number))

        yield Publish(phase="work")
        yield Map(one, range(4), limit=2)
        yield Publish(phase="end")

    def scenario(engine: Engine) -> Any:
        run = engine.start(counts(), id="r")
        run.result(TOO_LONG)
        return run.state()

    def prepare() -> Prepared:
        def check(state: Any) -> None:
            assert state == {"done": 4, "sum": 6, "phase": "end"}

        return Crashes(counts), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_the_cancel_of_a_parent_reaches_its_child(lives: int) -> None:
    @workflow
    def child() -> Any:
        yield Receive("never")

    @workflow
    def parent() -> Any:
        yield Call(child(), id="child")

    def scenario(engine: Engine) -> Any:
        run = engine.start(parent(), id="parent")
        if run.status() not in ("cancelled", "completed"):
            eventually(lambda: any(each.id == "child" for each in engine.runs()))
            try:
                run.cancel("all of it")
            except RunFinished:
                pass
        with pytest.raises(RunCancelled):
            run.result(TOO_LONG)
        engine.until_idle()
        return {each.id: each.status() for each in engine.runs()}

    def prepare() -> Prepared:
        def check(statuses: Any) -> None:
            assert set(statuses.values()) == {"cancelled"}, statuses

        return Crashes(parent, child), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_cancelling_a_child_twice_in_the_life_of_its_parent_does_not_cut_its_cleaning_short(lives: int) -> None:
    cleaned: list[str] = []

    @workflow
    def child() -> Any:
        try:
            yield Receive("never")
        finally:
            for number in range(3):
                yield Save(cleaned.append, str(number), executor="inline")

    @workflow
    def parent() -> Any:
        index, _ = yield Race(Call(child(), id="child"), Receive("enough"))
        return index

    def scenario(engine: Engine) -> Any:
        run = engine.start(parent(), id="parent")
        eventually(lambda: any(each.id == "child" for each in engine.runs()))
        if run.status() != "completed":
            try:
                run.send("enough")
            except RunFinished:
                pass
        assert run.result(TOO_LONG) == 1
        with pytest.raises(RunCancelled):
            engine.run("child").result(TOO_LONG)

    def prepare() -> Prepared:
        cleaned.clear()

        def check(_: None) -> None:
            assert set(cleaned) == {"0", "1", "2"}

        return Crashes(parent, child), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_attempts_are_counted_on_over_crashes(lives: int) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise ValueError("always")

    @workflow
    def persists() -> Any:
        yield Save(fail, retry=Retry(attempts=3, delay=0.001), executor="inline")

    def scenario(engine: Engine) -> Any:
        run = engine.start(persists(), id="r")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        return [step.attempts for step in run.history()]

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(persists)

        def check(attempts: Any) -> None:
            assert attempts == [3]
            assert 3 <= len(calls) <= 3 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_permanent_error_ends_the_attempts_over_crashes(lives: int) -> None:
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise permanent(ValueError("never")) if len(calls) > 1 else ValueError("perhaps")

    @workflow
    def persists() -> Any:
        yield Save(fail, retry=Retry(attempts=100, delay=0.001, max_elapsed="1h"), executor="inline")

    def scenario(engine: Engine) -> Any:
        run = engine.start(persists(), id="r")
        with pytest.raises(RunFailed) as caught:
            run.result(TOO_LONG)
        return caught.value.__cause__, [step.attempts for step in run.history()]

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(persists)

        def check(outcome: Any) -> None:
            error, attempts = outcome
            assert str(error) == "never"
            assert attempts in ([1], [2])  # one, where the attempt that might have mended was cut off
            assert "is permanent" in error.__notes__[0]
            assert len(calls) <= 2 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_an_at_most_once_step_runs_once_or_its_outcome_is_said_to_be_uncertain(lives: int) -> None:
    calls: list[int] = []

    @workflow
    def careful() -> Any:
        try:
            yield Save(calls.append, 1, executor="inline", at_most_once=True)
        except StepUncertain:
            return "uncertain"
        return "done"

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(careful)

        def check(result: Any) -> None:
            assert len(calls) <= 1
            assert result == "uncertain" or calls == [1]
            assert result == "done" or crashes.count

        return crashes, check

    crash_everywhere(prepare, lambda engine: engine.start(careful(), id="r").result(TOO_LONG), lives)


@LIVES
def test_a_race_has_one_winner_and_events_are_not_lost(lives: int) -> None:
    winners: list[Any] = []

    @workflow
    def racing() -> Any:
        outcome = yield Race(Receive("event"), Sleep(0.001), Save(str, "step"))
        yield Save(winners.append, outcome, executor="inline")
        return outcome, (yield Receive("event"))

    def scenario(engine: Engine) -> Any:
        known = {run.id for run in engine.runs()}
        run = engine.start(racing(), id="r")
        if "r" not in known or run.status() not in ("completed",):
            try:
                run.send("event", "first")
                run.send("event", "second")
            except RunFinished:
                pass
        return run.result(TOO_LONG)

    def prepare() -> Prepared:
        winners.clear()

        def check(result: Any) -> None:
            outcome, received = result
            assert set(map(repr, winners)) == {repr(outcome)}
            assert received in ("first", "second")
            assert outcome[0] == 0 or received == "first"

        return Crashes(racing), check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_saved_steps_are_undone_last_first(lives: int) -> None:
    undone: list[str] = []

    @workflow
    def undoes() -> Any:
        for name in "abc":
            yield Save(str, name, compensate=undone.append)
        yield Revert("changed our mind")

    def scenario(engine: Engine) -> Any:
        with pytest.raises(RunReverted) as caught:
            engine.start(undoes(), id="r").result(TOO_LONG)
        return caught.value.reason

    def prepare() -> Prepared:
        undone.clear()
        crashes = Crashes(undoes)

        def check(reason: Any) -> None:
            assert reason == "changed our mind"
            assert sorted(undone, reverse=True) == undone
            assert set(undone) == {"a", "b", "c"}
            assert len(undone) <= 3 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_branches_clean_up_before_the_saved_steps_are_undone(lives: int) -> None:
    done: list[str] = []

    def save(name: str) -> str:
        done.append(name)
        return name

    def undo(name: str) -> None:
        done.append(f"undo {name}")

    @workflow
    def reverts() -> Any:
        def other() -> Any:
            try:
                yield Receive("never")
            finally:
                yield Save(save, "cleanup", compensate=undo)

        def full() -> Any:
            yield Save(save, "hotel", compensate=undo)
            yield Revert("full")

        yield All(other(), full())

    def scenario(engine: Engine) -> Any:
        with pytest.raises(RunReverted):
            engine.start(reverts(), id="r").result(TOO_LONG)

    def prepare() -> Prepared:
        done.clear()
        crashes = Crashes(reverts)

        def check(_: None) -> None:
            assert [*dict.fromkeys(done)] == ["hotel", "cleanup", "undo cleanup", "undo hotel"]
            assert len(done) <= 4 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_cancelled_run_cleans_up_to_its_end(lives: int) -> None:
    cleaned: list[str] = []

    @workflow
    def cleans_up() -> Any:
        try:
            yield Receive("never")
        except Cancelled:
            for name in "abc":
                yield Save(cleaned.append, name, executor="inline")
                yield Publish(cleaned=name)
            raise

    def scenario(engine: Engine) -> Any:
        run = engine.start(cleans_up(), id="r")
        engine.until_idle()
        if run.status() == "waiting" and not run.history():
            run.cancel("enough")
        with pytest.raises(RunCancelled) as caught:
            run.result(TOO_LONG)
        return caught.value.reason, run.state()

    def prepare() -> Prepared:
        cleaned.clear()
        crashes = Crashes(cleans_up)

        def check(outcome: Any) -> None:
            assert outcome == ("enough", {"cleaned": "c"})
            assert sorted(cleaned) == cleaned
            assert len(cleaned) <= 3 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_retry_goes_on_from_the_step_that_failed(lives: int) -> None:
    made: list[str] = []

    def fail_until_retried() -> str:
        if "retried" not in made:
            raise ValueError("not yet")
        return "done"

    @workflow
    def fragile() -> Any:
        yield Save(made.append, "first", executor="inline")
        got = yield Save(fail_until_retried, executor="inline")
        yield Save(made.append, "last", executor="inline")
        return got

    def scenario(engine: Engine) -> Any:
        run = engine.start(fragile(), id="r")
        engine.until_idle()
        if run.status() == "failed":
            made.append("retried")
            run.retry()
        return run.result(TOO_LONG)

    def prepare() -> Prepared:
        made.clear()
        crashes = Crashes(fragile)

        def check(result: Any) -> None:
            assert result == "done"
            assert made.index("retried") > max(n for n, name in enumerate(made) if name == "first")
            assert made.count("first") <= 1 + crashes.count
            assert 1 <= made.count("last") <= 1 + crashes.count

        return crashes, check

    crash_everywhere(prepare, scenario, lives)


@LIVES
def test_a_log_is_recorded_once_and_emitted_at_most_once(lives: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "continuum.workflow")
    made: list[int] = []

    @workflow
    def talks() -> Any:
        for number in range(3):
            yield Log(f"message {number}", number=number)
            yield Save(made.append, number, executor="inline")

    def emitted() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.name == "continuum.workflow"]

    def scenario(engine: Engine) -> Any:
        run = engine.start(talks(), id="r")
        run.result(TOO_LONG)
        return [step.value["message"] for step in run.history() if step.kind == "log"]

    def prepare() -> Prepared:
        caplog.clear()
        crashes = Crashes(talks)

        def check(recorded: Any) -> None:
            messages = [record.getMessage() for record in emitted()]
            assert recorded == ["message 0", "message 1", "message 2"]
            assert len(messages) == len(set(messages)), "emitted again on replay"
            assert len(messages) >= 3 - crashes.count, "only what a crash came in between of may be missing"
            assert messages == sorted(messages)

        return crashes, check

    crash_everywhere(prepare, scenario, lives)
    told = [(vars(record)[name]) for record in emitted()[-1:] for name in ("run_id", "workflow", "position", "fields")]
    assert told == ["r", "talks", "4", {"number": 2}]
