"""Workflows that use every command in every way, and for each what happens to it, move by move."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest
from harness import do

from continuum import (
    All,
    Call,
    Cancelled,
    Compact,
    ContinueUsing,
    Count,
    Ensure,
    Handle,
    Invocation,
    Limit,
    Log,
    Map,
    Now,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Retry,
    Revert,
    Send,
    Sleep,
    Start,
    Uuid4,
    current,
    workflow,
)
from continuum.dag import Dag

Body = Generator[Any, Any, Any]


class Oops(Exception):
    """What steps of these workflows fail with."""


class Seen:
    """What handlers have seen. It can be pickled, and is the same object for all that were pickled with it."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    def add(self, payload: Any) -> None:
        self.all.append(payload)

    def are(self, count: int) -> bool:
        return len(self.all) >= count


def undo(result: object) -> None:
    raise AssertionError("the machine calls no step")


def each(item: int) -> Body:
    first = yield do(f"first {item}")
    second = yield do(f"second {item}")
    return first, second


def failing(name: str) -> Body:
    try:
        return (yield do(name))
    except Oops as error:
        yield do(f"after {name}")
        raise RuntimeError("no way") from error


def napping(name: str, seconds: float) -> Body:
    yield Sleep(seconds)
    return (yield do(name))


def cleaning(name: str) -> Body:
    try:
        return (yield do(name))
    finally:
        yield do(f"clean {name}")


@workflow
def child(number: int) -> Body:
    return (yield do(f"child {number}"))


# The workflows, and what happens to them


@workflow
def sequence() -> Body:
    results = []
    for number in range(3):
        results.append((yield do(f"step {number}", number)))
        yield Log("done")
    return results


@workflow
def compacts() -> Body:
    yield do("before")
    yield All(Compact(), do("beside"))
    yield Compact()
    return (yield do("after"))


@workflow
def answers() -> Body:
    at = yield Now()
    yield do("a")
    yield Publish(now=at, done=1)
    chance = yield Random()
    yield do("b")
    yield Publish(done=Count(2), chance=chance)
    yield Log("hello", number=3)
    new = yield Patch("new")
    yield do("c")
    return [at, chance, new, (yield Patch("new")), (yield Patch("other")), (yield Uuid4())]


@workflow
def all_nested() -> Body:
    inner = All(each(1), All(do("x"), each(2)), child(3))
    first = yield All(do("a"), inner, Sleep(5))
    return first, (yield do("last"))


@workflow
def tolerant() -> Body:
    results = yield All(failing("a"), do("b"), return_exceptions=True)
    last = yield do("c")
    return [*map(repr, results), last]


@workflow
def race() -> Body:
    first = yield Race(cleaning("a"), cleaning("b"), Sleep(10), Call(child(1)))
    return first, (yield do("last"))


@workflow
def limited() -> Body:
    results = yield Map(each, [0, 1, 2, 3], limit=2)
    steps = yield Map(len, ["a", "bb", "ccc"], limit=1, return_exceptions=True)
    return results, repr(steps)


@workflow
def hurried() -> Body:
    return (yield do("a", retry=Retry(3, delay=10, jitter=0, max_elapsed=60)))


@workflow
def careful() -> Body:
    return (yield do("a", retry=Retry(3, delay=10, jitter=0), at_most_once=True))


@workflow
def timeouts() -> Body:
    by = yield All(Receive("a", timeout=10, default="late"), Receive("a", timeout=20), napping("x", 15))
    yield Sleep(5)
    return by


@workflow
def mailbox(seen: Seen) -> Body:
    yield Handle("note", seen.add)
    first = yield Receive("a")
    both = yield All(Receive("a"), Receive("b"), Receive("a"), Ensure(functools.partial(seen.are, 3), timeout=100))
    yield Handle("b", seen.add)
    yield do("last")
    return first, both, seen.all


@workflow
def reverting() -> Body:
    yield do("a", compensate=undo)
    yield All(do("b", compensate=undo), do("c", compensate=undo))
    yield do("d")
    yield Revert("changed my mind")


def full() -> Body:
    yield do("a", compensate=undo)
    yield Revert("full")


@workflow
def tidying() -> Body:
    yield All(cleaning("b"), full(), do("c"))


@workflow(compensate_on_failure=True)
def undone(seen: Seen) -> Body:
    yield Handle("note", seen.add)
    yield do("a", compensate=undo)
    yield do("b", compensate=undo)
    yield Race(do("c"), cleaning("d"))


@workflow
def others() -> Body:
    called = yield Call(child(1))
    started = yield All(Start(child(2)), Send("another", "hello", 3), Call(child(4), id="mine"))
    yield Sleep(1)
    return called, started


@workflow
def shared() -> Body:
    first = yield do("a", once="key", retry=Retry(2, delay=10, jitter=0))
    return first, (yield do("b", cache=60))


@workflow
def in_turn() -> Body:
    first = yield do("a", limit=Limit(2), retry=Retry(2, delay=10, jitter=0))
    return first, (yield do("b", limit=Limit(2), at_most_once=True))


@workflow
def stubborn() -> Body:
    try:
        yield All(cleaning("a"), cleaning("b"), Sleep(50))
    except Cancelled as cancelled:
        yield do("c")
        raise Cancelled(f"after all: {cancelled.reason}") from None


@workflow
def keeping() -> Body:
    kept = None
    try:
        yield do("a")
    except Oops as error:
        kept = error
    yield do("b")
    assert kept is not None
    raise kept


@workflow
def dropping() -> Body:
    for name in ("a", "b"):
        try:
            yield do(name)
        except Oops:
            pass


@workflow
def blaming() -> Body:
    kept: list[Exception] = []
    for name in ("a", "b", "c"):
        try:
            yield do(name)
        except Oops as error:
            kept.append(error)
    raise ExceptionGroup("all", kept)


@workflow
def passing_on() -> Body:
    results = yield All(do("a"), do("b"), return_exceptions=True)
    yield do("c")
    raise results[0]


@workflow
def going_on(number: int = 0) -> Body:
    yield Publish(number=number)
    yield do("a")
    if number < 2:
        yield ContinueUsing(going_on(number + 1))


def prepared(a: object, b: object) -> Body:
    return a, b, (yield do("ready"))


GRAPH = Dag()
GRAPH.step("a", undo, needs=("given",))
GRAPH.step("b", undo, needs=("a",))
GRAPH.step("c", undo, needs=("a",), retry=Retry(2, delay=10, jitter=0))
GRAPH.step("join", prepared, needs=("b", "c"))


@workflow
def graph() -> Body:
    return (yield from GRAPH.run(inputs={"given": 1}))


@workflow
def junk() -> Body:
    yield All(branch_with_junk())


@workflow
def telling() -> Body:
    before = current().run_id
    yield do("a")
    assert current().run_id == before
    return before


@workflow
def delegating() -> Body:
    yield from [do("a")]


def branch_with_junk() -> Body:
    yield 5


@dataclass
class Story:
    """A workflow and what happens to it, each a method of Play with its arguments."""

    make: Callable[[], Invocation[Any]]
    moves: list[tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)


def story(make: Callable[[], Invocation[Any]], *moves: tuple[Any, ...], what: str = "", **options: Any) -> Any:
    return pytest.param(Story(make, list(moves), options), id=make().workflow.name + what)


STORIES = [
    story(sequence, ("done", "step 0", "x"), ("done", "step 1", [1]), ("done", "step 2", 3)),
    story(compacts, *[("done", name) for name in ("before", "compact", "beside", "compact", "after")]),
    story(answers, ("done", "a"), ("tick", 3), ("done", "b"), ("done", "c")),
    story(
        all_nested,
        *[("done", name, name.upper()) for name in ("x", "first 2", "a", "first 1")],
        ("tick", 10),
        *[("done", name, name.upper()) for name in ("second 2", "child 3", "second 1", "last")],
    ),
    story(
        all_nested,
        ("done", "x"),
        ("fails", "first 2", Oops("no")),
        what=" that fails",
    ),
    story(
        tolerant,
        ("done", "b", 2),
        ("fails", "a", Oops("a")),
        ("done", "after a"),
        ("done", "c", 3),
    ),
    story(race, ("done", "a", 1), ("done", "clean a"), ("done", "clean b"), ("done", "last")),
    story(race, ("tick", 11), ("done", "clean b"), ("done", "clean a"), ("done", "last"), what=" won by a timer"),
    story(
        limited,
        *[("done", name, name) for name in ("first 1", "second 1", "first 0", "first 2", "second 2", "first 3")],
        *[("done", name, name) for name in ("second 3", "second 0")],
        ("done", "len", 1),
        ("fails", "len", Oops("len")),
        ("done", "len", 3),
    ),
    story(hurried, ("fails", "a", Oops("1")), ("tick", 11), ("tick", 3), ("fails", "a", Oops("2")), ("tick", 100)),
    story(hurried, ("fails", "a", Oops("1")), ("tick", 11), ("tick", 70), ("fails", "a", Oops("2")), what=" too much"),
    story(careful, ("fails", "a", Oops("1")), ("tick", 3), what=" between attempts"),
    story(timeouts, ("send", "b", 1), ("tick", 11), ("send", "a", 2), ("tick", 5), ("done", "x", 1), ("tick", 5)),
    story(
        lambda: mailbox(Seen()),
        *[("send", "note", 1), ("send", "b", "early"), ("send", "a", 1), ("send", "note", 2), ("send", "a", 2)],
        *[("tick", 3), ("send", "a", 3), ("send", "note", 3), ("send", "b", 4), ("done", "last")],
        what=" in order",
    ),
    story(
        lambda: mailbox(Seen()), ("send", "a"), ("tick", 99), ("tick", 2), what=" with a condition that does not hold"
    ),
    story(
        reverting,
        *[("done", name, name) for name in ("a", "c", "b", "d", "undo b", "undo c")],
        ("cancel", "too late"),
        ("done", "undo a"),
    ),
    story(
        reverting,
        *[("done", name, name) for name in ("a", "c", "b", "d", "undo b")],
        ("fails", "undo c", Oops("cannot")),
        what=" that fails",
    ),
    story(tidying, ("done", "a", "a"), ("cancel", "too late"), ("done", "clean b"), ("done", "undo a")),
    story(
        lambda: undone(Seen()),
        *[("done", "a", 1), ("send", "note", 1), ("done", "b", 2), ("fails", "c", Oops("c")), ("done", "clean d")],
        *[("send", "note", 2), ("done", "undo b"), ("send", "note", 3), ("done", "undo a")],
    ),
    story(
        others,
        ("done", "child", 1),
        ("done", "1.0.0", "run-1/1.0.0"),
        ("done", "hello"),
        ("fails", "1.2.0", Oops("child")),
    ),
    story(shared, ("wanted", "a"), ("fails", "a", Oops("1")), ("tick", 11), ("done", "a", 1), ("done", "b", 2)),
    story(in_turn, *[("given", "a"), ("fails", "a", Oops("1")), ("tick", 11), ("given", "a"), ("done", "a", 1)]),
    story(in_turn, ("given", "a"), ("done", "a", 1), ("given", "b"), ("done", "b", 2), what=" at most once"),
    story(stubborn, ("tick", 1), ("cancel", "enough"), ("done", "clean b"), ("done", "clean a"), ("done", "c")),
    story(stubborn, ("done", "a"), ("cancel", "enough"), ("cancel", "at once"), what=" cancelled twice"),
    story(
        stubborn,
        ("tick", 4),
        ("tick", 4),
        ("done", "clean a"),
        ("done", "clean b"),
        ("done", "c"),
        what=" too late",
        timeout=5,
    ),
    story(keeping, ("fails", "a", Oops("a")), ("done", "b")),
    story(blaming, *[("fails", name, Oops(name)) for name in "abc"]),
    story(telling, ("done", "a")),
    story(passing_on, ("fails", "b", Oops("b")), ("fails", "a", Oops("a")), ("done", "c")),
    story(going_on, ("done", "a"), ("cancel", "enough")),
]

SHARING = [
    story(
        graph,
        *[
            ("done", "a", 1),
            ("fails", "c", Oops("c")),
            ("done", "b", 2),
            ("tick", 11),
            ("done", "c", 3),
            ("done", "ready"),
        ],
    ),
]
"""Stories whose generators change what they share: to run one of them again changes it twice."""
