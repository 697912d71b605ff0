"""How a store comes to be, and which directories are refused: without a change to them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest

from continuum.errors import InsecureStore, StoreError, StoreFull, UnsupportedStore
from continuum.store import Batch, LmdbStore
from continuum.store.bounds import STAMP
from continuum.store.directory import MOST_READERS

Output = Callable[..., str]
Script = Callable[..., "subprocess.Popen[str]"]


def made(path: str) -> str:
    LmdbStore(path).close()
    return path


def is_usable(path: str) -> bool:
    store = LmdbStore(path)
    store.commit([Batch(puts=[(b"k", b"v")])])
    store.close()
    return not [name for name in os.listdir(path) if name.startswith(".new-")]


def fingerprint(path: str | Path) -> dict[str, tuple[int, str]]:
    """The mode and content of everything below `path`."""
    found = {}
    for place in sorted([Path(path), *Path(path).rglob("*")]):
        content = place.read_bytes() if place.is_file() else b""
        found[str(place)] = (place.lstat().st_mode, hashlib.sha256(content).hexdigest())
    return found


def refusal(path: str, kind: type[StoreError], create: bool = True) -> str:
    """What opening says, once it is certain that it changed nothing."""
    before = fingerprint(os.path.dirname(path))
    with pytest.raises(kind) as caught:
        LmdbStore(path, create=create)
    assert fingerprint(os.path.dirname(path)) == before
    return str(caught.value)


def other_lmdb(path: str, pairs: dict[bytes, bytes]) -> None:
    with lmdb.open(path, lib_version=0) as env, env.begin(write=True) as txn:
        for key, value in pairs.items():
            txn.put(key, value)


# Creation


def test_a_store_is_made_with_its_parents_and_for_its_owner_alone(path: str) -> None:
    deep = os.path.join(path, "a", "b")
    LmdbStore(deep).close()
    assert stat.S_IMODE(os.stat(deep).st_mode) == 0o700
    assert {"data.mdb", "lock.mdb"} <= set(os.listdir(deep))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_modes_do_not_depend_on_the_umask(path: str, output: Output, umask: int) -> None:
    output(
        """
        os.umask(int(sys.argv[2]))
        store = LmdbStore(path)
        watch = store.watch(print)
        hold = store.hold("h")
        os._exit(0)
        """,
        path,
        str(umask),
    )
    modes = {str(p): stat.S_IMODE(p.lstat().st_mode) for p in [Path(path), *Path(path).rglob("*")]}
    wanted = {place: 0o700 if os.path.isdir(place) else 0o600 for place in modes}
    assert modes == wanted
    assert len(modes) >= 7


def test_an_empty_directory_becomes_a_store(path: str) -> None:
    os.mkdir(path, 0o755)
    assert is_usable(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o700


def test_a_directory_that_others_may_write_to_is_refused_even_if_empty(path: str) -> None:
    os.mkdir(path)
    os.chmod(path, 0o777)
    assert f"chmod 700 {path}" in refusal(path, InsecureStore)


def test_two_processes_that_create_at_once_share_one_store(tmp_path: Path, script: Script) -> None:
    code = """
        for number in range(40):
            store = LmdbStore(os.path.join(path, str(number)))
            store.commit([Batch(puts=[(sys.argv[2].encode(), b"")])])
            store.close()
        """
    children = [script(code, str(tmp_path), name) for name in ("one", "two")]
    assert [child.wait(60) for child in children] == [0, 0]
    for number in range(40):
        store = LmdbStore(tmp_path / str(number))
        with store.view() as view:
            assert [key for key, _ in view.scan(b"")] == [b"one", b"two"]
        store.close()


def test_a_creator_killed_at_any_call_leaves_nothing_that_cannot_be_opened(tmp_path: Path, output: Output) -> None:
    deaths = output(
        """
        def create(store, after):
            seen = 0
            def count(event, arguments):
                nonlocal seen
                if event == "open" or event.startswith(("os.", "fcntl.")):
                    seen += 1
                    if seen > after:
                        die()
            sys.addaudithook(count)
            LmdbStore(store).close()
            os._exit(0)

        after = 0
        while True:
            store = os.path.join(path, str(after))
            child = os.fork()
            if not child:
                create(store, after)
            if os.waitpid(child, 0)[1] == 0:
                break
            after += 1
        say(after)
        """,
        str(tmp_path),
    )
    assert int(deaths) > 10
    assert all(is_usable(str(tmp_path / str(number))) for number in range(int(deaths)))


def test_a_creator_killed_at_any_moment_leaves_nothing_that_cannot_be_opened(tmp_path: Path, output: Output) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    output(
        """
        import random, time
        moments = random.Random(int(sys.argv[2]))
        for number in range(60):
            child = os.fork()
            if not child:
                LmdbStore(os.path.join(path, str(number))).close()
                os._exit(0)
            time.sleep(moments.uniform(0, 0.006))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        """,
        str(tmp_path),
        str(seed),
    )
    assert all(is_usable(str(tmp_path / str(number))) for number in range(60))


@pytest.mark.skipif(sys.platform == "win32", reason="files have no holes there unless they ask for them")
def test_the_file_that_is_mapped_for_writing_has_no_holes_that_a_full_disk_could_not_fill(path: str) -> None:
    lock = os.path.join(made(path), "lock.mdb")
    for _ in range(2):
        size = os.path.getsize(lock)
        with lmdb.open(path, max_readers=MOST_READERS, lib_version=0, create=False) as env:
            env.readers()
        assert os.path.getsize(lock) == size, "LMDB made it longer"
        with open(lock, "rb") as file:
            os.fsync(file)
        assert os.stat(lock).st_blocks * 512 >= size
        os.unlink(lock)
        made(path)


def test_a_disk_that_is_full_when_the_store_is_made_is_said_to_be_full(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("continuum.store.directory._make_private", full)
        with pytest.raises(StoreFull, match=path):
            LmdbStore(path)
    assert os.listdir(path) == []
    assert is_usable(path)


def test_nothing_is_made_where_nothing_is_to_be_made(path: str) -> None:
    assert f"there is no store at {path}" in refusal(path, UnsupportedStore, create=False)
    os.mkdir(path)
    assert f"there is no store at {path}" in refusal(path, UnsupportedStore, create=False)


def test_a_data_file_alone_is_a_whole_store(path: str) -> None:
    made(path)
    for name in set(os.listdir(path)) - {"data.mdb"}:
        place = os.path.join(path, name)
        shutil.rmtree(place) if os.path.isdir(place) else os.unlink(place)
    assert is_usable(path)


# What is not ours


def test_a_file_is_refused(path: str) -> None:
    Path(path).write_text("mine")
    assert "is a file" in refusal(path, UnsupportedStore)


def test_a_path_below_a_file_is_refused(path: str) -> None:
    Path(path).write_text("mine")
    with pytest.raises(StoreError, match="store"):
        LmdbStore(os.path.join(path, "below"))


def test_a_directory_of_another_program_is_refused(path: str) -> None:
    os.mkdir(path)
    Path(path, "thesis.tex").write_text("mine")
    assert "another program: it holds thesis.tex" in refusal(path, UnsupportedStore)


def test_a_lock_file_without_data_is_refused(path: str) -> None:
    os.unlink(os.path.join(made(path), "data.mdb"))
    assert "no data.mdb" in refusal(path, UnsupportedStore)


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100_000])
def test_a_data_file_that_is_not_lmdbs_is_refused(path: str, content: bytes) -> None:
    os.mkdir(path)
    Path(path, "data.mdb").write_bytes(content)
    os.chmod(os.path.join(path, "data.mdb"), 0o600)
    assert "not an LMDB file" in refusal(path, UnsupportedStore)


def test_lmdb_data_of_another_program_is_refused(path: str) -> None:
    other_lmdb(path, {b"their": b"key"})
    os.chmod(path, 0o700)
    assert "another program" in refusal(path, UnsupportedStore)


@pytest.mark.parametrize("stamp", [json.dumps({"format": 2}).encode(), b"{}", b"[]", b"\xff"])
def test_another_format_is_refused(path: str, stamp: bytes) -> None:
    other_lmdb(path, {STAMP: stamp})
    os.chmod(path, 0o700)
    message = refusal(path, UnsupportedStore)
    assert "not a store" in message or "format 2, this version of continuum reads format 1" in message


def test_a_store_of_another_format_keeps_its_data(path: str) -> None:
    other_lmdb(made(path), {STAMP: b'{"format": 7}'})
    before = Path(path, "data.mdb").read_bytes()
    with pytest.raises(UnsupportedStore, match="format 7"):
        LmdbStore(path)
    assert Path(path, "data.mdb").read_bytes() == before


# Who may reach it


def test_a_linked_directory_is_refused(path: str) -> None:
    made(path + "-real")
    os.symlink(path + "-real", path)
    assert "symbolic link" in refusal(path, InsecureStore)
    assert "symbolic link" in refusal(path + "/", InsecureStore)


@pytest.mark.parametrize("name", ["data.mdb", "lock.mdb", "locks", "notify"])
def test_linked_files_are_refused(path: str, name: str) -> None:
    place = os.path.join(made(path), name)
    os.rename(place, path + "-" + name)
    os.symlink(path + "-" + name, place)
    refusal(path, InsecureStore)


@pytest.mark.parametrize("name", ["", "data.mdb", "lock.mdb", "locks", "notify"])
def test_what_others_may_write_to_is_refused(path: str, name: str) -> None:
    place = os.path.join(made(path), name) if name else made(path)
    os.chmod(place, stat.S_IMODE(os.stat(place).st_mode) | 0o020)
    assert "chmod" in refusal(path, InsecureStore)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["", "data.mdb"])
def test_what_belongs_to_another_user_is_refused(path: str, name: str) -> None:
    place = os.path.join(made(path), name) if name else made(path)
    os.chown(place, 12345, -1)
    assert "belongs to user 12345" in refusal(path, InsecureStore)
