"""The modules of the operating systems; that of Windows with a stand-in for what only Windows has."""

from __future__ import annotations

import fcntl
import importlib
import inspect
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from continuum.store import Batch, LmdbStore, locks, posix

Output = Callable[..., str]


def locking(fd: int, mode: int, size: int) -> None:
    """What Windows says when another has locked the byte."""
    assert (mode, size) == (2, 1)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(*error.args) from None


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of Windows, in the place of that of this system."""
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(LK_NBLCK=2, locking=locking))
    module = importlib.import_module("continuum.store.windows")
    store = [user for name, user in sys.modules.items() if name.startswith("continuum.store.")]
    users = [user for user in store if getattr(user, "system", None) is posix]
    assert len(users) > 5
    for user in users:
        monkeypatch.setattr(user, "system", module)
    return module


def test_both_offer_the_same(windows: ModuleType) -> None:
    assert windows.__all__ == posix.__all__
    for name in posix.__all__:
        ours, theirs = getattr(posix, name), getattr(windows, name)
        if callable(ours):
            assert list(inspect.signature(theirs).parameters) == list(inspect.signature(ours).parameters)
        else:
            assert type(theirs) is type(ours)


def test_a_store_of_windows_is_made_used_and_opened_again(path: str, windows: ModuleType) -> None:
    for name in (b"one", b"two"):
        store = LmdbStore(path, map_size=windows.MAP_SIZE)
        assert store.commit([Batch(puts=[(name, b"")], notify=True)]) == [True]
        with store.view() as view:
            found = [key for key, _ in view.scan(b"")]
        store.close()
    assert found == [b"one", b"two"]


def test_what_a_creator_left_stays_where_nobody_can_be_sure_that_it_died(path: str, windows: ModuleType) -> None:
    os.makedirs(os.path.join(path, ".new-0"), 0o700)
    LmdbStore(path).close()
    LmdbStore(path).close()
    assert {".new-0", "data.mdb"} <= set(os.listdir(path))


def test_a_lock_of_windows_has_one_holder(path: str, windows: ModuleType) -> None:
    one, two = LmdbStore(path), LmdbStore(path)
    hold = one.hold("worker")
    assert hold is not None
    assert two.hold("worker") is None
    assert Path(path, "locks", "worker.lock").read_text() == f"{os.getpid()}\n"
    hold.release()
    assert two.hold("worker") is not None
    one.close()
    two.close()


def test_a_lock_file_is_closed_before_windows_is_asked_to_delete_it(
    tmp_path: Path, windows: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlink(path: str) -> None:
        opened = os.stat(path)
        others = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        if any(os.path.exists(other) and os.path.samestat(os.stat(other), opened) for other in others):
            raise PermissionError
        os.remove(path)

    hold = locks.take(str(tmp_path), "worker")
    assert hold is not None
    monkeypatch.setattr(os, "unlink", unlink)
    hold.release()
    assert os.listdir(tmp_path) == []


def test_another_process_is_heard_of_by_looking(path: str, windows: ModuleType, output: Output) -> None:
    store = LmdbStore(path)
    woken = threading.Event()
    store.watch(woken.set)
    assert os.listdir(os.path.join(path, "notify")) == []
    output("LmdbStore(path).commit([Batch(puts=[(b'k', b'v')], notify=True)])", path)
    assert woken.wait(30)
    store.close()
