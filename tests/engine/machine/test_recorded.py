"""Now, Random, Uuid4, Log, Publish, Patch: answered at once, and the same on replay."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

from harness import START, Play, do

from continuum import All, BadValue, Count, Log, Now, Patch, Publish, Random, Uuid4, workflow
from continuum.durations import datetime_of
from continuum.engine.machine.requests import EmitLog, PublishState
from continuum.journal import Entry, Kind

Body = Generator[Any, Any, Any]


@workflow
def drawing() -> Body:
    first = (yield Now()), (yield Random()), (yield Uuid4())
    yield do("a")
    return [*first, (yield Now()), (yield Random()), (yield Uuid4())]


def drawn(run_id: str = "run-1") -> tuple[Play, list[Any]]:
    play = Play(drawing(), run_id=run_id)
    play.tick(60)
    play.done("a")
    return play, play.result


def test_now_is_an_aware_time_when_it_was_reached() -> None:
    _, (first, _, _, second, _, _) = drawn()
    assert first == datetime_of(START)
    assert first.tzinfo is UTC
    assert (second - first).total_seconds() == 60


def test_chance_gives_numbers_and_uuids() -> None:
    _, (_, number, uuid, _, number_2, uuid_2) = drawn()
    assert 0 <= number < 1
    assert number != number_2
    assert uuid != uuid_2
    assert (uuid.version, uuid.variant) == (4, "specified in RFC 4122")


def test_a_replay_sees_the_same() -> None:
    play, result = drawn()
    play.tick(1_000)
    assert play.replay().result == result


def test_a_replay_believes_the_journal() -> None:
    play = Play(drawing())
    play.journal[0].outcome.value = datetime(2001, 2, 3, tzinfo=UTC)  # type: ignore[union-attr,misc]
    again = play.replay()
    again.done("a")
    assert again.result[0].year == 2001


def test_branches_draw_different_numbers() -> None:
    @workflow
    def many() -> Body:
        return (yield All(*(Random() for _ in range(100))))

    assert len(set(Play(many()).result)) == 100


# Log


def test_a_log_is_emitted_once_after_it_is_recorded() -> None:
    @workflow
    def talking() -> Body:
        yield Log("hello", to="world")
        yield do("a")

    play = Play(talking())
    recorded, emitted, _ = play.requests
    assert isinstance(recorded, Entry)
    assert emitted == EmitLog(recorded)
    assert recorded.outcome.value == {"message": "hello", "fields": {"to": "world"}}  # type: ignore[union-attr]
    again = play.replay()
    assert (play.logged, again.logged, again.ran) == (["hello"], [], ["a"])


# Publish


def test_published_values_add_up() -> None:
    @workflow
    def showing() -> Body:
        yield Publish(progress=0, phase="load")
        yield do("a")
        yield Publish(progress=1)
        yield do("b")

    play = Play(showing())
    assert play.requests[1] == PublishState({"progress": 0, "phase": "load"})
    play.done("a")
    assert play.published == {"progress": 1, "phase": "load"}
    again = play.replay()
    assert again.published == {}
    assert again.machine.state == play.published


def test_counts_are_added_and_the_sum_is_recorded() -> None:
    @workflow
    def counting() -> Body:
        yield Publish(done=Count(), weight=Count(0.5), phase="load")
        yield do("a")
        yield Publish(done=Count(2), phase=Count(-1) if (yield do("b")) else "end")
        yield do("c")
        yield Publish(done=Count(-1))

    play = Play(counting())
    assert play.published == {"done": 1, "weight": 0.5, "phase": "load"}
    play.done("a")
    play.done("b", False)
    assert play.published == {"done": 3, "weight": 0.5, "phase": "end"}
    again = play.replay()
    assert again.machine.state == play.published
    again.done("c")
    assert again.published == {"done": 2, "weight": 0.5, "phase": "end"}
    assert again.journal[0].outcome.value == {"done": 1, "weight": 0.5, "phase": "load"}  # type: ignore[union-attr]


def test_branches_count_together() -> None:
    def branch(name: str) -> Body:
        yield do(name)
        yield Publish(done=Count())

    @workflow
    def both() -> Body:
        yield All(branch("a"), branch("b"), branch("c"))
        yield do("end")

    play = Play(both())
    for name in "cab":
        play.done(name)
    assert play.published == {"done": 3}
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        while again.waiting != ["1"]:
            again.done(again.waiting[0])
        assert again.machine.state == {"done": 3}


def test_nothing_is_added_to_what_is_no_number() -> None:
    @workflow
    def confused() -> Body:
        yield Publish(phase="load")
        try:
            yield Publish(phase=Count())
        except BadValue as error:
            yield do("a")
            return str(error)

    play = Play(confused())
    play.done("a")
    assert play.result == play.replay().result
    assert "'phase' holds 'load'" in play.result
    assert play.published == {"phase": "load"}


# Patch


@workflow(name="evolving")
def before() -> Body:
    yield do("a")
    yield do("c")


@workflow(name="evolving")
def after() -> Body:
    yield do("a")
    if (yield Patch("with b")):
        yield do("b")
    yield do("c")
    return (yield Patch("with b"))


def test_a_patch_is_true_for_a_run_that_reaches_it_first_on_new_code() -> None:
    play = Play(after())
    for name in "abc":
        play.done(name)
    assert play.result is play.replay().result is True
    assert play.recorded(Kind.PATCH) == ["1 patch with b"]


def test_a_patch_is_false_for_a_run_recorded_without_it() -> None:
    play = Play(before())
    play.done("a")
    play.done("c")
    again = play.replay(invocation=after())
    assert again.mismatch is None
    assert again.result is False
    assert again.recorded() == play.recorded()


def test_a_patch_is_true_for_an_old_run_that_has_not_come_so_far() -> None:
    play = Play(before())
    again = play.replay(invocation=after())
    for name in "abc":
        again.done(name)
    assert again.result is True


def test_an_old_run_keeps_to_its_way_when_a_patch_is_reached_again_in_new_code() -> None:
    @workflow(name="loop")
    def old() -> Body:
        for _ in range(3):
            yield do("a")

    @workflow(name="loop")
    def new() -> Body:
        ways = []
        for _ in range(3):
            ways.append((yield Patch("two")))
            yield do("a")
        return ways

    play = Play(old())
    play.done("a")
    again = play.replay(invocation=new())
    again.done("a")
    again.done("a")
    assert again.result == again.replay().result == [False] * 3


def test_patches_in_branches_replay() -> None:
    def branch(name: str) -> Body:
        yield do(name)
        return (yield Patch(name))

    @workflow
    def both() -> Body:
        return (yield All(branch("a"), branch("b")))

    play = Play(both())
    play.done("b")
    for cut in play.cuts[1:]:
        again = play.replay(cut)
        while again.waiting:
            again.done(again.waiting[0])
        assert again.result == [True, True]
