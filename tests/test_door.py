"""Bad input: refused with a message that says what is wrong, and nothing in the store has changed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hosts import OpenEngine, dump

from continuum import Engine, Receive, workflow
from continuum.errors import (
    BadArguments,
    BadValue,
    ContinuumError,
    InvalidId,
    NotAWorkflow,
    PayloadTooLarge,
    RunExists,
    RunNotFound,
    UnknownWorkflow,
    UnpicklableValue,
    WrongState,
)


@workflow
def order(item: Any = None, *, amount: int = 1) -> Any:
    yield Receive("paid")


@workflow
def other() -> Any:
    yield Receive("paid")


def plain() -> int:
    return 1


LIMIT = 10_000
NAN, INFINITY = float("nan"), float("inf")

BAD: dict[str, tuple[Callable[[Engine], Any], type[Exception], str]] = {
    "no call": (lambda engine: engine.start(order), NotAWorkflow, r"call it: order\(\.\.\.\)"),
    "a function": (lambda engine: engine.start(plain), NotAWorkflow, "function plain"),
    "a generator": (lambda engine: engine.start(order.function()), NotAWorkflow, "generator"),
    "a result": (lambda engine: engine.start(plain()), NotAWorkflow, "not 1"),
    "too many arguments": (lambda engine: engine.start(order(1, 2)), BadArguments, r"order\(item"),
    "unknown argument": (lambda engine: engine.start(order(colour=1)), BadArguments, "colour"),
    "a socket": (lambda engine: engine.start(order(socket.socket)), ContinuumError, ""),
    "a lock in a dict": (
        lambda engine: engine.start(order({"fine": 1, "guard": threading.Lock()})),
        UnpicklableValue,
        "(?s)arguments of order.*guard.*lock",
    ),
    "a lock by keyword": (
        lambda engine: engine.start(order(amount=threading.Lock())),  # type: ignore[arg-type]
        UnpicklableValue,
        "amount",
    ),
    "too large": (lambda engine: engine.start(order(b"x" * LIMIT)), PayloadTooLarge, "arguments of order"),
    "id with a newline": (lambda engine: engine.start(order(), id="a\nb"), InvalidId, r"a\\nb"),
    "id with a tab": (lambda engine: engine.start(order(), id="a\tb"), InvalidId, "printable"),
    "id of 200 bytes": (lambda engine: engine.start(order(), id="ä" * 100), InvalidId, "128.*200"),
    "empty id": (lambda engine: engine.start(order(), id=""), InvalidId, "1 to 128"),
    "id with a direction mark": (lambda engine: engine.start(order(), id="a\u202eb"), InvalidId, "printable"),
    "id with a NUL": (lambda engine: engine.start(order(), id="a\0b"), InvalidId, "printable"),
    "id that is a number": (lambda engine: engine.start(order(), id=7), InvalidId, "int"),
    "id that is half a character": (lambda engine: engine.start(order(), id="\ud800"), InvalidId, "UTF-8"),
    "unknown workflow": (
        lambda engine: engine.start(workflow(name="ordr")(order.function)()),
        UnknownWorkflow,
        "'ordr'.*did you mean 'order'.*'order', 'other'",
    ),
    "id of another workflow": (lambda engine: engine.start(other(), id="there"), RunExists, "'there'.*'order'"),
    "queue that is none": (lambda engine: engine.start(order(), queue="a\nb"), BadValue, "queue"),
    "empty queue": (lambda engine: engine.start(order(), queue=""), BadValue, "queue"),
    "priority in words": (lambda engine: engine.start(order(), priority="high"), BadValue, "priority"),
    "priority in halves": (lambda engine: engine.start(order(), priority=1.5), BadValue, "priority"),
    "priority that is a truth": (lambda engine: engine.start(order(), priority=True), BadValue, "priority.*True"),
    "priority out of range": (lambda engine: engine.start(order(), priority=10**30), BadValue, "2,147,483,647"),
    "no priority": (lambda engine: engine.start(order(), priority=None), BadValue, "priority"),  # type: ignore[arg-type]
    "negative delay": (lambda engine: engine.start(order(), delay=-1), BadValue, "delay"),
    "delay in words": (lambda engine: engine.start(order(), delay="soon"), BadValue, "soon"),
    "delay that is no number": (lambda engine: engine.start(order(), delay=NAN), BadValue, "finite"),
    "delay without an end": (lambda engine: engine.start(order(), delay=INFINITY), BadValue, "finite"),
    "empty delay": (lambda engine: engine.start(order(), delay=""), BadValue, "delay"),
    "delay that is a truth": (lambda engine: engine.start(order(), delay=False), BadValue, "delay"),
    "timeout that is no number": (
        lambda engine: engine.start(order(), timeout=NAN),
        BadValue,
        "finite",
    ),
    "timeout without an end": (
        lambda engine: engine.start(order(), timeout=INFINITY),
        BadValue,
        "finite",
    ),
    "timeout that is a truth": (lambda engine: engine.start(order(), timeout=True), BadValue, "timeout"),
    "queue that is a number": (lambda engine: engine.start(order(), queue=7), BadValue, "queue.*7"),  # type: ignore[arg-type]
    "negative timeout": (lambda engine: engine.start(order(), timeout=-1), BadValue, "timeout"),
    "event without a name": (lambda engine: engine.run("there").send(""), BadValue, "name of an event"),
    "event named by a number": (lambda engine: engine.run("there").send(7), BadValue, "name of an event"),
    "event with a lock": (
        lambda engine: engine.run("there").send("paid", {"by": threading.Lock()}),
        UnpicklableValue,
        "(?s)payload of event 'paid'.*by",
    ),
    "event too large": (lambda engine: engine.run("there").send("paid", b"x" * LIMIT), PayloadTooLarge, "'paid'"),
    "event for nobody": (lambda engine: engine.run("nowhere").send("paid"), RunNotFound, "'nowhere'"),
    "status of nobody": (lambda engine: engine.run("nowhere").status(), RunNotFound, "'nowhere'"),
    "result of nobody": (lambda engine: engine.run("nowhere").result(1), RunNotFound, "'nowhere'"),
    "state of nobody": (lambda engine: engine.run("nowhere").state(), RunNotFound, "'nowhere'"),
    "history of nobody": (lambda engine: engine.run("nowhere").history(), RunNotFound, "'nowhere'"),
    "cancel of nobody": (lambda engine: engine.run("nowhere").cancel(), RunNotFound, "'nowhere'"),
    "retry of nobody": (lambda engine: engine.run("nowhere").retry(), RunNotFound, "'nowhere'"),
    "retry of one that waits": (lambda engine: engine.run("there").retry(), WrongState, "'there' is"),
    "run with a bad id": (lambda engine: engine.run("a\nb"), InvalidId, "printable"),
    "unknown status": (lambda engine: engine.runs(status="done"), BadValue, "'done'.*completed"),
    "negative limit": (lambda engine: engine.runs(limit=-1), BadValue, "limit"),
    "limit that is a truth": (lambda engine: engine.runs(limit=True), BadValue, "limit"),
    "status that is a number": (lambda engine: engine.runs(status=7), BadValue, "no status 7"),  # type: ignore[arg-type]
    "workflow that is a number": (lambda engine: engine.runs(workflow=7), BadValue, "workflow.*7"),  # type: ignore[arg-type]
    "workflow that was called": (
        lambda engine: engine.runs(workflow=order()),  # type: ignore[arg-type]
        BadValue,
        r"workflow.*order\(\)",
    ),
    "limit in words": (lambda engine: engine.runs(limit="5"), BadValue, "limit"),
    "negative patience": (lambda engine: engine.run("there").result(-1), BadValue, "timeout"),
    "patience in words": (lambda engine: engine.run("there").result("soon"), BadValue, "timeout.*'soon'"),
    "patience without an end": (
        lambda engine: engine.run("there").result(INFINITY),
        BadValue,
        "finite",
    ),
    "patience that is no number": (lambda engine: engine.run("there").wait(NAN), BadValue, "finite"),
    "cancel for a number": (lambda engine: engine.run("there").cancel(7), BadValue, "reason"),
}


@pytest.mark.parametrize("what", [what for what in BAD if what != "a socket"])
def test_bad_input_is_refused_and_changes_nothing(open_engine: OpenEngine, where: str, what: str) -> None:
    call, error, message = BAD[what]
    with open_engine(order, other, payload_limit=LIMIT) as engine:
        engine.start(order(), id="there")
        engine.until_idle()
        before = dump(where)
        with pytest.raises(error, match=message) as caught:
            call(engine)
        assert isinstance(caught.value, ContinuumError)
        engine.until_idle()
        assert dump(where) == before


def test_what_is_no_workflow_cannot_be_registered(where: str) -> None:
    for thing, message in (
        (plain, "plain is not a workflow"),
        (order(), "is not a workflow but a call of one; give the workflow itself: order"),
        ("order", "'order'"),
    ):
        with pytest.raises(NotAWorkflow, match=message):
            Engine(where, workflows=[thing])  # type: ignore[list-item]


def test_two_workflows_of_one_name_are_refused(where: str) -> None:
    with pytest.raises(BadValue, match="two workflows are called 'order'"):
        Engine(where, workflows=[order, workflow(name="order")(other.function)])


@pytest.mark.parametrize("workflows", [order, "order", 7, None])
def test_workflows_that_are_no_list_are_refused(where: str, workflows: Any) -> None:
    with pytest.raises(ContinuumError, match="workflow"):
        Engine(where, workflows=workflows)


@pytest.mark.parametrize(
    "options",
    [
        {"concurrency": 0},
        {"concurrency": -1},
        {"concurrency": 1.5},
        {"concurrency": True},
        {"concurrency": "many"},
        {"queues": ()},
        {"queues": "default"},
        {"queues": None},
        {"queues": 7},
        {"queues": [""]},
        {"queues": ["a\nb"]},
        {"queues": [7]},
        {"durability": "maybe"},
        {"payload_limit": 0},
        {"grace": -1},
        {"grace": NAN},
        {"grace": INFINITY},
        {"grace": "a while"},
        {"grace": None},
    ],
    ids=repr,
)
def test_options_that_make_no_sense_are_refused_on_making(tmp_path: Path, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(BadValue, match=name.removesuffix("s")):
        Engine(tmp_path / "store", workflows=[order], **options)
    assert not (tmp_path / "store").exists()


def test_the_widest_priorities_and_limits_are_fine(open_engine: OpenEngine) -> None:
    most = 2**31 - 1
    with open_engine(work=False) as client:
        for priority in (0, -most, 1, most):
            client.start(order(), id=str(priority), priority=priority)
        assert len(client.runs(limit=10**30)) == 4
        assert client.runs(workflow="nothing") == []


def test_the_same_workflow_twice_is_one(where: str) -> None:
    with Engine(where, workflows=[order, order]) as engine:
        assert engine.runs() == []


def test_functions_that_are_no_generators_are_no_workflows() -> None:
    async def asynchronous() -> Any:
        yield 1

    async def coroutine() -> None:
        pass

    for function, message in ((plain, "not a generator function"), (asynchronous, "is async"), (coroutine, "is async")):
        with pytest.raises(NotAWorkflow, match=message):
            workflow(function)  # type: ignore[type-var,arg-type]


def test_an_engine_that_is_not_open_says_so(where: str) -> None:
    engine = Engine(where, workflows=[order])
    for call in (lambda: engine.start(order()), lambda: engine.runs(), lambda: engine.run("r")):
        with pytest.raises(ContinuumError, match="not open"):
            call()


def test_a_name_that_looks_like_a_path_is_just_a_name(open_engine: OpenEngine) -> None:
    with open_engine(order) as engine:
        for name in ("../x", "/", ".", "a b", "ä" * 64, "%00", "c:\\x"):
            run = engine.start(order(), id=name)
            run.cancel()
            assert name in [listed.id for listed in engine.runs()]
