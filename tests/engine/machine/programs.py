"""Random workflows for the property tests: trees of commands, a generator that runs them, a host that answers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from harness import Play, do
from hypothesis import strategies as st

from continuum import (
    All,
    Compact,
    Handle,
    Log,
    Map,
    Now,
    Patch,
    Race,
    Random,
    Receive,
    Retry,
    Revert,
    Sleep,
    workflow,
)
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import LookUp, RunStep, StepKnown, StepWanted
from continuum.journal import Value, position_text

Body = Generator[Any, Any, Any]


class StepError(Exception):
    """What the steps of these workflows fail with."""


@dataclass(frozen=True)
class Node:
    """A command, or a construct around blocks of them. What `number` means depends on the kind.

    Errors are kept by the fiber that sees them and may be raised later on; branches share nothing that
    they go by, or a retry of one could not leave the others alone.
    """

    kind: str
    number: int = 0
    blocks: tuple[tuple[Node, ...], ...] = ()
    flag: bool = False


def _leaves() -> st.SearchStrategy[Node]:
    save = st.builds(Node, st.just("save"), st.sampled_from([0, 0, 0, 0, 1, 9]), flag=st.booleans())
    shared = st.builds(Node, st.just("shared"), st.sampled_from([0, 0, 1, 9]), flag=st.booleans())
    timed = st.builds(Node, st.sampled_from(["sleep", "receive", "handle", "patch"]), st.integers(0, 3))
    quick = st.builds(Node, st.sampled_from(["now", "random", "log", "compact", "raise kept"]))
    return st.one_of(save, save, shared, timed, quick)


def _constructs(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    block = st.lists(inner, max_size=3).map(tuple)
    several = st.lists(block, min_size=1, max_size=3).map(tuple)
    groups = st.builds(Node, st.sampled_from(["all", "race", "map"]), st.integers(1, 3), several, st.booleans())
    tries = st.builds(Node, st.sampled_from(["finally", "catch"]), st.just(0), st.tuples(block, block))
    return st.one_of(groups, groups, tries)


nodes = st.recursive(_leaves(), _constructs, max_leaves=10)
programs = st.lists(nodes, min_size=1, max_size=4).map(tuple)


@workflow
def program(block: tuple[Node, ...], reverts: bool) -> Body:
    kept: list[Exception] = []
    seen: list[Any] = []
    results = yield from _run(block, kept, seen)
    if reverts:
        yield Revert("as planned")
    return results, seen


@workflow(name="program", compensate_on_failure=True)
def undoing_program(block: tuple[Node, ...], reverts: bool) -> Body:
    return (yield from program(block, reverts))


def _run(block: tuple[Node, ...], kept: list[Exception], seen: list[Any]) -> Body:
    results = []
    for node in block:
        results.append((yield from _ROWS[node.kind](node, kept, seen)))
    return results


def _save(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    compensate = _undo if node.flag else None
    return (yield do("step", node.number, retry=Retry(2, delay=1), compensate=compensate))


def _shared(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    compensate = _undo if node.flag else None
    return (yield do("step", node.number, retry=Retry(2, delay=1), compensate=compensate, once="key"))


def _undo(result: object) -> None: ...


def _receive(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    return (yield Receive("ab"[node.number % 2], node.number if node.number > 1 else None, "late"))


def _handle(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    return (yield Handle("ab"[node.number % 2], seen.append))


def _group(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    bodies = [_run(block, [], seen) for block in node.blocks]
    if node.kind == "race":
        return (yield Race(*bodies))
    results = yield All(*bodies, return_exceptions=node.flag)
    kept += [result for result in results if isinstance(result, Exception)]
    return results


def _map(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    def branch(block: tuple[Node, ...]) -> Body:
        return (yield from _run(block, [], seen))

    results = yield Map(branch, node.blocks * 2, limit=node.number, return_exceptions=node.flag)
    kept += [result for result in results if isinstance(result, Exception)]
    return results


def _finally(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    try:
        return (yield from _run(node.blocks[0], kept, seen))
    finally:
        yield from _run(node.blocks[1], kept, seen)


def _catch(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    try:
        return (yield from _run(node.blocks[0], kept, seen))
    except StepError as error:
        kept.append(error)
        return (yield from _run(node.blocks[1], kept, seen))


def _raise_kept(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
    yield from ()
    if kept:
        raise RuntimeError("kept") from kept[-1]


def _plain(command: Callable[[Node], Any]) -> Callable[[Node, list[Exception], list[Any]], Body]:
    def body(node: Node, kept: list[Exception], seen: list[Any]) -> Body:
        return (yield command(node))

    return body


_ROWS: dict[str, Callable[[Node, list[Exception], list[Any]], Body]] = {
    "save": _save,
    "shared": _shared,
    "sleep": _plain(lambda node: Sleep(node.number)),
    "receive": _receive,
    "handle": _handle,
    "patch": _plain(lambda node: Patch(f"patch {node.number}")),
    "compact": _plain(lambda node: Compact()),
    "now": _plain(lambda node: Now()),
    "random": _plain(lambda node: Random()),
    "log": _plain(lambda node: Log("hello")),
    "raise kept": _raise_kept,
    "all": _group,
    "race": _group,
    "map": _map,
    "finally": _finally,
    "catch": _catch,
}


class Driver:
    """Answers a play at random: `choose(n)` gives a number below n. Steps fail as their program says."""

    def __init__(self, play: Play, choose: Callable[[int], int], *, failing: bool = True) -> None:
        self.play = play
        self.choose = choose
        self.failing = failing
        self.undone: list[Any] = []  # results that were compensated

    def drive(self, moves: int, cancels: bool = False) -> None:
        """So many moves at random, then whatever is needed to come to an end."""
        for number in range(moves + 400):
            if self.play.settled is not None or self.play.mismatch is not None:
                return
            self.move(number, at_random=number < moves, cancels=cancels)
        raise AssertionError(f"it does not come to an end; it waits for {self.play.machine.waiting_for()}")

    def move(self, number: int, *, at_random: bool = True, cancels: bool = False) -> None:
        """Let one thing happen."""
        play = self.play
        if at_random and cancels and not self.choose(12):
            play.cancel("enough")
        elif at_random and not self.choose(4):
            play.send("ab"[self.choose(2)], number)
        elif play.in_flight and not (at_random and play.timers and not self.choose(4)):
            self._complete(self.choose(len(play.in_flight)) if at_random else 0)
        elif play.timers:
            play.tick(max(0, min(play.timers.values()) - play.now) / NANOSECONDS)
        else:
            play.send("ab"[number % 2], number)

    def _complete(self, index: int) -> None:
        position, request = list(self.play.in_flight.items())[index]
        if isinstance(request, LookUp):
            known = StepKnown(position, Value("of another"))
            self.play.feed(StepWanted(position) if self.choose(2) else known)
            return
        assert isinstance(request, RunStep), request
        where = position_text(position)
        if request.command.name.startswith("undo"):
            self.undone.append(request.command.args[0])
            self.play.done(where)
        elif self.failing and request.attempt <= request.command.args[0]:
            self.play.fails(where, StepError(where))
        else:
            self.play.done(where, where)
