"""Workers in processes of their own: ``crew.py`` on a store, started and at the end killed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import crew
from test_processes_share import said

import continuum

__all__ = ["Hire", "hiring"]

Hire = Callable[[str, float], "subprocess.Popen[str]"]
"""Start a worker on a store with a lease in seconds; gives it once it is ready."""


@contextmanager
def hiring() -> Iterator[Hire]:
    """Whoever still runs at the end is killed."""
    found: list[subprocess.Popen[str]] = []

    def hire(store: str, lease: float) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(Path(continuum.__file__).parent.parent)}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        worker = subprocess.Popen([sys.executable, crew.__file__, store, str(lease)], env=environment, **pipes)
        found.append(worker)
        assert said(worker) == "ready"
        return worker

    yield hire
    for worker in found:
        worker.kill()
        worker.communicate()
