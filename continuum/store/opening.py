"""From what an engine is given, a path, a URL or a store, to a store."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote
from weakref import WeakSet

from continuum.errors import BadValue, StoreBusy, StoreError
from continuum.store.lmdb import LmdbStore
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Store

__all__ = ["open_store", "without_secrets"]

SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

USER_SECRET: Final = re.compile(r"(://[^:/?]*:).*@", re.DOTALL)
QUERY_SECRET: Final = re.compile(r"([?&](?:ssl)?password=)[^&]*")

_spaces: dict[str, Space] = {}
_given_away: WeakSet[LmdbStore] = WeakSet()
_guard = threading.Lock()


def open_store(where: str | os.PathLike[str] | Store, *, durability: str = "power", create: bool = True) -> Store:
    """The store at a path, at a URL, or the one given.

    A store that is given is closed with what it was given to, and so can be given once; of a MemoryStore each has
    a handle of its own.
    ``lmdb:///absolute/path`` is the same as the path. ``memory://`` is a new store in memory, and
    ``memory://name`` the one of that name in this process. ``postgresql://user@host/database`` is a
    schema of a database, ``continuum`` unless the URL ends with ``?schema=name``. Raises BadValue for
    anything that is none of these, and StoreError where the store cannot be used.

        store = open_store("./state")
    """
    if durability not in ("power", "process"):
        raise BadValue(f"durability is 'power' or 'process', not {durability!r}")
    if not isinstance(where, str | os.PathLike):
        return _given(where)
    text = os.fspath(where)
    match = SCHEME.fullmatch(text) if isinstance(where, str) else None
    if match is None:
        return _open_lmdb(_path(text), durability, create)
    scheme, rest = match.groups()
    opener = OPENERS.get(scheme.lower())
    if opener is None:
        known = ", ".join(f"{name}://" for name in OPENERS)
        raise BadValue(f"a store is a path or a URL that begins with one of {known}, not with {scheme}://")
    return opener(rest, durability, create)


def without_secrets(where: str) -> str:
    """The path or URL of a store as it may be shown: with stars for a password.

    >>> without_secrets("postgresql://shop:s3cret@db/orders")
    'postgresql://shop:***@db/orders'
    """
    if SCHEME.fullmatch(where) is None:
        return where
    return QUERY_SECRET.sub(r"\1***", USER_SECRET.sub(r"\1***@", where))


def _given(where: Store) -> Store:
    if not all(callable(getattr(where, name, None)) for name in ("view", "commit", "watch", "hold")):
        raise BadValue(f"a store is a path, a URL or a Store, not {where!r}")
    if type(where) is MemoryStore:
        return where.another()
    if isinstance(where, LmdbStore):
        with _guard:
            if where in _given_away:  # a handle is not woken by its own commits: two would not hear of each other
                raise StoreBusy(f"the store {where.location} was given to an engine before; give this one the path")
            _given_away.add(where)
    return where


def _path(text: str) -> str:
    """The path itself, unless it is a URL with a slash too few."""
    scheme, colon, _ = text.partition(":")
    if colon and scheme.lower() in OPENERS:
        raise BadValue(f"{text!r} is no URL: it begins with {scheme}:// (for a path of that name write ./{text})")
    return text


def _open_lmdb(path: str, durability: str, create: bool) -> Store:
    if not path:
        raise BadValue("the path of a store is empty")
    return LmdbStore(path, durability=durability, create=create)


def _open_lmdb_url(rest: str, durability: str, create: bool) -> Store:
    if not rest.startswith("/"):
        raise BadValue(f"the path in a URL is absolute: lmdb:///{rest}, with three slashes")
    path = unquote(rest)
    return _open_lmdb(path.removeprefix("/") if re.match(r"/[A-Za-z]:", path) else path, durability, create)


def _open_memory(name: str, durability: str, create: bool) -> Store:
    if not name:
        return MemoryStore()
    with _guard:
        return MemoryStore(_spaces.setdefault(name, Space(name)))


def _open_postgres(rest: str, durability: str, create: bool) -> Store:
    try:
        from continuum.store.postgres import PostgresStore  # what it needs is an extra
    except ImportError as error:
        raise StoreError(
            f"a store in PostgreSQL needs an extra: pip install 'continuum-engine[postgres]' ({error})"
        ) from error
    return PostgresStore(f"postgresql://{rest}", durability=durability, create=create)


OPENERS: Final[dict[str, Callable[[str, str, bool], Store]]] = {
    "lmdb": _open_lmdb_url,
    "memory": _open_memory,
    "postgresql": _open_postgres,
    "postgres": _open_postgres,
}
