"""ContinueUsing, executed: what goes on, what stays, and what the store holds afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from crashing import CrashingStore
from hosts import TOO_LONG, OpenEngine, dump, eventually, opened

from continuum import (
    AsyncEngine,
    Call,
    Cancelled,
    ContinueUsing,
    Now,
    Publish,
    Race,
    Receive,
    Revert,
    RunCancelled,
    RunExists,
    RunFailed,
    RunReverted,
    RunTimedOut,
    Save,
    Send,
    Sleep,
    UnpicklableValue,
    workflow,
)
from continuum.errors import CommitUnknown, StoreClosed
from continuum.store import leavings
from continuum.store.keys import number_of
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Watch


@workflow
def counts(left: int, total: int = 0) -> Any:
    total += yield Save(int, 1, executor="inline")
    if left:
        yield ContinueUsing(counts(left - 1, total))
    return total


@workflow
def listens(before: tuple[str, ...] = ()) -> Any:
    word = yield Receive("word")
    if word != "end":
        yield ContinueUsing(listens((*before, word)))
    return before


# Going on


def test_a_run_goes_on_under_its_id_and_gives_the_last_result(open_engine: OpenEngine) -> None:
    with open_engine(counts) as engine:
        run = engine.start(counts(4), id="r")
        assert run.result(TOO_LONG) == 5
        assert [step.position for step in run.history()] == ["0"]
        described = run.describe()
        assert (described.generation, described.args) == (4, [0, 4])
        assert (described.workflow, described.started_as) == ("counts", "counts")


def test_events_sent_at_any_time_are_received_in_order_each_once(open_engine: OpenEngine) -> None:
    words = tuple(f"word {number}" for number in range(20))
    with open_engine(work=False) as client:
        client.start(listens(), id="r")
        for word in words[:8]:
            client.run("r").send("word", word)
    with open_engine(listens) as engine:
        run = engine.run("r")
        for word in words[8:]:
            run.send("word", word)
        run.send("word", "end")
        assert run.result(TOO_LONG) == words


def test_what_was_published_stays(open_engine: OpenEngine) -> None:
    @workflow
    def shows(generation: int) -> Any:
        yield Publish(**{f"of {generation}": True, "latest": generation})
        yield Receive("go on")
        if generation < 2:
            yield ContinueUsing(shows(generation + 1))

    with open_engine(shows) as engine:
        run = engine.start(shows(0), id="r")
        run.send("go on")
        engine.until_idle()
        assert run.state() == {"of 0": True, "of 1": True, "latest": 1}
    with open_engine(shows) as engine:
        run = engine.run("r")
        run.send("go on")
        run.send("go on")
        run.result(TOO_LONG)
        assert run.state() == {"of 0": True, "of 1": True, "of 2": True, "latest": 2}


def test_a_parent_goes_on_waiting_and_gets_the_last_result(open_engine: OpenEngine) -> None:
    @workflow
    def child() -> Any:
        yield ContinueUsing(counts(2, 10))

    @workflow
    def parent() -> Any:
        return (yield Call(child(), id="child")), (yield Call(counts(1)))

    with open_engine(parent, child, counts) as engine:
        assert engine.start(parent()).result(TOO_LONG) == (13, 2)
        assert engine.run("child").describe().started_as == "child"


def test_a_run_that_goes_on_as_what_no_worker_has_waits_for_one_that_has_it(open_engine: OpenEngine) -> None:
    @workflow(name="second", version="2")
    def second(word: str) -> Any:
        return word, (yield Receive("word"))

    @workflow
    def first() -> Any:
        yield ContinueUsing(second("from the first"))

    @workflow(name="second", version="1")
    def old() -> Any:
        yield Receive("never")

    with open_engine(first, old) as engine:
        run = engine.start(first(), id="r")
        engine.until_idle()
        described = run.describe()
        assert (described.workflow, described.version, described.started_as) == ("second", "2", "first")
        assert (described.status, described.waiting_for) == ("waiting", "a worker")
        run.send("word", "kept")
        engine.until_idle()
        assert run.status() == "waiting"
    with open_engine(second) as engine:
        assert engine.run("r").result(TOO_LONG) == ("from the first", "kept")


def test_another_workflow_takes_the_run_to_its_own_queue_and_the_same_leaves_it_where_it_is(where: str) -> None:
    @workflow(queue="second")
    def second(again: bool) -> Any:
        yield Now()
        if again:
            yield ContinueUsing(second(False))

    @workflow
    def first() -> Any:
        yield ContinueUsing(second(False))

    with opened(where, first, second, queues=["first"]) as engine:
        engine.start(first(), id="moves", queue="first")
        engine.start(second(True), id="stays", queue="first")
        assert engine.run("stays").result(TOO_LONG) is None
        engine.until_idle()
        assert engine.run("moves").describe().queue == "second"
        assert engine.run("moves").status() == "waiting"
    with opened(where, first, second, queues=["second"]) as engine:
        assert engine.run("moves").result(TOO_LONG) is None


def test_starting_it_again_as_what_it_was_started_as_gives_the_run_that_exists(open_engine: OpenEngine) -> None:
    @workflow
    def first() -> Any:
        yield ContinueUsing(counts(3))

    with open_engine(first, counts) as engine:
        engine.start(first(), id="r").result(TOO_LONG)
        assert engine.start(first(), id="r").result(TOO_LONG) == 4
        with pytest.raises(RunExists, match="as a run of workflow 'first'"):
            engine.start(counts(3), id="r")


def test_arguments_that_cannot_be_recorded_fail_the_run_which_a_retry_brings_back(open_engine: OpenEngine) -> None:
    good = []

    @workflow
    def first() -> Any:
        yield Save(good.append, "made", executor="inline")
        yield ContinueUsing(counts(0, 0) if len(good) > 1 else counts(threading.Lock()))  # type: ignore[arg-type]

    with open_engine(first, counts) as engine:
        run = engine.start(first(), id="r")
        with pytest.raises(RunFailed) as caught:
            run.result(TOO_LONG)
        assert isinstance(caught.value.__cause__, UnpicklableValue)
        assert "the arguments of counts" in str(caught.value)
        assert run.describe().workflow == "first"
        good.append("corrected")
        run.retry()
        assert run.result(TOO_LONG) == 1
        assert good == ["made", "corrected"]


@pytest.mark.anyio
async def test_it_is_the_same_on_the_callers_own_loop(where: str) -> None:
    async with AsyncEngine(where, workflows=[listens], grace=0.0) as engine:
        run = await engine.start(listens(), id="r")
        for word in ("a", "b", "end"):
            await run.send("word", word)
        assert await run.result(TOO_LONG) == ("a", "b")
        assert (await run.describe()).generation == 2


# What other runs did for the history that ended


def test_the_end_of_a_child_that_nobody_waits_for_any_more_is_not_taken_for_another_ones(
    open_engine: OpenEngine,
) -> None:
    @workflow
    def slow() -> Any:
        try:
            yield Receive("never")
        except Cancelled:
            yield Receive("clean")
            raise

    @workflow
    def patient() -> Any:
        return (yield Receive("word"))

    @workflow
    def parent(generation: int = 0) -> Any:
        child = Call(slow(), id="slow") if not generation else Call(patient(), id="patient")
        index, value = yield Race(child, Receive("go on"))
        if not generation:
            yield ContinueUsing(parent(1))
        return index, value

    with open_engine(parent, slow, patient) as engine:
        run = engine.start(parent(), id="parent")
        run.send("go on")
        eventually(lambda: any(each.id == "patient" for each in engine.runs()))
        engine.run("slow").send("clean")
        with pytest.raises(RunCancelled):
            engine.run("slow").result(TOO_LONG)
        engine.until_idle()
        assert run.status() == "waiting"
        engine.run("patient").send("word", "mine")
        assert run.result(TOO_LONG) == (0, "mine")


def test_a_child_that_an_earlier_history_called_is_waited_for_by_its_id(open_engine: OpenEngine) -> None:
    @workflow
    def child() -> Any:
        while True:
            try:
                return (yield Receive("word"))
            except Cancelled:
                pass

    @workflow
    def parent(generation: int = 0) -> Any:
        index, value = yield Race(Call(child(), id="child"), Receive("go on"))
        if index:
            yield ContinueUsing(parent(generation + 1))
        return generation, value

    with open_engine(parent, child) as engine:
        run = engine.start(parent(), id="parent")
        run.send("go on")
        eventually(lambda: run.describe().generation == 1 and run.status() == "waiting")
        engine.until_idle()
        engine.run("child").send("word", "for all")
        assert run.result(TOO_LONG) == (1, "for all")


def test_a_child_that_others_started_is_not_awaited_for_a_history_that_ended(open_engine: OpenEngine) -> None:
    @workflow
    def shared() -> Any:
        while True:
            try:
                return (yield Receive("word"))
            except Cancelled:
                pass

    @workflow
    def parent(generation: int = 0) -> Any:
        child = "shared" if not generation else "another"
        index, value = yield Race(Call(shared(), id=child), Receive("go on"))
        if not generation:
            yield ContinueUsing(parent(1))
        return index, value

    with open_engine(parent, shared) as engine:
        for name in ("shared", "another"):
            engine.start(shared(), id=name)
        run = engine.start(parent(), id="parent")
        engine.until_idle()
        run.send("go on")
        eventually(lambda: run.describe().generation == 1 and run.status() == "waiting")
        engine.until_idle()
        engine.run("shared").send("word", "not mine")
        engine.run("shared").result(TOO_LONG)
        engine.until_idle()
        assert run.status() == "waiting"
        engine.run("another").send("word", "mine")
        assert run.result(TOO_LONG) == (0, "mine")


def test_messages_of_children_of_earlier_histories_do_not_pile_up(open_engine: OpenEngine, where: str) -> None:
    @workflow
    def child() -> Any:
        yield Receive("never")

    @workflow
    def parent(generation: int = 0) -> Any:
        yield Race(Call(child()), Receive("go on"))
        if generation < 5:
            yield ContinueUsing(parent(generation + 1))
        yield Receive("end")

    with open_engine(parent, child) as engine:
        run = engine.start(parent(), id="r")
        for number in range(6):
            engine.until_idle()
            assert run.describe().generation == number
            run.send("go on")
        engine.until_idle()
        assert {each.status() for each in engine.runs(workflow=child)} == {"cancelled"}
        assert len(engine.runs(workflow=child)) == 6
        eventually(lambda: not [key for key, _ in dump(where) if key.startswith(b"ir\0")][1:])


def test_an_event_is_sent_by_each_history_that_sends_it(open_engine: OpenEngine) -> None:
    @workflow
    def sends(left: int) -> Any:
        yield Send("receiver", "number", left)
        if left:
            yield ContinueUsing(sends(left - 1))

    @workflow
    def receives() -> Any:
        numbers = []
        while not numbers or numbers[-1]:
            numbers.append((yield Receive("number")))
        return numbers

    with open_engine(sends, receives) as engine:
        receiver = engine.start(receives(), id="receiver")
        engine.start(sends(3)).result(TOO_LONG)
        assert receiver.result(TOO_LONG) == [3, 2, 1, 0]


def test_a_result_that_an_earlier_history_made_is_found_by_its_key_and_not_undone(open_engine: OpenEngine) -> None:
    made: list[str] = []

    @workflow
    def pays(generation: int) -> Any:
        yield Save(made.append, f"paid {generation}", once="pay", compensate=made.append)
        yield ContinueUsing(pays(1)) if not generation else Revert("too late")

    with open_engine(pays) as engine:
        run = engine.start(pays(0), id="r")
        with pytest.raises(RunReverted):
            run.result(TOO_LONG)
        assert made == ["paid 0"]
        assert [step.attempts for step in run.history() if step.kind == "save"] == [0]


# Ends around it


def test_retry_goes_on_inside_the_newest_history(open_engine: OpenEngine) -> None:
    made: list[str] = []

    def fail_until_corrected() -> str:
        made.append("tried")
        if "corrected" not in made:
            raise ValueError("not yet")
        return "done"

    @workflow
    def fragile(generation: int) -> Any:
        yield Save(made.append, f"begun {generation}", executor="inline")
        if generation < 2:
            yield ContinueUsing(fragile(generation + 1))
        return (yield Save(fail_until_corrected, executor="inline"))

    with open_engine(fragile) as engine:
        run = engine.start(fragile(0), id="r")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        made.append("corrected")
    with open_engine(fragile) as engine:
        engine.run("r").retry()
        assert engine.run("r").result(TOO_LONG) == "done"
    assert made == ["begun 0", "begun 1", "begun 2", "tried", "corrected", "tried"]


@workflow
def guarded() -> Any:
    try:
        yield Receive("never")
    finally:
        yield Publish(cleaned=True)


@workflow
def becomes_guarded() -> Any:
    yield ContinueUsing(guarded())


def test_a_cancel_that_comes_between_two_histories_reaches_the_new_workflow_at_its_yield(
    open_engine: OpenEngine,
) -> None:
    with open_engine(becomes_guarded) as engine:
        run = engine.start(becomes_guarded(), id="r")
        engine.until_idle()
        run.cancel("enough")
        assert run.status() == "waiting"
    with open_engine(guarded) as engine:
        with pytest.raises(RunCancelled, match="enough"):
            engine.run("r").result(TOO_LONG)
        assert engine.run("r").state() == {"cleaned": True}


def test_a_second_cancel_between_two_histories_ends_the_run_without_a_worker(open_engine: OpenEngine) -> None:
    with open_engine(becomes_guarded) as engine:
        run = engine.start(becomes_guarded(), id="r")
        engine.until_idle()
        run.cancel("please")
        run.cancel("now")
        assert run.status() == "cancelled"


@workflow
def restless() -> Any:
    yield Publish(at_work=True)
    yield ContinueUsing(restless())


def test_a_run_that_always_goes_on_without_waiting_can_be_cancelled(open_engine: OpenEngine) -> None:
    with open_engine(restless) as engine:
        run = engine.start(restless(), id="r")
        eventually(lambda: run.describe().generation > 3)
        run.cancel("enough")
        with pytest.raises(RunCancelled, match="enough"):
            run.result(TOO_LONG)


def test_such_a_run_may_clean_up_and_even_wait(open_engine: OpenEngine) -> None:
    @workflow
    def tidy() -> Any:
        try:
            yield ContinueUsing(tidy())
        except Cancelled:
            yield Publish(waits=True)
            yield Receive("clean")
            yield Save(str, "clean")
            raise

    with open_engine(tidy) as engine:
        run = engine.start(tidy(), id="r")
        eventually(lambda: run.describe().generation > 3)
        run.cancel("enough")
        eventually(lambda: run.state() == {"waits": True})
    with open_engine(tidy) as engine:
        run = engine.run("r")
        run.send("clean")
        with pytest.raises(RunCancelled, match="enough"):
            run.result(TOO_LONG)
        assert [step.name for step in run.history() if step.kind == "save"] == ["str"]


def test_a_run_that_always_goes_on_without_waiting_ends_at_its_deadline(open_engine: OpenEngine) -> None:
    with open_engine(restless) as engine:
        run = engine.start(restless(), id="r", timeout=0.05)
        with pytest.raises(RunTimedOut):
            run.result(TOO_LONG)
        assert run.describe().generation > 0


def test_the_deadline_is_that_of_the_start(open_engine: OpenEngine) -> None:
    @workflow(timeout=timedelta(days=1))
    def second() -> Any:
        yield Receive("never")

    @workflow(timeout=0.2)
    def first() -> Any:
        yield ContinueUsing(second())

    with open_engine(first, second) as engine:
        run = engine.start(first(), id="r")
        deadline = run.describe().deadline
        with pytest.raises(RunTimedOut):
            run.result(TOO_LONG)
        described = run.describe()
        assert (described.workflow, described.deadline) == ("second", deadline)


def test_the_cancel_of_a_parent_reaches_a_child_that_has_gone_on_as_what_this_worker_lacks(where: str) -> None:
    @workflow
    def first() -> Any:
        yield ContinueUsing(guarded())

    @workflow
    def parent() -> Any:
        yield Call(first(), id="child")

    with opened(where, parent, first) as engine:
        run = engine.start(parent(), id="parent")
        engine.until_idle()
        run.cancel("all of it")
        with pytest.raises(RunCancelled):
            run.result(TOO_LONG)
        engine.until_idle()
        assert engine.run("child").status() == "waiting"
        assert {key for key, _ in dump(where) if key.startswith(b"q") and key.endswith(b"child")}
        labels = {label for key, label in dump(where) if key.startswith(b"q") and key.endswith(b"child")}
        assert labels == {b"guarded\x001"}, "it stands in the queue as what it was"
    with opened(where, guarded) as engine:
        with pytest.raises(RunCancelled, match="all of it"):
            engine.run("child").result(TOO_LONG)
        assert engine.run("child").state() == {"cleaned": True}


class SlowStore(MemoryStore):
    """Takes a while to commit a change of a run's record, and has the worker look what is there meanwhile."""

    def commit(self, batches: Any) -> list[bool]:
        if any(key.startswith(b"r") for batch in batches for key, _ in batch.puts):
            self.wake()
            time.sleep(0.1)
        return super().commit(batches)

    def watch(self, wake: Callable[[], None]) -> Watch:
        self.wake = wake
        return super().watch(wake)


def test_a_timer_that_is_due_while_a_run_goes_on_does_nothing_to_it() -> None:
    begun: list[str] = []

    @workflow
    def first() -> Any:
        yield Race(Sleep(0.05), Sleep(0))
        yield ContinueUsing(second())

    @workflow
    def second() -> Any:
        yield Save(begun.append, "second")
        return (yield Receive("word"))

    with opened(SlowStore(Space()), first, second) as engine:
        run = engine.start(first(), id="r")
        run.send("word", "end")
        assert run.result(TOO_LONG) == "end"
    assert begun == ["second"]


# What the store holds


@workflow
def endless(generation: int, stop: int) -> Any:
    yield Publish(generation=generation)
    yield Sleep(0)
    yield Save(int, generation, executor="inline")
    yield Receive("event", timeout=0, default=None)
    if generation % stop == 0:
        yield Receive("go on")
    yield ContinueUsing(endless(generation + 1, stop))


@pytest.mark.parametrize("where", ["lmdb", "memory"], indirect=True)
def test_a_loop_that_goes_on_for_ever_keeps_a_store_of_constant_size(where: str) -> None:
    many = 2_000 if where.startswith("memory") else 400
    sizes = []
    with opened(where, endless) as engine:
        run = engine.start(endless(1, many // 2), id="r")
        for number in (1, 2):
            eventually(lambda n=number: run.state().get("generation") == n * many // 2 and run.status() == "waiting")
            engine.until_idle()
            pairs = dump(where)
            sizes.append((len(pairs), sum(len(key) + len(value) for key, value in pairs)))
            run.send("go on")
    assert sizes[0][0] == sizes[1][0]
    assert abs(sizes[0][1] - sizes[1][1]) < 50
    assert sizes[0][0] < 20


class WatchedStore(MemoryStore):
    """Tells the largest number of deletes that one commit held."""

    largest = 0

    def commit(self, batches: Any) -> list[bool]:
        self.largest = max(self.largest, sum(len(batch.deletes) for batch in batches))
        return super().commit(batches)


def long_history(length: int) -> Any:
    for number in range(length):
        yield Save(int, number, executor="inline")


@workflow
def leaves_much(length: int) -> Any:
    yield from long_history(length)
    yield ContinueUsing(listens())


def entries(space: Space) -> int:
    return sum(key.startswith(b"jr\0") for key, _ in all_of(space))


def notes(space: Space) -> list[int]:
    """From which entries on something is to be deleted."""
    return [number_of(key) for key, _ in all_of(space) if key.startswith(b"u")]


def all_of(space: Space) -> list[tuple[bytes, bytes]]:
    store = MemoryStore(space)
    with store.view() as view:
        return list(view.scan(b""))


def test_a_long_history_is_deleted_in_pieces() -> None:
    space = Space()
    store = WatchedStore(space)
    length = 3 * leavings.ENTRIES + 10
    with opened(store, leaves_much, listens) as engine:
        run = engine.start(leaves_much(length), id="r")
        run.send("word", "end")
        assert run.result(TOO_LONG * 5) == ()
        eventually(lambda: entries(space) <= 1)
    assert notes(space) == []
    assert leavings.ENTRIES <= store.largest < leavings.ENTRIES + 20


def test_a_worker_that_died_leaves_the_rest_of_the_sweeping_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", 2)
    left = set()
    for commits in range(100):
        space = Space()
        store = CrashingStore(space, commits, applied=True)
        try:
            with opened(store, leaves_much, listens) as engine:
                engine.start(leaves_much(9), id="r")
                engine.until_idle()
                eventually(lambda space=space, store=store: not notes(space) or store.dead)
        except (CommitUnknown, StoreClosed):
            pass
        left |= set(notes(space))
        with opened(MemoryStore(space), leaves_much, listens) as engine:
            run = engine.start(leaves_much(9), id="r")
            eventually(lambda run=run: run.describe().generation == 1)
            eventually(lambda space=space: not notes(space) and not entries(space))
            run.send("word", "end")
            assert run.result(TOO_LONG) == ()
        if not store.dead:
            break
    assert len(left) > 2, "no crash hit the sweeping"


def test_two_long_histories_one_after_the_other_are_both_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leavings, "ENTRIES", 2)

    @workflow
    def twice(left: int) -> Any:
        yield from long_history(9)
        yield ContinueUsing(twice(left - 1) if left else listens())

    space = Space()
    with opened(MemoryStore(space), twice, listens) as engine:
        run = engine.start(twice(3), id="r")
        engine.until_idle()
        eventually(lambda: entries(space) == 0)
        assert run.describe().generation == 4
    assert notes(space) == []
