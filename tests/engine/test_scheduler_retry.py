"""Steps that fail: how the error reaches the workflow and the caller, retry by policy and by hand."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import All, Call, Receive, Retry, Save, Sleep, permanent, workflow
from continuum.errors import RunFailed, UnpicklableValue, WrongState


class Declined(Exception):
    """An error whose `__init__` takes something else than it hands on."""

    def __init__(self, card: str, *, code: int) -> None:
        super().__init__(f"card {card} was declined with {code}")
        self.card = card
        self.code = code


def decline() -> None:
    raise Declined("4242", code=51)


class Flaky:
    """A step that fails its first calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0
        self.__name__ = "flaky"

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Declined("4242", code=self.calls)
        return f"call {self.calls}"


def test_a_steps_error_reaches_the_workflow_at_its_yield_with_type_and_fields(open_engine: OpenEngine) -> None:
    @workflow
    def catches() -> Any:
        try:
            yield Save(decline)
        except Declined as error:
            return type(error) is Declined, error.card, error.code, str(error)

    with open_engine(catches) as engine:
        assert engine.start(catches()).result(TOO_LONG) == (True, "4242", 51, "card 4242 was declined with 51")


def test_an_uncaught_error_is_the_cause_of_run_failed_with_its_traceback_text(open_engine: OpenEngine) -> None:
    @workflow
    def fails() -> Any:
        yield Save(decline)

    with open_engine(fails) as engine, pytest.raises(RunFailed, match="'r' failed: Declined") as caught:
        engine.start(fails(), id="r").result(TOO_LONG)
    cause = caught.value.__cause__
    assert isinstance(cause, Declined)
    assert cause.code == 51
    assert "in decline" in caught.value.traceback
    assert caught.value.run_id == "r"


def test_who_lets_run_failed_out_sees_the_line_of_the_workflow(open_engine: OpenEngine) -> None:
    @workflow
    def child() -> Any:
        yield Sleep(0)
        raise LookupError("no card left")

    @workflow
    def parent() -> Any:
        yield Call(child())

    with open_engine(parent, child) as engine, pytest.raises(RunFailed) as caught:
        engine.start(parent()).result(TOO_LONG)
    shown = "".join(traceback.format_exception(caught.value))
    for function, line in ((child.function, 3), (parent.function, 2)):
        assert f"line {function.__code__.co_firstlineno + line}, in {function.__name__}" in shown
    assert shown.count('raise LookupError("no card left")') == 1


def test_an_error_of_the_workflow_itself_is_the_cause_too(open_engine: OpenEngine) -> None:
    @workflow
    def fails() -> Any:
        try:
            yield Save(decline)
        except Declined as error:
            raise LookupError("no card left") from error

    with open_engine(fails) as engine, pytest.raises(RunFailed) as caught:
        engine.start(fails()).result(TOO_LONG)
    assert isinstance(caught.value.__cause__, LookupError)
    assert isinstance(caught.value.__cause__.__cause__, Declined)
    assert "no card left" in caught.value.traceback


def test_a_workflow_that_fails_before_its_first_command_fails_its_run(open_engine: OpenEngine) -> None:
    @workflow
    def fails(empty: bool) -> Any:
        if empty:
            raise LookupError("at once")
        yield Save(decline)

    with open_engine(fails) as engine, pytest.raises(RunFailed, match="at once"):
        engine.start(fails(True)).result(TOO_LONG)


@pytest.mark.parametrize("error", [SystemExit(3), GeneratorExit()])
def test_a_workflow_that_raises_what_is_no_exception_fails_its_run_and_nothing_else(
    open_engine: OpenEngine, error: BaseException
) -> None:
    @workflow
    def fails() -> Any:
        yield Save(int)
        raise error

    @workflow
    def works() -> Any:
        return (yield Save(int))

    with open_engine(fails, works) as engine:
        with pytest.raises(RunFailed):
            engine.start(fails()).result(TOO_LONG)
        assert engine.start(works()).result(TOO_LONG) == 0


@pytest.mark.parametrize("executor", ["thread", "inline"])
def test_a_step_that_exits_fails_and_nothing_else_does(open_engine: OpenEngine, executor: Any) -> None:
    @workflow
    def exits() -> Any:
        yield Save(exit, 3, executor=executor)

    with open_engine(exits) as engine:
        with pytest.raises(RunFailed) as caught:
            engine.start(exits()).result(TOO_LONG)
        assert isinstance(caught.value.__cause__, SystemExit)


def test_retry_goes_on_from_the_step_that_failed_and_repeats_no_earlier_one(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    flaky = Flaky(1)

    @workflow
    def three_steps() -> Any:
        yield Save(calls.append, "first")
        middle = yield Save(flaky)
        yield Save(calls.append, "last")
        return middle

    with open_engine(three_steps) as engine:
        run = engine.start(three_steps(), id="r")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        assert calls == ["first"]
        run.retry()
        assert run.result(TOO_LONG) == "call 2"
        assert calls == ["first", "last"]
        positions = [step.position for step in run.history()]
        assert positions == ["0", "1", "2"]


def test_retry_by_a_client_is_carried_out_by_the_next_worker(open_engine: OpenEngine) -> None:
    flaky = Flaky(1)

    @workflow
    def one_step() -> Any:
        return (yield Save(flaky))

    with open_engine(one_step) as engine, pytest.raises(RunFailed):
        engine.start(one_step(), id="r").result(TOO_LONG)
    with open_engine(work=False) as client:
        client.run("r").retry()
        assert client.run("r").status() == "pending"
    with open_engine(one_step) as engine:
        assert engine.run("r").result(TOO_LONG) == "call 2"


def test_a_run_can_be_retried_again_and_again(open_engine: OpenEngine) -> None:
    flaky = Flaky(3)

    @workflow
    def one_step() -> Any:
        return (yield Save(flaky))

    with open_engine(one_step) as engine:
        run = engine.start(one_step())
        for code in (1, 2, 3):
            with pytest.raises(RunFailed, match=f"with {code}$"):
                run.result(TOO_LONG)
            run.retry()
        assert run.result(TOO_LONG) == "call 4"


def test_retry_repeats_only_the_branch_that_failed(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    flaky = Flaky(1)
    good_is_done = threading.Event()

    def good() -> str:
        calls.append("good")
        good_is_done.set()
        return "good"

    def wait_then_fail() -> str:
        good_is_done.wait(TOO_LONG)
        return flaky()

    @workflow
    def two_branches() -> Any:
        return (yield All(Save(good), Save(wait_then_fail, retry=Retry(attempts=1))))

    with open_engine(two_branches) as engine:
        run = engine.start(two_branches(), id="r")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        assert run.result(TOO_LONG) == ["good", "call 2"]
        assert len(calls) <= 2  # once more only if it was not recorded before the other failed


def test_retry_uses_again_what_other_branches_have_done_since_the_failure(open_engine: OpenEngine) -> None:
    calls: list[Any] = []
    flaky = Flaky(1)

    @workflow
    def two_branches() -> Any:
        def other() -> Any:
            had = yield Receive("event")
            yield Save(calls.append, had)
            return had, (yield Receive("event"))

        results = yield All(Save(flaky), other(), return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        return results

    with open_engine(two_branches) as engine:
        run = engine.start(two_branches(), id="r")
        eventually(lambda: run.status() == "waiting")  # for an event, as the other branch has failed
        for payload in (1, 2):
            run.send("event", payload)
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        before = run.history()
        run.retry()
        assert run.result(TOO_LONG) == ["call 2", (1, 2)]
        assert calls == [1]
        kept = [(step.position, step.at, step.value) for step in before if step.position.startswith("0.1")]
        assert [(step.position, step.at, step.value) for step in run.history()][:3] == kept
        assert [step.position for step in run.history()] == ["0.1.0", "0.1.1", "0.1.2", "0.0.0", "0"]


def test_events_that_are_taken_back_are_received_again(open_engine: OpenEngine) -> None:
    flaky = Flaky(1)

    @workflow
    def receives() -> Any:
        yield Receive("start")
        try:
            called = yield Save(flaky)
        except Declined:
            yield Receive("event")
            raise
        return called, (yield Receive("event")), (yield Receive("event"))

    with open_engine(receives) as engine:
        run = engine.start(receives(), id="r")
        for payload in (1, 2):
            run.send("event", payload)
        run.send("start")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        run.retry()
        assert run.result(TOO_LONG) == ("call 2", 1, 2)


def test_a_branch_goes_on_when_its_code_is_mended(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    mended: list[bool] = []

    @workflow
    def two_branches(names: list[str]) -> Any:
        def faulty() -> Any:
            yield Save(calls.append, "first")
            names.append("changed")  # arguments are as they were when it begins anew
            if not mended:
                raise KeyError("a fault of the code")
            return (yield Save(calls.append, "mended"))

        yield All(faulty(), Receive("never"))
        return names

    with open_engine(two_branches) as engine:
        run = engine.start(two_branches(["one"]), id="r")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        assert [(step.position, step.kind) for step in run.history()][1:] == [
            ("0.0.1", "raise"), ("0.1.0", "receive"), ("0", "all")]  # fmt: skip
        mended.append(True)
        run.retry()
        run.send("never")
        assert run.result(TOO_LONG) == ["one", "changed"]
        assert calls == ["first", "mended"]


def test_a_child_that_was_cancelled_with_its_parent_goes_on_with_it(open_engine: OpenEngine) -> None:
    calls: list[str] = []
    flaky = Flaky(1)

    @workflow
    def child() -> Any:
        yield Save(calls.append, "child")
        try:
            first = yield Receive("event")
            return first, (yield Receive("event"))
        finally:
            yield Save(calls.append, "end of child")

    @workflow
    def parent() -> Any:
        def fails() -> Any:
            yield Receive("fail")
            return (yield Save(flaky))

        return (yield All(Call(child(), id="child"), fails()))

    with open_engine(child, parent) as engine:
        run = engine.start(parent(), id="parent")
        eventually(lambda: calls and engine.run("child").status() == "waiting")
        engine.run("child").send("event", 1)
        eventually(lambda: len(engine.run("child").history()) == 2)
        run.send("fail")
        with pytest.raises(RunFailed):
            run.result(TOO_LONG)
        eventually(lambda: engine.run("child").status() == "cancelled")
        run.retry()
        eventually(lambda: engine.run("child").status() == "waiting")
        engine.run("child").send("event", 2)
        assert run.result(TOO_LONG) == [(1, 2), "call 2"]
        assert calls == ["child", "end of child", "end of child"]


@pytest.mark.parametrize("status", ["completed", "waiting", "cancelled"])
def test_retry_of_a_run_that_did_not_fail_is_refused(open_engine: OpenEngine, status: str) -> None:
    @workflow
    def waits() -> Any:
        yield Receive("end")

    with open_engine(waits) as engine:
        run = engine.start(waits(), id="r")
        if status == "completed":
            run.send("end")
        elif status == "cancelled":
            run.cancel()
        eventually(lambda: run.status() == status)
        with pytest.raises(WrongState, match=f"'r' is {status}") as caught:
            run.retry()
        assert caught.value.status == status


def test_a_step_is_tried_again_by_its_policy_and_the_history_tells_how_often(open_engine: OpenEngine) -> None:
    flaky = Flaky(2)

    @workflow
    def persists() -> Any:
        return (yield Save(flaky, retry=Retry(attempts=5, delay=0.001, on=Declined)))

    with open_engine(persists) as engine:
        run = engine.start(persists())
        assert run.result(TOO_LONG) == "call 3"
        assert [step.attempts for step in run.history()] == [3]


@pytest.mark.parametrize("executor", ["thread", "inline", "process"])
def test_a_permanent_error_is_recorded_at_once_and_says_so(open_engine: OpenEngine, executor: Any) -> None:
    @workflow
    def pays() -> Any:
        yield Save(refuse, retry=Retry(attempts=5, delay=60), executor=executor)

    with open_engine(pays) as engine:
        run = engine.start(pays())
        with pytest.raises(RunFailed) as caught:
            run.result(TOO_LONG)
        cause = caught.value.__cause__
        assert isinstance(cause, LookupError)
        assert cause.__notes__ == ["step 'refuse' was given up after attempt 1 of 5: the error is permanent"]
        assert caught.value.traceback.count("in refuse") == 1
        assert cause.__notes__[0] in caught.value.traceback
        assert [step.attempts for step in run.history()] == [1]


def refuse() -> None:
    raise permanent(LookupError("no such account"))


@pytest.mark.parametrize("executor", ["thread", "inline"])
def test_a_result_that_cannot_be_recorded_is_not_made_again(open_engine: OpenEngine, executor: Any) -> None:
    calls: list[int] = []

    def lock() -> Any:
        calls.append(1)
        return threading.Lock()

    @workflow
    def locks() -> Any:
        yield Save(lock, retry=Retry(attempts=5, delay=60), executor=executor)

    with open_engine(locks) as engine:
        with pytest.raises(RunFailed) as caught:
            engine.start(locks()).result(TOO_LONG)
        assert isinstance(caught.value.__cause__, UnpicklableValue)
    assert calls == [1]


def test_attempts_are_counted_on_after_a_restart(open_engine: OpenEngine) -> None:
    flaky = Flaky(100)

    @workflow
    def persists() -> Any:
        return (yield Save(flaky, retry=Retry(attempts=4, delay=0.05, factor=1, jitter=0)))

    with open_engine(persists) as engine:
        engine.start(persists(), id="r")
        eventually(lambda: flaky.calls >= 1 and engine.run("r").status() == "waiting")
    with open_engine(persists) as engine:
        with pytest.raises(RunFailed):
            engine.run("r").result(TOO_LONG)
        assert [step.attempts for step in engine.run("r").history()] == [4]
    assert flaky.calls == 4
