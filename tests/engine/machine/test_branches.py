"""All, Race and Map: branches side by side, whoever comes first, and the same again on replay."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import All, BadCommand, Cancelled, Map, Now, Race, Receive, Save, Sleep, workflow
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import RunStep, Started, StepDone
from continuum.journal import Kind, Status, Value

Body = Generator[Any, Any, Any]


def chain(*names: str) -> Body:
    results = []
    for name in names:
        results.append((yield do(name)))
    return results


def tidy(name: str) -> Body:
    """A branch that cleans up when it is cancelled."""
    try:
        yield do(name)
    finally:
        yield do(f"clean {name}")


def once(command: Any) -> Any:
    """The invocation of a workflow that yields just this."""

    @workflow(name="once")
    def body() -> Body:
        return (yield command() if callable(command) else command)

    return body()


# All


def test_all_gives_results_in_the_order_of_the_branches() -> None:
    play = Play(once(All(do("a"), do("b"), do("c"))))
    assert play.ran == ["a", "b", "c"]
    for name in "cab":
        play.done(name, name.upper())
    assert play.result == play.replay().result == ["A", "B", "C"]
    assert play.recorded() == ["0.2.0 save c", "0.0.0 save a", "0.1.0 save b", "0 all"]


def test_a_branch_is_a_command_a_generator_or_an_invocation() -> None:
    @workflow
    def child() -> Body:
        return (yield do("c"))

    play = Play(once(lambda: All(do("a"), chain("b", "d"), child())))
    for name in "abcd":
        play.done(name, name)
    assert play.result == ["a", ["b", "d"], "c"]
    assert "0.1.1 save d" in play.recorded()


@pytest.mark.parametrize("command", [All(), Map(len, [])], ids=["all", "map"])
def test_without_branches_there_is_an_empty_list_at_once(command: Any) -> None:
    play = Play(once(command))
    assert play.result == play.replay().result == []
    assert len(play.journal) == 1


def test_branches_that_never_wait_end_at_once() -> None:
    def idle() -> Body:
        yield from ()
        return 5

    assert Play(once(lambda: All(idle(), idle()))).result == [5, 5]


def test_the_first_failure_cancels_the_siblings_and_is_raised() -> None:
    play = Play(once(All(do("a"), do("b"), Sleep(9))))
    play.fails("b", ValueError("b"))
    assert str(play.error) == "b"
    assert play.stopped == ["0.0.0"]
    assert play.recorded(Kind.SAVE, Kind.SLEEP, Kind.ALL) == ["0.1.0 save b", "0.0.0 save a", "0.2.0 sleep", "0 all"]
    assert play.replay().status is Status.FAILED
    assert play.replay().ran == []


def test_exceptions_may_be_results() -> None:
    play = Play(once(All(do("a"), do("b"), return_exceptions=True)))
    play.fails("a", ValueError("a"))
    play.done("b", 2)
    error, value = play.result
    assert (type(error), str(error), value) == (ValueError, "a", 2)
    assert type(play.replay().result[0]) is ValueError


def test_a_failure_waits_for_the_cleanup_of_the_siblings() -> None:
    play = Play(once(lambda: All(do("a"), tidy("b"))))
    play.fails("a", ValueError("a"))
    assert play.status is None
    assert play.replay().ran == ["clean b"]
    play.done("clean b")
    assert str(play.error) == "a"


def test_a_sibling_that_fails_as_it_cleans_up_does_not_hide_the_first_failure() -> None:
    play = Play(once(lambda: All(do("a"), tidy("b"))))
    play.fails("a", ValueError("a"))
    play.fails("clean b", KeyError("b"))
    assert str(play.error) == "a"


# Race


def test_a_race_gives_the_winner_and_cancels_the_rest() -> None:
    play = Play(once(Race(do("a"), do("b"), Sleep(9))))
    play.done("b", 7)
    assert play.result == play.replay().result == (1, 7)
    assert play.stopped == ["0.0.0"]
    cancelled = [entry.outcome.error for entry in play.journal if not isinstance(entry.outcome, Value | None)]
    assert [type(error) for error in cancelled] == [Cancelled, Cancelled]


def test_a_race_raises_the_error_of_the_first_to_end() -> None:
    play = Play(once(Race(do("a"), do("b"))))
    play.fails("a", ValueError("a"))
    assert str(play.error) == "a"
    assert play.stopped == ["0.1.0"]


def test_the_losers_clean_up_before_the_race_gives_its_result() -> None:
    play = Play(once(lambda: Race(do("a"), tidy("b"))))
    play.done("a", 1)
    assert play.status is None
    assert play.ran == ["a", "b", "clean b"]
    play.done("clean b")
    assert play.result == play.replay().result == (0, 1)


def test_a_loser_that_swallows_its_cancelling_does_not_win() -> None:
    def stubborn() -> Body:
        try:
            yield do("b")
        except Cancelled:
            return "me"

    play = Play(once(lambda: Race(do("a"), stubborn())))
    play.done("a", 1)
    assert play.result == (0, 1)


def test_when_two_could_win_the_first_branch_does_and_the_other_never_starts() -> None:
    def idle(value: int) -> Body:
        yield from ()
        return value

    assert Play(once(lambda: Race(idle(0), idle(1), do("c")))).result == (0, 0)
    assert Play(once(lambda: Race(idle(0), do("c")))).ran == []


@pytest.mark.parametrize("winner", ["event", "timer"])
def test_a_race_replays_the_same_way_whoever_won(winner: str) -> None:
    play = Play(once(Race(Receive("go"), Sleep(5))))
    if winner == "event":
        play.send("go", "x")
        play.tick(5)
    else:
        play.tick(5)
        play.send("go", "x")
    expected = (0, "x") if winner == "event" else (1, None)
    assert play.result == play.replay().result == expected


# Map


def test_map_makes_one_step_of_each_item() -> None:
    play = Play(once(Map(len, ["x", "yy"])))
    assert play.waiting == ["0.0.0", "0.1.0"]
    play.done("0.1.0", 2)
    play.done("0.0.0", 1)
    assert play.result == play.replay().result == [1, 2]


def test_map_makes_one_branch_of_each_item_for_a_generator_function_or_a_workflow() -> None:
    @workflow
    def child(item: str) -> Body:
        return (yield do(item))

    def plain(item: str) -> Body:
        return (yield do(item))

    for fn in (child, plain):
        play = Play(once(Map(fn, "ab")))
        play.done("a", 1)
        play.done("b", 2)
        assert play.result == [1, 2]


def test_map_never_runs_more_than_its_limit() -> None:
    play = Play(once(Map(len, range(7), limit=3)))
    seen = []
    while play.status is None:
        seen.append(len(play.in_flight))
        play.done(play.waiting[-1])
    assert seen == [3, 3, 3, 3, 3, 2, 1]
    assert play.replay().result == [None] * 7


def test_a_limit_holds_over_branches_that_never_wait() -> None:
    def quick(item: int) -> Body:
        yield from ()
        return item

    assert Play(once(Map(quick, range(5_000), limit=1))).result == list(range(5_000))


def test_after_a_failure_map_starts_nothing_more() -> None:
    play = Play(once(Map(len, range(7), limit=2)))
    play.fails("0.0.0", ValueError())
    assert play.status is Status.FAILED
    assert len(play.ran) == 2


def test_map_may_go_on_after_failures() -> None:
    play = Play(once(Map(len, range(3), limit=1, return_exceptions=True)))
    play.fails("0.0.0", ValueError())
    play.done("0.1.0", 1)
    play.done("0.2.0", 2)
    assert play.result[1:] == [1, 2]


def test_a_function_that_does_not_take_the_item_fails_the_map() -> None:
    def two(a: int, b: int) -> Body:
        yield Sleep(1)

    play = Play(once(Map(two, [1, 2])))
    assert isinstance(play.error, TypeError)
    assert play.replay().status is Status.FAILED


def test_a_generator_is_a_branch_only_once() -> None:
    def body() -> Body:
        both = All(chain("a"))
        yield both
        yield both

    play = Play(workflow(body)())
    play.done("a")
    assert isinstance(play.error, BadCommand)
    assert play.replay().status is Status.FAILED

    def twice() -> Body:
        branch = chain("a")
        yield All(branch, branch)

    assert isinstance(Play(workflow(twice)()).error, BadCommand)


# Any shape, any size


def test_branches_nest_three_hundred_levels_deep() -> None:
    command: Any = do("deep")
    for level in range(300):
        command = (All, Race)[level % 2](command)
    play = Play(once(command))
    play.done("deep", 7)
    result = play.result
    for _ in range(150):
        ((_, (result,)),) = [result]
    assert result == 7
    assert play.replay().result == play.result


def test_deep_branches_are_cancelled_all_the_way_down() -> None:
    command: Any = do("deep")
    for _ in range(300):
        command = All(command)
    play = Play(once(Race(do("quick"), command)))
    play.done("quick")
    assert len(play.recorded(Kind.ALL)) == 300
    assert play.replay().result == play.result == (0, None)


@pytest.mark.parametrize("limit", [None, 100])
def test_ten_thousand_branches_cost_a_request_and_an_entry_each(limit: int | None) -> None:
    play = Play(once(Map(len, range(10_000), limit=limit)))
    asked = len(play.requests)
    for index in range(10_000):
        asked += len(play.done(f"0.{index}.0"))
        assert len(play.requests) <= 3
    assert asked == 20_002
    assert len(play.journal) == 10_001
    assert play.replay().status is Status.COMPLETED


def test_ten_thousand_branches_are_cancelled_at_once() -> None:
    play = Play(once(All(*(Sleep(9) for _ in range(9_999)), do("a"))))
    play.fails("a", ValueError())
    assert len(play.requests) == 10_000 + 2
    assert play.replay().status is Status.FAILED


def test_what_runs_first_is_the_same_on_replay() -> None:
    def pair(name: str) -> Body:
        yield Now()
        yield do(name)
        yield Now()

    play = Play(once(lambda: All(pair("a"), pair("b"))))
    play.done("b")
    play.done("a")
    assert play.recorded() == [
        "0.0.0 now", "0.1.0 now", "0.1.1 save b", "0.1.2 now", "0.0.1 save a", "0.0.2 now", "0 all",
    ]  # fmt: skip
    for cut in play.cuts[1:]:
        assert play.replay(cut).mismatch is None


def test_a_branch_of_saves_is_compared_by_position_on_replay() -> None:
    play = Play(once(lambda: All(chain("a", "b"), chain("a", "b"))))
    play.done("0.1.0", "first of the second")
    again = play.replay()
    assert again.waiting == ["0.0.0", "0.1.1"]


def test_a_command_that_was_yielded_twice_runs_twice() -> None:
    command = Save(len, "x")

    @workflow
    def twice() -> Body:
        return [(yield command), (yield command)]

    play = Play(twice())
    play.done("0", 1)
    play.done("1", 2)
    assert play.result == [1, 2]


def test_a_run_that_is_over_leaves_memory_without_the_collector_of_cycles() -> None:
    machine = Machine("run-1", together().body(), seed=b"seed")
    gone = weakref.ref(machine)
    gc.disable()
    try:
        steps = [each for each in machine.feed(Started([]), 0) if isinstance(each, RunStep)]
        for step in steps:
            machine.feed(StepDone(step.position, Value(step.command.name)), 0)
        assert machine.finished
        del machine, step, steps
        assert gone() is None
    finally:
        gc.enable()


@workflow
def together() -> Body:
    return (yield All(do("left"), chain("right")))
