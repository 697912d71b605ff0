"""Named locks between processes: files locked through the kernel, which frees them at any death.

A lock belongs to an open file, so a second handle in the same process is refused like a second
process. The file is deleted at release, so that names made up for the occasion leave nothing
behind; whoever locks a file therefore looks whether it is still the one in the directory.
"""

from __future__ import annotations

import contextlib
import os
import sys
from urllib.parse import quote

from continuum.errors import BadValue, StoreError

__all__ = ["FileHold", "take"]

LONGEST_NAME = 255


class FileHold:
    """A lock file that this process has locked (see :class:`continuum.store.protocol.Hold`)."""

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        _held.add(self)

    def release(self) -> None:
        try:
            _held.remove(self)
        except KeyError:
            return
        # Before the lock goes: afterwards the file may be another's. Windows cannot delete it at all.
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        os.close(self._fd)

    def forget(self) -> None:
        """Close the file without freeing the lock, which is the parent process's."""
        os.close(self._fd)


_held: set[FileHold] = set()


def _forget_inherited() -> None:
    # The copy of a locked file that a child inherits would keep the lock after its parent's death.
    for hold in _held:
        hold.forget()
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget_inherited)


def take(folder: str, name: str) -> FileHold | None:
    """Lock `name` in `folder`, or give None if it is locked already."""
    path = os.path.join(folder, _file_name(name))
    while True:
        try:
            fd = _open(path)
        except OSError as error:
            raise StoreError(f"cannot take the lock {name!r} at {path}: {error.strerror}") from error
        if not _lock(fd):
            os.close(fd)
            return None
        if _is_at(fd, path):
            _write_owner(fd)
            return FileHold(path, fd)
        os.close(fd)


def _file_name(name: str) -> str:
    file_name = quote(name, safe=" :@+=,") + ".lock"
    if not name or len(file_name) > LONGEST_NAME:
        raise BadValue(f"the name of a lock has 1 to {LONGEST_NAME - 5} characters, not {name!r}")
    return file_name


def _open(path: str) -> int:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    fd = os.open(path, flags, 0o600)
    if sys.platform != "win32":
        os.fchmod(fd, 0o600)
    return fd


def _is_at(fd: int, path: str) -> bool:
    """Whether the file is still in the directory: its last holder may have deleted it."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _write_owner(fd: int) -> None:
    # For people who look at the directory; nothing reads it.
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.write(fd, f"{os.getpid()}\n".encode())


if sys.platform == "win32":
    import msvcrt

    # Windows lets nobody read what is locked: lock one byte far behind the text.
    _LOCKED_BYTE = 1 << 20

    def _lock(fd: int) -> bool:
        os.lseek(fd, _LOCKED_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        os.lseek(fd, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
