"""The environments of this process: one for each store, however many handles there are.

LMDB may not open a store twice in a process, by whatever path, so handles find the environment by
the identity of its data file. After a fork the child finds those of its parent here and puts them
out of the way.
"""

from __future__ import annotations

import os
import threading
from weakref import WeakValueDictionary

from continuum.errors import ForkedStore, StoreBusy
from continuum.store import directory
from continuum.store.environment import Environment, Identity, identity_of
from continuum.store.system import system

__all__ = ["acquire"]

_environments: WeakValueDictionary[Identity, Environment] = WeakValueDictionary()
_guard = threading.Lock()


def acquire(path: str, *, durability: str, map_size: int, create: bool) -> Environment:
    """The environment of the store at `path`, joined; :meth:`Environment.part` gives it back."""
    with _guard:
        directory.prepare(path, create=create)
        path = os.path.realpath(path)
        identity = identity_of(path)
        found = _environments.get(identity)
        if found is not None and _is_open_for(found, durability):
            return found
        found = _environments[identity] = Environment(path, identity, durability, map_size)
        found.join()
        return found


def _is_open_for(found: Environment, durability: str) -> bool:
    if found.inherited:
        _put_away(found)
        return False
    if not found.join():
        return False
    try:
        found.check_usable()
        _check_same(found, durability)
    except BaseException:
        found.part()
        raise
    return True


def _check_same(found: Environment, durability: str) -> None:
    if found.durability != durability:
        raise StoreBusy(
            f"{found.path} is open in this process with durability={found.durability!r}: "
            f"close it first, or open it with the same"
        )


def _put_away(found: Environment) -> None:
    if not found.idle:
        raise ForkedStore(
            f"{found.path} was in use at the moment at which this process was forked and cannot be opened "
            "here; start the process by spawn"
        )
    found.discard()


def _after_fork() -> None:
    # It may have been held by a thread that the child does not have.
    global _guard
    _guard = threading.Lock()


system.after_fork(_after_fork)
