"""Compact: the host is asked to keep a continuation in place of the history, and says whether it could."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from harness import Play, do

from continuum import All, Cancelled, Compact, CompactRefused, Handle, Receive, Retry, Sleep, Uuid4, workflow
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


# By key


def keyed(play: Play) -> list[str]:
    """The entries in short, with their keys."""
    return [f"{entry.kind} {entry.name} {entry.key}".strip() for entry in play.journal]


def test_what_a_step_gave_is_recorded_with_its_key_and_nothing_else_is() -> None:
    @workflow
    def flow() -> Body:
        yield do("measure", key="temperature", retry=Retry(attempts=2))
        try:
            yield do("break", key="temperature")
        except ValueError:
            pass
        yield All(do("measure", key="pressure"), do("measure"))
        yield do("share", key="shared", once="o-1")
        yield Uuid4()

    play = Play(flow())
    play.fails("measure", ValueError())
    play.tick(60)
    play.done("measure")
    play.fails("break", ValueError())
    play.done("2.1.0")
    play.done("2.0.0")
    play.done("share")
    assert play.result is play.replay().result is None
    assert keyed(play) == [
        "attempt measure",
        "save measure temperature",
        "save break",
        "save measure",
        "save measure pressure",
        "all",
        "save share shared",
        "uuid4",
    ]


def test_a_replay_goes_by_no_key_and_records_those_of_the_code() -> None:
    @workflow
    def flow(key: str) -> Body:
        yield do("first", key=key)
        yield do("second", key=key)

    play = Play(flow("old"))
    play.done("first")
    again = play.replay(invocation=flow("new"))
    again.done("second")
    assert keyed(again) == ["save first old", "save second new"]


def test_what_a_retry_uses_again_keeps_its_key() -> None:
    @workflow
    def flow() -> Body:
        failed, _ = yield All(do("may fail"), do("work", key="k"), return_exceptions=True)
        raise failed

    play = Play(flow())
    play.fails("may fail", ValueError())
    play.done("work")
    assert play.status == "failed"
    assert keyed(play.retry()) == ["save work k"]
