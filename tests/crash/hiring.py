"""Workers in processes of their own: ``crew.py`` on a store, started and at the end killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import crew
from nursery import Born, Nursery
from test_processes_share import said

__all__ = ["Hire", "hiring"]

Hire = Callable[[str, float], Born]
"""Start a worker on a store with a lease in seconds; gives it once it is ready."""


@contextmanager
def hiring(born: Nursery) -> Iterator[Hire]:
    """Whoever still runs at the end is killed."""
    with ExitStack() as stack:

        def hire(store: str, lease: float) -> Born:
            worker = born.start([crew.__file__, store, str(lease)], cwd=Path.cwd(), env=os.environ)
            stack.enter_context(worker)
            assert said(worker) == "ready"
            return worker

        yield hire
