"""Steps in worker processes: they are killed when they must be, and what they do stays with them."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync
from hosts import is_gone
from posted import TOO_LONG, Posted, until

from continuum.context import Context
from continuum.engine import processes
from continuum.engine.processes import Call
from continuum.engine.steps import Performer, Task
from continuum.errors import StepCrashed, StepTimeout, UnpicklableValue
from continuum.journal import Failure, Value
from continuum.store.codec import Codec

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="the tests use named pipes and signals"),
]


@pytest.fixture
def posted() -> Posted:
    return Posted()


def performer(posted: Posted, concurrency: int = 1) -> Performer[Task]:
    return Performer(posted.post, Codec(), concurrency=concurrency)


def in_process(key: str, fn: Any, *args: Any, timeout: float | None = None) -> Task:
    return Task(key, fn, args, "process", timeout, key)


def hanging(begun: Path) -> Any:
    """A step that writes its process id to the named pipe `begun` and never ends."""
    os.mkfifo(begun)

    def hang() -> None:
        begun.write_text(str(os.getpid()))
        time.sleep(1000)

    return hang


async def read(pipe: Path) -> int:
    with anyio.fail_after(TOO_LONG):
        return int(await run_sync(pipe.read_text, abandon_on_cancel=True))


# Results and errors


async def test_a_step_runs_in_another_process_that_is_used_again(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", os.getpid))
        steps.perform(in_process("b", lambda: os.getpid()))
        await posted.reach(2)
    assert posted.value("a") != os.getpid()
    assert posted.value("b") == posted.value("a")


async def test_an_error_keeps_its_type_its_arguments_and_the_text_of_its_traceback(posted: Posted) -> None:
    def divide(a: int) -> None:
        raise ZeroDivisionError("by zero", a)

    async with performer(posted) as steps:
        steps.perform(in_process("a", divide, 7))
        await posted.reach(1)
    error = posted.error("a")
    assert type(error) is ZeroDivisionError
    assert error.args == ("by zero", 7)
    data = posted.outcomes["a"].data
    assert data is not None
    assert "in divide" in Codec().traceback(data)


async def test_what_cannot_be_pickled_is_the_steps_error_on_either_way(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("back", threading.Lock))
        steps.perform(in_process("there", print, threading.Lock()))
        steps.perform(in_process("after", abs, -1))
        await posted.reach(3)
    assert isinstance(posted.error("back"), UnpicklableValue)
    assert "the result of step 'back'" in str(posted.error("back"))
    assert isinstance(posted.error("there"), UnpicklableValue)
    assert "step 'there' cannot be sent to a process" in str(posted.error("there"))
    assert posted.value("after") == 1


async def test_a_module_that_the_worker_lacks_is_the_steps_error(
    posted: Posted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "only_here.py").write_text("def step():\n    pass\n")
    async with performer(posted) as steps:
        steps.perform(in_process("first", abs, -1))
        await posted.reach(1)
        monkeypatch.syspath_prepend(tmp_path)  # too late for the worker
        import only_here

        steps.perform(in_process("a", only_here.step))
        await posted.reach(2)
        del sys.modules["only_here"]
    assert isinstance(posted.error("a"), ModuleNotFoundError)


async def test_modules_of_the_parents_path_are_found(
    posted: Posted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "also_there.py").write_text("def step():\n    return 'found'\n")
    monkeypatch.syspath_prepend(tmp_path)
    import also_there

    async with performer(posted) as steps:
        steps.perform(in_process("a", also_there.step))
        await posted.reach(1)
        del sys.modules["also_there"]
    assert posted.value("a") == "found"


async def test_an_async_function_is_a_clear_error(posted: Posted) -> None:
    async def step() -> None:
        pass

    async with performer(posted) as steps:
        steps.perform(in_process("a", step))
        await posted.reach(1)
    assert isinstance(posted.error("a"), TypeError)
    assert "step 'a' returned an awaitable" in str(posted.error("a"))


async def test_large_arguments_and_results_pass(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", lambda data: data[::-1], b"ab" * 1_000_000))
        await posted.reach(1)
    assert posted.value("a") == b"ba" * 1_000_000


async def test_what_steps_print_is_shown_and_disturbs_nothing(
    posted: Posted, capfd: pytest.CaptureFixture[str]
) -> None:
    def chatter() -> str:
        print("from the step")
        os.write(1, b"and below it\n")
        return sys.stdin.read()

    async with performer(posted) as steps:
        steps.perform(in_process("a", chatter))
        await posted.reach(1)
    assert posted.value("a") == ""
    assert capfd.readouterr() == ("from the step\nand below it\n", "")


MAIN = """
import anyio
from continuum.engine.steps import Performer, Task
from continuum.journal import Failure, Value
from continuum.store.codec import Codec

class Point:
    pass

class Oops(Exception):
    pass

OFFSET = 1

def move(point):
    assert type(point) is Point
    point.x = OFFSET
    return point

def fail():
    raise Oops("no")

async def main():
    outcomes = {}
    both = anyio.Event()
    def post(task, outcome):
        outcomes[task.key] = outcome
        if len(outcomes) == 2:
            both.set()
    async with Performer(post, Codec(), concurrency=2) as steps:
        steps.perform(Task("move", move, (Point(),), "process"))
        steps.perform(Task("fail", fail, (), "process"))
        await both.wait()
    print(type(outcomes["move"].value) is Point, outcomes["move"].value.x, b"cloudpickle" in outcomes["move"].data)
    print(type(outcomes["fail"].error) is Oops, outcomes["fail"].error.args, b"cloudpickle" in outcomes["fail"].data)

if __name__ == "__main__":
    print("started")
    anyio.run(main)
"""


@pytest.mark.parametrize("as_file", [True, False])
def test_what_the_main_program_defines_goes_there_and_comes_back_as_itself(tmp_path: Path, as_file: bool) -> None:
    (tmp_path / "program.py").write_text(MAIN)
    command = [sys.executable, "-W", "error", *([tmp_path / "program.py"] if as_file else ["-c", MAIN])]
    path = os.pathsep.join(filter(None, sys.path))
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=TOO_LONG, env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.stderr == ""
    assert ended.stdout == "started\nTrue 1 False\nTrue ('no',) False\n"


# Killing


async def test_a_step_that_takes_too_long_is_killed(posted: Posted, tmp_path: Path) -> None:
    hang = hanging(tmp_path / "begun")
    async with performer(posted) as steps:
        # Long enough for a worker to start; the step itself never ends.
        steps.perform(in_process("a", abs, -1))
        await posted.reach(1)
        steps.perform(in_process("slow", hang, timeout=0.2))
        pid = await read(tmp_path / "begun")
        await posted.reach(2)
        await until(lambda: is_gone(pid))
        steps.perform(in_process("b", os.getpid))
        await posted.reach(3)
    assert isinstance(posted.error("slow"), StepTimeout)
    assert str(posted.error("slow")) == "step 'slow' took longer than 0.2 seconds"
    assert posted.value("b") != pid


async def test_a_cancelled_step_is_killed_and_posts_nothing(posted: Posted, tmp_path: Path) -> None:
    hang = hanging(tmp_path / "begun")
    async with performer(posted) as steps:
        steps.perform(in_process("a", hang))
        pid = await read(tmp_path / "begun")
        steps.cancel(None, "a")
        assert steps.in_flight == 0
        await until(lambda: is_gone(pid))
        steps.perform(in_process("b", os.getpid))
        await posted.reach(1)
    assert posted.keys == ["b"]
    assert posted.value("b") != pid


async def test_a_step_cancelled_while_its_worker_starts_is_killed_too(posted: Posted, tmp_path: Path) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", (tmp_path / "ran").touch))
        steps.cancel(None, "a")
        steps.perform(in_process("b", abs, -1))
        await posted.reach(1)
    assert posted.keys == ["b"]
    assert not (tmp_path / "ran").exists()


async def test_drain_beyond_its_grace_kills(posted: Posted, tmp_path: Path) -> None:
    hang = hanging(tmp_path / "begun")
    async with performer(posted) as steps:
        steps.perform(in_process("a", hang))
        pid = await read(tmp_path / "begun")
        assert not await steps.drain(0)
        await until(lambda: is_gone(pid))
    assert posted.keys == []


async def test_no_worker_outlives_the_performer(posted: Posted, tmp_path: Path) -> None:
    hang = hanging(tmp_path / "begun")
    async with performer(posted, concurrency=2) as steps:
        steps.perform(in_process("busy", hang))
        busy = await read(tmp_path / "begun")
        steps.perform(in_process("idle", os.getpid))
        await posted.reach(1)
        assert not is_gone(posted.value("idle"))
    assert is_gone(posted.value("idle"))
    assert is_gone(busy)
    assert posted.keys == ["idle"]


async def test_idle_workers_beyond_the_cpu_count_are_ended(
    posted: Posted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    pipes = [(tmp_path / f"begun{number}", tmp_path / f"go{number}") for number in range(2)]

    def meet(begun: Path, go: Path) -> None:
        begun.write_text(str(os.getpid()))
        go.read_text()

    async with performer(posted, concurrency=2) as steps:
        pids = []
        for number, (begun, go) in enumerate(pipes):
            os.mkfifo(begun)
            os.mkfifo(go)
            steps.perform(in_process(str(number), meet, begun, go))
            pids.append(await read(begun))
        assert not any(map(is_gone, pids))
        for number, (_, go) in enumerate(pipes):
            await run_sync(go.write_text, "go")
            await posted.reach(number + 1)
        # Whoever leaves is reaped when the next step comes back.
        await until(lambda: has_ended(pids[1]))
        assert not has_ended(pids[0])
        steps.perform(in_process("next", os.getpid))
        await posted.reach(3)
        assert is_gone(pids[1])
    assert posted.value("next") == pids[0]


def has_ended(pid: int) -> bool:
    """Has this child ended? It is left to be reaped by others."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


class Mortal:
    """A worker that counts how often it is killed."""

    def __init__(self) -> None:
        self.kills = 0

    def kill(self) -> None:
        self.kills += 1


def test_a_kill_after_the_call_has_ended_does_not_meet_the_worker() -> None:
    call, worker = Call(), Mortal()
    call.begin(worker)  # type: ignore[arg-type]
    call.end()
    call.kill()
    assert worker.kills == 0


def test_a_kill_before_the_call_has_begun_meets_the_worker_when_it_begins() -> None:
    call, worker = Call(), Mortal()
    call.kill()
    call.begin(worker)  # type: ignore[arg-type]
    assert worker.kills == 1


def test_a_worker_killed_just_as_its_reply_came_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    call, workers = Call(), []

    class Racing(Mortal):
        is_alive = True  # a signal takes its time

        def __init__(self, codec: bytes) -> None:
            super().__init__()
            workers.append(self)

        def ask(self, request: bytes) -> bytes:
            if len(workers) == 1:
                call.kill()
            return pickle.dumps((False, Codec().encode("reply")))

        def dismiss(self) -> None:
            pass

        def reap(self) -> int:
            return -signal.SIGKILL

    monkeypatch.setattr(processes, "Worker", Racing)
    pool = processes.Processes(Codec())
    assert isinstance(pool.perform(call, "a", abs, (1,), Context("run-1", "order")), Failure)
    second = pool.perform(Call(), "b", abs, (1,), Context("run-1", "order"))
    assert isinstance(second, Value)
    assert [worker.kills for worker in workers] == [1, 0]


# Crashing


async def test_a_process_that_exits_in_a_step_is_told_with_its_exit_code(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", os._exit, 7))
        steps.perform(in_process("b", abs, -1))
        await posted.reach(2)
    assert isinstance(posted.error("a"), StepCrashed)
    assert str(posted.error("a")) == "the process of step 'a' ended with exit code 7"
    assert posted.value("b") == 1


async def test_a_process_killed_in_a_step_is_told_with_the_signal(posted: Posted) -> None:
    def kill_me() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async with performer(posted) as steps:
        steps.perform(in_process("a", kill_me))
        await posted.reach(1)
    assert isinstance(posted.error("a"), StepCrashed)
    assert str(posted.error("a")) == "the process of step 'a' was killed by SIGKILL"


async def test_sys_exit_is_an_error_and_no_crash(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", sys.exit, 7))
        await posted.reach(1)
    assert type(posted.error("a")) is SystemExit


async def test_a_worker_that_died_while_idle_is_replaced(posted: Posted) -> None:
    async with performer(posted) as steps:
        steps.perform(in_process("a", os.getpid))
        await posted.reach(1)
        os.kill(posted.value("a"), signal.SIGKILL)
        await until(lambda: has_ended(posted.value("a")))
        steps.perform(in_process("b", os.getpid))
        await posted.reach(2)
    assert posted.value("b") != posted.value("a")


def test_a_worker_that_windows_says_is_gone_is_gone() -> None:
    worker = processes.Worker(pickle.dumps(Codec()))
    worker._requests.close()
    worker._requests = Invalid()  # type: ignore[assignment]
    assert worker.ask(b"request") is None
    worker.dismiss()
    assert worker.reap() == 0


class Invalid:
    """A pipe to a process that is gone, on Windows."""

    def write(self, data: bytes) -> None:
        pass

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    close = flush


async def test_ctrl_c_is_left_to_the_parent(posted: Posted) -> None:
    def interrupt() -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return "went on"

    async with performer(posted) as steps:
        steps.perform(in_process("a", interrupt))
        await posted.reach(1)
    assert posted.value("a") == "went on"


def test_a_worker_ends_when_its_parent_is_killed() -> None:
    program = """
import anyio, os, signal
from continuum.engine.steps import Performer, Task
from continuum.journal import Failure, Value
from continuum.store.codec import Codec

async def main():
    def post(task, outcome):
        print(outcome.value, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    async with Performer(post, Codec(), concurrency=1) as steps:
        steps.perform(Task("a", os.getpid, (), "process"))
        await anyio.sleep_forever()

anyio.run(main)
"""
    # The worker shares the standard output, so this returns only when both have ended.
    path = os.pathsep.join(filter(None, sys.path))
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=TOO_LONG,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ended.stderr == ""
    assert ended.returncode == -signal.SIGKILL
    assert int(ended.stdout) > 0
