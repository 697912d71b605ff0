"""Graphs of steps: what is refused, what starts when, and the same again on replay and on retry."""

from __future__ import annotations

import functools
import random
from collections.abc import Generator
from typing import Any

import pytest
from harness import Play
from hypothesis import given, note, settings
from hypothesis import strategies as st

from continuum import All, BadValue, Invocation, Retry, Save, Sleep, step, workflow
from continuum.dag import Dag, _are_there
from continuum.journal import Kind, Status

Body = Generator[Any, Any, Any]
Graph = dict[str, tuple[str, ...]]

DIAMOND: Graph = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}


def never_called(*results: Any) -> Any:
    raise AssertionError("the machine calls no step")


def graph(needs: Graph) -> Dag:
    dag = Dag()
    for name, names in needs.items():
        dag.step(name, never_called, needs=names)
    return dag


def once(dag: Dag, *given: Any, **named: Any) -> Invocation[Any]:
    @workflow(name="once")
    def body() -> Body:
        return (yield from dag.run(*given, **named))

    return body()


def finish(play: Play, choose: Any = lambda line: line[0]) -> Any:
    """Answer every step with its name and what it was given."""
    while play.in_flight:
        position = choose(list(play.in_flight))
        command = play.in_flight[position].command  # type: ignore[union-attr]
        play.done(".".join(map(str, position)), (command.name, *command.args))
    return play.result


def expected(needs: Graph) -> dict[str, Any]:
    @functools.cache
    def result(name: str) -> Any:
        return (name, *map(result, needs[name]))

    return {name: result(name) for name in needs}


# What starts when


def test_each_step_gets_the_results_of_its_needs_in_their_order() -> None:
    dag = graph(DIAMOND)
    dag.step("e", never_called, needs=("c", "a", "c"))
    play = Play(once(dag))
    result = finish(play)
    assert result == expected(DIAMOND) | {"e": ("e", ("c", ("a",)), ("a",), ("c", ("a",)))}
    assert list(result) == ["a", "b", "c", "d", "e"], "in the order in which they were added"
    assert play.replay().result == result


def test_one_result_may_be_chosen() -> None:
    assert finish(Play(once(graph(DIAMOND), final="b"))) == ("b", ("a",))
    assert finish(Play(once(graph(DIAMOND), "d"))) == expected(DIAMOND)["d"]


def test_a_graph_without_steps_gives_nothing() -> None:
    assert Play(once(Dag())).result == {}


def test_steps_with_the_same_needs_run_at_once() -> None:
    play = Play(once(graph(DIAMOND)))
    assert play.ran == ["a"]
    play.done("a")
    assert play.ran == ["a", "b", "c"]
    play.done("c")
    assert play.waiting == ["0.0.1"]
    play.done("b")
    assert play.ran[-1] == "d"


def test_a_step_starts_as_soon_as_its_needs_are_there_and_not_with_its_level() -> None:
    play = Play(once(graph({"slow": (), "a": (), "b": ("a",), "c": ("b",), "join": ("slow", "c")})))
    for name in "abc":
        play.done(name)
    assert play.ran == ["slow", "a", "b", "c"]
    play.done("slow")
    assert play.ran[-1] == "join"


def test_needs_may_be_added_after_the_steps_that_need_them() -> None:
    needs = dict(reversed(DIAMOND.items()))
    play = Play(once(graph(needs)))
    assert finish(play) == expected(DIAMOND)
    assert len(play.recorded(Kind.ENSURE)) == 2


def test_inputs_are_needed_like_results() -> None:
    dag = Dag()
    dag.step("greet", never_called, needs=("who", "how"))
    play = Play(once(dag, inputs={"how": "loudly", "who": "ada", "unused": 1}))
    assert finish(play) == {"greet": ("greet", "ada", "loudly")}


def test_a_dag_is_used_by_many_runs_and_more_than_once_in_one() -> None:
    dag = graph(DIAMOND)

    @workflow
    def both() -> Body:
        first = yield from dag.run(final="d")
        return first, (yield All(dag.run(final="a"), dag.run(final="d")))

    for _ in range(2):
        play = Play(both())
        assert finish(play) == (expected(DIAMOND)["d"], [("a",), expected(DIAMOND)["d"]])


def test_a_step_may_be_a_generator_function_or_a_workflow() -> None:
    @workflow
    def twice(value: Any) -> Body:
        return [(yield Save(never_called, value, name="first")), (yield Save(never_called, value, name="second"))]

    def waits(value: Any) -> Body:
        yield Sleep(5)
        return value

    dag = graph({"a": ()})
    dag.step("b", twice, needs=("a",))
    dag.step("c", functools.partial(waits), needs=("b",))
    dag.step("d", never_called, needs=("c",))
    play = Play(once(dag, final="c"))
    for name in ("a", "first", "second"):
        play.done(name, name)
    assert play.ran == ["a", "first", "second"]
    play.tick(5)
    assert finish(play) == ["first", "second"]
    assert play.replay().result == ["first", "second"]


def test_options_are_those_of_save() -> None:
    @step(retry=Retry(7))
    def patient() -> None: ...

    dag = Dag()
    dag.step("a", patient, timeout=9, key="k", compensate=never_called, executor="inline", at_most_once=True)
    play = Play(once(dag))
    (request,) = play.in_flight.values()
    command = request.command  # type: ignore[union-attr]
    assert command == Save(
        patient, name="a", timeout=9, key="k", compensate=never_called, executor="inline", at_most_once=True
    )
    assert command.options.retry.attempts == 7


def test_the_first_failure_cancels_the_others_and_is_raised() -> None:
    play = Play(once(graph({"a": (), "b": (), "c": ("a",), "d": ("b", "c")})))
    play.done("a")
    play.fails("b", ValueError("b"))
    assert str(play.error) == "b"
    assert play.stopped == ["0.0.1"]
    assert play.replay().status is Status.FAILED
    assert play.replay().ran == []


# What is refused


@pytest.mark.parametrize("missing", ["b", "x"])
def test_an_unknown_need_is_refused_before_anything_runs(missing: str) -> None:
    play = Play(once(graph({"a": (), "c": ("a", missing)})))
    assert str(play.error) == f"step 'c' needs {missing!r}, which is neither a step nor an input"
    assert isinstance(play.error, BadValue)
    assert play.journal == []


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ({"a": ("a",)}, "'a' needs 'a'"),
        ({"x": (), "a": ("x", "c"), "b": ("a",), "c": ("b",)}, "'a' needs 'c' needs 'b' needs 'a'"),
    ],
)
def test_a_cycle_is_refused_and_shown(needs: Graph, circle: str) -> None:
    play = Play(once(graph(needs)))
    assert isinstance(play.error, BadValue)
    names = circle.split(" needs ")
    rotations = [names[i:-1] + names[: i + 1] for i in range(len(names) - 1)]
    assert str(play.error).removeprefix("the steps wait for each other for ever: ") in map(" needs ".join, rotations)
    assert play.journal == []


def test_a_missing_final_is_refused_with_what_there_is() -> None:
    play = Play(once(graph({"a": (), "b": ()}), final="c"))
    assert str(play.error) == "there is no step 'c' to give the result of; there are 'a', 'b'"
    assert "none" in str(Play(once(Dag(), final="c")).error)
    assert play.journal == []


def test_an_input_with_the_name_of_a_step_is_refused() -> None:
    assert "'a' is a step and an input" in str(Play(once(graph({"a": ()}), inputs={"a": 1})).error)


def test_what_is_refused_is_refused_when_run_is_called() -> None:
    with pytest.raises(BadValue):
        graph({"a": ("b",)}).run()


def no_results() -> None: ...


def two_results(a: int, b: int, c: int = 0) -> None: ...


def a_branch(a: int) -> Body:
    yield Sleep(1)


@pytest.mark.parametrize(
    ("fn", "needs", "options", "told"),
    [
        (no_results, ("x",), {}, "with the results of 'x', but its function is no_results() -> 'None': too many"),
        (
            two_results,
            (),
            {},
            "step 's' needs nothing, but its function is two_results(a: 'int', b: 'int',",
        ),
        (two_results, ("x",), {}, "missing a required argument: 'b'"),
        (two_results, ("x",) * 4, {}, "too many positional arguments"),
        (a_branch, (), {}, "missing a required argument: 'a'"),
        (workflow(a_branch), ("x", "y"), {}, "too many positional arguments"),
        (a_branch, ("x",), {"retry": Retry(2)}, "has the options 'retry', but a_branch is no function to be saved"),
        (no_results, (), {"retries": 2}, "step 's': .*unexpected keyword argument 'retries'"),
        (no_results, (), {"timeout": -1}, "timeout"),
        (no_results, "fetch", {}, "needs is a tuple of names, such as .*, not 'fetch'"),
        (no_results, (no_results,), {}, "needs is a tuple of names"),
        ("text", (), {}, "a step must be a function, not str"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused_when_it_is_added(
    fn: Any, needs: Any, options: dict[str, Any], told: str
) -> None:
    dag = Dag()
    with pytest.raises(BadValue, match=told.replace("(", r"\(").replace(")", r"\)")):
        dag.step("s", fn, needs=needs, **options)
    dag.step("s", no_results)


def test_a_name_is_taken_once_and_is_text() -> None:
    dag = graph({"a": ()})
    with pytest.raises(BadValue, match="two steps 'a'"):
        dag.step("a", no_results)
    for name in ("", 5):
        with pytest.raises(BadValue, match="name of a step"):
            dag.step(name, no_results)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fn", "needs"), [(two_results, ("x", "y")), (two_results, ("x",) * 3), (max, ("x", "y")), (dict, ("x",))]
)
def test_a_function_that_can_take_its_needs_is_not_refused(fn: Any, needs: tuple[str, ...]) -> None:
    Dag().step("s", fn, needs=needs)


# Replay and retry


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Steps in any order, each with needs that come before it in another order."""
    size = draw(st.integers(1, 8))
    needs = {f"s{n}": tuple(draw(st.lists(st.sampled_from(range(n)), max_size=3))) if n else () for n in range(size)}
    order = draw(st.permutations(list(needs)))
    return {name: tuple(f"s{n}" for n in needs[name]) for name in order}


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_steps_run_once_each_after_their_needs_and_replay_from_everywhere(needs: Graph, data: st.DataObject) -> None:
    play = Play(once(graph(needs)))
    assert finish(play, lambda line: data.draw(st.sampled_from(line))) == expected(needs)
    assert sorted(play.ran) == sorted(needs)
    for name, names in needs.items():
        assert all(play.ran.index(need) < play.ran.index(name) for need in names)
    for cut in play.cuts:
        again = play.replay(cut)
        assert again.mismatch is None
        assert finish(again) == expected(needs)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.data())
def test_a_retry_repeats_the_step_that_failed_and_no_other(needs: Graph, data: st.DataObject) -> None:
    play = Play(once(graph(needs)))
    for _ in range(data.draw(st.integers(0, len(needs) - 1))):
        position, request = data.draw(st.sampled_from(list(play.in_flight.items())))
        command = request.command  # type: ignore[union-attr]
        play.done(".".join(map(str, position)), (command.name, *command.args))
    done = set(play.recorded(Kind.SAVE))
    play.fails(data.draw(st.sampled_from(play.waiting)), ValueError())
    again = play.retry()
    note(f"{play.journal} went on from {again.journal}")
    assert again.mismatch is None
    assert set(again.recorded(Kind.SAVE)) == done
    assert finish(again) == expected(needs)


def test_a_step_added_at_the_end_moves_none_of_a_run_that_is_under_way() -> None:
    play = Play(once(graph(DIAMOND)))
    play.done("a", ("a",))
    play.done("c", ("c", ("a",)))
    more = DIAMOND | {"e": ("a",), "f": ("b", "e")}
    again = play.replay(invocation=once(graph(more)))
    assert again.mismatch is None
    assert finish(again) == expected(more)


def test_the_layout_depends_on_the_graph_alone() -> None:
    """Whoever comes first, a step has the same position."""
    rng = random.Random(7)
    needs = {f"s{n}": tuple({f"s{rng.randrange(n)}" for _ in range(min(n, 2))}) for n in range(20)}
    layouts = set()
    for _ in range(5):
        play = Play(once(graph(needs)))
        finish(play, lambda line: rng.choice(line))
        layouts.add(frozenset(play.recorded(Kind.SAVE, Kind.ENSURE)))
    assert len(layouts) == 1


# Size


def entries_of(needs: Graph) -> Play:
    play = Play(once(graph(needs)))
    while play.in_flight:
        play.done(".".join(map(str, next(iter(play.in_flight)))))
    assert play.status is play.replay().status is Status.COMPLETED
    return play


def test_a_chain_of_a_thousand_is_one_branch() -> None:
    needs = {f"s{n}": (f"s{n - 1}",) if n else () for n in range(1_000)}
    play = entries_of(needs)
    assert len(play.journal) == 1_001
    assert play.recorded()[-2:] == ["0.0.999 save s999", "0 all"]


def test_a_thousand_side_by_side_and_a_join_wait_once() -> None:
    needs: Graph = {f"s{n}": () for n in range(1_000)}
    play = entries_of(needs | {"join": tuple(needs)})
    assert len(play.journal) == 1_000 + 1 + 1 + 1
    assert play.ran[-1] == "join"


def test_a_step_that_waits_looks_for_each_result_once() -> None:
    looked = 0

    class Counting(dict[str, Any]):
        def __contains__(self, name: object) -> bool:
            nonlocal looked
            looked += 1
            return super().__contains__(name)

    names, results = [f"s{n}" for n in range(1_000)], Counting()
    needs = [*names]
    for name in random.Random(7).sample(names, len(names)):
        assert not _are_there(needs, results)
        results[name] = 0
    assert _are_there(needs, results)
    assert looked <= 2 * len(names)
