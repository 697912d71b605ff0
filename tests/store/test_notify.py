"""Wake-ups: between handles, between processes, and when nothing but asking is possible."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from continuum.store import Batch, LmdbStore, MemoryStore, notify
from continuum.store.bells import Bells, NoBells
from continuum.store.memory import Space
from continuum.store.sockets import Sockets
from continuum.store.system import system

Script = Callable[..., "subprocess.Popen[str]"]

LOUD = Batch(puts=[(b"k", b"v")], notify=True)
QUIET = Batch(puts=[(b"k", b"v")])

WATCHER = """
import threading
from continuum.store import notify
store = LmdbStore(path)
woken = threading.Event()
watch = store.watch(woken.set)
say("ready")
say(woken.wait(30))
"""

COMMITTER = """
store = LmdbStore(path)
for line in sys.stdin:
    store.commit([Batch(puts=[(b"k", line.encode())], notify=True)])
    say("done")
"""


class Count:
    """A waiter that notes how often it was woken, and can be waited for."""

    def __init__(self) -> None:
        self.calls = 0
        self.woken = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        self.woken.set()

    def came(self) -> bool:
        return self.woken.wait(30)


def sockets(path: str) -> list[str]:
    return os.listdir(os.path.join(path, "notify"))


def line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def ask(child: subprocess.Popen[str]) -> None:
    """Let a committer commit once."""
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()
    assert line(child) == "done"


@pytest.fixture
def only_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is woken was woken by a bell: nobody looks by himself."""
    monkeypatch.setattr(notify, "HEARTBEAT", None)


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "bells_in", lambda path: NoBells())


def test_handles_of_one_process_wake_each_other_and_not_themselves(path: str, only_bells: None) -> None:
    one, two = LmdbStore(path), LmdbStore(path)
    own, other = Count(), Count()
    one.watch(own)
    two.watch(other)
    one.commit([LOUD, LOUD])
    assert (own.calls, other.calls) == (0, 1)
    one.close()
    two.close()


def bind(bells: Bells) -> socket.socket:
    bound = bells.bind()
    assert bound is not None, "there are no sockets here"
    return bound[0]


@pytest.mark.parametrize(("age", "heard"), [(0, 2), (10**10, 1)])
def test_the_directory_is_read_again_while_its_clock_may_hide_a_change(tmp_path: Path, age: int, heard: int) -> None:
    bells = Sockets(str(tmp_path))
    stamp = time.time_ns() - age
    bound = []
    for _ in range(2):
        bound.append(bind(bells))
        os.utime(tmp_path, ns=(stamp, stamp))
        bells.ring(None)
    assert len([bell for bell in bound if select.select([bell], [], [], 0)[0]]) == heard
    bells.close()
    for bell in bound:
        bell.close()


def test_only_what_was_applied_and_is_loud_wakes(path: str, only_bells: None) -> None:
    one, two = LmdbStore(path), LmdbStore(path)
    count = Count()
    watch = two.watch(count)
    refused = Batch(checks=[(b"k", b"nothing of the kind")], notify=True)
    assert one.commit([QUIET, refused]) == [True, False]
    assert count.calls == 0
    watch.close()
    watch.close()
    one.commit([LOUD])
    assert count.calls == 0
    one.close()
    two.close()


def test_a_waiter_that_fails_does_not_fail_the_commit(path: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    one, two = LmdbStore(path), LmdbStore(path)
    count = Count()
    two.watch(fail)
    two.watch(count)
    assert one.commit([LOUD]) == [True]
    assert count.calls == 1
    assert "ZeroDivisionError" in caplog.text
    one.close()
    two.close()


def test_every_watcher_of_a_memory_store_is_woken() -> None:
    space = Space()
    one, two = MemoryStore(space), MemoryStore(space)
    counts = [Count(), Count(), Count()]
    watches = [one.watch(counts[0]), two.watch(counts[1]), two.watch(counts[2])]
    one.commit([QUIET])
    watches[2].close()
    one.commit([LOUD])
    assert [count.calls for count in counts] == [1, 1, 0]
    two.close()
    one.commit([LOUD])
    assert [count.calls for count in counts] == [2, 1, 0]


def test_another_process_is_woken(path: str, script: Script, only_bells: None) -> None:
    store = LmdbStore(path)
    child = script(WATCHER.replace("store =", "notify.HEARTBEAT = None; store ="), path)
    assert line(child) == "ready"
    assert len(sockets(path)) == 1
    store.commit([LOUD])
    assert line(child) == "True"
    child.wait(30)
    assert sockets(path) == []
    store.close()


def test_one_process_is_woken_again_and_again(path: str, script: Script, only_bells: None) -> None:
    store = LmdbStore(path)
    child = script(COMMITTER, path)
    count = Count()
    watch = store.watch(count)
    for _ in range(5):
        count.woken.clear()
        ask(child)
        assert count.came()
    watch.close()
    assert sockets(path) == []
    store.close()


def test_a_watch_after_the_last_one_closed_works_as_well(path: str, script: Script, only_bells: None) -> None:
    store = LmdbStore(path)
    child = script(COMMITTER, path)
    store.watch(Count()).close()
    ask(child)
    count = Count()
    store.watch(count)
    ask(child)
    assert count.came()
    store.close()


def test_the_socket_of_a_dead_process_is_removed(path: str, script: Script) -> None:
    store = LmdbStore(path)
    child = script(WATCHER, path)
    assert line(child) == "ready"
    child.kill()
    child.wait()
    assert len(sockets(path)) == 1
    store.commit([LOUD])
    assert sockets(path) == []
    store.close()


def test_a_forked_child_does_not_keep_its_parents_socket_alive(path: str, script: Script) -> None:
    store = LmdbStore(path)
    parent = script(
        """
        watch = LmdbStore(path).watch(print)
        if not os.fork():
            say("forked")
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """,
        path,
    )
    assert line(parent) == "forked"
    parent.kill()
    parent.wait()
    store.commit([LOUD])
    assert sockets(path) == []
    store.close()


def test_a_path_too_long_for_a_socket_works(tmp_path: Path, script: Script, only_bells: None) -> None:
    long = str(tmp_path / ("a" * 100) / ("b" * 100) / "store")
    store = LmdbStore(long)
    child = script(COMMITTER, long)
    count = Count()
    store.watch(count)
    ask(child)
    assert count.came()
    store.close()
    assert sockets(long) == []


def test_without_sockets_the_store_is_asked(path: str, script: Script, no_sockets: None) -> None:
    store = LmdbStore(path)
    child = script(COMMITTER, path)
    count = Count()
    store.watch(count)
    ask(child)
    assert count.came()
    assert sockets(path) == []
    store.close()


@pytest.mark.parametrize("own_commit_between", [False, True])
def test_a_lost_wake_up_is_made_up_for(
    path: str, script: Script, monkeypatch: pytest.MonkeyPatch, own_commit_between: bool
) -> None:
    store = LmdbStore(path)
    child = script(COMMITTER + "\n", path)
    ask(child)
    ask(child)
    if own_commit_between:
        store.commit([QUIET])
    count = Count()
    monkeypatch.setattr(notify, "HEARTBEAT", 0.01)
    store.watch(count)
    assert count.came()
    store.close()


def test_own_commits_do_not_wake(path: str) -> None:
    store = LmdbStore(path)
    opened = store._environment
    assert store.commit([LOUD, QUIET]) == [True, True]
    assert store.commit([Batch(checks=[(b"k", b"x")])]) == [False]
    assert store.commit([Batch()]) == [True]
    assert store.commit([LOUD]) == [True]
    assert not opened._moved()
    store.close()
