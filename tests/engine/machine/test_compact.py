"""Compact: the host is asked to keep a continuation in place of the history, and says whether it could."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from harness import Play, do

from continuum import All, Cancelled, Compact, CompactRefused, Handle, Receive, Sleep, workflow
from continuum.engine.machine.requests import DropHistory
from continuum.journal import Kind

Body = Generator[Any, Any, Any]


@workflow
def works(times: int) -> Body:
    done = []
    for number in range(times):
        done.append((yield do("work", number)))
        done.append((yield Compact()))
    return done


def worked(play: Play, times: int) -> Play:
    for number in range(times):
        play.done("work", number)
        play.done("compact")
    return play


def test_the_host_is_asked_and_it_gives_nothing_back_at_a_position_of_its_own() -> None:
    play = Play(works(2))
    play.done("work", 0)
    assert play.requests[-1] == DropHistory((1,))
    assert play.machine.waiting_for() == "compact"
    play.done("compact")
    play.done("work", 1)
    play.done("compact")
    assert play.result == play.replay().result == [0, None, 1, None]
    assert play.recorded(Kind.COMPACT) == ["1 compact", "3 compact"]


def test_a_replay_asks_again_only_for_what_was_not_answered() -> None:
    play = worked(Play(works(2)), 1)
    play.done("work", 1)
    assert play.replay().requests == [DropHistory((3,))]
    assert worked(play.replay(2), 0).recorded() == ["0 save work", "1 compact"]


def test_a_refusal_is_raised_in_the_workflow_and_again_on_replay() -> None:
    @workflow
    def asks() -> Body:
        try:
            yield Compact()
        except CompactRefused as error:
            return str(error)

    play = Play(asks())
    play.fails("compact", CompactRefused("local 'conn' cannot be pickled"))
    assert play.result == play.replay().result == "local 'conn' cannot be pickled"


def test_in_a_branch_the_others_go_on_meanwhile() -> None:
    @workflow
    def branches() -> Body:
        return (yield All(Sleep(60), Compact()))

    play = Play(branches())
    assert play.waiting == ["0.1.0"]
    play.tick(60)
    play.done("compact")
    assert play.result == play.replay().result == [None, None]


def test_it_can_be_cancelled_and_an_answer_that_comes_late_is_nothing() -> None:
    @workflow
    def asks() -> Body:
        try:
            yield Compact()
        except Cancelled:
            return (yield do("clean up"))

    play = Play(asks())
    play.cancel()
    play.done("compact")
    play.done("clean up", "cleaned")
    assert play.result == play.replay().result == "cleaned"


def test_handlers_and_events_that_were_not_received_survive_it() -> None:
    @workflow
    def listens() -> Body:
        heard: list[int] = []
        yield Handle("word", heard.append)
        yield Compact()
        return heard, (yield Receive("end"))

    play = Play(listens())
    play.send("word", 1)
    play = play.replay()
    play.send("word", 2)
    play.done("compact")
    play.send("end", "over")
    assert play.result == play.replay().result == ([1, 2], "over")
