"""Compact: what a replay does not need may go."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from harness import Play, do

from continuum import All, Compact, Handle, Receive, Retry, Sleep, workflow
from continuum.journal import MARKS, Kind

Body = Generator[Any, Any, Any]


@workflow
def naps(times: int) -> Body:
    done = []
    for _ in range(times):
        yield Sleep(60)
        done.append((yield do("work", retry=Retry(2, delay=1, jitter=0), key="work")))
        done.append((yield Compact()))
    return done


def worked(play: Play, times: int) -> Play:
    for number in range(times):
        play.tick(60)
        play.fails("work", ValueError())
        play.tick(1)
        play.done("work", number)
    return play


def test_it_gives_nothing_back_and_is_recorded_at_a_position_of_its_own() -> None:
    play = worked(Play(naps(2)), 2)
    assert play.result == play.replay().result == [0, None, 1, None]
    assert play.recorded(Kind.COMPACT) == ["2 compact", "5 compact"]


def test_the_host_is_told_that_the_marks_behind_it_may_go_and_not_again_on_replay() -> None:
    play = worked(Play(naps(2)), 2)
    assert play.needless == ["2", "5"]
    assert play.replay().needless == []


def test_a_journal_without_those_marks_leads_to_the_same() -> None:
    play = worked(Play(naps(2)), 1)
    assert play.recorded(*MARKS) == ["0 armed", "1 attempt work", "3 armed"]
    behind = play.recorded().index("2 compact")
    kept = [entry for n, entry in enumerate(play.journal) if n > behind or entry.kind not in MARKS]
    again = Play(naps(2), kept, now=play.now)
    assert again.mismatch is None
    assert again.recorded() == ["0 sleep", "1 save work", "2 compact", "3 armed"]
    assert again.machine.next_due() == play.machine.next_due()
    assert worked(again, 1).result == [0, None, 0, None]


def test_values_are_kept_those_of_steps_with_a_key_too() -> None:
    play = worked(Play(naps(2)), 2)
    assert [entry.outcome.value for entry in play.journal if entry.kind is Kind.SAVE] == [0, 1]  # type: ignore[union-attr]


def test_in_a_branch_it_is_recorded_and_nothing_goes() -> None:
    @workflow
    def branches() -> Body:
        return (yield All(Sleep(60), Compact()))

    play = Play(branches())
    assert play.recorded(Kind.COMPACT) == ["0.1.0 compact"]
    assert play.needless == []
    again = play.replay()
    again.tick(60)
    assert again.result == [None, None]


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
    play.send("end", "over")
    assert play.result == play.replay().result == ([1, 2], "over")
