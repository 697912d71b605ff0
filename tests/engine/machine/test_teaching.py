"""What a workflow is told when it yields something that is no command."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any

import pytest
from harness import Play, do

from continuum import All, BadCommand, Call, Ensure, Handle, Invocation, Map, Patch, Receive, Save, Sleep, workflow
from continuum.journal import Status

Body = Generator[Any, Any, Any]


@workflow
def other(name: str = "x") -> Body:
    yield do(name)


def part() -> Body:
    yield do("part")


async def fetch() -> None: ...


async def stream() -> Any:
    yield 1


@workflow
def yields(make: Any) -> Body:
    yield do("first")
    yield make()


@pytest.mark.parametrize(
    ("make", "told", "remedy"),
    [
        (lambda: None, "yielded nothing", "yield a command"),
        (lambda: other("y"), "the invocation other('y')", "`yield Call(other(...))`"),
        (lambda: other, "the workflow 'other'", "`yield Call(other(...))`"),
        (part, "a generator of part", "`yield from part(...)`"),
        (lambda: Sleep, "the class Sleep", "`yield Sleep(...)`"),
        (fetch, "a coroutine of fetch", "`yield Save(fetch, ...)`"),
        (lambda: (do(name) for name in "ab"), "a generator expression", "`yield All(*(...))`"),
        (stream, "an async generator of stream", "save an async function"),
        (lambda: [do("a"), do("b")], "a list", "`yield All(...)`"),
        (lambda: (do("a"),), "a tuple", "`yield All(...)`"),
        (lambda: part, "the function part", "`yield Save(part, ...)`"),
        (lambda: partial(part), "the function partial", "Save"),
        (lambda: 42, "an int", "`yield Save(step, argument)`"),
        (lambda: ValueError, "the function ValueError", "Save"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_has_its_own_advice(make: Any, told: str, remedy: str) -> None:
    play = Play(yields(make))
    play.done("first")
    assert isinstance(play.error, BadCommand)
    text = str(play.error)
    assert told in text
    assert remedy in text
    assert text.startswith("test_teaching.py:")
    assert "in yields yielded" in text


def test_the_error_is_raised_at_the_yield_and_takes_no_position() -> None:
    @workflow
    def careful() -> Body:
        try:
            yield 42
        except BadCommand:
            return (yield do("a"))

    play = Play(careful())
    play.done("0", "rescued")
    assert play.result == play.replay().result == "rescued"


def test_the_line_is_that_of_the_innermost_generator() -> None:
    def inner() -> Body:
        yield 42

    @workflow
    def outer() -> Body:
        yield from inner()

    line = inner.__code__.co_firstlineno + 1
    assert str(Play(outer()).error).startswith(f"test_teaching.py:{line} in ")
    assert "inner" in str(Play(outer()).error)


def test_a_command_of_a_class_of_ones_own_is_no_command() -> None:
    class Mine(Save[Any]):
        pass

    @workflow
    def own() -> Body:
        yield Mine(len, "x")

    play = Play(own())
    assert play.status is Status.FAILED
    assert isinstance(play.error, BadCommand)


# `yield from` something into which no result can be sent


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: [do("a"), do("b")], "a list"),
        (lambda: (do("a"),), "a tuple"),
        (lambda: {"x": do("a")}.values(), "a dict"),
        (lambda: map(do, ["a"]), "a map"),
        (lambda: enumerate([do("a")]), "an enumerate"),
    ],
)
def test_a_yield_from_anything_but_a_generator_is_refused_before_its_first_command(make: Any, told: str) -> None:
    @workflow
    def delegates() -> Body:
        yield from make()

    play = Play(delegates())
    line = delegates.function.__code__.co_firstlineno + 2
    assert not play.ran
    assert isinstance(play.error, BadCommand)
    assert str(play.error).startswith(f"test_teaching.py:{line} in ")
    assert f"delegates has a `yield from` {told}, " in str(play.error)
    assert "`yield All(*commands)`" in str(play.error)


def test_a_yield_from_a_list_further_in_is_told_with_its_own_line() -> None:
    def inner() -> Body:
        yield from [do("a")]

    @workflow
    def outer() -> Body:
        yield do("first")
        try:
            yield from inner()
        except BadCommand as error:
            return str(error)

    play = Play(outer())
    play.done("first")
    assert play.result.startswith(f"test_teaching.py:{inner.__code__.co_firstlineno + 1} in ")
    assert play.result == play.replay().result


def test_a_yield_from_an_object_that_results_can_be_sent_into_is_fine() -> None:
    class Wrapped(Generator[Any, Any, Any]):
        def __init__(self, body: Body) -> None:
            self.body = body

        def send(self, value: Any) -> Any:
            return self.body.send(value)

        def throw(self, *error: Any) -> Any:
            return self.body.throw(*error)

    @workflow
    def outer() -> Body:
        return (yield from Wrapped(twice()))

    def twice() -> Body:
        first = yield do("a")
        return first + (yield do("b"))

    play = Play(outer())
    play.done("a", 1)
    play.done("b", 2)
    assert play.result == play.replay().result == 3


# A forgotten yield


@pytest.mark.parametrize(
    ("make", "told", "remedy"),
    [
        (lambda: do("a"), "returns the command Save 'a' and not its result", "`x = yield Save(...)`"),
        (lambda: Sleep(1), "returns the command Sleep and not its result", "`x = yield Sleep(...)`"),
        (lambda: other("y"), "returns the invocation other('y'), which has not been run", "`yield from other(...)`"),
        (part, "returns a generator of part, which has not been run", "`yield from part(...)`"),
        (lambda: [1, do("a")], "returns a list that holds the command Save 'a'", "`x = yield Save(...)`"),
        (lambda: (do("a"),), "returns a tuple that holds the command Save 'a'", "`x = yield Save(...)`"),
        (lambda: {"x": part()}, "returns a dict that holds a generator of part", "`yield from part(...)`"),
    ],
)
@pytest.mark.parametrize("as_branch", [False, True])
def test_what_was_not_yielded_is_no_result(make: Any, told: str, remedy: str, as_branch: bool) -> None:
    @workflow
    def forgets() -> Body:
        yield do("first")
        if as_branch:
            pass
        x = make()
        return x

    @workflow
    def outer() -> Body:
        return (yield All(forgets()))

    play = Play(outer() if as_branch else forgets())
    play.done("first")
    line = forgets.function.__code__.co_firstlineno + 6
    assert isinstance(play.error, BadCommand)
    assert str(play.error).startswith(f"test_teaching.py:{line} in ")
    assert f"forgets {told}" in str(play.error)
    assert remedy in str(play.error)


def test_a_step_may_give_a_command_to_a_workflow_that_yields_it() -> None:
    @workflow
    def obeys() -> Body:
        (command,) = yield All(do("decide"))
        return (yield command)

    play = Play(obeys())
    play.done("decide", do("act"))
    play.done("act", "done")
    assert play.result == play.replay().result == "done"


@pytest.mark.parametrize("made", [do("act"), other(), Sleep(1)], ids=["a step", "an invocation", "a timer"])
def test_a_map_of_a_function_that_makes_commands_is_told(made: Any) -> None:
    @workflow
    def maps() -> Body:
        return (yield Map(len, ["item"]))

    play = Play(maps())
    play.done("len", made)
    name = "other" if isinstance(made, Invocation) else type(made).__name__
    line = maps.function.__code__.co_firstlineno + 2
    told = str(play.error)
    assert told.startswith(f"test_teaching.py:{line} in ")
    assert f"has a Map of a function that gives back {name}(...) and not its result: make it a generator" in told
    assert str(play.replay().error) == told


def test_a_map_may_give_what_is_like_a_command() -> None:
    @workflow
    def maps() -> Body:
        return [each[0] for each in (yield Map(len, ["item"]))]

    play = Play(maps())
    play.done("len", ("one", {"two": [3]}))
    assert play.result == ["one"]


def test_a_patch_is_neither_true_nor_false() -> None:
    @workflow
    def branches() -> Body:
        yield do("first")
        if Patch("new"):
            yield do("second")

    play = Play(branches())
    play.done("first")
    line = branches.function.__code__.co_firstlineno + 3
    assert isinstance(play.error, BadCommand)
    assert str(play.error).startswith(f"test_teaching.py:{line} in ")
    assert "tests the command Patch 'new' and not its result" in str(play.error)
    assert "`x = yield Patch(...)`" in str(play.error)


def test_a_predicate_without_a_truth_value_raises_at_the_yield() -> None:
    @workflow
    def ensures() -> Body:
        try:
            yield Ensure(lambda: Receive("go"))
        except BadCommand as error:
            return str(error)

    play = Play(ensures())
    assert "the command Receive 'go'" in play.result
    assert play.result == play.replay().result


@pytest.mark.parametrize("make", [lambda _: do("a"), lambda _: part(), lambda _: fetch()])
def test_a_callback_that_leaves_something_to_be_done_fails_the_run(make: Any) -> None:
    @workflow
    def handles() -> Body:
        yield Handle("go", make)
        yield do("a")

    play = Play(handles())
    play.send("go")
    assert isinstance(play.error, BadCommand)
    assert str(play.error).startswith(f"test_teaching.py:{make.__code__.co_firstlineno} in ")
    assert "a callback of Handle" in str(play.error)


def test_a_branch_that_was_run_before_is_told_with_the_line_of_the_group() -> None:
    @workflow
    def twice() -> Body:
        branch = part()
        yield All(branch)
        yield All(branch)

    play = Play(twice())
    play.done("part")
    line = twice.function.__code__.co_firstlineno + 4
    assert str(play.error).startswith(f"test_teaching.py:{line} in ")
    assert "was run before" in str(play.error)


def test_forgotten_yields_among_arguments_are_told_where_the_command_is_made() -> None:
    @workflow
    def passes() -> Body:
        x = do("a")
        yield Save(len, "b", x)

    line = passes.function.__code__.co_firstlineno + 3
    text = str(Play(passes()).error)
    assert text.startswith(f"test_teaching.py:{line} in ")
    assert "an argument of Save 'len' is the command Save 'a' and not its result" in text


def test_an_invocation_may_take_commands_as_arguments() -> None:
    @workflow
    def obeys(command: Any) -> Body:
        return (yield command)

    @workflow
    def outer() -> Body:
        inline = yield from obeys(do("a"))
        return [inline, (yield Call(obeys(do("b"))))]

    play = Play(outer())
    play.done("a", 1)
    play.done("obeys", 2)
    assert play.result == [1, 2]
