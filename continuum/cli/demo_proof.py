"""The proof of the demo: a worker is killed half-way, another goes on, and what really ran is counted.

Both workers are ordinary ones, ``continuum run``, in processes of their own. What is counted are the marks
that steps leave in a file, not what the store says of itself; the journal is then held against them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Self

from continuum.blocking import Engine, Run
from continuum.cli.demo_workflow import Mark, python_files, read_file, read_marks, survey
from continuum.errors import ContinuumError, StoreError
from continuum.journal import FINISHED

__all__ = ["DemoFailed", "Plan", "Proof", "prove"]

LOOK: Final = 0.02  # seconds between two looks at the run
PATIENCE: Final = 10.0  # seconds that a worker has to end once the run has
STORE_TROUBLE: Final = 5
NEW_GROUP: Final = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)  # what Windows has for sessions

Told = Callable[[str], None]
Shown = Callable[[int], None]


class DemoFailed(ContinuumError):
    """A worker came to an end that it should not have come to."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be read, and where the traces are kept."""

    root: str
    store: str
    traces: Path
    limit: int

    @property
    def marks(self) -> str:
        """The file that steps leave their marks in."""
        return str(self.traces / "marks")


@dataclass(frozen=True, slots=True)
class Proof:
    """What was counted. `resumed_after` is seconds from the second worker being ready to its first new step."""

    run_id: str
    files: int
    lines: int
    verdicts: dict[str, int]
    before_kill: int
    after_kill: int
    repeated: int
    in_flight_at_most: int
    journaled: int
    resumed_after: float | None
    wall_time: float
    problems: list[str] = field(default_factory=list)


class Worker:
    """A worker in a process of its own. Leaving the block kills it, if it has not ended."""

    def __init__(self, plan: Plan) -> None:
        command = [sys.executable, "-m", "continuum", "--store", plan.store, "run", survey.__module__]
        # In a session or group of its own: Ctrl-C is for the demo, which then ends its workers.
        self._process = subprocess.Popen(
            [*command, "--until-idle", "--concurrency", str(plan.limit), "--log-level", "warning"],
            cwd=plan.traces,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
            creationflags=NEW_GROUP,
        )
        self.pid = self._process.pid
        self.ready_at: int | None = None
        self._said: list[str] = []
        self._listener = threading.Thread(target=self._listen, name="demo-listener", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._listener.join()

    def kill(self) -> None:
        """SIGKILL, and wait until the process is gone."""
        self._process.kill()
        self._process.wait()

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def fail(self) -> NoReturn:
        """Raise what stands for the end of this process, which should have gone on."""
        code = self._process.returncode
        self._listener.join()
        error = StoreError if code == STORE_TROUBLE else DemoFailed
        raise error(f"a worker ended with {code}: {''.join(self._said).strip().removeprefix('error: ')}")

    def wait(self) -> None:
        """Let the process end by itself."""
        if self._process.wait(PATIENCE):
            self.fail()

    def _listen(self) -> None:
        assert self._process.stderr is not None, "asked for above"
        with self._process.stderr as stream:
            for line in stream:
                if line.startswith("ready:"):
                    self.ready_at = time.monotonic_ns()
                self._said.append(line)


def prove(plan: Plan, tell: Told, show: Shown) -> Proof:
    """Have the run executed by a worker that is killed half-way, then by another, and count.

    `tell` gets a line at each turn, `show` how many files are done. Raises DemoFailed, StoreError.
    """
    begun, files = time.monotonic(), python_files(plan.root)
    with Engine(plan.store, work=False) as engine:
        run = engine.start(survey(plan.root, plan.marks, plan.limit))
        with Worker(plan) as first:
            tell(f"worker {first.pid} works on {len(files):,} files of {plan.root}")
            _watch(run, first, show, until=_half_done)
            first.kill()
        tell(f"worker {first.pid} was killed with SIGKILL")
        with Worker(plan) as second:
            tell(f"worker {second.pid} goes on")
            _watch(run, second, show, until=lambda state: False)
            second.wait()
        tell(f"run {run.id} is {run.status()}")
        return _count(plan, run, (first, second), files, time.monotonic() - begun)


def _half_done(state: dict[str, Any]) -> bool:
    return "total" in state and 2 * int(state["done"]) >= int(state["total"])


def _watch(run: Run[Any], worker: Worker, show: Shown, until: Callable[[dict[str, Any]], bool]) -> None:
    """Look at what the run publishes until it is far enough, or has ended."""
    while True:
        gone = worker.ended  # looked at first: with the end of the run a worker ends too
        ended, state = run.status() in FINISHED, run.state()
        show(int(state.get("done", 0)))
        if ended or until(state):
            return
        if gone:
            worker.fail()
        time.sleep(LOOK)


# Counting


def _count(plan: Plan, run: Run[Any], workers: tuple[Worker, Worker], files: list[str], wall: float) -> Proof:
    first, second = workers
    marks = read_marks(plan.marks)
    after = [mark for mark in marks if mark.process == second.pid]
    before = [mark for mark in marks if mark.process == first.pid]
    journaled = [_path(step.value) for step in run.history() if (step.kind, step.name) == ("save", read_file.__name__)]
    result = run.describe().result
    found: dict[str, Any] = result if isinstance(result, dict) else {"lines": 0, "verdicts": {}}
    proof = Proof(
        run.id,
        len(files),
        found["lines"],
        found["verdicts"],
        len(before),
        len(after),
        len(marks) - len({mark.path for mark in marks}),
        plan.limit,
        len(journaled),
        _resumed_after(second, after),
        wall,
    )
    proof.problems.extend(_problems(proof, run, marks, journaled, files))
    return proof


def _path(value: Any) -> str:
    return str(value[0]) if isinstance(value, list) and value else ""


def _resumed_after(worker: Worker, marks: list[Mark]) -> float | None:
    return (marks[0].at - worker.ready_at) / 1e9 if marks and worker.ready_at is not None else None


def _problems(proof: Proof, run: Run[Any], marks: list[Mark], journaled: list[str], files: list[str]) -> list[str]:
    """What does not add up."""
    checks = {
        f"the run is {run.status()}": run.status() == "completed",
        "not every file was read": {mark.path for mark in marks} == set(files),
        "the journal does not hold every file once": sorted(journaled) == files,
        "some marks are of neither worker": proof.before_kill + proof.after_kill == len(marks),
        "the result does not count every file": sum(proof.verdicts.values()) == len(files),
        "more steps ran twice than were in flight": proof.repeated <= proof.in_flight_at_most,
    }
    return [problem for problem, holds in checks.items() if not holds]
