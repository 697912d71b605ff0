"""The fixtures of the command line's tests; see :mod:`projects`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nursery import Nursery
from projects import Project


@pytest.fixture
def project(tmp_path: Path, born: Nursery) -> Project:
    return Project(tmp_path, born)


@pytest.fixture
def background(project: Project) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands that go on beside the test; those that are left are killed at its end."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        started.append(project.popen(*arguments, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()
