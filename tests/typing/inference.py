"""What a type checker makes of the public interface. Nothing here runs: mypy reads it, strictly.

`make test` checks it: setup.cfg names this directory among mypy's files, and each assert_type that is
not true is an error.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timedelta
from typing import Any, assert_type
from uuid import UUID

from continuum import (
    All,
    AsyncEngine,
    AsyncRun,
    Call,
    Count,
    Engine,
    Ensure,
    Handle,
    Invocation,
    Log,
    Map,
    Now,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Retry,
    Run,
    Save,
    Send,
    Sleep,
    Start,
    Uuid4,
    Workflow,
    step,
    workflow,
)
from continuum.dag import Dag


def charge(order_id: str, amount: int) -> float:
    return amount / 2


async def fetch(url: str) -> bytes:
    return b""


def refund(receipt: float) -> None: ...


@step(retry=Retry(attempts=5))
def careful(order_id: str) -> list[str]:
    return [order_id]


@step
def plain(order_id: str) -> bytes:
    return order_id.encode()


@workflow
def child(name: str) -> Generator[Any, Any, dict[str, int]]:
    number = yield from Save(len, name)
    return {name: number}


@workflow(name="parent", version="2", timeout=timedelta(days=1))
def parent(order_id: str, amount: int = 0) -> Generator[Any, Any, str]:
    assert_type((yield from Save(charge, order_id, amount, retry=Retry(3), compensate=refund)), float)
    assert_type((yield from Save(fetch, order_id, timeout="10s", executor="inline")), bytes)
    assert_type((yield from Save(careful, order_id)), list[str])
    assert_type((yield from Save(plain, order_id)), bytes)
    assert_type((yield from Save(charge, order_id, 1, cache=timedelta(hours=1), once=order_id)), float)
    assert_type((yield from Save(str.upper, order_id)), str)
    assert_type((yield from Sleep("1h")), None)
    assert_type((yield from Receive("go", timeout=5, default=None)), Any)
    assert_type((yield from Handle("go", lambda payload: None)), None)
    assert_type((yield from Ensure(lambda: True)), bool)
    assert_type((yield from Now()), datetime)
    assert_type((yield from Random()), float)
    assert_type((yield from Uuid4()), UUID)
    assert_type((yield from Log("hello", n=1)), None)
    assert_type((yield from Publish(progress=0.5, done=Count())), None)
    assert_type((yield from Patch("name")), bool)
    assert_type((yield from All(Sleep(1), child("a"), Now())), list[Any])
    assert_type((yield from Race(Sleep(1), child("a"))), tuple[int, Any])
    assert_type((yield from Map(len, ["a"], limit=2)), list[Any])
    assert_type((yield from Call(child("a"), id="c")), dict[str, int])
    assert_type((yield from Start(child("a"), queue="slow", timeout="1h")), str)
    assert_type((yield from Send("run", "go", 5)), None)
    assert_type((yield from child("inlined")), dict[str, int])
    bare = yield Save(charge, order_id, amount)
    assert_type(bare, Any)
    return order_id


graph = Dag()
graph.step("charge", charge, needs=("order_id", "amount"), retry=Retry(3))


@workflow
def in_a_graph(order_id: str) -> Generator[Any, Any, None]:
    inputs = {"order_id": order_id, "amount": 5}
    assert_type((yield from graph.run(inputs=inputs)), dict[str, Any])
    assert_type((yield from graph.run(final="charge", inputs=inputs)), Any)


assert_type(child("a"), Invocation[dict[str, int]])
assert_type(parent("a", amount=5), Invocation[str])
assert_type(careful("a"), list[str])
checked: Workflow[[str], dict[str, int]] = child


def wrong() -> None:
    """What a checker has to refuse: an unused ignore is an error, too."""
    child(5)  # type: ignore[arg-type]
    child()  # type: ignore[call-arg]
    parent("a", amount="5")  # type: ignore[arg-type]
    Save(charge, retry=3)  # type: ignore[call-overload]
    Save(charge, executor="fork")  # type: ignore[call-overload]
    Call(child)  # type: ignore[arg-type]
    All(5)  # type: ignore[arg-type]
    workflow(charge)  # type: ignore[arg-type]


def blocking() -> None:
    with Engine("./state", workflows=[child, parent]) as engine:
        run = engine.start(parent("a"), id="a")
        assert_type(run, Run[str])
        assert_type(run.result(timeout=5), str)
        assert_type(engine.start(child("a")).result(), dict[str, int])
        assert_type(run.id, str)
        assert_type(run.send("go", 5), None)
        assert_type(engine.run("a"), Run[Any])


async def inside_a_loop() -> None:
    async with AsyncEngine("./state", workflows=[child]) as engine:
        run = await engine.start(child("a"))
        assert_type(run, AsyncRun[dict[str, int]])
        assert_type(await run.result(timeout=5), dict[str, int])
        assert_type(await run.cancel(), None)
