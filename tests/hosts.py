"""Engines for tests, and how to wait for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from continuum import Engine, Workflow
from continuum.store.opening import open_store
from continuum.store.protocol import Store, View

OpenEngine = Callable[..., Engine]

TOO_LONG = 20  # seconds after which a test that hangs fails


def opened(where: str | os.PathLike[str] | Store, *workflows: Workflow[..., Any], **options: Any) -> Engine:
    """An engine to be entered, whose steps get next to no time when it closes unless the test says so."""
    return Engine(where, workflows=workflows, **{"grace": 0.0, **options})


def eventually(condition: Callable[[], object], seconds: float = TOO_LONG) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not come"
        time.sleep(0.002)


def is_gone(pid: int) -> bool:
    """Whether there is no such process any more."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@contextmanager
def reading(where: str) -> Iterator[View]:
    """A view of a store."""
    with closing(open_store(where)) as store, store.view() as view:
        yield view


def dump(where: str) -> list[tuple[bytes, bytes]]:
    """Everything that a store holds."""
    with reading(where) as view:
        return list(view.scan(b""))
