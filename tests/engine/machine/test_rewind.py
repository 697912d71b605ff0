"""Retry of a failed run: the failed command and what followed from it are taken back, and nothing else."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from harness import Play, do

from continuum import All, Handle, Map, Now, Race, Receive, Retry, Revert, Sleep, workflow
from continuum.engine.machine.rewind import rewind
from continuum.journal import MARKS, TAKES, Status, position_text

Body = Generator[Any, Any, Any]


def run(body: Any) -> Play:
    return Play(workflow(name="run")(body)())


def retried(play: Play) -> Play:
    """The play as it goes on after a retry."""
    assert play.settled is not None
    assert play.settled.failed_at is not None
    dropped = rewind(play.journal, play.settled.failed_at)
    kept = [entry for index, entry in enumerate(play.journal) if index not in dropped]
    again = Play(play.invocation, kept, events=play.events, now=play.now)
    assert again.mismatch is None, again.mismatch
    return again


def dropped(play: Play) -> list[str]:
    """The positions that a retry takes back, marks apart."""
    assert play.settled is not None
    assert play.settled.failed_at is not None
    entries = (play.journal[index] for index in sorted(rewind(play.journal, play.settled.failed_at)))
    return [position_text(entry.position) for entry in entries if entry.kind not in MARKS]


def test_the_failed_step_is_run_again_and_those_before_it_are_not() -> None:
    def body() -> Body:
        return (yield do("a")), (yield do("b"))

    play = run(body)
    play.done("a", 1)
    play.fails("b", ValueError())
    again = retried(play)
    assert again.ran == ["b"]
    again.done("b", 2)
    assert again.result == again.replay().result == (1, 2)


def test_attempts_are_counted_anew() -> None:
    def body() -> Body:
        yield do("a", retry=Retry(2))

    play = run(body)
    for _ in range(2):
        play.fails("a", ValueError())
        play.tick(60)
    again = retried(play)
    assert again.journal == []
    again.fails("a", ValueError())
    assert again.status is None


def test_the_siblings_keep_what_they_have_and_go_on() -> None:
    def branch(*names: str) -> Body:
        for name in names:
            yield do(name)

    def body() -> Body:
        yield All(branch("a", "b"), do("bad"), Sleep(9))

    play = run(body)
    play.done("a")
    play.fails("bad", ValueError())
    again = retried(play)
    assert again.ran == ["bad", "b"]
    assert list(again.timers) == [(0, 2, 0)]
    for name in ("b", "bad"):
        again.done(name)
    again.tick(9)
    assert again.status is again.replay().status is Status.COMPLETED


def test_only_what_followed_from_the_failure_is_taken_back() -> None:
    def rescued() -> Body:
        try:
            yield do("bad")
        except ValueError:
            yield do("rescue")
            raise

    def other() -> Body:
        yield do("a")
        yield do("b")

    def body() -> Body:
        yield do("first")
        yield All(rescued(), other())

    play = run(body)
    play.done("first")
    play.fails("bad", ValueError())
    play.done("a")
    play.done("b")
    play.done("rescue")
    assert dropped(play) == ["1.0.0", "1.0.1", "1"]
    assert retried(play).ran == ["bad"]


def test_a_failure_in_nested_branches_leaves_all_others_alone() -> None:
    def body() -> Body:
        yield All(All(do("a"), do("bad")), All(do("b"), do("c")))

    play = run(body)
    play.done("a")
    play.done("b")
    play.fails("bad", ValueError())
    assert dropped(play) == ["0.0.0.1.0", "0.0.0", "0.1.0.1.0", "0.1.0", "0"]
    assert sorted(retried(play).ran) == ["bad", "c"]


def test_an_error_that_was_wrapped_is_traced_back() -> None:
    def body() -> Body:
        try:
            yield do("bad")
        except ValueError as error:
            yield do("note")
            raise RuntimeError("wrapped") from error

    play = run(body)
    play.fails("bad", ValueError())
    play.done("note")
    assert dropped(play) == ["0", "1"]


@pytest.mark.parametrize("how", ["context", "group"])
def test_an_error_is_traced_back_through_contexts_and_groups(how: str) -> None:
    def body() -> Body:
        yield do("a")
        try:
            yield do("bad")
        except ValueError as error:
            if how == "group":
                raise ExceptionGroup("both", [KeyError(), error]) from None
            raise RuntimeError("instead")  # noqa: B904 - the context is what is tested

    play = run(body)
    play.done("a")
    play.fails("bad", ValueError())
    assert dropped(play) == ["1"]


def test_an_error_of_the_workflow_itself_has_no_position() -> None:
    def body() -> Body:
        yield do("a")
        raise ValueError("mine")

    play = run(body)
    play.done("a")
    assert play.settled is not None
    assert play.settled.failed_at is None


def test_a_cleanup_that_fails_is_the_failure() -> None:
    def body() -> Body:
        try:
            yield do("a")
        finally:
            yield do("clean")

    play = run(body)
    play.fails("a", ValueError())
    play.fails("clean", KeyError())
    assert dropped(play) == ["1"]


def test_events_that_were_taken_after_the_failure_are_there_again() -> None:
    def body() -> Body:
        seen: list[Any] = []
        first = yield Receive("go")
        try:
            yield do("bad")
        except ValueError:
            yield Handle("note", seen.append)
            second = yield Receive("go")
            raise
        second = yield Receive("go")
        yield Handle("note", seen.append)
        yield do("end")
        return first, second, seen

    play = run(body)
    for name, payload in (("go", 1), ("go", 2), ("note", 3)):
        play.send(name, payload)
    play.fails("bad", ValueError())
    again = retried(play)
    assert [entry.ref for entry in again.journal if entry.kind in TAKES] == [1]
    again.done("bad")
    again.done("end")
    assert again.result == (1, 2, [3])


def test_a_timeout_is_waited_for_again() -> None:
    def body() -> Body:
        return (yield Receive("go", 5))

    play = run(body)
    play.tick(5)
    again = retried(play)
    assert list(again.timers.values()) == [play.now + 5 * 10**9]
    again.send("go", 1)
    assert again.result == 1


def test_an_undoing_goes_on_with_what_is_still_to_undo() -> None:
    def undo(result: object) -> None: ...

    def body() -> Body:
        yield do("a", compensate=undo)
        yield do("b", compensate=undo)
        yield Revert("enough")

    play = run(body)
    play.done("a")
    play.done("b")
    play.done("undo b")
    play.fails("undo a", ValueError())
    again = retried(play)
    assert again.ran == ["undo a"]
    again.done("undo a")
    assert again.status is Status.REVERTED


def test_a_race_that_a_sibling_had_decided_between_two_attempts_stays_decided() -> None:
    def sibling() -> Body:
        yield Race(do("quick"), do("slow"))
        yield do("charge")

    def body() -> Body:
        yield All(do("bad", retry=Retry(2)), sibling())

    play = run(body)
    play.fails("bad", ValueError())
    play.done("quick")
    play.done("charge")
    play.tick(60)
    play.fails("bad", ValueError())
    assert dropped(play) == ["0.0.0", "0"]
    assert retried(play).ran == ["bad"]


def test_an_error_kept_as_a_result_does_not_undo_the_races_of_others() -> None:
    def sibling() -> Body:
        yield Race(do("quick"), do("slow"))
        yield do("charge")

    def body() -> Body:
        error, _ = yield All(do("bad"), sibling(), return_exceptions=True)
        raise error

    play = run(body)
    play.fails("bad", ValueError())
    play.done("quick")
    play.done("charge")
    assert dropped(play) == ["0.0.0", "0"]
    assert retried(play).ran == ["bad"]


def test_branches_that_had_taken_the_slot_of_the_failed_one_keep_their_results() -> None:
    def branch(item: int) -> Body:
        yield Now()
        return (yield do(f"step {item}"))

    def body() -> Body:
        results = yield Map(branch, range(4), limit=1, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
        return results

    play = run(body)
    play.fails("step 0", ValueError())
    for item in (1, 2, 3):
        play.done(f"step {item}", item)
    again = retried(play)
    assert again.ran == ["step 0"]
    again.done("step 0", 0)
    assert again.result == again.replay().result == [0, 1, 2, 3]


def test_what_stopped_the_run_after_the_failure_is_taken_back() -> None:
    def body() -> Body:
        try:
            yield do("bad")
        except ValueError as error:
            try:
                yield All(do("a"), do("b"))
            finally:
                raise error

    play = run(body)
    play.fails("bad", ValueError())
    play.cancel()
    assert play.status is Status.FAILED
    assert dropped(play) == ["0", "", "1.0.0", "1.1.0", "1"]
    again = retried(play)
    again.done("bad")
    assert again.status is Status.COMPLETED
