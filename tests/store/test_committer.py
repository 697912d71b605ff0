"""The thread that commits, at the end of its process. Its rounds are tested with the engines that use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import continuum

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
