"""Retry of a failed run: the failed command and what followed from it are carried out again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

import pytest
from harness import START, Play, do

from continuum import (
    All,
    Ensure,
    EnsureTimeout,
    Handle,
    Log,
    Map,
    Now,
    Patch,
    Race,
    Receive,
    Retry,
    Revert,
    Sleep,
    StepUncertain,
    workflow,
)
from continuum.durations import NANOSECONDS, datetime_of
from continuum.journal import MARKS, TAKES, Kind, Status, position_text

Body = Generator[Any, Any, Any]


def run(body: Any) -> Play:
    return Play(workflow(name="run")(body)())


def retried(play: Play) -> Play:
    """The play as it goes on after a retry."""
    again = play.retry()
    assert again.mismatch is None, again.mismatch
    assert again.replay().mismatch is None
    return again


def dropped(play: Play) -> list[str]:
    """The positions that a retry takes back and does not use again, marks apart."""
    kept = {entry.position for entry in retried(play).journal if entry.kind not in MARKS}
    entries = (entry for entry in play.journal if entry.kind not in MARKS)
    return [position_text(entry.position) for entry in entries if entry.position not in kept]


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


# What was recorded after the failure, in branches that went on


def tolerant(*branches: Any) -> Callable[[], Body]:
    """A workflow that lets its branches end, and raises the first error among their results."""

    def body() -> Body:
        results = yield All(*(branch() for branch in branches), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        return results

    return body


def bad() -> Body:
    return (yield do("bad"))


def fails_later() -> Body:
    try:
        yield do("bad")
    except ValueError:
        yield do("note")
        raise


def test_a_time_that_has_passed_is_not_waited_for_again() -> None:
    def sleeper() -> Body:
        yield do("a")
        yield Sleep(60)
        yield Receive("never", 60, "late")
        return (yield do("b"))

    play = run(tolerant(bad, sleeper))
    play.fails("bad", ValueError())
    play.done("a")
    play.tick(120)
    play.done("b")
    again = retried(play)
    assert again.ran == ["bad"]
    assert not again.timers


def test_a_timer_that_runs_is_due_when_it_was() -> None:
    def sleeper() -> Body:
        yield do("a")
        yield Sleep(60)

    def body() -> Body:
        yield All(fails_later(), sleeper())

    play = run(body)
    play.fails("bad", ValueError())
    play.done("a")
    play.tick(10)
    play.done("note")
    again = retried(play)
    assert [(due - START) / NANOSECONDS for due in again.timers.values()] == [60]


def test_attempts_of_others_are_not_counted_anew() -> None:
    def body() -> Body:
        return (yield All(fails_later(), do("a", retry=Retry(3))))

    play = run(body)
    play.fails("bad", ValueError())
    play.fails("a", KeyError())
    play.done("note")
    again = retried(play)
    assert again.ran == ["bad"]
    assert list(again.timers) == [(0, 1, 0)]
    again.tick(60)
    again.done("a")
    assert again.journal[-1].attempts == 2


def test_times_are_as_they_were_and_nothing_is_logged_again() -> None:
    def other() -> Body:
        yield do("a")
        yield Log("hello")
        return (yield Now())

    play = run(tolerant(bad, other))
    play.fails("bad", ValueError())
    play.tick(60)
    play.done("a")
    assert play.logged == ["hello"]
    play.tick(60)
    again = retried(play)
    assert again.logged == []
    assert [entry.at for entry in again.journal] == [START + 60 * NANOSECONDS] * 3
    again.done("bad")
    assert again.journal[-2].at == START + 120 * NANOSECONDS
    assert again.result == [None, datetime_of(START + 60 * NANOSECONDS)]


def test_events_are_had_by_those_who_had_them() -> None:
    def receiver(step: str) -> Callable[[], Body]:
        def body() -> Body:
            yield do(step)
            return (yield Receive("go"))

        return body

    play = run(tolerant(bad, receiver("a"), receiver("b")))
    play.fails("bad", ValueError())
    for step, payload in (("b", 1), ("a", 2)):
        play.done(step)
        play.send("go", payload)
    again = retried(play)
    again.done("bad", 0)
    assert again.result == again.replay().result == [0, 2, 1]


def test_a_handler_has_at_once_what_had_come_before_it() -> None:
    seen: list[Any] = []

    def handler() -> Body:
        yield do("a")
        seen.clear()
        yield Handle("go", seen.append)
        yield do(f"seen {seen}")

    play = run(tolerant(bad, handler))
    play.fails("bad", ValueError())
    play.send("go", 1)
    play.send("go", 2)
    play.done("a")
    play.done("seen [1, 2]")
    again = retried(play)
    assert again.ran == ["bad"]
    assert [entry.ref for entry in again.journal if entry.kind is Kind.EVENT] == [1, 2]


def test_a_handler_may_outlive_its_branch() -> None:
    seen: list[Any] = []

    def handler() -> Body:
        yield Handle("go", seen.append)

    def other() -> Body:
        yield do("a")
        yield All(handler())
        return (yield do("b"))

    play = run(tolerant(bad, other))
    play.fails("bad", ValueError())
    play.done("a")
    play.send("go", 1)
    play.done("b")
    again = retried(play)
    assert again.ran == ["bad"]
    assert [entry.ref for entry in again.journal if entry.kind is Kind.EVENT] == [1]


def test_a_patch_is_taken_by_a_retry_as_it_was_by_the_run() -> None:
    patched = [False]

    def other() -> Body:
        yield do("a")
        if patched[0] and (yield Patch("new")):
            return (yield do("c"))
        return (yield do("b"))

    play = run(tolerant(bad, other))
    play.fails("bad", ValueError())
    play.done("a")
    play.done("b")
    patched[0] = True
    assert retried(play).ran == ["bad"]


def test_of_a_step_that_is_never_repeated_it_is_told_that_its_outcome_is_unknown() -> None:
    def other() -> Body:
        yield do("a")
        return (yield do("b", at_most_once=True))

    play = run(lambda: (yield All(fails_later(), other())))
    play.fails("bad", ValueError())
    play.done("a")
    play.done("note")
    assert play.stopped == ["0.1.1"]
    again = retried(play)
    assert isinstance(again.error, StepUncertain)


# Branches that go by each other's state


def coupled(*names: str) -> Callable[[], Body]:
    """A branch keeps the error of its step where another one, which waits for that, finds it."""

    def body() -> Body:
        shared: dict[str, Any] = {}

        def first() -> Body:
            try:
                shared["x"] = yield do("x")
            except ValueError as error:
                shared["x"] = error

        def second() -> Body:
            for name in names:
                yield do(name)
            if not names:
                yield Ensure(lambda: "x" in shared)
                yield do("other")
            if isinstance(shared["x"], Exception):
                raise shared["x"]
            return shared["x"]

        return (yield All(first(), second()))

    return body


def test_what_waits_for_the_state_of_another_branch_waits_again() -> None:
    play = run(coupled())
    play.fails("x", ValueError())
    play.done("other")
    again = retried(play)
    assert again.ran == ["x"]
    assert again.waiting == ["0.0.0"]
    again.done("x", 1)
    again.done("other")
    assert again.result == again.replay().result == [None, 1]


def test_where_results_alone_make_the_run_fail_at_once_they_are_taken_back_too() -> None:
    play = run(coupled("a", "b"))
    play.done("a")
    play.fails("x", ValueError())
    play.done("b")  # what comes behind it goes by what the other branch has found
    again = retried(play)
    assert again.ran == ["x", "b"]
    again.done("x", 1)
    again.done("b")
    assert again.result == [None, 1]


def test_a_condition_holds_if_it_does_and_not_because_it_did() -> None:
    def body() -> Body:
        shared: dict[str, Any] = {}

        def first() -> Body:
            try:
                shared["x"] = yield do("x")
            except ValueError as error:
                shared["x"] = error

        def second() -> Body:
            yield Ensure(lambda: "x" in shared)
            return (yield do("report"))

        results = yield All(first(), second())
        if isinstance(shared["x"], Exception):
            raise shared["x"]
        return results

    play = run(body)
    play.fails("x", ValueError())
    play.done("report", "of the failure")
    again = retried(play)
    assert again.ran == ["x"]
    again.done("x", 1)
    again.done("report", 2)
    assert again.result == [None, 2]


def differing(shared: dict[str, Any], way: Callable[[bool], Body]) -> Callable[[], Body]:
    """The second branch goes another way where the first one has failed."""

    def body() -> Body:
        shared.clear()

        def first() -> Body:
            try:
                shared["x"] = yield do("x")
            except ValueError as error:
                shared["x"] = error

        def second() -> Body:
            yield do("a")
            yield from way("x" in shared)

        yield All(first(), second())
        if isinstance(shared["x"], Exception):
            raise shared["x"]

    return body


def another_command(failed: bool) -> Body:
    yield Now() if failed else Log("hello")


def another_number_of_commands(failed: bool) -> Body:
    if not failed:
        yield Now()


def another_outcome(failed: bool) -> Body:
    try:
        yield Ensure(lambda: not failed, 1)
    except EnsureTimeout:
        pass


@pytest.mark.parametrize("way", [another_command, another_number_of_commands, another_outcome])
@pytest.mark.parametrize("in_branch", [True, False])
def test_a_branch_that_goes_another_way_is_not_given_what_was_found_on_the_old_one(way: Any, in_branch: bool) -> None:
    def ways(failed: bool) -> Body:
        yield from way(failed)
        yield All(do("b")) if in_branch else do("b")
        yield do("b")

    play = run(differing({}, ways))
    play.fails("x", ValueError())
    play.done("a")
    play.tick(1)
    play.done("b", "on the old way")
    play.done("b", "on the old way")
    again = retried(play)
    assert again.ran == ["x", "b"]
    assert [name for name in again.recorded(Kind.SAVE) if name.endswith("b")] == []


# Errors of the code itself


class Mendable:
    """Code that raises until it is mended."""

    def __init__(self) -> None:
        self.mended = False

    def faulty(self, *names: str) -> Body:
        for name in names:
            yield do(name)
        if not self.mended:
            raise KeyError("fault")
        return (yield do("mended"))


def test_mended_code_of_a_branch_goes_on_where_it_had_raised() -> None:
    code = Mendable()

    def other() -> Body:
        yield do("b")
        return (yield do("c"))

    play = run(lambda: (yield All(code.faulty("a"), other())))
    play.done("b", 1)
    play.done("a")
    assert play.recorded() == ["0.1.0 save b", "0.0.0 save a", "0.0.1 raise", "0.1.1 save c", "0 all"]
    code.mended = True
    again = retried(play)
    assert sorted(again.ran) == ["c", "mended"]
    for name in ("c", "mended"):
        again.done(name, name)
    assert again.result == again.replay().result == ["mended", "c"]


def test_mended_code_lives_now() -> None:
    mended = [False]

    def branch() -> Body:
        if not mended[0]:
            raise KeyError("fault")
        yield Sleep(10)

    play = run(tolerant(branch, lambda: iter(do("a"))))
    play.tick(60)
    play.done("a")
    play.tick(60)
    mended[0] = True
    again = retried(play)
    assert list(again.timers.values()) == [play.now + 10 * NANOSECONDS]
    assert [entry.at - play.now for entry in again.journal] == [-60 * NANOSECONDS, 0]


def test_code_that_was_not_mended_fails_again_and_nothing_is_repeated() -> None:
    code = Mendable()
    play = run(tolerant(lambda: code.faulty("a"), lambda: iter(do("b"))))
    play.done("a")
    play.done("b")
    again = retried(play)
    assert again.ran == []
    assert again.status is Status.FAILED
    assert again.recorded() == play.recorded()


def test_code_that_was_at_fault_in_many_branches_is_mended_in_all_of_them() -> None:
    code = Mendable()
    play = run(tolerant(*(partial(code.faulty, f"step {n}") for n in range(4))))
    for n in (2, 0, 3, 1):
        play.done(f"step {n}")
    assert play.settled is not None
    assert play.settled.failed_at == (0, 0, 1)
    code.mended = True
    again = retried(play)
    assert again.ran == ["mended"] * 4
    assert len(again.recorded(Kind.SAVE)) == 4


def test_who_waited_for_mended_code_is_not_given_what_followed_from_its_fault() -> None:
    code = Mendable()

    def outer() -> Body:
        yield All(code.faulty("a"), do("b"), return_exceptions=True)
        return (yield do("note"))

    play = run(tolerant(outer, partial(code.faulty, "c")))
    for name in ("a", "b", "note", "c"):
        play.done(name)
    code.mended = True
    again = retried(play)
    assert again.ran == ["mended", "mended"]
    again.done("0.0.0.0.1")
    assert again.ran[-1] == "note"


def test_who_had_the_fault_of_a_branch_as_a_result_goes_on_anew_if_it_has_none() -> None:
    mended = [False]

    def faulty() -> Body:
        yield from ()
        if not mended[0]:
            raise KeyError("fault")

    def outer() -> Body:
        yield All(faulty(), return_exceptions=True)
        return (yield do("note"))

    play = run(tolerant(outer, faulty))
    play.done("note", "of a fault")
    mended[0] = True
    assert retried(play).ran == ["note"]


def test_an_error_that_no_group_goes_by_is_not_recorded() -> None:
    def cleans() -> Body:
        try:
            yield do("a")
        finally:
            raise KeyError("while cleaning up")

    play = run(lambda: (yield All(do("bad"), cleans())))
    play.fails("bad", ValueError())
    assert play.recorded() == ["0.0.0 save bad", "0.1.0 save a", "0 all"]
