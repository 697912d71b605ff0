"""What an engine may be given as its store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from continuum.errors import BadValue, StoreBusy, StoreClosed, StoreError, UnsupportedStore
from continuum.store import Batch, LmdbStore, MemoryStore, Store, open_store
from continuum.store.opening import without_secrets


def read(store: Store) -> bytes | None:
    with store.view() as view:
        return view.get(b"k")


@pytest.mark.parametrize("form", [str, Path, lambda path: f"lmdb://{path}", lambda path: f"LMDB://{path}"])
def test_a_path_and_its_url_are_the_same_store(path: str, form: type[str]) -> None:
    store = open_store(path)
    store.commit([Batch(puts=[(b"k", b"v")])])
    same = open_store(form(path))
    assert read(same) == b"v"
    assert same.location == store.location == path
    store.close()
    same.close()


def test_a_url_may_quote_what_urls_must(tmp_path: Path) -> None:
    store = open_store(f"lmdb://{tmp_path}/with%20blank")
    assert store.location == f"{tmp_path}/with blank"
    store.close()


def test_a_relative_path_stays_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(".continuum")
    monkeypatch.chdir("/")
    assert store.location == str(tmp_path / ".continuum")
    assert store.hold("w") is not None
    store.close()


def test_memory_is_shared_by_name(path: str) -> None:
    named, same, other = (open_store(f"memory://{name}") for name in (path, path, path + "2"))
    named.commit([Batch(puts=[(b"k", b"v")])])
    named.close()
    assert read(same) == b"v"
    assert read(other) is None
    assert read(open_store("memory://")) is None


def test_a_store_is_passed_through(path: str) -> None:
    store = LmdbStore(path)
    assert open_store(store) is store
    with pytest.raises(StoreBusy, match="give this one the path"):
        open_store(store)
    assert open_store(path) is not store
    store.close()


def test_a_store_in_memory_outlives_what_it_is_given_to() -> None:
    store = MemoryStore()
    one, two = open_store(store), open_store(store)
    one.commit([Batch(puts=[(b"k", b"v")])])
    one.close()
    assert read(two) == read(store) == b"v"
    store.close()
    with pytest.raises(StoreClosed):
        open_store(store)


def test_options_reach_lmdb(path: str) -> None:
    with pytest.raises(UnsupportedStore):
        open_store(path, create=False)
    store = open_store(path, durability="process")
    assert isinstance(store, LmdbStore)
    with pytest.raises(StoreError):
        LmdbStore(path)
    store.close()


NO_STORES = ["", "redis://host", "lmdb://relative/path", "lmdb:/path", "memory:", "postgres:host", 7, None, object()]


@pytest.mark.parametrize("where", NO_STORES)
def test_what_is_no_store_is_refused(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadValue):
        open_store(where)
    assert os.listdir(tmp_path) == []


def test_a_durability_that_does_not_exist_is_refused_for_every_store() -> None:
    with pytest.raises(BadValue):
        open_store("memory://", durability="maybe")


def test_postgres_without_its_extra_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("continuum.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"pip install 'continuum-engine\[postgres\]'") as caught:
        open_store("postgresql://user:secret@host/db")
    assert "secret" not in str(caught.value)


def test_the_package_is_imported_without_psycopg(output: Callable[..., str]) -> None:
    loaded = "say([name for name in sys.modules if 'psycopg' in name or 'postgres' in name])"
    assert output(loaded, "no path") == "[]"


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("./state", "./state"),
        ("a:b@c", "a:b@c"),
        ("lmdb:///a:b@c", "lmdb:///a:b@c"),
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://u@host/db?schema=s", "postgresql://u@host/db?schema=s"),
        ("postgresql://u:secret@host/db", "postgresql://u:***@host/db"),
        ("postgresql://u:se/c@r:e?t@host/db", "postgresql://u:***@host/db"),
        ("postgresql://host/db?password=secret&schema=s", "postgresql://host/db?password=***&schema=s"),
        ("postgresql://host/db?schema=s&sslpassword=secret", "postgresql://host/db?schema=s&sslpassword=***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(where: str, shown: str) -> None:
    assert without_secrets(where) == shown
