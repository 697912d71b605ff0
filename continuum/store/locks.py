"""Named locks between processes: files locked through the kernel, which frees them at any death.

A lock belongs to an open file, so a second handle in the same process is refused like a second
process. The file is deleted at release, so that names made up for the occasion leave nothing
behind; whoever locks a file therefore looks whether it is still the one in the directory.

How a file is locked and deleted is the operating system's matter, see :mod:`continuum.store.system`.
"""

from __future__ import annotations

import contextlib
import os
from urllib.parse import quote

from continuum.errors import BadValue, StoreError
from continuum.store.system import system

__all__ = ["FileHold", "take"]

LONGEST_NAME = 255


class FileHold:
    """A lock file that this process has locked (see :class:`continuum.store.protocol.Hold`)."""

    lapse = 0.0

    def __init__(self, path: str, fd: int) -> None:
        self._path = path
        self._fd = fd
        _held.add(self)

    def release(self) -> None:
        try:
            _held.remove(self)
        except KeyError:
            return
        system.let_go(self._fd, self._path)

    def forget(self) -> None:
        """Close the file without freeing the lock, which is the parent process's."""
        os.close(self._fd)


_held: set[FileHold] = set()


def _forget_inherited() -> None:
    # The copy of a locked file that a child inherits would keep the lock after its parent's death.
    for hold in _held:
        hold.forget()
    _held.clear()


system.after_fork(_forget_inherited)


def take(folder: str, name: str) -> FileHold | None:
    """Lock `name` in `folder`, or give None if it is locked already."""
    path = os.path.join(folder, _file_name(name))
    while True:
        try:
            fd = system.open_private(path)
        except OSError as error:
            raise StoreError(f"cannot take the lock {name!r} at {path}: {error.strerror}") from error
        if not system.lock(fd):
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
