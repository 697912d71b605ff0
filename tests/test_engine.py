"""What a workflow sees and what the world sees of it: values, state, history, lists, queues, order."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntFlag
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hosts import TOO_LONG, OpenEngine, eventually

from continuum import (
    Engine,
    Invocation,
    Log,
    Map,
    Now,
    Publish,
    Random,
    Receive,
    Save,
    Sleep,
    Uuid4,
    Workflow,
    workflow,
)
from continuum.engine import scheduler
from continuum.errors import RunFailed, UnpicklableError


@dataclass(frozen=True)
class Point:
    x: int
    y: float


class Pair(NamedTuple):
    left: str
    right: Any


class Colour(Enum):
    RED = "red"


class Rights(IntFlag):
    READ = 1
    WRITE = 2


class Refused(Exception):
    def __init__(self, who: str, *, why: str) -> None:
        super().__init__(f"{who} was refused: {why}")
        self.who = who
        self.why = why

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Refused) and (self.args, self.who, self.why) == (other.args, other.who, other.why)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Report:
    refusals: list[Refused]


class Listed(list[int]):
    """A list with something more."""


VALUES: dict[str, Any] = {
    "none": None,
    "false": False,
    "zero": 0,
    "empty text": "",
    "negative zero": -0.0,
    "infinity": float("inf"),
    "large": 1 << 200,
    "text": "ä\u202e\0\ud800",
    "bytes": b"\0\xff",
    "bytearray": bytearray(b"ab"),
    "empty tuple": (),
    "tuple": (1, (2, None)),
    "list": [1, [2]],
    "dict": {1: "one", (2, 3): None},
    "set": frozenset({1, 2}),
    "complex": 1j,
    "decimal": Decimal("1.10"),
    "dataclass": Point(1, 2.5),
    "named tuple": Pair("a", Point(0, 0.0)),
    "enum": Colour.RED,
    "flag": Rights.READ | Rights.WRITE,
    "subclass": Listed([1, 2]),
    "date": date(2024, 2, 29),
    "utc": datetime(2024, 2, 29, 12, 30, 1, 999999, tzinfo=UTC),
    "offset": datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=5, minutes=45), "here")),
    "zone": datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    "length": timedelta(days=-1, microseconds=1),
    "uuid": UUID(int=1),
    "path": PurePosixPath("a/b"),
    "exception": Refused("ada", why="late"),
    "exception in a list": [Refused("ada", why="late"), 1],
    "exception in a dict": {"who": Refused("ada", why="late"), "others": ()},
    "exception in a dataclass": Report([Refused("ada", why="late")]),
    "a type": Point,
    "a function": len,
}


def same(value: Any) -> Any:
    """A step that gives a value of this module."""
    return VALUES[value]


@pytest.mark.parametrize("name", VALUES)
def test_a_steps_result_is_the_same_in_type_and_value_on_replay(open_engine: OpenEngine, name: str) -> None:
    seen: list[Any] = []

    @workflow
    def looks() -> Any:
        value = yield Save(same, name)
        seen.append(value)
        yield Receive("go on")
        return value

    with open_engine(looks) as engine:
        engine.start(looks(), id="r")
        eventually(lambda: engine.run("r").status() == "waiting")
    with open_engine(looks) as engine:
        engine.run("r").send("go on")
        seen.append(engine.run("r").result(TOO_LONG))
    assert len(seen) == 3
    for value in seen:
        assert type(value) is type(VALUES[name])
        assert value == VALUES[name]
        assert repr(value) == repr(VALUES[name])
        assert getattr(value, "fold", 0) == getattr(VALUES[name], "fold", 0)


def test_a_steps_error_is_the_same_on_replay(open_engine: OpenEngine) -> None:
    seen: list[Any] = []

    def refuse() -> None:
        raise Refused("ada", why="late") from KeyError("reason")

    @workflow
    def looks() -> Any:
        try:
            yield Save(refuse)
        except Refused as error:
            seen.append((error, error.__cause__))
        yield Receive("go on")

    with open_engine(looks) as engine:
        engine.start(looks(), id="r")
        eventually(lambda: engine.run("r").status() == "waiting")
    with open_engine(looks) as engine:
        engine.run("r").send("go on")
        engine.run("r").result(TOO_LONG)
    assert [error for error, _ in seen] == [Refused("ada", why="late")] * 2
    assert [(type(cause), str(cause)) for _, cause in seen] == [(KeyError, "'reason'")] * 2


def test_arguments_and_payloads_arrive_as_they_were(open_engine: OpenEngine) -> None:
    @workflow
    def echoes(*args: Any, **kwargs: Any) -> Any:
        payload = yield Receive("event")
        yield Publish(payload=payload)
        return args, kwargs, payload

    refused = Refused("ada", why="late")
    with open_engine(work=False) as client:
        run = client.start(echoes(Point(1, 2.0), refused, *VALUES["tuple"], zone=VALUES["zone"]), id="r")
        run.send("event", Pair("a", refused))
    with open_engine(echoes) as engine:
        expected = ((Point(1, 2.0), refused, *VALUES["tuple"]), {"zone": VALUES["zone"]}, Pair("a", refused))
        assert engine.run("r").result(TOO_LONG) == expected
        assert engine.run("r").state() == {"payload": Pair("a", refused)}


def test_a_result_that_cannot_be_pickled_is_the_steps_error_and_is_not_repeated(open_engine: OpenEngine) -> None:
    calls: list[int] = []

    def lock() -> Any:
        calls.append(1)
        return threading.Lock()

    @workflow
    def locks() -> Any:
        try:
            yield Save(lock)
        except TypeError as error:
            return str(error)

    with open_engine(locks) as engine:
        assert "the result of step 'lock'" in engine.start(locks()).result(TOO_LONG)
    assert calls == [1]


def test_a_result_over_the_limit_is_the_steps_error(open_engine: OpenEngine) -> None:
    @workflow
    def large() -> Any:
        try:
            yield Save(bytes, 10_000)
        except ValueError as error:
            return str(error)

    with open_engine(large, payload_limit=5_000) as engine:
        assert "the result of step 'bytes'" in engine.start(large()).result(TOO_LONG)


def test_a_workflow_whose_own_result_cannot_be_pickled_fails(open_engine: OpenEngine) -> None:
    @workflow
    def locks() -> Any:
        yield Save(int)
        return threading.Lock()

    with open_engine(locks) as engine, pytest.raises(RunFailed, match="result of the workflow"):
        engine.start(locks()).result(TOO_LONG)


class Speechless(Exception):
    def __str__(self) -> str:
        raise LookupError("no words")

    __repr__ = __str__


def test_an_error_whose_text_cannot_be_made_fails_its_run_and_no_other(open_engine: OpenEngine) -> None:
    def step() -> None:
        raise Speechless

    @workflow
    def falls_silent(at_once: bool) -> Any:
        if at_once:
            raise Speechless
        yield Save(step)

    with open_engine(falls_silent) as engine:
        for at_once in (True, False):
            with pytest.raises(RunFailed, match="Speechless: <its text could not be made>") as caught:
                engine.start(falls_silent(at_once)).result(TOO_LONG)
            assert isinstance(caught.value.__cause__, Speechless)


class Unloadable:
    def __reduce__(self) -> Any:
        return int, ("no number",)


def test_a_workflow_whose_own_result_cannot_be_loaded_fails(open_engine: OpenEngine) -> None:
    @workflow
    def ends_badly() -> Any:
        yield Save(int)
        return [Unloadable()]

    with open_engine(ends_badly) as engine:
        run = engine.start(ends_badly())
        with pytest.raises(RunFailed, match="result of the workflow: it was pickled but cannot be loaded again"):
            run.result(TOO_LONG)
        assert run.status() == "failed"


def test_who_has_not_the_class_of_an_error_is_told_of_the_failure_all_the_same(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise Refused("ada", why="no reason")

    @workflow
    def refuses() -> Any:
        yield Save(refuse)

    with open_engine(refuses) as engine:
        engine.start(refuses(), id="r").wait(TOO_LONG)
    monkeypatch.delattr(f"{__name__}.Refused")
    with open_engine(work=False) as client:
        with pytest.raises(RunFailed, match="ada was refused") as caught:
            client.run("r").result(TOO_LONG)
        assert "in refuse" in caught.value.traceback
        cause = caught.value.__cause__
        assert isinstance(cause, UnpicklableError)
        assert cause.type_name == f"{__name__}.Refused"
        assert cause.message == "ada was refused: no reason"
        assert "Can't get attribute 'Refused'" in cause.__notes__[0]


def test_who_has_not_the_class_of_a_result_is_told_which_run_has_it(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    @workflow
    def gives() -> Any:
        return [(yield Save(Point, 1, 2.0))]

    with open_engine(gives) as engine:
        engine.start(gives(), id="r").wait(TOO_LONG)
    monkeypatch.delattr(f"{__name__}.Point")
    with open_engine(work=False) as client, pytest.raises(AttributeError, match="Point") as caught:
        client.run("r").result(TOO_LONG)
    assert caught.value.__notes__ == ["The result of run 'r' cannot be loaded here; the run itself is completed."]


def test_what_is_published_cannot_be_read_back_before_and_can_after_it_ended(open_engine: OpenEngine) -> None:
    @workflow
    def publishes() -> Any:
        yield Receive("first")
        yield Publish(done=1, of=3)
        yield Receive("second")
        yield Publish(done=2, note=Point(1, 2.0))

    with open_engine(publishes) as engine:
        run = engine.start(publishes(), id="r")
        assert run.state() == {}
        run.send("first")
        eventually(lambda: run.state() == {"done": 1, "of": 3})
    with open_engine(publishes) as engine:
        engine.run("r").send("second")
        engine.run("r").result(TOO_LONG)
    with open_engine(work=False) as client:
        assert client.run("r").state() == {"done": 2, "of": 3, "note": Point(1, 2.0)}


def test_time_chance_and_log_are_the_same_on_replay(open_engine: OpenEngine, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    @workflow
    def looks() -> Any:
        seen.append([(yield Now()), (yield Random()), (yield Random()), (yield Uuid4())])
        yield Log("looked", times=1)
        yield Receive("go on")

    caplog.set_level("INFO", "continuum.workflow")
    with open_engine(looks) as engine:
        engine.start(looks(), id="r")
        eventually(lambda: engine.run("r").status() == "waiting")
    with open_engine(looks) as engine:
        engine.run("r").send("go on")
        engine.run("r").result(TOO_LONG)
    first, again = seen
    assert first == again
    assert first[1] != first[2]
    assert first[0].utcoffset() == timedelta(0)
    assert [record.message for record in caplog.records if record.name == "continuum.workflow"] == ["looked"]


def test_the_history_tells_every_completed_command_in_order(open_engine: OpenEngine) -> None:
    def refuse() -> None:
        raise Refused("ada", why="late")

    @workflow
    def does() -> Any:
        yield Save(len, "abc", name="measure")
        yield Sleep(0)
        yield Receive("event")
        try:
            yield Save(refuse)
        except Refused:
            yield Publish(refused=True)

    with open_engine(does) as engine:
        run = engine.start(does())
        run.send("event", 7)
        run.result(TOO_LONG)
        history = run.history()
    assert [(step.position, step.kind, step.name) for step in history] == [
        ("0", "save", "measure"),
        ("1", "sleep", ""),
        ("2", "receive", "event"),
        ("3", "save", "refuse"),
        ("4", "publish", ""),
    ]
    assert [step.value for step in history[:3]] == [3, None, 7]
    assert history[0]["attempts"] == 1
    assert history[3].error["type"].endswith("Refused")
    assert history[3].value is None
    assert [step.at for step in history] == sorted(step.at for step in history)


def test_a_journal_is_read_from_any_number_and_no_further_than_asked(open_engine: OpenEngine) -> None:
    @workflow
    def does() -> Any:
        for number in range(5):
            yield Save(abs, number, executor="inline")
            yield Sleep(0)

    with open_engine(does) as engine:
        run = engine.start(does())
        run.result(TOO_LONG)
        rows = run.recorded()
        assert [row.number for row in rows] == list(range(15)), "marks too"
        assert [row.kind for row in rows[:3]] == ["save", "armed", "sleep"]
        assert run.recorded(4) == rows[4:]
        assert run.recorded(4, 3) == rows[4:7]
        assert run.recorded(14, 3) == rows[14:]
        assert run.recorded(15) == run.recorded(0, 0) == []


@workflow
def waits() -> Any:
    yield Receive("event")


@workflow
def ends(fails: bool = False) -> Any:
    yield Save(int, executor="inline")
    if fails:
        raise ValueError("as asked")


def test_runs_are_listed_newest_first_by_status_by_workflow_and_up_to_a_limit(open_engine: OpenEngine) -> None:
    with open_engine(waits, ends) as engine:
        for number in range(3):
            engine.start(waits(), id=f"waits-{number}")
            engine.start(ends(fails=number == 2), id=f"ends-{number}")
        engine.until_idle()

        def ids(**filters: Any) -> list[str]:
            return [run.id for run in engine.runs(**filters)]

        assert ids() == ["ends-2", "waits-2", "ends-1", "waits-1", "ends-0", "waits-0"]
        assert ids(limit=2) == ["ends-2", "waits-2"]
        assert ids(limit=0) == []
        assert ids(status="waiting") == ["waits-2", "waits-1", "waits-0"]
        assert ids(status="failed") == ["ends-2"]
        assert ids(workflow="ends") == ids(workflow=ends) == ["ends-2", "ends-1", "ends-0"]
        assert ids(workflow=ends, status="completed", limit=1) == ["ends-1"]
        assert ids(workflow="nothing") == []


def test_runs_get_ids_that_sort_by_the_time_of_their_start(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as engine:
        ids = [engine.start(waits()).id for _ in range(20)]
        assert ids == sorted(ids)
        assert len(set(ids)) == 20
        assert [run.id for run in engine.runs()] == ids[::-1]


def test_starting_an_id_again_gives_the_run_that_there_is(open_engine: OpenEngine) -> None:
    calls: list[int] = []

    @workflow
    def works(number: int) -> Any:
        yield Save(calls.append, number)
        return number

    with open_engine(works) as engine:
        assert engine.start(works(1), id="r").result(TOO_LONG) == 1
        assert engine.start(works(2), id="r").result(TOO_LONG) == 1
    with open_engine(works) as engine:
        assert engine.start(works(3), id="r").result(TOO_LONG) == 1
    assert calls == [1]


# Which run is taken, and when


def order_of(open_engine: OpenEngine, starts: list[tuple[Invocation[Any], dict[str, Any]]], step: Any) -> None:
    with open_engine(work=False) as client:
        for invocation, options in starts:
            client.start(invocation, **options)
    with open_engine(step, concurrency=1) as engine:
        engine.until_idle()


def test_runs_of_higher_priority_are_taken_first_and_equal_ones_in_order(open_engine: OpenEngine) -> None:
    order: list[str] = []

    @workflow
    def notes(name: str) -> Any:
        yield Save(order.append, name)

    priorities = [("a", 0), ("b", 5), ("c", -3), ("d", 5), ("e", 0)]
    order_of(open_engine, [(notes(name), {"priority": priority}) for name, priority in priorities], notes)
    assert order == ["b", "d", "a", "e", "c"]


def test_a_run_with_many_steps_keeps_no_other_waiting(open_engine: OpenEngine) -> None:
    order: list[str] = []
    gate = threading.Event()

    def note(name: str) -> None:
        order.append(name)
        assert gate.wait(TOO_LONG)

    @workflow
    def much() -> Any:
        yield Map(note, ["much"] * 50)

    @workflow
    def little() -> Any:
        yield Save(note, "little")

    with open_engine(much, little, concurrency=1) as engine:
        runs = [engine.start(much())]
        eventually(lambda: order)
        runs.append(engine.start(little()))
        eventually(lambda: runs[1].status() == "running")
        gate.set()
        for run in runs:
            run.result(TOO_LONG)
    assert "little" in order[:4]


def test_a_worker_takes_runs_of_its_queues_only(open_engine: OpenEngine) -> None:
    @workflow
    def plain() -> Any:
        return (yield Save(str, "plain"))

    @workflow(queue="slow")
    def routed() -> Any:
        return (yield Save(str, "routed"))

    with open_engine(plain, routed) as engine:
        engine.start(routed(), id="by the workflow")
        engine.start(plain(), id="by start", queue="slow")
        assert engine.start(plain(), id="default").result(TOO_LONG) == "plain"
        engine.until_idle()
        assert engine.run("by the workflow").status() == "pending"
        assert engine.run("by start").status() == "pending"
    with open_engine(plain, routed, queues=["slow"]) as engine:
        assert engine.run("by the workflow").result(TOO_LONG) == "routed"
        assert engine.run("by start").result(TOO_LONG) == "plain"
        assert engine.start(plain()).result(TOO_LONG) == "plain"


def test_a_delayed_run_is_pending_until_it_is_due(open_engine: OpenEngine) -> None:
    with open_engine(ends) as engine:
        late = engine.start(ends(), delay=3600)
        soon = engine.start(ends(), delay=0.02)
        soon.result(TOO_LONG)
        engine.until_idle()
        assert late.status() == "pending"


def test_a_delay_survives_a_restart(open_engine: OpenEngine) -> None:
    with open_engine(work=False) as client:
        client.start(ends(), id="r", delay=0.05)
    with open_engine(ends) as engine:
        engine.run("r").result(TOO_LONG)


def start_many(engine: Engine, flow: Workflow[[], Any], count: int) -> None:
    """Start so many runs, from several threads: they share commits."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: engine.start(flow()), range(count)))


@pytest.fixture
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker has a tenth of the runs at once that it has else."""
    monkeypatch.setattr(scheduler, "WINDOW", 20)
    monkeypatch.setattr(scheduler, "SHARED_WINDOW", 20)


@pytest.mark.usefixtures("_few_at_once")
def test_more_runs_than_are_worked_on_at_once_all_come_to_their_end(open_engine: OpenEngine) -> None:
    count = 230
    with open_engine(work=False, durability="process") as client:
        start_many(client, ends, count)
    with open_engine(ends, durability="process", concurrency=10) as engine:
        engine.until_idle()
        assert len(engine.runs(status="completed")) == count


def test_more_waiting_runs_than_are_worked_on_at_once_all_wait(open_engine: OpenEngine) -> None:
    @workflow
    def steps_then_waits() -> Any:
        yield Save(int, executor="inline")
        yield Receive("event")

    count = 2_300
    with open_engine(work=False, durability="process") as client:
        start_many(client, steps_then_waits, count)
    with open_engine(steps_then_waits, durability="process") as engine:
        engine.until_idle()
        assert len(engine.runs(status="waiting")) == count


@pytest.mark.usefixtures("_few_at_once")
def test_waiting_runs_hold_no_place_among_the_steps(open_engine: OpenEngine) -> None:
    with open_engine(waits, ends, concurrency=1, durability="process") as engine:
        start_many(engine, waits, 110)
        assert engine.start(ends()).result(TOO_LONG) is None
