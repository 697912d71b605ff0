"""The thread that commits: when a view is lost, and at the end of its process.

Its rounds are tested with the engines that use it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from weakref import ref

import pytest
from hosts import TOO_LONG, eventually

import continuum
from continuum.errors import ViewLost
from continuum.store import Batch, MemoryStore, View
from continuum.store.committer import Committer, Single

ROOT = Path(continuum.__file__).parent.parent

LEFT_OPEN = """
import sys
import threading
from continuum.store.committer import Committer, Job
from continuum.store.memory import MemoryStore
from continuum.store.protocol import Batch

inside = threading.Event()

class SlowStore(MemoryStore):
    def commit(self, batches):
        inside.set()
        threading.Event().wait(0.2)
        sys.stdout.write("committed\\n")
        sys.stdout.flush()
        return super().commit(batches)

committer = Committer(SlowStore(), lambda jobs: None)
committer.submit(Job(lambda view: [(Batch(puts=[(b"k", b"v")]), None)], lambda job: None))
inside.wait()
"""


def test_a_process_that_ends_lets_a_commit_under_way_come_to_its_end() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "committed\n", "")


FORKING = """
import os, signal, sys, threading
from continuum.errors import ForkedStore
from continuum.store.committer import Committer, Job
from continuum.store.memory import MemoryStore
from continuum.store.switching import Turn

usual = sys.getswitchinterval()
committer = Committer(MemoryStore(), lambda jobs: None)
with Turn():
    if not (pid := os.fork()):
        signal.alarm(20)  # what hangs dies
        assert sys.getswitchinterval() == usual
        try:
            committer.submit(Job(lambda view: [(None, None)], lambda job: None))
        except ForkedStore:
            answered = threading.Event()
            own = Committer(MemoryStore(), lambda jobs: answered.set())
            own.submit(Job(lambda view: [(None, None)], lambda job: None))
            answered.wait()
            print("refused, and its own one works", flush=True)
        sys.exit(0)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process is forked there")
def test_a_forked_child_is_told_that_nobody_would_do_the_work() -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "refused, and its own one works\n", "")


class Failing:
    """A view that fails, and says so when it is left too."""

    def __enter__(self) -> Failing:
        return self

    def __exit__(self, *_: object) -> None:
        raise ViewLost("the server is gone")

    def get(self, key: bytes) -> bytes | None:
        raise ViewLost("the server is gone")


class Losing(MemoryStore):
    """A store whose first views are lost."""

    views = 0

    def view(self) -> Any:
        self.views += 1
        return Failing() if self.views < 3 else super().view()


@pytest.mark.parametrize("swallows", [True, False])
def test_plans_are_asked_again_when_the_view_was_lost_whatever_they_made_of_it(swallows: bool) -> None:
    store, asked = Losing(), 0
    delivered: SimpleQueue[list[Any]] = SimpleQueue()

    def plan(view: View) -> tuple[Batch, str]:
        nonlocal asked
        asked += 1
        try:
            assert view.get(b"k") is None
        except ViewLost:
            if not swallows:
                raise
            return Batch(puts=[(b"k", b"wrong")]), "wrong"
        return Batch(puts=[(b"k", b"right")]), "right"

    committer = Committer(store, delivered.put)
    committer.submit(Single(plan, lambda job: None))
    (job,) = delivered.get(timeout=TOO_LONG)
    committer.close()
    assert job.result() == "right"
    assert asked == 3
    with store.view() as view:
        assert view.get(b"k") == b"right"


def test_what_was_asked_is_not_kept_until_something_else_is() -> None:
    def plan(view: View) -> tuple[Batch, None]:
        return Batch(puts=[(b"k", b"v")]), None

    delivered: SimpleQueue[list[Any]] = SimpleQueue()
    committer = Committer(MemoryStore(), delivered.put)
    committer.submit(Single(plan, lambda job: None))
    delivered.get(timeout=TOO_LONG)
    left = ref(plan)
    del plan
    eventually(lambda: left() is None)
    committer.close()
