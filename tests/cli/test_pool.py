"""``continuum run --processes N``: a parent and its workers, killed and asked to stop in several ways."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hosts import is_gone
from projects import SAFETY, Project, until
from test_daemon import read_until

from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.opening import open_store
from continuum.store.records import WorkerRecord, read

Background = Callable[..., subprocess.Popen[str]]


def started(background: Background, count: int, *options: str) -> subprocess.Popen[str]:
    """A parent whose workers are ready."""
    parent = background("run", "flows", "--processes", str(count), *options, stderr=subprocess.PIPE)
    for _ in range(count):
        read_until(parent, "ready")
    return parent


def workers(project: Project) -> set[int]:
    """The processes of the workers that are there."""
    store = open_store(project.path / "store")
    try:
        with store.view() as view:
            records = [read(Codec(), WorkerRecord, key, data) for key, data in view.scan(keys.workers())]
    finally:
        store.close()
    return {record.pid for record in records}


def has_ended(pid: int) -> bool:
    """Whether the process does nothing any more; its new parent may not have taken note of that yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return is_gone(pid)


def test_workers_share_the_runs_and_one_that_dies_is_replaced(project: Project, background: Background) -> None:
    parent = started(background, 2)
    first, second = workers(project)
    for number in range(5):
        assert project("start", "flows:echo", str(number), "--wait").returncode == 0
    subprocess.run(["kill", "-KILL", str(first)], check=True)
    assert f"worker process {first} ended with signal SIGKILL" in read_until(parent, "worker process")
    read_until(parent, "ready")
    assert project("start", "flows:echo", "5", "--wait").returncode == 0
    until(lambda: len(workers(project)) == 2)
    assert second in workers(project)
    assert first not in workers(project)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(SAFETY) == 0
    assert workers(project) == set()


def test_workers_that_a_run_holds_up_are_replaced_and_the_run_is_laid_aside(
    project: Project, background: Background
) -> None:
    parent = started(background, 2, "--lease", "2")
    assert project("start", "flows:stuck", "a", "--id", "a").returncode == 0
    for _ in range(3):
        read_until(parent, "ending at once: a run holds up this worker")
        assert "exit code 1" in read_until(parent, "worker process")
    until(lambda: json.loads(project("show", "a", "--json").stdout)["status"] == "blocked")
    assert project("start", "flows:echo", "5", "--wait").returncode == 0
    assert (project.path / "a.begun").read_text() == "..."
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(SAFETY) == 0


def test_the_store_is_in_no_command_that_everybody_may_see(project: Project, background: Background) -> None:
    parent = started(background, 2)
    worker, _ = workers(project)
    seen = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(worker)], capture_output=True, text=True, check=True)
    assert "--supervised" in seen.stdout
    assert "store" not in seen.stdout
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(SAFETY) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_the_steps_of_all_workers_end(
    project: Project, background: Background, number: int, code: int
) -> None:
    parent = started(background, 2)
    for name in "ab":
        assert project("start", "flows:gated", name, "--id", name).returncode == 0
        until((project.path / f"{name}.begun").exists)
    parent.send_signal(number)
    read_until(parent, "stopping")
    for name in "ab":
        (project.path / f"{name}.go").touch()
    assert parent.wait(SAFETY) == code
    for name in "ab":
        history = json.loads(project("history", name, "--json").stdout)
        assert [step["value"] for step in history if step["kind"] == "save"] == [name]


def test_a_second_signal_ends_all_at_once(project: Project, background: Background) -> None:
    parent = started(background, 2)
    pids = workers(project)
    assert project("start", "flows:gated", "gate", "--id", "a").returncode == 0
    until((project.path / "gate.begun").exists)
    parent.send_signal(signal.SIGTERM)
    read_until(parent, "stopping")
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(SAFETY) == 143
    until(lambda: all(has_ended(pid) for pid in pids))
    assert json.loads(project("history", "a", "--json").stdout) == []


def test_workers_end_when_their_parent_is_killed(project: Project, background: Background) -> None:
    parent = started(background, 2)
    pids = workers(project)
    parent.kill()
    until(lambda: all(has_ended(pid) for pid in pids))
    assert workers(project) == set()


def test_the_parent_ends_when_nothing_is_left_to_do(project: Project) -> None:
    for number in range(5):
        assert project("start", "flows:echo", str(number), "--id", f"e{number}").returncode == 0
    assert project("run", "flows", "--processes", "3", "--until-idle").returncode == 0
    assert {run["status"] for run in json.loads(project("ls", "--json").stdout)} == {"completed"}


@pytest.mark.parametrize(
    "options",
    [["--processes", "0"], ["--processes", "2", "--store", "memory://"], ["--lease", "0.5"], ["--lease", "x"]],
)
def test_workers_that_make_no_sense_are_refused_with_2(project: Project, options: list[str]) -> None:
    done = project("run", "flows", *options)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_store_that_no_worker_could_use_is_told_once_and_ends_with_5(project: Project) -> None:
    done = project("run", "flows", "--processes", "2", "--store", "flows.py")
    assert done.returncode == 5
    assert done.stderr.count("is a file; a store is a directory") == 1
    assert project("start", "flows:echo", "1").returncode == 0
    assert project("copy", "store", "elsewhere").returncode == 0
    done = project("run", "flows", "--processes", "2")
    assert done.returncode == 5
    assert "elsewhere" in done.stderr
