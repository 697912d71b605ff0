"""What the store asks of the operating system, on Linux, macOS and their like. See :mod:`continuum.store.system`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from continuum.errors import InsecureStore
from continuum.store import sockets

assert not TYPE_CHECKING or sys.platform != "win32"

__all__ = [
    "MAP_SIZE",
    "NO_ROOM",
    "after_fork",
    "alone_in",
    "bells_in",
    "check_access",
    "lengthen",
    "let_go",
    "lock",
    "open_private",
    "sync_directory",
]

MAP_SIZE: Final = 1 << 40

NO_ROOM: Final = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT}

bells_in = sockets.bells_in


def after_fork(in_child: Callable[[], None]) -> None:
    os.register_at_fork(after_in_child=in_child)


def open_private(path: str, flags: int = 0) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | flags, 0o600)
    try:
        os.fchmod(fd, 0o600)
    except BaseException:
        os.close(fd)
        raise
    return fd


def check_access(path: str, found: os.stat_result, wanted: str) -> None:
    if found.st_uid != os.geteuid():
        raise InsecureStore(f"{path} belongs to user {found.st_uid}, this process is user {os.geteuid()}")
    if found.st_mode & 0o022:
        mode = stat.S_IMODE(found.st_mode)
        raise InsecureStore(f"others may write to {path} (mode {mode:o}); chmod {wanted} {path}")


def sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def lengthen(path: str, size: int) -> None:
    if hasattr(os, "posix_fallocate"):  # macOS has none
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.posix_fallocate(fd, size - 1, 1)  # unlike a truncation it never takes away what another process adds
        finally:
            os.close(fd)


@contextlib.contextmanager
def alone_in(path: str) -> Iterator[bool]:
    # The kernel lets the next one in when this one dies.
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield True
    finally:
        os.close(fd)


def lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def let_go(fd: int, path: str) -> None:
    # Deleted before the lock goes: afterwards the file may be another's.
    with contextlib.suppress(OSError):
        os.unlink(path)
    os.close(fd)
