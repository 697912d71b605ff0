"""Commands are values: frozen, equal by content, checked when they are made."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

import continuum
from continuum import (
    All,
    Call,
    Command,
    Compact,
    ContinueUsing,
    Count,
    Ensure,
    Handle,
    InvalidId,
    Limit,
    Log,
    Map,
    NotAWorkflow,
    Now,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Retry,
    Revert,
    Save,
    Send,
    Sleep,
    Start,
    Uuid4,
    step,
    workflow,
)
from continuum.checks import check_id
from continuum.durations import NANOSECONDS
from continuum.errors import BadArguments, BadCommand, BadValue
from continuum.steps import step_name


def charge(order_id: str, amount: int = 0) -> str:
    return order_id


async def fetch(url: str) -> bytes:
    return b""


def refund(receipt: str) -> None: ...


def part() -> Generator[Any, Any, None]:
    yield Sleep(1)


async def stream() -> Any:
    yield 1


@workflow
def order(order_id: str = "x") -> Generator[Any, Any, str]:
    yield Sleep(1)
    return order_id


MADE: list[Any] = [
    lambda: Save(charge, "a", 1),
    lambda: Sleep(5),
    lambda: Receive("go", 5, None),
    lambda: Handle("go", refund),
    lambda: Ensure(all, 5),
    lambda: Now(),
    lambda: Random(),
    lambda: Uuid4(),
    lambda: Log("hello", n=1),
    lambda: Publish(n=1, done=Count(2)),
    lambda: Patch("p"),
    lambda: All(Sleep(1), Now()),
    lambda: Race(Sleep(1)),
    lambda: Map(len, ["a"], limit=2),
    lambda: Call(order("a"), id="c"),
    lambda: Start(order("a")),
    lambda: Send("run", "go", 1),
    lambda: Revert("why"),
    lambda: ContinueUsing(order("a")),
    lambda: Compact(),
]


@pytest.mark.parametrize("make", MADE)
def test_two_commands_of_the_same_content_are_equal(make: Any) -> None:
    assert make() == make()
    assert make() != Sleep(99)


@pytest.mark.parametrize("make", MADE)
def test_a_command_cannot_be_changed(make: Any) -> None:
    command = make()
    names = [each.name for each in dataclasses.fields(command)]
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(command, name, None)
    assert not hasattr(command, "__dict__")


@pytest.mark.parametrize("make", MADE)
def test_a_command_works_by_yield_from(make: Any) -> None:
    command = make()
    generator = iter(command)
    assert next(generator) is command
    with pytest.raises(StopIteration) as stop:
        generator.send(42)
    assert stop.value.value == 42


def test_all_of_them_were_made() -> None:
    assert {type(make()) for make in MADE} == {each for each in vars_of_commands() if each is not Command}


def vars_of_commands() -> set[type]:
    public = (getattr(continuum, name) for name in continuum.__all__)
    return {each for each in public if isinstance(each, type) and issubclass(each, Command)}


# Save


def test_save_is_named_after_its_function_or_as_it_is_told() -> None:
    assert Save(charge, "a").name == "charge"
    assert Save(fetch, "u").name == "fetch"
    assert Save(partial(partial(charge), "a")).name == "charge"
    assert Save(str.upper, "a").name == "upper"
    assert Save(charge, "a", name="pay").name == "pay"
    assert step_name(Charger()) == "Charger"


class Charger:
    def __call__(self) -> None: ...


def test_save_takes_the_options_of_its_step() -> None:
    options = Save(charge, "a", retry=Retry(5), timeout="10s", compensate=refund, key="k", executor="inline").options
    assert options.retry.attempts == 5
    assert options.timeout == 10 * NANOSECONDS
    assert (options.compensate, options.key, options.executor, options.at_most_once) == (refund, "k", "inline", False)
    assert Save(charge, "a", at_most_once=True).options.at_most_once is True


def test_results_are_shared_for_a_time_or_by_key_only_if_it_is_said() -> None:
    options = Save(charge, "a", cache=timedelta(hours=1), once="ord-1").options
    assert (options.cache, options.once) == (3600 * NANOSECONDS, "ord-1")
    assert (Save(charge, "a").options.cache, Save(charge, "a").options.once) == (None, None)
    options = Save(step(cache="1m")(lambda_of_that_name), "a").options
    assert options.cache == 60 * NANOSECONDS
    assert Save(lambda: 1, name="one", cache=1).options.cache == NANOSECONDS


def lambda_of_that_name(order_id: str) -> str:
    return order_id


def test_without_a_policy_there_is_one_attempt() -> None:
    assert Save(charge, "a").options.retry.attempts == 1


def test_step_attaches_defaults_that_save_may_replace() -> None:
    @step(retry=Retry(5), timeout=3, at_most_once=True)
    def pay(order_id: str) -> str:
        return order_id

    assert pay("a") == "a"
    options = Save(pay, "a").options
    assert (options.retry.attempts, options.timeout, options.at_most_once) == (5, 3 * NANOSECONDS, True)
    options = Save(pay, "a", retry=Retry.none, at_most_once=False).options
    assert (options.retry.attempts, options.timeout, options.at_most_once) == (1, 3 * NANOSECONDS, False)


def test_step_may_be_bare() -> None:
    assert step(charge) is charge
    assert Save(step(charge), "a").options == Save(charge, "a").options


def test_a_partial_has_the_defaults_of_its_function() -> None:
    @step(retry=Retry(5), key="k")
    def pay(order_id: str, amount: int = 1) -> str:
        return order_id * amount

    by_keyword = partial(partial(pay, amount=2), "a")
    assert Save(by_keyword).options == Save(pay, "a").options
    assert Save(by_keyword, retry=Retry.none).options.key == "k"
    assert Save(step(retry=Retry(2))(partial(pay, "a"))).options.retry.attempts == 2


def test_step_goes_before_or_behind_staticmethod_and_on_methods() -> None:
    class Shop:
        @step(retry=Retry(2))
        @staticmethod
        def outside() -> None: ...

        @staticmethod
        @step(retry=Retry(2))
        def inside() -> None: ...

        @step(retry=Retry(2))
        @classmethod
        def of_the_class(cls) -> None: ...

        @step(retry=Retry(2))
        async def method(self) -> None: ...

    for function in (Shop.outside, Shop.inside, Shop.of_the_class, Shop().method):
        assert Save(function).options.retry.attempts == 2


REFUSED: dict[str, Any] = {
    "an async function as a step in a thread": lambda: Save(fetch, "u", executor="thread"),
    "an async partial as a step in a process": lambda: Save(partial(fetch, "u"), executor="process"),
    "an async function whose steps are to run in a process": lambda: step(executor="process")(fetch),
    "defaults attached to what takes none": lambda: step(retry=Retry(2))(len),
    "a key that is too long": lambda: Save(charge, "a", key="k" * 1_001),
    "a key that is no text": lambda: Save(charge, "a", key=5),
    "an error type that is none": lambda: Retry(on=int),
    "error types in a list": lambda: Retry(on=[ValueError]),
    "a step that was called": lambda: Save(charge("a")),
    "a coroutine as a step": lambda: _closed(fetch("u")),
    "a generator function as a step": lambda: Save(part),
    "an async generator function as a step": lambda: Save(stream),
    "a workflow as a step": lambda: Save(order),
    "an empty name": lambda: Save(charge, "a", name=""),
    "a policy that is a number": lambda: Save(charge, "a", retry=3),
    "an executor that is not known": lambda: Save(charge, "a", executor="fork"),
    "a compensation that is no function": lambda: Save(charge, "a", compensate="refund"),
    "a timeout of nothing": lambda: Save(charge, "a", timeout=0),
    "a negative timeout": lambda: Save(charge, "a", timeout=-1),
    "a result kept for no time": lambda: Save(charge, "a", cache=0),
    "a result kept for a time that is no duration": lambda: Save(charge, "a", cache="soon"),
    "a kept result of a lambda": lambda: Save(lambda: 1, cache=1),
    "a lambda whose results are kept": lambda: step(cache=1)(lambda: 1),
    "an empty idempotency key": lambda: Save(charge, "a", once=""),
    "an idempotency key that is no text": lambda: Save(charge, "a", once=5),
    "no time for all attempts": lambda: Retry(max_elapsed=0),
    "a negative time for all attempts": lambda: Retry(max_elapsed="-1s"),
    "an empty key": lambda: Save(charge, "a", key=""),
    "step defaults that make no sense": lambda: step(timeout=-1),
    "step on a generator function": lambda: step(timeout=1)(part),
    "bare step on a workflow": lambda: step(order),
    "no duration": lambda: Sleep(),
    "a timer with an empty name": lambda: Sleep(1, name=""),
    "two durations": lambda: Sleep(1, until=datetime.now(UTC)),
    "a negative sleep": lambda: Sleep(-1),
    "an endless sleep": lambda: Sleep(math.inf),
    "a sleep that is no number": lambda: Sleep(math.nan),
    "text without a unit": lambda: Sleep("10"),
    "text with something after it": lambda: Sleep("5m x"),
    "a moment without a time zone": lambda: Sleep(until=datetime(2030, 1, 1)),
    "a moment that is text": lambda: Sleep(until="2030-01-01"),
    "an event without a name": lambda: Receive(""),
    "an event whose name is no text": lambda: Receive(5),
    "a negative time limit": lambda: Receive("go", timeout=-1),
    "a callback that is no function": lambda: Handle("go", None),
    "a predicate that is no function": lambda: Ensure(True),
    "a negative limit of a condition": lambda: Ensure(all, timeout=-1),
    "a message that is no text": lambda: Log(5),
    "nothing to publish": lambda: Publish(),
    "a count that is no number": lambda: Publish(done=Count("1")),
    "a patch without a name": lambda: Patch(""),
    "a function as a branch": lambda: All(charge),
    "a generator function as a branch": lambda: All(part),
    "a workflow as a branch": lambda: Race(order),
    "a value as a branch": lambda: All(5),
    "an empty race": lambda: Race(),
    "a limit of nothing": lambda: Map(len, ["a"], limit=0),
    "a negative limit": lambda: Map(len, ["a"], limit=-1),
    "a limit that is no number": lambda: Map(len, ["a"], limit="2"),
    "a limit of Map that is true": lambda: Map(len, ["a"], limit=True),
    "a child in a queue without a name": lambda: Call(order(), queue=""),
    "a child in a queue of two lines": lambda: Start(order(), queue="a\nb"),
    "a child that has no time": lambda: Call(order(), timeout=0),
    "a started child that has no time": lambda: Start(order(), timeout=0),
    "a child that ends before it begins": lambda: Call(order(), timeout=-1),
    "a map of no function": lambda: Map(5, ["a"]),
    "a limit without a number": lambda: Limit(),
    "a limit of none": lambda: Limit(0),
    "a limit of true": lambda: Limit(True),
    "a limit of half": lambda: Limit(rate=0.5),  # type: ignore[arg-type]
    "a limit in no time": lambda: Limit(rate=1, per=0),
    "a limit in bad time": lambda: Limit(rate=1, per="5m x"),
    "a limit without a name": lambda: Limit(1, name=""),
    "a number as a limit": lambda: Save(charge, "a", limit=3),  # type: ignore[call-overload]
    "a number as the limit of a workflow": lambda: workflow(limit=3)(order.function),  # type: ignore[arg-type]
    "no attempts": lambda: Retry(0),
    "half an attempt": lambda: Retry(1.5),
    "attempts that are true": lambda: Retry(True),
    "delays that grow by text": lambda: Retry(factor="2"),  # type: ignore[arg-type]
    "delays that grow to infinity": lambda: Retry(factor=math.inf),
    "jitter that is text": lambda: Retry(jitter="some"),  # type: ignore[arg-type]
    "a negative delay": lambda: Retry(delay=-1),
    "delays that shrink": lambda: Retry(factor=0.5),
    "too much jitter": lambda: Retry(jitter=1.5),
    "a backoff that is not known": lambda: Retry(backoff="random"),
    "an error that is no type": lambda: Retry(on="ValueError"),
    "errors that are no types": lambda: Retry(on=(ValueError, "x")),
    "an event to send without a name": lambda: Send("run", ""),
    "a reason that is no text": lambda: Revert(5),
    "an invocation as a step": lambda: Save(order("a")),
    "a generator as a step": lambda: Save(part()),
    "an async generator as a step": lambda: Save(stream()),
    "a command as a step": lambda: Save(Sleep(1)),
    "a list of branches": lambda: All([Sleep(1)]),
    "branches from a generator expression": lambda: All(Sleep(n) for n in range(3)),
    "racers from a generator expression": lambda: Race(Sleep(n) for n in range(3)),
    "a coroutine as a branch": lambda: All(fetch("u")),
    "an async generator as a branch": lambda: All(stream()),
    "a map of no items": lambda: Map(len, 5),
    "a map of an async generator function": lambda: Map(stream, ["a"]),
    "a command as an argument of a step": lambda: Save(charge, Save(fetch, "u")),
    "a command as an item of a map": lambda: Map(len, ["a", Sleep(1)]),
    "a command to publish": lambda: Publish(n=1, now=Now()),
    "a command to log": lambda: Log("it is", now=Now()),
    "a command to send": lambda: Send("run", "go", Now()),
    "a generator function as a callback": lambda: Handle("go", part),
    "an async callback": lambda: Handle("go", fetch),
    "an async predicate": lambda: Ensure(fetch),
}


def _closed(coroutine: Any) -> Any:
    try:
        return Save(coroutine)
    finally:
        coroutine.close()


@pytest.mark.parametrize("what", REFUSED)
def test_refused_when_it_is_made(what: str) -> None:
    with pytest.raises(BadValue):
        REFUSED[what]()


@pytest.mark.parametrize(
    ("make", "advice"),
    [
        (lambda: Save(part), "yield from part"),
        (lambda: Save(order), "Call(order(...))"),
        (lambda: Save(charge("a")), "must be a function"),
        (lambda: _closed(fetch("u")), "not a call of it"),
        (lambda: All(charge), "Save(charge)"),
        (lambda: All(part), "part(...)"),
        (lambda: Race(order), "order(...)"),
        (lambda: Save(charge("a")), "give the function and its arguments, not a call of it: Save(fn, 1)"),
        (lambda: Save(order("a")), "use `yield Call(order(...))`, or `yield from order(...)`"),
        (lambda: Save(stream), "async generator function"),
        (lambda: All([Sleep(1)]), "not a list: unpack it, as in All(*branches)"),
        (lambda: Race((Sleep(1),)), "not a tuple: unpack it, as in Race(*branches)"),
        (lambda: All(Sleep(n) for n in range(3)), "unpack it, as in All(*(Save(fn, item) for item in items))"),
        (lambda: All(fetch("u")), "give the async function to Save"),
        (lambda: All(stream()), "an async generator"),
        (lambda: All(stream), "an async generator"),
        (lambda: Map(len, 5), "the items of Map must be a list"),
        (lambda: Map(["a"], len), "the function comes first"),
        (lambda: Save(charge, 1, Save(fetch, "u")), "an argument of Save 'charge' is the command Save 'fetch'"),
        (lambda: Map(len, [Sleep(1)]), "an item of Map is the command Sleep and not its result"),
        (lambda: Publish(now=Now()), "a value of Publish is the command Now and not its result"),
        (lambda: Log("it is", now=Now()), "`x = yield Now(...)`"),
        (lambda: Send("run", "go", Now()), "the payload of Send is the command Now"),
        (lambda: Ensure(fetch), "cannot yield or await"),
    ],
)
def test_a_refusal_says_what_to_write(make: Any, advice: str) -> None:
    with pytest.raises(BadValue) as caught:
        make()
    assert advice in str(caught.value)


@pytest.mark.parametrize("make", [Call, Start, ContinueUsing])
@pytest.mark.parametrize(
    ("what", "advice"),
    [
        (lambda: order, "call it: order(...)"),
        (lambda: charge, "the function charge; to run it as a step use `yield Save(charge, ...)`"),
        (lambda: part, "the function part; decorate it with @workflow, and call it: part(...)"),
        (lambda: part(), "a generator of part; decorate part with @workflow, or inline it: `yield from part(...)`"),
        (lambda: "order", "takes a called workflow, such as order('ord-1'), not 'order'"),
        (lambda: None, "not None"),
    ],
)
def test_a_child_is_a_called_workflow(make: Any, what: Any, advice: str) -> None:
    with pytest.raises(NotAWorkflow) as caught:
        make(what())
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({"amount": 5}, "goes by functools.partial: Save(partial(charge, amount=...))"),
        ({"retries": 5}, "did you mean 'retry'?"),
    ],
)
def test_an_option_that_save_does_not_have_is_refused(options: Any, advice: str) -> None:
    with pytest.raises(BadArguments) as caught:
        Save(charge, "a", **options)
    assert advice in str(caught.value)


def test_a_forgotten_yield_is_told_with_its_line() -> None:
    with pytest.raises(BadValue) as caught:
        Save(charge, Save(fetch, "u"))
    line = caught.tb.tb_lineno
    assert str(caught.value).startswith(f"test_commands.py:{line} in test_a_forgotten_yield_is_told_with_its_line: ")


def test_a_patch_is_neither_true_nor_false() -> None:
    with pytest.raises(BadCommand, match="put the missing `yield` before it"):
        bool(Patch("new"))


def test_commands_can_be_picked_from_those_that_are_none() -> None:
    assert list(filter(None, [None, Sleep(1), None])) == [Sleep(1)]


def test_branches_that_yield_what_they_are_given_may_be_given_commands() -> None:
    assert Map(order, [Sleep(1)]).items == (Sleep(1),)


# Others


def test_durations_may_be_written_in_several_ways() -> None:
    assert Sleep("1h30m") == Sleep(5_400) == Sleep(timedelta(minutes=90))


def test_receive_tells_no_default_from_none() -> None:
    assert Receive("go", 5) != Receive("go", 5, None)


def test_map_reads_its_items_once() -> None:
    assert Map(len, iter(["a", "b"])).items == ("a", "b")


def test_map_makes_a_step_or_a_branch_of_each_item() -> None:
    assert Map(len, ["a"]).branch(0) == Save(len, "a")
    assert Map(order, ["a"]).branch(0) == order("a")


def test_policies_are_values() -> None:
    assert pickle.loads(pickle.dumps(Retry(5, on=KeyError))) == Retry(5, on=KeyError)
    assert Retry() == Retry(3, delay=1.0, factor=2.0, max_delay=60.0, jitter=0.1, backoff="exponential", on=Exception)


# Ids


@pytest.mark.parametrize("good", ["a", "ord-1", "../x", "ü" * 64, "x" * 128, "with space", "日本", "a/b"])
def test_an_id_is_any_short_printable_text(good: str) -> None:
    assert check_id(good) == good


@pytest.mark.parametrize(
    "bad",
    ["", "x" * 129, "ü" * 65, "a\tb", "a\n", "\0", "a\u202eb", "\u200f", "\ud800", 5, None, b"a", "\x7f", "\u2028"],
)
def test_an_id_that_cannot_be_seen_or_stored_is_refused(bad: Any) -> None:
    for make in (check_id, lambda each: Send(each, "go"), lambda each: Call(order(), id=each or "")):
        with pytest.raises(InvalidId):
            make(bad)
