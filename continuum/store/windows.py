"""What the store asks of the operating system, on Windows. See :mod:`continuum.store.system`.

Windows has no fork, no datagram sockets in directories, no owners and modes as POSIX has them, and no
way to sync a directory. It does not delete what somebody has open.
"""

from __future__ import annotations

import contextlib
import msvcrt
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from continuum.store.bells import NoBells

assert not TYPE_CHECKING or sys.platform == "win32"

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

# The file is as long as the map. NTFS keeps it sparse, but what copies it may not, nor other file systems.
MAP_SIZE: Final = 1 << 34

NO_ROOM: Final = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL

LOCKED_BYTE: Final = 1 << 20  # far behind the text: nobody else can read what is locked


def after_fork(in_child: Callable[[], None]) -> None:
    pass


def bells_in(path: str) -> NoBells:
    return NoBells()


def open_private(path: str, flags: int = 0) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o600)


def check_access(path: str, found: os.stat_result, wanted: str) -> None:
    pass


def sync_directory(path: str) -> None:
    pass


def lengthen(path: str, size: int) -> None:
    pass  # the file is as long as the map


@contextlib.contextmanager
def alone_in(path: str) -> Iterator[bool]:
    # A directory cannot be locked. The renames of several creators fail for all but the first.
    yield False


def lock(fd: int) -> bool:
    os.lseek(fd, LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    except PermissionError:
        return False
    finally:
        os.lseek(fd, 0, os.SEEK_SET)
    return True


def let_go(fd: int, path: str) -> None:
    os.close(fd)
    # Where another process has opened it by now, it is not deleted.
    with contextlib.suppress(OSError):
        os.unlink(path)
