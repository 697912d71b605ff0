"""Locks by name: one holder at a time, in whatever process, until it lets go or dies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from continuum.errors import BadValue, InsecureStore, StoreClosed, StoreError
from continuum.store import LmdbStore, MemoryStore, Store
from continuum.store.memory import Space

Script = Callable[..., "subprocess.Popen[str]"]
Opener = Callable[[], Store]


@pytest.fixture(params=["lmdb", "memory"])
def open_handle(request: pytest.FixtureRequest, path: str) -> Iterator[Opener]:
    """Opens further handles of one store."""
    space = Space()
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(LmdbStore(path) if request.param == "lmdb" else MemoryStore(space))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


def test_a_lock_has_one_holder(open_handle: Opener) -> None:
    one, two = open_handle(), open_handle()
    hold = one.hold("worker")
    assert hold is not None
    assert one.hold("worker") is None
    assert two.hold("worker") is None
    assert two.hold("another") is not None
    hold.release()
    hold.release()
    after = two.hold("worker")
    assert after is not None
    hold.release()
    assert one.hold("worker") is None


def test_closing_a_handle_gives_its_locks_back(open_handle: Opener) -> None:
    one, two = open_handle(), open_handle()
    assert one.hold("worker") is not None
    assert two.hold("other") is not None
    one.close()
    assert two.hold("worker") is not None
    assert two.hold("other") is None
    with pytest.raises(StoreClosed):
        one.hold("worker")


@pytest.mark.parametrize("name", ["../../up", "a/b", ".", "..", "nul\0", "größe", "%", "x" * 200])
def test_any_text_is_a_name(path: str, open_handle: Opener, name: str) -> None:
    store = open_handle()
    hold = store.hold(name)
    assert hold is not None
    assert store.hold(name) is None
    assert not Path(path, "..", "..", "up.lock").exists()
    hold.release()


@pytest.mark.parametrize("name", ["", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused(path: str, name: str) -> None:
    store = LmdbStore(path)
    with pytest.raises(BadValue):
        store.hold(name)
    store.close()


def test_a_lock_keeps_other_processes_out_until_its_holder_is_killed(path: str, script: Script) -> None:
    store = LmdbStore(path)
    child = script("hold = LmdbStore(path).hold('w'); say(hold is not None); sys.stdin.read()", path)
    assert child.stdout is not None
    assert child.stdout.readline() == "True\n"
    assert store.hold("w") is None
    assert Path(path, "locks", "w.lock").read_text() == f"{child.pid}\n"
    child.kill()
    child.wait()
    assert store.hold("w") is not None
    store.close()


def test_a_forked_child_does_not_keep_its_parents_lock(path: str, script: Script) -> None:
    store = LmdbStore(path)
    parent = script(
        """
        hold = LmdbStore(path).hold("w")
        if not os.fork():
            say("forked")
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """,
        path,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "forked\n"
    assert store.hold("w") is None
    parent.kill()
    parent.wait()
    assert store.hold("w") is not None
    store.close()


def test_released_locks_leave_no_files(path: str) -> None:
    store = LmdbStore(path)
    holds = [store.hold(f"worker-{number}") for number in range(5)]
    assert len(os.listdir(os.path.join(path, "locks"))) == 5
    for hold in holds[:3]:
        assert hold is not None
        hold.release()
    store.close()
    assert os.listdir(os.path.join(path, "locks")) == []


def test_a_link_in_place_of_a_lock_is_not_followed(path: str, tmp_path: Path) -> None:
    store = LmdbStore(path)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.symlink(victim, os.path.join(path, "locks", "w.lock"))
    with pytest.raises((StoreError, InsecureStore)):
        store.hold("w")
    assert victim.read_text() == "precious"
    store.close()
