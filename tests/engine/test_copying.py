"""Runs that move from one store to another with all that waits for them, and go on there alone."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count as numbers
from pathlib import Path
from typing import Any

import pytest
from crashing import CrashingStore
from hosts import TOO_LONG, opened
from servers import new_schema, pick

from continuum import Call, Engine, Receive, RunNotFound, Save, Sleep, StoreBusy, StoreError, StoreMoved, workflow
from continuum.errors import CommitUnknown
from continuum.store import copying
from continuum.store.copying import Copied, _Moving, abandon, check_source, copy, count
from continuum.store.lmdb import LmdbStore
from continuum.store.memory import MemoryStore, Space
from continuum.store.opening import open_store
from continuum.store.protocol import Batch, Store

Place = Callable[[], Store]
"""Opens a store."""

made: list[str] = []


def note(what: str) -> str:
    made.append(what)
    return what


@workflow
def child(name: str) -> Any:
    return (yield Receive("word"))


@workflow
def waits(name: str) -> Any:
    first = yield Save(note, f"{name} first")
    word = yield Receive("word")
    told = yield Call(child(name), id=f"{name}-child")
    return [first, word, told]


@workflow
def sleeps() -> Any:
    yield Sleep("1h")


def in_memory(name: str = "") -> Place:
    space = Space(name)
    return lambda: MemoryStore(space)


WAYS = [
    "lmdb to memory",
    "memory to lmdb",
    "memory to memory",
    "lmdb to postgresql",
    "postgresql to lmdb",
    "postgresql to postgresql",
]


@pytest.fixture(params=WAYS)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Place]]:
    with ExitStack() as stack:

        def place(kind: str, name: str) -> Place:
            if kind == "postgresql":
                url = request.getfixturevalue("postgres_url")
                store = pick(url, stack.enter_context(new_schema(url)))
                return lambda: open_store(store)
            return in_memory() if kind == "memory" else lambda: LmdbStore(tmp_path / name)

        source, destination = request.param.split(" to ")
        yield [place(source, "source"), place(destination, "destination")]


def move(source: Place, destination: Place, **options: Any) -> Copied:
    with closing(source()) as here, closing(destination()) as there:
        return copy(here, there, now=1, **options)


def fill(place: Place) -> None:
    """Two runs that wait for a word, one of them with a word on its way; and one that sleeps."""
    made.clear()
    with opened(place(), waits, child, sleeps) as engine:
        for number in range(2):
            engine.start(waits(f"run-{number}"), id=f"run-{number}")
        engine.start(sleeps(), id="sleeper")
        engine.until_idle()
    with opened(place(), work=False) as client:
        client.run("run-0").send("word", "sent before")


def finish(place: Place) -> None:
    """The runs go on with what was sent, and nothing is made a second time."""
    with opened(place(), waits, child, sleeps) as engine:
        assert engine.run("sleeper").status() == "waiting"
        engine.run("run-1").send("word", "sent now")
        engine.until_idle()
        for number, word in enumerate(["sent before", "sent now"]):
            engine.run(f"run-{number}-child").send("word", "sent after")
            assert engine.run(f"run-{number}").result(TOO_LONG) == [f"run-{number} first", word, "sent after"]
    assert made == ["run-0 first", "run-1 first"]


def test_runs_that_wait_go_on_in_the_other_store(places: list[Place]) -> None:
    source, destination = places
    fill(source)
    with closing(source()) as store:
        held = count(store)
    told: list[int] = []
    assert move(source, destination, told=told.append) == Copied(held, 3)
    assert sum(told) == held
    finish(destination)


def test_a_store_to_which_runs_were_moved_can_be_moved_on(places: list[Place]) -> None:
    source, destination = places
    third = in_memory()
    fill(source)
    move(source, destination)
    move(destination, third)
    finish(third)


def test_more_than_a_page_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    source, destination = MemoryStore(), MemoryStore()
    pairs = [(f"x{number:03}".encode(), bytes(number)) for number in range(100)]
    source.commit([Batch(puts=pairs)])
    monkeypatch.setattr(copying, "PAGE", 7)
    monkeypatch.setattr(copying, "PAGE_SIZE", 300)
    assert copy(source, destination, now=1) == Copied(100, 0)
    with destination.view() as view:
        assert list(view.scan(b"x")) == pairs


CHANGES: list[Callable[[Engine], object]] = [
    lambda engine: engine.start(sleeps(), id="another"),
    lambda engine: engine.run("run-0").send("word", 1),
    lambda engine: engine.run("run-0").cancel(),
]


@pytest.mark.parametrize("change", CHANGES, ids=["start", "send", "cancel"])
def test_a_store_that_was_moved_can_be_read_and_refuses_all_else(
    places: list[Place], change: Callable[[Engine], object]
) -> None:
    source, destination = places
    fill(source)
    with opened(source(), work=False) as client:  # also one that was open before
        move(source, destination)
        with pytest.raises(StoreMoved, match="were moved to"):
            change(client)
        assert client.run("run-0").status() == "waiting"
    with closing(destination()) as there, pytest.raises(StoreMoved) as refused, opened(source(), waits, child):
        pass
    assert there.location in str(refused.value)
    with pytest.raises(StoreMoved):
        move(source, in_memory())


def test_a_retry_is_refused_too() -> None:
    @workflow
    def fails() -> Any:
        yield Save(int, "x")

    source = in_memory()
    with opened(source(), fails) as engine:
        engine.start(fails(), id="run")
        engine.until_idle()
        assert engine.run("run").status() == "failed"
    move(source, in_memory())
    with opened(source(), work=False) as client, pytest.raises(StoreMoved):
        client.run("run").retry()


@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
def test_a_store_at_which_a_worker_is_cannot_be_moved(places: list[Place], which: int) -> None:
    fill(places[0])
    worker = f"process {os.getpid()} on {socket.gethostname()}"
    with opened(places[which](), waits, child):
        with pytest.raises(StoreBusy, match=re.escape(f"{worker} executes the runs of")):
            move(*places)
        with opened(places[which](), waits), pytest.raises(StoreBusy, match=f"{worker} and {worker} execute"):
            move(*places)
    finish(places[0])


def test_what_a_worker_that_lost_its_place_still_writes_has_no_effect() -> None:
    source, destination = MemoryStore(), MemoryStore()
    source.commit([Batch(puts=[(b"crun", b"token"), (b"jrun\0", b"entry")])])
    copy(source, destination, now=1)
    assert source.commit([Batch(checks=[(b"crun", b"token")], puts=[(b"jrun\1", b"late")])]) == [False]
    with destination.view() as view:
        assert view.get(b"crun") not in (None, b"token")


def test_a_destination_that_holds_something_is_refused_and_nothing_is_changed() -> None:
    source, destination = in_memory(), in_memory()
    fill(source)
    destination().commit([Batch(puts=[(b"x", b"y")])])
    with pytest.raises(StoreError, match="empty"):
        move(source, destination)
    finish(source)


def test_a_destination_that_holds_what_another_move_has_left_is_refused_with_its_name() -> None:
    one, another, cut_off, left = (in_memory(name) for name in ("one", "another", "cut-off", "left"))
    fill(one)
    move(one, another)
    with pytest.raises(StoreError, match="still holds what was moved from it to memory://another"):
        move(another, one)
    begin(another, cut_off)
    with pytest.raises(StoreError, match="holds part of what was in memory://another"):
        move(left, cut_off)


def begin(source: Place, destination: Place) -> None:
    """A move that is cut off before its end."""
    with closing(source()) as here, closing(destination()) as there:
        _Moving(here, there, 1).begin()


def test_what_cannot_be_moved_is_known_without_a_destination(places: list[Place]) -> None:
    source, destination = places
    fill(source)
    with closing(source()) as store:
        with opened(source(), waits), pytest.raises(StoreBusy):
            check_source(store)
        check_source(store)
        begin(source, destination)
        check_source(store)  # it may be to the same one
    move(source, destination)
    with closing(source()) as store, pytest.raises(StoreMoved, match="were moved to"):
        check_source(store)


def give_up(source: Place, destination: Place) -> None:
    with closing(source()) as here, closing(destination()) as there:
        abandon(here, there)


def test_a_move_that_was_cut_off_can_be_given_up(places: list[Place]) -> None:
    source, destination = places
    fill(source)
    with pytest.raises(StoreError, match="nothing to give up"):
        give_up(source, destination)
    begin(source, destination)
    with pytest.raises(StoreMoved, match="--abandon"), opened(source(), waits, child):
        pass
    with opened(destination(), work=False) as client, pytest.raises(StoreMoved, match="--abandon"):
        client.start(sleeps(), id="another")
    give_up(source, destination)
    with closing(destination()) as store:
        assert count(store) == 0
    finish(source)


def test_a_move_that_has_arrived_is_not_given_up() -> None:
    source, destination = in_memory(), in_memory()
    fill(source)
    moving = _Moving(source(), destination(), 1)
    moving.begin()
    copied = moving.carry(lambda records: None)
    moving.arrive()
    with pytest.raises(StoreError, match="have the move done to its end"):
        give_up(source, destination)
    assert move(source, destination) == copied
    with pytest.raises(StoreError, match="nothing to give up"):
        give_up(source, destination)
    finish(destination)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
def test_giving_up_that_was_killed_is_begun_anew_and_the_runs_are_never_in_both(
    which: int, applied: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "PAGE", 5)
    for commits in numbers():
        spaces = Space("a"), Space("b")
        source, destination = (lambda: MemoryStore(spaces[0])), (lambda: MemoryStore(spaces[1]))  # noqa: B023
        dying: list[Store] = [source(), destination()]
        fill(source)
        moving = _Moving(source(), destination(), 1)
        moving.begin()
        moving.carry(lambda records: None)
        dying[which] = dies = CrashingStore(spaces[which], commits, applied=applied)
        try:
            abandon(*dying)
        except CommitUnknown:
            pass
        assert not holds_the_runs(destination)
        if not holds_the_runs(source):
            give_up(source, destination)
        finish(source)
        if not dies.dead:
            return


def test_a_move_that_fails_leaves_the_runs_where_they_are() -> None:
    source = in_memory()
    fill(source)
    with pytest.raises(CommitUnknown):
        move(source, lambda: CrashingStore(Space(), 1, applied=False))
    finish(source)


def test_a_move_that_is_interrupted_leaves_the_runs_where_they_are_and_can_be_made_again(places: list[Place]) -> None:
    source, destination = places

    def interrupt(records: int) -> None:
        raise KeyboardInterrupt

    fill(source)
    with pytest.raises(KeyboardInterrupt):
        move(source, destination, told=interrupt)
    with opened(source(), work=False) as client:
        client.start(sleeps(), id="another")
    assert move(source, destination).runs == 4
    finish(destination)


@pytest.mark.parametrize("applied", [False, True])
@pytest.mark.parametrize("which", [0, 1], ids=["source", "destination"])
def test_a_move_that_was_killed_is_begun_anew_and_the_runs_are_never_in_both(which: int, applied: bool) -> None:
    for commits in numbers():
        spaces = Space("a"), Space("b")
        source, destination = (lambda: MemoryStore(spaces[0])), (lambda: MemoryStore(spaces[1]))  # noqa: B023
        dying: list[Store] = [source(), destination()]
        fill(source)
        dying[which] = dies = CrashingStore(spaces[which], commits, applied=applied)
        try:
            copy(dying[0], dying[1], now=1)
        except CommitUnknown:
            pass
        usable = [place for place in (source, destination) if holds_the_runs(place)]
        assert len(usable) <= 1, "the runs could go on in both"
        if not usable or usable == [source]:
            move(source, destination)
        finish(destination)
        if not dies.dead:
            return


def holds_the_runs(place: Place) -> bool:
    try:
        with opened(place()) as engine:
            engine.run("run-0").status()
            return True
    except (StoreMoved, RunNotFound):
        return False
