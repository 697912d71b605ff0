"""A thread at the store, and another that lets it have its turn. No test depends on how long anything takes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from continuum.store.committer import Committer, Job
from continuum.store.lmdb import LmdbStore
from continuum.store.memory import MemoryStore
from continuum.store.protocol import Batch
from continuum.store.switching import Turn, at_the_disk

LONG = 3_600.0  # seconds; a test that waited for so long would have hung


def test_who_waits_for_a_turn_goes_on_when_that_is_at_the_disk() -> None:
    turn, at_disk, written = Turn(), threading.Event(), threading.Event()

    def work() -> None:
        with turn:
            at_the_disk()
            at_disk.set()
            written.wait()

    turn.expect()
    thread = threading.Thread(target=work)
    thread.start()
    turn.wait(LONG)
    assert at_disk.wait(LONG)
    turn.expect()
    turn.wait(LONG)  # not for the next one: this one may be there for long
    written.set()
    thread.join()


def test_who_waits_for_a_turn_goes_on_when_it_ends_without_having_been_at_the_disk() -> None:
    turn = Turn()
    turn.expect()
    with turn:
        pass
    turn.wait(LONG)


def test_a_turn_that_does_not_come_is_not_waited_for_longer_than_asked() -> None:
    turn = Turn()
    turn.expect()
    turn.wait(0.001)


def test_the_interpreter_switches_promptly_during_a_turn_and_as_usual_after_the_last() -> None:
    usual, one, other = sys.getswitchinterval(), Turn(), Turn()
    with one:
        with other:
            assert sys.getswitchinterval() < usual
        assert sys.getswitchinterval() < usual
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_others_keep_the_interpreter_for_longer_while_all_turns_are_at_the_disk() -> None:
    usual, one, other = sys.getswitchinterval(), Turn(), Turn()
    with one:
        with other:
            prompt = sys.getswitchinterval()
            at_the_disk()
            at_the_disk()
            assert sys.getswitchinterval() == prompt
            one.go_to_the_disk()
            assert prompt < sys.getswitchinterval() < usual
        assert prompt < sys.getswitchinterval() < usual
        with other:
            assert sys.getswitchinterval() == prompt
    assert sys.getswitchinterval() == pytest.approx(usual)


def test_at_the_disk_outside_of_a_turn_is_nothing() -> None:
    at_the_disk()


def put(key: bytes) -> Job[None]:
    return Job(lambda view: [(Batch(puts=[(key, b"value")]), None)], lambda job: None)


class HeldAtTheDisk(MemoryStore):
    """A store whose commits stay at the disk until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.held = threading.Event()

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        at_the_disk()
        self.held.wait()
        return super().commit(batches)


def test_a_job_that_way_is_given_to_is_waited_for_up_to_the_disk_and_no_further() -> None:
    store, delivered = HeldAtTheDisk(), threading.Event()
    committer = Committer(store, lambda jobs: delivered.set())
    committer.submit(put(b"key"), give_way=LONG)
    assert not delivered.is_set()
    store.held.set()
    committer.close()
    assert delivered.is_set()


def test_lmdb_tells_when_it_goes_to_the_disk(tmp_path: Path) -> None:
    seen: list[str] = []

    class Watched(Turn):
        def go_to_the_disk(self) -> None:
            seen.append("disk")
            super().go_to_the_disk()

        def __exit__(self, *error: Any) -> None:
            seen.append("end")
            super().__exit__(*error)

    store = LmdbStore(tmp_path / "store")
    with Watched():
        store.commit([Batch(puts=[(b"key", b"value")])])
    store.close()
    assert seen == ["disk", "end"]
