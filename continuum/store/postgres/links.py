"""Connections: how one is opened, and what becomes of all of them in a forked child."""

from __future__ import annotations

import contextlib
import os
from typing import Any, TypeAlias
from weakref import WeakSet

import psycopg

from continuum.store.postgres import arrays
from continuum.store.postgres.address import Address
from continuum.store.system import system

__all__ = ["Link", "connect", "part"]

Link: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


def connect(address: Address, durability: str) -> Link:
    """Open a connection. Raises psycopg's errors."""
    link: Link = psycopg.connect(autocommit=True, prepare_threshold=0, **address.session(durability))
    arrays.register(link)
    _living.add(link)
    return link


def part(link: Link) -> None:
    """Close a connection, whatever state it is in."""
    with contextlib.suppress(psycopg.Error):
        link.close()


_living: WeakSet[Link] = WeakSet()


def _forget_inherited() -> None:
    # The server takes its client for alive, and keeps the client's locks, as long as anybody has the socket open.
    # Closed properly, by libpq, it would tell the server that the parent has gone.
    for link in _living:
        with contextlib.suppress(psycopg.Error, OSError):
            os.close(link.fileno())
    _living.clear()


system.after_fork(_forget_inherited)
