"""The LMDB store when things go wrong: full disks, failed commits, forks, kills, replaced files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lmdb
import pytest

from continuum.errors import BadValue, CommitUnknown, StoreBusy, StoreClosed, StoreError, StoreFull
from continuum.store import Batch, LmdbStore, directory, environment

Output = Callable[..., str]
Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def store(path: str) -> Iterator[LmdbStore]:
    made = LmdbStore(path)
    yield made
    made.close()


def put(key: bytes, value: bytes = b"") -> Batch:
    return Batch(puts=[(key, value)])


def keys_in(store: LmdbStore) -> list[bytes]:
    with store.view() as view:
        return [key for key, _ in view.scan(b"")]


# No room


def fill(store: LmdbStore, size: int = 40_000, most: int = 10_000) -> list[bytes]:
    """Commit until there is no room; gives the keys that were acknowledged."""
    done: list[bytes] = []
    with pytest.raises(StoreFull, match="nothing was recorded"):
        _fill(store, size, most, done)
    return done


def _fill(store: LmdbStore, size: int, most: int, done: list[bytes]) -> None:
    for number in range(most):
        store.commit([put(b"%06d" % number, b"x" * size)])
        done.append(b"%06d" % number)


def test_a_full_map_changes_nothing_and_a_larger_one_goes_on(path: str) -> None:
    store = LmdbStore(path, map_size=1 << 20)
    done = fill(store)
    with pytest.raises(StoreFull, match="larger map_size"):
        store.commit([put(b"small"), put(b"large", b"x" * (1 << 20))])
    assert keys_in(store) == done
    assert store.commit([Batch(deletes=[done[0]])]) == [True]
    store.close()
    store = LmdbStore(path, map_size=1 << 24)
    assert store.commit([put(b"large", b"x" * (1 << 20))]) == [True]
    assert keys_in(store) == [*done[1:], b"large"]
    store.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[str]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted")
    yield str(disk)
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("size", [100, 40_000, 1_500_000])
def test_a_full_disk_changes_nothing_and_room_lets_it_go_on(small_disk: str, size: int) -> None:
    ballast = Path(small_disk, "ballast")
    ballast.write_bytes(b"x" * 1_000_000)
    store = LmdbStore(os.path.join(small_disk, "store"))
    done = fill(store, size)
    with pytest.raises(StoreFull, match="bytes are free"):
        store.commit([put(b"large", b"x" * (1 << 21))])
    assert keys_in(store) == done
    ballast.unlink()
    assert store.commit([put(b"z")]) == [True]
    assert keys_in(store) == [*done, b"z"]
    store.close()


def test_a_mount_point_can_be_a_store(small_disk: str) -> None:
    store = LmdbStore(small_disk)
    assert store.commit([put(b"a")]) == [True]
    store.close()


def test_no_store_is_made_on_a_full_disk(small_disk: str) -> None:
    Path(small_disk, "ballast").write_bytes(b"x" * ((2 << 20) - 4096))
    with pytest.raises(StoreError, match=r"room|space"):
        LmdbStore(os.path.join(small_disk, "store"))
    Path(small_disk, "ballast").unlink()
    LmdbStore(os.path.join(small_disk, "store")).close()


def test_a_file_at_its_size_limit_is_like_a_full_disk(path: str, output: Output) -> None:
    printed = output(
        """
        import resource
        store = LmdbStore(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
        done = 0
        try:
            while True:
                store.commit([Batch(puts=[(b"%06d" % done, b"x" * 3000)])])
                done += 1
        except StoreFull:
            pass
        with store.view() as view:
            assert len(list(view.scan(b""))) == done > 10
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        say(store.commit([Batch(puts=[(b"z", b"")])]))
        """,
        path,
    )
    assert printed == "[True]"


# An outcome that nobody knows


class Failing:
    """Stands before an lmdb object; what `faults` names raises the error instead."""

    def __init__(self, target: Any, faults: dict[str, lmdb.Error]) -> None:
        self._target = target
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        if name in self._faults:
            if name == "commit":
                # As LMDB does: a commit that fails ends its transaction.
                self._target.abort()
            raise self._faults[name]
        return getattr(self._target, name)

    def begin(self, **options: bool) -> Any:
        return Failing(self._target.begin(**options), self._faults)


def fault(kind: type[lmdb.Error], code: int) -> lmdb.Error:
    error = kind("injected")
    error.__dict__["code"] = code
    return error


def break_commits(monkeypatch: pytest.MonkeyPatch, store: LmdbStore, fault: lmdb.Error) -> None:
    opened = store._environment
    monkeypatch.setattr(opened, "_lmdb", Failing(opened._lmdb, {"commit": fault}))


def test_after_a_commit_of_unknown_outcome_nothing_is_done_until_reopened(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LmdbStore(path)
    store.commit([put(b"before")])
    with monkeypatch.context() as broken:
        break_commits(broken, store, fault(lmdb.Error, errno.EIO))
        with pytest.raises(CommitUnknown, match="open the store again"):
            store.commit([put(b"lost")])
    for refused in (lambda: store.commit([put(b"after")]), lambda: keys_in(store), lambda: LmdbStore(path)):
        with pytest.raises(CommitUnknown):
            refused()
    store.close()
    store = LmdbStore(path)
    assert store.commit([put(b"after")]) == [True]
    assert keys_in(store) == [b"after", b"before"]
    store.close()


def test_a_disk_that_says_full_after_the_fact_is_not_believed(
    store: LmdbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = store._environment
    broken = Failing(opened._lmdb, {"commit": fault(lmdb.DiskError, errno.ENOSPC)})
    monkeypatch.setattr(opened, "_lmdb", broken)
    monkeypatch.setattr(opened, "_last", lambda: 1 << 40)
    with pytest.raises(CommitUnknown):
        store.commit([put(b"k")])


def test_an_error_before_the_commit_is_no_unknown_outcome(store: LmdbStore, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = store._environment
    with monkeypatch.context() as broken:
        broken.setattr(opened, "_lmdb", Failing(opened._lmdb, {"cursor": fault(lmdb.CorruptedError, -30796)}))
        with pytest.raises(StoreError, match="damaged"):
            store.commit([put(b"k")])
    assert store.commit([put(b"k")]) == [True]


# Handles and threads


def test_two_handles_share_what_is_open_and_the_last_closes_it(path: str) -> None:
    one, two = LmdbStore(path), LmdbStore(os.path.join(path, "..", "store"))
    one.commit([put(b"a")])
    one.close()
    one.close()
    assert keys_in(two) == [b"a"]
    with pytest.raises(StoreClosed):
        one.view()
    two.close()
    with pytest.raises(StoreClosed):
        two.commit([])


def test_one_process_has_one_durability_for_a_store(path: str, store: LmdbStore) -> None:
    with pytest.raises(StoreBusy, match="durability='power'"):
        LmdbStore(path, durability="process")
    store.close()
    LmdbStore(path, durability="process").close()


def test_a_durability_that_does_not_exist_is_refused(path: str) -> None:
    with pytest.raises(BadValue, match="'maybe'"):
        LmdbStore(path, durability="maybe")
    assert not os.path.exists(path)


def test_a_view_outlives_the_closing_of_its_store(path: str) -> None:
    store = LmdbStore(path)
    store.commit([put(b"a", b"1")])
    with store.view() as view:
        store.close()
        assert view.get(b"a") == b"1"
        again = LmdbStore(path)
        again.commit([put(b"a", b"2")])
        again.close()
        assert view.get(b"a") == b"1"
    again = LmdbStore(path, durability="process")
    again.close()


def test_closing_while_others_work_hurts_nobody(path: str) -> None:
    for _ in range(20):
        store = LmdbStore(path, durability="process")
        under_way = threading.Barrier(4)
        ended: list[bool] = []

        def work(store: LmdbStore = store, under_way: Any = under_way, ended: list[bool] = ended) -> None:
            keys_in(store)
            under_way.wait()
            with contextlib.suppress(StoreClosed):
                while True:
                    store.commit([put(b"k")])
                    keys_in(store)
            ended.append(True)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        under_way.wait()
        store.close()
        for thread in threads:
            thread.join()
        assert len(ended) == 3


def test_threads_commit_one_after_the_other(store: LmdbStore) -> None:
    def count() -> None:
        for _ in range(50):
            while True:
                with store.view() as view:
                    now = view.get(b"n")
                swap = Batch(checks=[(b"n", now)], puts=[(b"n", b"%d" % (int(now or 0) + 1))])
                if store.commit([swap]) == [True]:
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with store.view() as view:
        assert view.get(b"n") == b"200"


# Other processes


def test_a_forked_child_is_refused_and_may_open_anew(path: str, output: Output) -> None:
    printed = output(
        """
        store = LmdbStore(path)
        store.commit([Batch(puts=[(b"a", b"1")])])
        hold = store.hold("h")
        watch = store.watch(print)
        with store.view() as view:
            if not (child := os.fork()):
                for use in (lambda: store.commit([]), store.view, lambda: view.get(b"a"),
                            lambda: store.hold("x"), lambda: store.watch(print), lambda: LmdbStore(path)):
                    try: use()
                    except ForkedStore: say("refused")
                view.__exit__(None, None, None)
                store.close()
                os._exit(0)
            os.waitpid(child, 0)
            assert "-" not in store._environment._lmdb.readers(), "the child ended our read transaction"
            say(view.get(b"a"))
        if not (child := os.fork()):
            say(LmdbStore(path).commit([Batch(puts=[(b"child", b"")])]))
            os._exit(0)
        os.waitpid(child, 0)
        with store.view() as view:
            say(view.get(b"child"))
        say(store.commit([Batch(puts=[(b"parent", b"")])]))
        store.close()
        """,
        path,
    )
    assert printed.split("\n") == ["refused"] * 6 + ["b'1'", "[True]", "b''", "[True]"]


def test_a_child_forked_during_a_commit_is_refused_and_does_not_hang(path: str, output: Output) -> None:
    printed = output(
        """
        import gc, threading
        inside, go_on = threading.Event(), threading.Event()
        class Slow(list):
            def __iter__(self):
                inside.set()
                go_on.wait()
                yield b"k", b"v"
        store = LmdbStore(path)
        thread = threading.Thread(target=store.commit, args=([Batch(puts=Slow())],))
        thread.start()
        inside.wait()
        if not (child := os.fork()):
            signal.alarm(20)
            store.close()
            try: LmdbStore(path)
            except ForkedStore: say("refused")
            del store, thread
            gc.collect()
            os._exit(0)
        say(os.waitpid(child, 0)[1])
        go_on.set()
        thread.join()
        with store.view() as view:
            say(view.get(b"k"))
        """,
        path,
    )
    assert printed.split("\n") == ["refused", "0", "b'v'"]


def test_a_process_killed_inside_a_commit_stops_nobody(path: str, store: LmdbStore, script: Script) -> None:
    child = script(
        """
        class Deadly(list):
            def __iter__(self):
                yield b"half", b""
                die()
        store = LmdbStore(path)
        store.commit([Batch(puts=[(b"whole", b"")])])
        store.commit([Batch(puts=[(b"first", b"")]), Batch(puts=Deadly())])
        """,
        path,
    )
    assert child.wait(30) == -9
    assert store.commit([put(b"next")]) == [True]
    assert keys_in(store) == [b"next", b"whole"]


def test_dead_readers_make_room_for_new_ones(path: str, script: Script) -> None:
    store = LmdbStore(path)
    child = script(
        """
        from continuum.store.directory import MOST_READERS
        views = [LmdbStore(path).view() for _ in range(MOST_READERS)]
        try:
            for view in views: view.__enter__()
        except StoreError: say("full")
        else: say("all")
        die()
        """,
        path,
    )
    assert child.wait(30) == -9
    assert keys_in(store) == []
    store.close()


def test_opening_clears_what_dead_readers_left(path: str, script: Script) -> None:
    other = script("store = LmdbStore(path); say('open'); sys.stdin.read()", path)
    assert other.stdout is not None
    assert other.stdout.readline() == "open\n"
    child = script("view = LmdbStore(path).view(); view.__enter__(); die()", path)
    assert child.wait(30) == -9
    store = LmdbStore(path)
    assert str(child.pid) not in store._environment._lmdb.readers()
    store.close()


def test_more_views_than_there_is_room_for_are_refused(store: LmdbStore) -> None:
    with ExitStack() as stack:
        for _ in range(directory.MOST_READERS):
            stack.enter_context(store.view())
        with pytest.raises(StoreError, match="READERS_FULL"):
            stack.enter_context(store.view())
    assert keys_in(store) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_a_store_deleted_under_its_users_takes_no_more_writes(
    path: str, monkeypatch: pytest.MonkeyPatch, replaced: bool
) -> None:
    monkeypatch.setattr(environment, "LOOK", 0)
    store = LmdbStore(path)
    store.commit([put(b"a")])
    shutil.rmtree(path)
    if replaced:
        LmdbStore(path).close()
    for _ in range(2):
        with pytest.raises(StoreError, match="deleted, moved or replaced"):
            store.commit([put(b"b")])
    with pytest.raises(StoreError, match="deleted, moved or replaced"):
        store.view()
    store.close()
    store = LmdbStore(path)
    assert keys_in(store) == []
    store.close()


def test_what_the_environment_says_does_not_change_the_format(
    path: str, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMDB_DEFAULT_LIB_VERSION", "1")
    output("LmdbStore(path).close()", path)
    with lmdb.open(path, create=False) as env:
        assert env.lib_version()[0] == 0


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="a file that is mapped cannot be made longer safely")
def test_a_data_file_that_was_cut_off_is_told_to_be_damaged_and_kills_nobody(path: str, output: Output) -> None:
    whole = LmdbStore(path)
    for number in range(50):
        whole.commit([Batch(puts=[(b"%d" % number, bytes(5_000))])])
    whole.close()
    os.truncate(os.path.join(path, "data.mdb"), 3 * 4_096)
    printed = output(
        """
        try:
            LmdbStore(path)
        except StoreError as error:
            say(type(error).__name__, "CORRUPTED" in str(error))
        """,
        path,
    )
    assert printed == "UnsupportedStore True"
