"""What a workflow is, what a call of it gives, and the registry."""

from __future__ import annotations

import pickle
from collections.abc import Generator
from typing import Any

import cloudpickle
import pytest

from continuum import (
    BadArguments,
    Invocation,
    NotAWorkflow,
    Sleep,
    UnknownWorkflow,
    Workflow,
    workflow,
)
from continuum.durations import NANOSECONDS
from continuum.errors import BadValue
from continuum.workflow import Registry

ran: list[str] = []


@workflow
def order(order_id: str, amount: int = 0, *, rush: bool = False) -> Generator[Any, Any, str]:
    """Take an order."""
    ran.append(order_id)
    yield Sleep(1)
    return order_id


@workflow(name="billing", version="2", queue="money", timeout="2h", compensate_on_failure=True)
def bill() -> Generator[Any, Any, None]:
    yield Sleep(1)


def test_a_call_runs_nothing_and_gives_an_invocation() -> None:
    invocation = order("a", amount=5)
    assert invocation == Invocation(order, ("a",), {"amount": 5})
    assert ran == []


def test_a_workflow_is_named_after_its_function_and_has_defaults() -> None:
    assert (order.name, order.version, order.queue, order.timeout, order.compensate_on_failure) == (
        "order", "1", None, None, False,
    )  # fmt: skip
    assert (order.__name__, order.__doc__, order.__module__) == ("order", "Take an order.", __name__)


def test_a_workflow_takes_its_options() -> None:
    assert (bill.name, bill.version, bill.queue) == ("billing", "2", "money")
    assert (bill.timeout, bill.compensate_on_failure) == (7_200 * NANOSECONDS, True)


@pytest.mark.parametrize(
    "call",
    [
        lambda: order(),
        lambda: order("a", 1, 2),
        lambda: order("a", rus=True),
        lambda: order("a", order_id="b"),
        lambda: bill(1),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(call: Any) -> None:
    with pytest.raises(BadArguments, match=r"^(order|billing)\("):
        call()


def test_an_invocation_shows_how_it_was_called() -> None:
    assert repr(order("a", amount=5)) == "order('a', amount=5)"
    assert repr(order) == "<workflow 'order' version '1'>"


def test_an_invocation_can_be_inlined() -> None:
    def outer() -> Generator[Any, Any, str]:
        return (yield from order("inner"))

    generator = outer()
    assert next(generator) == Sleep(1)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "inner"


def test_each_body_is_fresh() -> None:
    invocation = order("a")
    assert invocation.body() is not invocation.body()


# What is no workflow


def plain() -> int:
    return 1


async def coroutine() -> None: ...


async def stream() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("what", "told"),
    [
        (plain, "is not a generator function"),
        (coroutine, "is async"),
        (stream, "is async"),
        (order, "is a workflow already"),
        (5, "is not a generator function"),
        (len, "is not a generator function"),
        (Sleep, "is not a generator function"),
        (lambda: 1, "is not a generator function"),
    ],
)
def test_only_a_plain_generator_function_is_a_workflow(what: Any, told: str) -> None:
    with pytest.raises(NotAWorkflow, match=told):
        workflow(what)


def test_what_is_no_workflow_is_told_with_its_line() -> None:
    def forgets() -> None:
        Sleep(1)

    line = forgets.__code__.co_firstlineno
    with pytest.raises(NotAWorkflow, match=rf"^test_workflow.py:{line} in .*forgets is .*the `yield` was forgotten"):
        workflow(forgets)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 129},
        {"name": 5},
        {"version": ""},
        {"version": 2},
        {"queue": ""},
        {"queue": "ü" * 65},
        {"timeout": -1},
        {"timeout": "soon"},
    ],
    ids=repr,
)
def test_options_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(BadValue):
        workflow(**options)(bill.function)


def test_a_workflow_may_be_a_static_method_and_no_other() -> None:
    class Shop:
        @staticmethod
        @workflow
        def sell() -> Generator[Any, Any, None]:
            yield Sleep(1)

        @workflow
        def buy(self) -> Generator[Any, Any, None]:
            yield Sleep(1)

    assert isinstance(Shop.sell(), Invocation)
    assert isinstance(Shop().sell(), Invocation)
    assert isinstance(Shop.buy, Workflow)
    with pytest.raises(NotAWorkflow, match="defined in a class"):
        Shop().buy()


# The registry


def test_the_registry_knows_workflows_by_name() -> None:
    registry = Registry([order, bill])
    assert registry["billing"] is registry.get("billing") is bill
    assert registry.get("nope") is None
    assert list(registry) == [order, bill]
    assert len(registry) == 2


def test_an_unknown_name_is_told_with_what_is_known() -> None:
    with pytest.raises(UnknownWorkflow, match="did you mean 'order'"):
        Registry([order, bill])["ordr"]


def test_the_same_workflow_may_come_twice_but_not_another_of_its_name() -> None:
    @workflow(name="order")
    def impostor() -> Generator[Any, Any, None]:
        yield Sleep(1)

    registry = Registry([order, order])
    assert len(registry) == 1
    with pytest.raises(BadValue, match="two workflows are called 'order'"):
        registry.add(impostor)
    assert registry["order"] is order


@pytest.mark.parametrize("what", [plain, 5, "order", order.function])
def test_only_workflows_are_registered(what: Any) -> None:
    with pytest.raises(NotAWorkflow, match="decorate"):
        Registry([what])


def test_an_invocation_is_not_registered() -> None:
    with pytest.raises(NotAWorkflow):
        Registry([order("a")])  # type: ignore[list-item]


# Pickling


class Shop:
    @staticmethod
    @workflow
    def sell() -> Generator[Any, Any, None]:
        yield Sleep(1)


another_name = workflow(name="another")(order.function)


@pytest.mark.parametrize("pickled", [order, bill, Shop.sell, another_name])
def test_a_workflow_that_can_be_imported_is_pickled_by_name(pickled: Workflow[..., Any]) -> None:
    assert pickled.import_name is not None
    for pickler in (pickle, cloudpickle):
        data = pickler.dumps(pickled)
        assert pickle.loads(data) is pickled
        assert len(data) < 100


def test_any_other_is_pickled_by_its_parts() -> None:
    def made(count: int) -> Workflow[..., Any]:
        @workflow(version="7", queue="slow", timeout=5, compensate_on_failure=True)
        def counting(more: int = 1) -> Generator[Any, Any, Any]:
            yield Sleep(count)
            return counting

        return counting

    original = made(5)
    assert original.import_name is None
    copy = pickle.loads(cloudpickle.dumps(original))
    assert copy is not original
    for name in ("name", "version", "queue", "timeout", "compensate_on_failure", "signature", "__name__"):
        assert getattr(copy, name) == getattr(original, name)
    assert copy.__wrapped__ is copy.function
    with pytest.raises(BadArguments, match="unexpected keyword argument"):
        copy(much=2)
    body = copy(more=2).body()
    assert next(body) == Sleep(5)
    with pytest.raises(StopIteration) as caught:
        next(body)
    assert caught.value.value is copy


def test_what_the_main_program_defines_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "__module__", "__main__")
    monkeypatch.setattr("__main__.order", order, raising=False)
    assert order.import_name is None
