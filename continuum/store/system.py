"""What the store asks of the operating system: one module for each has these names.

``MAP_SIZE``
    How large an LMDB file may become, in bytes, unless its user says otherwise.
``NO_ROOM``
    The error codes that mean that the disk is full.
``after_fork(in_child)``
    Have `in_child` called in every child that is forked from this process.
``bells_in(path)``
    The bells in that directory (see :class:`continuum.store.bells.Bells`).
``open_private(path, flags)``
    Open a file of the owner's alone, or make it, and give its descriptor; a link is not followed.
``check_access(path, found, wanted)``
    Raise InsecureStore where others than the owner could write; `found` is its stat, `wanted` the mode to name.
``sync_directory(path)``
    Have on the disk which files are in the directory.
``alone_in(path)``
    A block in which no other process is; it gives whether that is sure.
``lengthen(path, size)``
    Let a file have so many bytes at least, where it may be mapped; those that it did not have are zero.
``lock(fd)``
    Lock a file until it is closed or this process dies; False if it is locked already.
``let_go(fd, path)``
    Close a locked file and delete it, unless another process has it by then.
"""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from continuum.store import windows as system
else:
    from continuum.store import posix as system

__all__ = ["system"]
