"""The directory of an LMDB store: what may be in it, who may reach it, how it comes to be.

A store is there when its ``data.mdb`` is there. That file is made in a directory of its own inside
the store's, stamped, synced and renamed into place, because LMDB's own creation does not survive a
crash at every moment. Until then the directory counts as empty, whatever a creator that died left in
it. Building inside, not beside, also serves where the directory is a mount point or where its parent
may not be written to.

Nothing is changed on disk before it is clear that the directory is ours. See
:mod:`continuum.store.environment` for what happens once the store is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import struct
from collections.abc import Iterator
from typing import Final

import lmdb

from continuum.errors import InsecureStore, StoreError, StoreFull, UnsupportedStore
from continuum.store import trouble
from continuum.store.bounds import STAMP
from continuum.store.system import system

__all__ = ["DATA", "FORMAT", "LOCKS", "MOST_READERS", "NOTIFY", "check_stamp", "not_ours", "prepare"]

FORMAT: Final = 1
DATA: Final = "data.mdb"
LOCK: Final = "lock.mdb"
LOCKS: Final = "locks"
NOTIFY: Final = "notify"
MOST_READERS: Final = 1024  # views that can be open at one moment, in all processes together
LOCK_SIZE: Final = 64 * (MOST_READERS + 2)  # what LMDB makes of so many readers
UNFINISHED: Final = ".new-"

MAGIC: Final = 0xBEEFC0DE
MAGIC_FIELD: Final = "@P8xI"  # behind the page number and eight bytes of page header


def prepare(path: str, *, create: bool) -> None:
    """Make sure that `path` holds a store that can be opened; make one if `create`."""
    try:
        _prepare(path, create)
    except OSError as error:
        kind = StoreFull if error.errno in system.NO_ROOM else StoreError
        raise kind(f"cannot use {path} as a store: {error.strerror or error}") from error


def _prepare(path: str, create: bool) -> None:
    if create and not os.path.lexists(path):
        _make_directory(path)
    _check_directory(path)
    names = set(os.listdir(path))
    if DATA not in names:
        _check_unused(path, names)
        if not create:
            raise _nothing_at(path)
        _create(path)
    elif any(name.startswith(UNFINISHED) for name in names):
        with system.alone_in(path) as alone:
            _sweep(path, alone)
    _check_files(path)
    _make_companions(path)


# Who may reach it


def _check_directory(path: str) -> None:
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise _nothing_at(path) from None
    if stat.S_ISLNK(found.st_mode):
        raise InsecureStore(f"{path} is a symbolic link; give the directory that it points to")
    if not stat.S_ISDIR(found.st_mode):
        raise UnsupportedStore(f"{path} is a file; a store is a directory")
    system.check_access(path, found, "700")


def _check_files(path: str) -> None:
    """Refuse links, and what others may write to, in place of the store's own files."""
    _check_file(os.path.join(path, DATA))
    with contextlib.suppress(FileNotFoundError):
        _check_file(os.path.join(path, LOCK))
    for name in (LOCKS, NOTIFY):
        with contextlib.suppress(FileNotFoundError):
            _check_companion(os.path.join(path, name))


def _check_file(path: str) -> None:
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        raise InsecureStore(f"{path} is a symbolic link; a store's files are never links")
    if not stat.S_ISREG(found.st_mode):
        raise UnsupportedStore(f"{path} is not a regular file")
    system.check_access(path, found, "600")
    if path.endswith(DATA):
        _check_magic(path)


def _check_companion(path: str) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise InsecureStore(f"{path} is not a directory of the store; remove it")
    system.check_access(path, found, "700")


# What may be in it


def _check_unused(path: str, names: set[str]) -> None:
    foreign = sorted(name for name in names - {LOCKS, NOTIFY} if not name.startswith(UNFINISHED))
    if foreign == [LOCK]:
        raise UnsupportedStore(f"{path} has a {LOCK} but no {DATA}: restore it, or remove the directory")
    if foreign:
        raise UnsupportedStore(f"{path} belongs to another program: it holds {', '.join(foreign[:3])}")


def _check_magic(path: str) -> None:
    """Look at LMDB's first page. Its lock file is not to be opened: closing it would free its locks."""
    with open(path, "rb") as file:
        head = file.read(20).ljust(20)
    if struct.unpack_from(MAGIC_FIELD, head)[-1] != MAGIC:
        raise UnsupportedStore(f"{path} is not an LMDB file")
    if os.path.isdir(os.path.join(os.path.dirname(path), LOCKS)):
        return
    # It may be another program's, whose lock file would be changed by opening it in the normal way.
    try:
        env = lmdb.open(path, subdir=False, readonly=True, lock=False, lib_version=0, create=False)
    except lmdb.Error as error:
        raise not_ours(path, error) from error
    with contextlib.closing(env):
        check_stamp(env, os.path.dirname(path))


def check_stamp(env: lmdb.Environment, path: str) -> None:
    """Raise UnsupportedStore unless the environment holds a store in the format of this version."""
    try:
        with env.begin() as txn:
            data = txn.get(STAMP)
        if data is None:
            raise UnsupportedStore(f"{path} is an LMDB store of another program")
        found = json.loads(data)["format"]
    except (lmdb.Error, ValueError, LookupError, TypeError) as error:
        raise not_ours(path, error) from error
    if found != FORMAT:
        raise UnsupportedStore(f"{path} has format {found}, this version of continuum reads format {FORMAT}")


def not_ours(path: str, error: Exception) -> UnsupportedStore:
    """The error for a file that is LMDB's, or looks like it, and cannot be read as a store."""
    return UnsupportedStore(f"{path} is not a store that this version of continuum can read: {error}")


def _nothing_at(path: str) -> UnsupportedStore:
    return UnsupportedStore(f"there is no store at {path}")


# How it comes to be


def _make_directory(path: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
        os.chmod(path, 0o700)
        system.sync_directory(os.path.dirname(path))


def _make_companions(path: str) -> None:
    for name in (LOCKS, NOTIFY):
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.join(path, name), 0o700)
            os.chmod(os.path.join(path, name), 0o700)
    if not os.path.lexists(os.path.join(path, LOCK)):
        with system.alone_in(path), _draft(path) as draft:
            if not os.path.lexists(os.path.join(path, LOCK)):
                _make_lock(draft)
                _move_in(draft, path, LOCK)


def _create(path: str) -> None:
    with system.alone_in(path) as alone:
        _sweep(path, alone)
        if os.path.exists(os.path.join(path, DATA)):
            return
        os.chmod(path, 0o700)
        try:
            _build(path)
        except lmdb.Error as error:
            raise trouble.explain(error, path) from error


def _build(path: str) -> None:
    with _draft(path) as draft:
        _make_private(os.path.join(draft, DATA))
        _make_lock(draft)
        _write_stamp(draft)
        _move_in(draft, path, DATA)
        system.sync_directory(path)


@contextlib.contextmanager
def _draft(path: str) -> Iterator[str]:
    """A directory for files that are moved to their place when they are whole."""
    draft = os.path.join(path, UNFINISHED + secrets.token_hex(8))
    os.mkdir(draft, 0o700)
    try:
        os.chmod(draft, 0o700)
        yield draft
    finally:
        _remove(draft)


def _move_in(draft: str, path: str, name: str) -> None:
    # Where nothing keeps other creators out, the rename fails for all but the first.
    with contextlib.suppress(FileExistsError):
        os.rename(os.path.join(draft, name), os.path.join(path, name))


def _write_stamp(draft: str) -> None:
    stamp = json.dumps({"format": FORMAT, "id": secrets.token_hex(16)}).encode()
    with lmdb.open(draft, map_size=1 << 20, lib_version=0) as env, env.begin(write=True) as txn:
        txn.put(STAMP, stamp)


def _make_private(path: str, content: bytes = b"") -> None:
    # LMDB would make the file under the umask and open it a second time under that mode.
    with open(system.open_private(path, os.O_EXCL), "wb") as file:
        file.write(content)


def _make_lock(directory: str) -> None:
    # LMDB maps the file. Made by LMDB it has holes, and a process that writes to one dies where the disk is full.
    _make_private(os.path.join(directory, LOCK), bytes(LOCK_SIZE))


def _sweep(path: str, alone: bool) -> None:
    """Remove what creators that died have left, where it is sure that they died."""
    for name in os.listdir(path):
        if alone and name.startswith(UNFINISHED):
            _remove(os.path.join(path, name))


def _remove(draft: str) -> None:
    for name in os.listdir(draft):
        os.unlink(os.path.join(draft, name))
    os.rmdir(draft)
