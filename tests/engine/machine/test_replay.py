"""Replay: the same way again from every point, and a clear word where the code no longer fits."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from harness import START, Play, do

from continuum import All, Call, Handle, Log, Map, Now, Race, Receive, Retry, Send, Sleep, Start, workflow
from continuum.engine.machine.requests import Mismatch
from continuum.journal import Entry, Kind, Status, Value

Body = Generator[Any, Any, Any]
Code = Callable[[], Body]


def code(body: Code) -> Any:
    return workflow(name="order")(body)()


def recorded_by(body: Code, *done: str) -> Play:
    play = Play(code(body))
    for name in done:
        play.done(name, name)
    return play


def a_then_b() -> Body:
    yield do("a")
    yield do("b")


def mismatch(play: Play, body: Code) -> Any:
    again = play.replay(invocation=code(body))
    assert [type(request) for request in again.requests] == [Mismatch]
    assert again.send("later") == []
    error = again.mismatch
    assert error is not None
    assert error.recorded in str(error)
    assert error.attempted in str(error)
    return error


# One fiber


def test_the_message_tells_everything_that_is_known() -> None:
    def now_c() -> Body:
        yield do("a")
        yield do("c")

    error = mismatch(recorded_by(a_then_b, "a", "b"), now_c)
    line = now_c.__code__.co_firstlineno + 2
    assert (error.position, error.recorded, error.attempted) == ("1", "save 'b'", "save 'c'")
    assert str(error).splitlines()[:-1] == [
        "the code of run 'run-1' (workflow 'order', version '1') does not fit its journal at position 1:",
        "  recorded:  save 'b'",
        "  attempted: save 'c'",
        f"  in the code: test_replay.py:{line} in {now_c.__qualname__}",
    ]
    assert "Nothing is lost" in str(error)
    assert "Patch" in str(error)


def test_an_inserted_command() -> None:
    def inserted() -> Body:
        yield do("new")
        yield from a_then_b()

    error = mismatch(recorded_by(a_then_b, "a"), inserted)
    assert (error.position, error.recorded, error.attempted) == ("0", "save 'a'", "save 'new'")


def test_a_removed_command() -> None:
    def removed() -> Body:
        yield do("b")

    error = mismatch(recorded_by(a_then_b, "a"), removed)
    assert (error.position, error.attempted) == ("0", "save 'b'")


def test_reordered_commands() -> None:
    def reordered() -> Body:
        yield do("b")
        yield do("a")

    assert mismatch(recorded_by(a_then_b, "a", "b"), reordered).recorded == "save 'a'"


def test_an_early_return() -> None:
    def early() -> Body:
        yield do("a")

    error = mismatch(recorded_by(a_then_b, "a", "b"), early)
    assert (error.position, error.recorded, error.attempted) == ("1", "save 'b'", "the end of the run (return)")


def test_an_early_error() -> None:
    def early() -> Body:
        yield do("a")
        raise ValueError("no")

    error = mismatch(recorded_by(a_then_b, "a", "b"), early)
    assert error.attempted == "the end of the run (ValueError('no'))"


@pytest.mark.parametrize(
    ("command", "attempted"),
    [
        (lambda: Sleep(1), "sleep"),
        (lambda: Receive("a"), "receive 'a'"),
        (lambda: Now(), "now"),
        (lambda: Log("a"), "log"),
        (lambda: Handle("a", print), "handle 'a'"),
        (lambda: Call(code(a_then_b)), "call 'order'"),
        (lambda: Start(code(a_then_b)), "start 'order'"),
        (lambda: Send("r", "a"), "send 'a'"),
        (lambda: All(Sleep(1)), "all"),
        (lambda: Race(Sleep(1)), "race"),
        (lambda: Map(len, ["x"]), "map"),
        (lambda: All(), "all"),
    ],
)
def test_a_changed_kind(command: Callable[[], Any], attempted: str) -> None:
    def changed() -> Body:
        yield command()

    error = mismatch(recorded_by(a_then_b, "a"), changed)
    assert (error.position, error.recorded, error.attempted) == ("0", "save 'a'", attempted)


def test_a_command_that_is_answered_at_once_has_changed() -> None:
    def now() -> Body:
        yield Now()

    error = mismatch(recorded_by(now), a_then_b)
    assert (error.position, error.recorded, error.attempted) == ("0", "now", "save 'a'")


@pytest.mark.parametrize(
    ("old", "recorded"),
    [
        (lambda: Sleep(5), "timer"),
        (lambda: Receive("go", 5), "timer 'go'"),
        (lambda: do("pay", at_most_once=True), "save 'pay'"),
    ],
)
def test_a_command_has_changed_of_which_only_a_mark_is_recorded(old: Callable[[], Any], recorded: str) -> None:
    def before() -> Body:
        yield old()

    error = mismatch(recorded_by(before), a_then_b)
    assert (error.position, error.recorded, error.attempted) == ("0", recorded, "save 'a'")


def test_a_step_was_renamed_between_two_attempts() -> None:
    def before() -> Body:
        yield do("old", retry=Retry(3))

    def after() -> Body:
        yield do("new", retry=Retry(3))

    play = Play(code(before))
    play.fails("old", ValueError())
    assert mismatch(play, after).recorded == "save 'old'"


def test_a_handler_is_gone_that_has_taken_an_event() -> None:
    def handling() -> Body:
        yield Handle("go", print)
        yield do("a")

    def moved() -> Body:
        yield Handle("stop", print)
        yield do("a")

    play = Play(code(handling))
    play.send("go")
    assert mismatch(play, moved).attempted == "handle 'stop'"
    play.journal[0] = Entry((0,), Kind.HANDLE, "stop", Value(None), START)
    assert mismatch(play, moved).recorded == "event 'go'"


# Branches


def branches(*bodies: Code) -> Code:
    def body() -> Body:
        yield All(*(each() for each in bodies))

    return body


def a_then_c() -> Body:
    yield do("a")
    yield do("c")


def only_a() -> Body:
    yield do("a")


def test_a_command_has_changed_in_a_branch() -> None:
    play = recorded_by(branches(a_then_b, a_then_b), "0.1.0", "0.1.1")
    error = mismatch(play, branches(a_then_b, a_then_c))
    assert (error.position, error.recorded, error.attempted) == ("0.1.1", "save 'b'", "save 'c'")
    assert f"test_replay.py:{a_then_c.__code__.co_firstlineno + 2} in a_then_c" in str(error)


def test_a_branch_ends_early() -> None:
    play = recorded_by(branches(a_then_b, a_then_b), "0.1.0", "0.1.1")
    error = mismatch(play, branches(a_then_b, only_a))
    assert (error.position, error.recorded) == ("0.1.1", "save 'b'")
    assert error.attempted.startswith("nothing: the branch has ended")


def test_a_branch_is_gone() -> None:
    play = recorded_by(branches(a_then_b, a_then_b), "0.1.0")
    assert mismatch(play, branches(a_then_b)).position == "0.1.0"


def test_branches_became_a_plain_command() -> None:
    play = recorded_by(branches(a_then_b, a_then_b), "0.1.0")
    error = mismatch(play, a_then_b)
    assert (error.position, error.recorded, error.attempted) == ("0.1.0", "save 'a'", "save 'a'")
    assert "at 0.1.0" in str(error)
    assert "at 0\n" in str(error)


def test_all_became_a_race() -> None:
    def race() -> Body:
        yield Race(do("a"))

    def all_() -> Body:
        yield All(do("a"))

    error = mismatch(recorded_by(all_, "a"), race)
    assert (error.position, error.recorded, error.attempted) == ("0", "all", "race")


def test_a_lone_command_as_a_branch_is_found_where_its_group_stands() -> None:
    def other() -> Body:
        yield All(All(do("x")))

    def all_() -> Body:
        yield All(All(do("a")))

    error = mismatch(recorded_by(all_, "a"), other)
    assert f"test_replay.py:{other.__code__.co_firstlineno + 1} in " in str(error)


def test_a_command_that_is_answered_at_once_moved_out_of_its_branch() -> None:
    def inside() -> Body:
        yield All(Now())

    def outside() -> Body:
        yield Now()
        yield All()

    error = mismatch(recorded_by(inside), outside)
    assert (error.position, error.recorded, error.attempted) == ("0.0.0", "now", "now")


# What cannot be seen, and what is no difference


def test_a_command_that_left_no_trace_may_change() -> None:
    assert recorded_by(a_then_b, "a").replay(invocation=code(a_then_c)).ran == ["c"]


def test_arguments_may_change() -> None:
    def other_arguments() -> Body:
        yield do("a", 1, 2, 3)
        yield do("b")

    assert recorded_by(a_then_b, "a").replay(invocation=code(other_arguments)).ran == ["b"]


def test_commands_may_be_added_at_the_end() -> None:
    def longer() -> Body:
        yield from a_then_b()
        yield do("c")

    assert recorded_by(a_then_b, "a", "b").replay(invocation=code(longer)).ran == ["c"]


# Every point


def everything() -> Body:
    def part(name: str) -> Body:
        yield Now()
        yield Race(do(name), Sleep(50))
        return (yield Receive(name, 90, None))

    seen: list[Any] = []
    yield Handle("note", seen.append)
    both = yield All(part("a"), part("b"), return_exceptions=True)
    yield Map(len, ["x", "y", "z"], limit=2)
    return both, seen


def test_each_cut_between_feeds_leads_to_the_same_end() -> None:
    play = Play(code(everything))
    play.send("b", 1)
    play.done("b")
    play.send("note", 2)
    play.tick(60)
    play.send("a", 3)
    for index in "021":
        play.done(f"2.{index}.0")
    assert play.status is Status.COMPLETED
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        assert again.mismatch is None
        assert again.journal[:cut] == play.journal[:cut]
        while again.status is None and again.waiting:
            again.done(again.waiting[0])
        assert again.status is Status.COMPLETED
        assert again.recorded()[-1] == play.recorded()[-1]
