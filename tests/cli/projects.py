"""The command line as its users have it: commands in processes of their own, in a project of their own.

Those that end by themselves are born in a nursery, unless they are given an environment of their own: it may be about
how Python starts. Those that go on beside a test are started.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nursery import Nursery

import continuum

ROOT = Path(continuum.__file__).parent.parent
SAFETY = 120.0  # seconds after which something hangs

FLOWS = '''
import os
import time
from pathlib import Path

from continuum import ContinueUsing, Count, Engine, Log, Publish, Receive, Save, workflow


class Point:
    def __init__(self, x):
        self.x = x


def double(n):
    return n * 2


def fail(message):
    raise ValueError(message)


def gate(name):
    """Tell that the step has begun, and wait until it may end."""
    Path(name + ".begun").touch()
    while not os.path.exists(name + ".go"):
        time.sleep(0.005)
    return name


@workflow
def order(order_id, amount=0):
    doubled = yield Save(double, amount)
    yield Publish(stage="paid", doubled=Count(doubled))
    by = yield Receive("approved")
    return {"order": order_id, "doubled": doubled, "by": by}


@workflow
def failing(message="boom"):
    yield Save(fail, message)


@workflow
def echo(value=None):
    return (yield Save(lambda: value, name="echo"))


@workflow
def polls(seen=0):
    yield Save(double, seen)
    yield Log("polled", seen=seen)
    word = yield Receive("word")
    yield Publish(word=word)
    yield ContinueUsing(order(word) if word == "order" else polls(seen + 1))


@workflow
def gated(name):
    return (yield Save(gate, name))


@workflow
def stuck(name):
    with open(name + ".begun", "a") as file:
        file.write(".")
    while not os.path.exists(name + ".go"):
        pass
    return (yield Save(gate, name))


@workflow
def moved(point):
    x = yield Save(double, point.x)
    return Point(x)


if __name__ == "__main__":
    with Engine("store", work=False) as engine:
        engine.start(moved(Point(4)), id="from-script")
'''


class Project:
    """A directory with ``flows.py`` in it, and the command ``continuum`` with the store ``store`` there."""

    def __init__(self, path: Path, born: Nursery) -> None:
        self.path = path
        self.born = born
        self.temp = path / "temp"
        self.temp.mkdir()
        self.write("flows.py", FLOWS)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = {
            **{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")},
            "PYTHONPATH": os.pathsep.join(paths),
            "TMPDIR": str(self.temp),
            "CONTINUUM_STORE": "store",
        }

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def python(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        settings: dict[str, Any] = {"capture_output": True, "env": self.environment, **options}
        return subprocess.run(command, cwd=self.path, text=True, timeout=SAFETY, **settings)

    def __call__(self, *arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = ["-m", "continuum", *arguments]
        if env:
            return self.python(*command, env={**self.environment, **env})
        return self.born.run(command, cwd=self.path, env=self.environment, timeout=SAFETY)

    def work(self) -> None:
        """Execute all that can be executed now."""
        worker = self("run", "flows", "--until-idle")
        assert worker.returncode == 0, worker.stderr

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        command = [sys.executable, "-m", "continuum", *arguments]
        return subprocess.Popen(command, cwd=self.path, text=True, env=self.environment, **settings)


def until(holds: Callable[[], object]) -> None:
    """Wait for another process."""
    give_up = time.monotonic() + SAFETY
    while not holds():
        assert time.monotonic() < give_up, "what was waited for did not come"
        time.sleep(0.005)
