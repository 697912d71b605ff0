"""Random workflows for the property tests: trees of commands, and the generator that runs them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from continuum import (
    All,
    Call,
    Cancelled,
    Compact,
    Count,
    Ensure,
    Handle,
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
    Save,
    Send,
    Sleep,
    Start,
    Uuid4,
    step,
    workflow,
)

Body = Generator[Any, Any, Any]

TIMES = int(os.environ.get("CONTINUUM_EXAMPLES", "1"))


def examples(count: int) -> settings:
    """So many examples, the same each time; or CONTINUUM_EXAMPLES times as many, by chance."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    if TIMES == 1:
        return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=slow)
    return settings(max_examples=count * TIMES, deadline=None, print_blob=True, suppress_health_check=slow)


class StepError(Exception):
    """What the steps of these workflows fail with."""


class Fault(Exception):
    """What the code of these workflows raises itself, until it is mended."""


mistaken: list[str] = []  # steps that were given the result of another one
calls: Counter[int] = Counter()  # of steps, by the node that they belong to


def at_once() -> int:
    return 0


pace: Callable[[], int] = at_once  # after how many rounds of the loop the next step is over

# Programs


@dataclass(frozen=True)
class Node:
    """A command, or a construct around blocks of them. What `number` and `flag` mean depends on the kind."""

    kind: str
    number: int = 0
    blocks: tuple[tuple[Node, ...], ...] = ()
    flag: bool = False
    serial: int = 0


Block = tuple[Node, ...]

FAILURES = (0, 0, 9, 1)  # attempts that fail, of a step that has two


class Choices:
    """Numbers to choose by, from bytes; zeros when they are used up."""

    def __init__(self, source: bytes) -> None:
        self._left = iter(source)
        self.made = 0  # nodes

    def __call__(self, below: int) -> int:
        """A number below that."""
        return next(self._left, 0) % below


PLAIN = (*["save"] * 8, "steps", "publish", "count", "random", "uuid4", "log", "junk", "raise kept")
LEAVES = (
    *PLAIN,
    *["steps", "sleep", "receive", "handle"] * 2,
    "patch",
    "call",
    "start",
    "send",
    "shared",
    "limited",
    "now",
    "compact",
    "revert",
)
PLAIN_CONSTRUCTS = (*["all", "map"] * 3, "finally", "catch", "stubborn")
CONSTRUCTS = (*PLAIN_CONSTRUCTS, "race", "race")
BLOCKS = {"all": 1, "map": 1, "race": 1, "finally": 2, "catch": 2, "stubborn": 2}  # at the least


@dataclass(frozen=True)
class Grammar:
    """What a program may consist of."""

    leaves: Sequence[str]
    constructs: Sequence[str] = CONSTRUCTS

    def block(self, choose: Choices, depth: int, least: int = 0) -> Block:
        return tuple(self.node(choose, depth) for _ in range(least + choose(4)))

    def node(self, choose: Choices, depth: int) -> Node:
        kinds = self.constructs if depth and not choose(2) else self.leaves
        kind, number, flag = kinds[choose(len(kinds))], choose(4), bool(choose(2))
        blocks = BLOCKS.get(kind, 0)
        blocks += choose(3) if blocks == 1 else 0
        choose.made += 1
        serial = choose.made
        return Node(kind, number, tuple(self.block(choose, depth - 1) for _ in range(blocks)), flag, serial)

    def programs(self) -> st.SearchStrategy[Block]:
        """Made from bytes, which is ten times as fast as from a strategy for each part."""
        return st.binary(min_size=50, max_size=120).map(lambda source: self.block(Choices(source), depth=3, least=2))


programs = Grammar((*LEAVES, "ensure", "note", "boom")).programs()
"""Branches look at what other branches do, by `ensure` and `note`; `boom` is a fault of the code itself."""

separate_programs = Grammar((*LEAVES, "boom")).programs()
"""Branches go by nothing that others do."""

plain_programs = Grammar((*PLAIN, "boom"), PLAIN_CONSTRUCTS).programs()
"""Nor by what comes first: whatever the order is, the result is the same."""

uncertain_programs = Grammar((*LEAVES, "ensure", "note", "boom", "uncertain", "hurried")).programs()
"""With steps of which it depends on where a crash comes whether they are tried again."""


@dataclass
class Scope:
    """What the commands of a fiber go by."""

    kept: list[Exception] = field(default_factory=list)  # that were seen, and may be raised later on
    seen: list[Any] = field(default_factory=list)  # by handlers and by all branches
    coupled: bool = False  # branches share what they kept
    mended: bool = False  # the code has no faults of its own any more

    def branch(self) -> Scope:
        return self if self.coupled else replace(self, kept=[])


@workflow
def program(block: Block, reverts: bool = False, coupled: bool = False, mended: bool = False) -> Body:
    scope = Scope(coupled=coupled, mended=mended)
    results = yield from _run(block, scope)
    if reverts:
        yield Revert("as planned")
    return results, scope.seen


@workflow(name="program", compensate_on_failure=True)
def undoing_program(*args: Any, **options: Any) -> Body:
    return (yield from program(*args, **options))


@workflow
def branch(block: Block, scope: Scope) -> Body:
    return (yield from _run(block, scope))


@workflow
def child(number: int) -> Body:
    yield Sleep(number)
    if number == 3:
        raise StepError("child")
    return number


async def perform(failures: int, tag: int = 0) -> tuple[str, int]:
    """The step of all these workflows. The machine calls no step: what comes of it is up to its host."""
    for _ in range(pace()):
        await checkpoint()
    calls[tag] += 1
    if failures == 9 or calls[tag] <= failures:
        raise StepError(f"call {calls[tag]}")
    return f"call {calls[tag]}", tag


@step(executor="inline")
def undo(result: Any) -> Any:
    return result


def _run(block: Block, scope: Scope) -> Body:
    results = []
    for node in block:
        results.append((yield from _ROWS[node.kind](node, scope)))
    return results


KEYS = ("one", "two")


def _save(node: Node, scope: Scope) -> Body:
    compensate = undo if node.flag else None
    policy, key = Retry(2, delay=1), KEYS[node.serial % 2]
    result = yield Save(perform, FAILURES[node.number], node.serial, retry=policy, compensate=compensate, key=key)
    if result[1] != node.serial:
        mistaken.append(f"{node} was given {result}")
    return result[0]


def _uncertain(node: Node, scope: Scope) -> Body:
    return (yield Save(perform, FAILURES[node.number], at_most_once=True, retry=Retry(2, delay=1)))


def _shared(node: Node, scope: Scope) -> Body:
    compensate = undo if node.flag else None
    return (yield Save(perform, FAILURES[node.number], retry=Retry(2, delay=1), compensate=compensate, once="key"))


def _limited(node: Node, scope: Scope) -> Body:
    return (yield Save(perform, FAILURES[node.number], retry=Retry(2, delay=1), limit=Limit(2)))


def _compact(node: Node, scope: Scope) -> Body:
    for key in KEYS[: node.number % 3]:
        yield Save(perform, FAILURES[0], key=key)
    return (yield Compact())


def _hurried(node: Node, scope: Scope) -> Body:
    return (yield Save(perform, FAILURES[node.number], retry=Retry(9, delay=1, max_elapsed=node.number + 1)))


def _receive(node: Node, scope: Scope) -> Body:
    return (yield Receive("ab"[node.number % 2], node.number if node.number > 1 else None, "late"))


def _handle(node: Node, scope: Scope) -> Body:
    return (yield Handle("ab"[node.number % 2], scope.seen.append))


def _ensure(node: Node, scope: Scope) -> Body:
    return (yield Ensure(lambda: len(scope.seen) > node.number, node.number + 1))


def _note(node: Node, scope: Scope) -> Body:
    yield from ()
    scope.seen.append(node.number)


def _boom(node: Node, scope: Scope) -> Body:
    if not scope.mended:
        raise Fault("no good")
    if node.flag:
        yield Save(perform, 0)


def _group(node: Node, scope: Scope) -> Body:
    scopes = [scope.branch() for _ in node.blocks]
    make = branch if node.number > 2 else _run
    bodies: list[Any] = [make(*each) for each in zip(node.blocks, scopes, strict=True)]
    if node.kind == "race":
        return (yield Race(*bodies))
    results = yield All(*bodies, return_exceptions=node.flag)
    scope.kept += [result for result in results if isinstance(result, Exception)]
    return results


def _map(node: Node, scope: Scope) -> Body:
    def each(block: Block) -> Body:
        return (yield from _run(block, scope.branch()))

    results = yield Map(each, node.blocks * 2, limit=node.number or None, return_exceptions=node.flag)
    scope.kept += [result for result in results if isinstance(result, Exception)]
    return results


def _steps(node: Node, scope: Scope) -> Body:
    return (yield Map(perform, FAILURES[node.number :], limit=node.number or None, return_exceptions=node.flag))


def _finally(node: Node, scope: Scope) -> Body:
    cleans = True
    try:
        return (yield from _run(node.blocks[0], scope))
    except Fault:  # a mended code would not do what cleaning up after that has recorded
        cleans = False
        raise
    finally:
        if cleans:
            yield from _run(node.blocks[1], scope)


def _catch(node: Node, scope: Scope) -> Body:
    try:
        return (yield from _run(node.blocks[0], scope))
    except StepError as error:
        scope.kept.append(error)
        return (yield from _run(node.blocks[1], scope))


def _stubborn(node: Node, scope: Scope) -> Body:
    try:
        return (yield from _run(node.blocks[0], scope))
    except Cancelled:
        return (yield from _run(node.blocks[1], scope))


def _raise_kept(node: Node, scope: Scope) -> Body:
    yield from ()
    if scope.kept:
        raise RuntimeError("kept") from scope.kept[-1]


def _plain(command: Callable[[Node], Any]) -> Callable[[Node, Scope], Body]:
    def body(node: Node, scope: Scope) -> Body:
        return (yield command(node))

    return body


_ROWS: dict[str, Callable[[Node, Scope], Body]] = {
    "save": _save,
    "steps": _steps,
    "uncertain": _uncertain,
    "shared": _shared,
    "limited": _limited,
    "hurried": _hurried,
    "sleep": _plain(lambda node: Sleep(node.number)),
    "receive": _receive,
    "handle": _handle,
    "ensure": _ensure,
    "patch": _plain(lambda node: Patch(f"patch {node.number}")),
    "call": _plain(lambda node: Call(child(node.number))),
    "start": _plain(lambda node: Start(child(node.number))),
    "send": _plain(lambda node: Send("another", "ab"[node.number % 2], node.number)),
    "publish": _plain(lambda node: Publish(**{"xyz"[node.number % 3]: node.number})),
    "count": _plain(lambda node: Publish(**{"xyz"[node.number % 3]: Count(node.number)})),
    "compact": _compact,
    "revert": _plain(lambda node: Revert("in between")),
    "now": _plain(lambda node: Now()),
    "random": _plain(lambda node: Random()),
    "uuid4": _plain(lambda node: Uuid4()),
    "log": _plain(lambda node: Log("hello")),
    "junk": _plain(lambda node: node),
    "note": _note,
    "boom": _boom,
    "raise kept": _raise_kept,
    "all": _group,
    "race": _group,
    "map": _map,
    "finally": _finally,
    "catch": _catch,
    "stubborn": _stubborn,
}
