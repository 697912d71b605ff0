"""Events: kept until somebody asks, delivered once, in order, and the same way on replay."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import Ensure, Handle, Race, Receive, Save, Sleep, workflow
from continuum.errors import ReceiveTimeout, RunCancelled, RunFailed, RunFinished, RunNotFound


@workflow
def collect(count: int) -> Any:
    payloads = []
    for _ in range(count):
        payloads.append((yield Receive("event")))
    return payloads


@workflow
def collect_two_names(order: str) -> Any:
    payloads = []
    for name in order:
        payloads.append((yield Receive(name)))
    return payloads


@workflow
def race_and_go_on() -> Any:
    winner = yield Race(Receive("stop"), Sleep(0.01))
    yield Receive("go on")
    return winner


@workflow
def lose_then_receive() -> Any:
    yield Race(Receive("event"), Save(int, executor="inline"))
    return (yield Receive("event"))


def test_events_sent_in_quick_succession_are_received_once_each_and_in_order(open_engine: OpenEngine) -> None:
    with open_engine(collect) as engine:
        for _ in range(5):
            run = engine.start(collect(40))
            for number in range(40):
                run.send("event", number)
            assert run.result(TOO_LONG) == list(range(40))


def test_events_of_several_senders_at_once_are_received_once_each_and_in_the_order_of_each_sender(
    open_engine: OpenEngine,
) -> None:
    with open_engine(collect) as engine:
        run = engine.start(collect(100))

        def send_all(sender: int) -> None:
            for number in range(25):
                run.send("event", (sender, number))

        senders = [threading.Thread(target=send_all, args=(sender,)) for sender in range(4)]
        for thread in senders:
            thread.start()
        for thread in senders:
            thread.join()
        received = run.result(TOO_LONG)
        for sender in range(4):
            assert [number for each, number in received if each == sender] == list(range(25))


@workflow
def handle(together: int) -> Any:
    seen: list[int] = []
    yield Handle("event", seen.append)
    first = list(seen)
    yield Ensure(lambda: len(seen) >= together)
    yield Receive("go on")
    return first, seen


def test_the_first_handler_gets_all_that_was_sent_while_the_run_was_pending(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(handle(3), id="r")
        run.send("event", 0)
        run.send("other")
        run.send("event", 1)
    with open_engine(handle) as engine:
        run = engine.run("r")
        eventually(lambda: run.status() == "waiting")
        run.send("event", 2)
        eventually(lambda: run.describe().waiting_for == "receive 'go on'")
    with open_engine(handle) as engine:  # replayed
        run = engine.run("r")
        run.send("go on")
        assert run.result(TOO_LONG) == ([0, 1], [0, 1, 2])


def test_an_event_that_cannot_be_loaded_blocks_the_run_before_it_does_anything(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []

    @workflow
    def begins() -> Any:
        yield Save(begun.append, "begun", executor="inline")
        return (yield Receive("event"))

    with open_engine(work=False) as client:
        run = client.start(begins(), id="r")
        run.send("event", Moved())
    with monkeypatch.context() as patched, open_engine(begins) as engine:
        patched.delattr(f"{__name__}.Moved")
        run = engine.run("r")
        eventually(lambda: run.status() == "blocked")
        assert "a message to run 'r' cannot be loaded: AttributeError" in run.describe().reason
        assert begun == []
    with open_engine(begins) as engine:
        assert isinstance(engine.run("r").result(TOO_LONG), Moved)


class Moved:
    """What was sent and is not there when it is to be received."""


def test_events_sent_while_the_run_is_pending_are_kept_in_order(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        run = client.start(collect(3), id="r")
        for number in range(3):
            run.send("event", number)
        assert run.status() == "pending"
    with open_engine(collect) as engine:
        assert engine.run("r").result(TOO_LONG) == [0, 1, 2]


def test_events_sent_long_before_they_are_asked_for_are_kept_in_order(open_engine: OpenEngine) -> None:
    released = threading.Event()

    @workflow
    def busy_first() -> Any:
        yield Save(released.wait)
        return [(yield Receive("event")), (yield Receive("event"))]

    with open_engine(busy_first) as engine:
        run = engine.start(busy_first())
        run.send("event", "first")
        run.send("event", "second")
        released.set()
        assert run.result(TOO_LONG) == ["first", "second"]


def test_events_that_nobody_asked_for_yet_survive_a_restart(open_engine: OpenEngine) -> None:
    with open_engine(collect_two_names) as engine:
        run = engine.start(collect_two_names("abab"), id="r")
        run.send("b", "b1")
        run.send("b", "b2")
        engine.until_idle()
    with open_engine(collect_two_names) as engine:
        run = engine.run("r")
        run.send("a", "a1")
        run.send("a", "a2")
        assert run.result(TOO_LONG) == ["a1", "b1", "a2", "b2"]


def test_two_names_interleaved_do_not_mix(open_engine: OpenEngine) -> None:
    with open_engine(collect_two_names) as engine:
        run = engine.start(collect_two_names("abbaab"))
        for number in range(3):
            run.send("a", f"a{number}")
            run.send("b", f"b{number}")
        assert run.result(TOO_LONG) == ["a0", "b0", "b1", "a1", "a2", "b2"]


@pytest.mark.parametrize("event_comes", [True, False])
def test_a_race_of_an_event_and_a_timer_ends_the_same_way_on_replay(open_engine: OpenEngine, event_comes: bool) -> None:
    with open_engine(work=False) as client:
        run = client.start(race_and_go_on(), id="r")
        if event_comes:
            run.send("stop", "please")
    with open_engine(race_and_go_on) as engine:
        eventually(lambda: engine.run("r").describe().waiting_for == "receive 'go on'")
    with open_engine(race_and_go_on) as engine:
        engine.run("r").send("stop", "too late, or once more")
        engine.run("r").send("go on")
        assert engine.run("r").result(TOO_LONG) == ((0, "please") if event_comes else (1, None))


def test_a_receiver_that_lost_its_race_leaves_the_event_to_the_next_one(open_engine: OpenEngine) -> None:
    with open_engine(lose_then_receive) as engine:
        run = engine.start(lose_then_receive())
        engine.until_idle()
        run.send("event", "kept")
        assert run.result(TOO_LONG) == "kept"


def test_a_receive_that_times_out_gives_its_default_or_raises(open_engine: OpenEngine) -> None:
    @workflow
    def patient() -> Any:
        first = yield Receive("event", timeout=timedelta(milliseconds=1), default="nobody")
        try:
            yield Receive("event", timeout="0s")
        except ReceiveTimeout as error:
            return first, isinstance(error, TimeoutError)

    with open_engine(patient) as engine:
        assert engine.start(patient()).result(TOO_LONG) == ("nobody", True)


def test_an_event_for_an_unknown_run_is_refused_by_its_name(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client, pytest.raises(RunNotFound, match="'nowhere'") as caught:
        client.run("nowhere").send("event")
    assert caught.value.run_id == "nowhere"


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_an_event_for_a_finished_run_is_refused_with_its_status(open_engine: OpenEngine, status: str) -> None:
    @workflow
    def ends() -> Any:
        if (yield Receive("how")) == "failed":
            raise ValueError("as asked")

    with open_engine(ends) as engine:
        run = engine.start(ends(), id="r")
        if status == "cancelled":
            run.cancel()
        else:
            run.send("how", status)
        eventually(lambda: run.status() == status)
        with pytest.raises(RunFinished, match=f"'r' is {status}") as caught:
            run.send("event")
        assert (caught.value.run_id, caught.value.status) == ("r", status)


def test_an_event_that_was_not_received_when_the_run_failed_is_there_after_retry(open_engine: OpenEngine) -> None:
    attempts: list[int] = []

    def fail_first() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("not yet")

    @workflow
    def fails_before_it_receives() -> Any:
        yield Receive("begin")
        yield Save(fail_first)
        return (yield Receive("event"))

    with open_engine(fails_before_it_receives) as engine:
        run = engine.start(fails_before_it_receives())
        run.send("event", "early")
        run.send("begin")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        assert run.result(TOO_LONG) == "early"


def test_an_event_that_was_received_before_the_failure_is_not_received_again_by_retry(open_engine: OpenEngine) -> None:
    attempts: list[int] = []

    def fail_first() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("not yet")

    @workflow
    def receives_then_fails() -> Any:
        before = yield Receive("event")
        yield Save(fail_first)
        return before, (yield Receive("event"))

    with open_engine(receives_then_fails) as engine:
        run = engine.start(receives_then_fails())
        run.send("event", 1)
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        run.send("event", 2)
        assert run.result(TOO_LONG) == (1, 2)


def test_sends_that_race_with_the_end_of_the_run_arrive_or_are_refused(open_engine: OpenEngine) -> None:
    with open_engine(collect) as engine:
        for _ in range(20):
            run = engine.start(collect(1))
            refused = 0
            for number in range(10):
                try:
                    run.send("event", number)
                except RunFinished:
                    refused += 1
            assert run.result(TOO_LONG) == [0]
            assert refused <= 9


def test_cancels_that_race_with_the_end_of_the_run_cancel_it_or_are_refused(open_engine: OpenEngine) -> None:
    with open_engine(collect) as engine:
        for _ in range(20):
            run = engine.start(collect(1))
            run.send("event", "last")
            try:
                run.cancel()
            except RunFinished:
                assert run.result(TOO_LONG) == ["last"]
                continue
            try:
                assert run.result(TOO_LONG) == ["last"]
            except RunCancelled:
                assert run.status() == "cancelled"
