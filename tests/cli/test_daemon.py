"""The daemon: what it takes up, how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable

import pytest
from projects import SAFETY, Project, until

Background = Callable[..., subprocess.Popen[str]]


def read_until(process: subprocess.Popen[str], begins: str) -> str:
    """The first line on standard error that begins so."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(begins):
            return line
    raise AssertionError(f"nothing began with {begins!r}")


def stopping(project: Project, background: Background, number: int) -> subprocess.Popen[str]:
    """A daemon that was told to stop while it is at work on a step that does not end."""
    assert project("start", "flows:gated", "gate", "--id", "a").returncode == 0
    daemon = background("run", "flows")
    until((project.path / "gate.begun").exists)
    daemon.send_signal(number)
    read_until(daemon, "stopping")
    return daemon


def test_the_ready_line_names_store_workflows_and_queues(project: Project, background: Background) -> None:
    daemon = background("run", "flows:order", "flows:echo", "--queue", "a", "--queue", "b")
    line = read_until(daemon, "ready")
    assert line == "ready: store store, workflows order, echo, queues a, b\n"


def test_a_daemon_works_on_what_comes_while_it_runs(project: Project, background: Background) -> None:
    daemon = background("run", "flows.py")
    read_until(daemon, "ready")
    done = project("start", "flows:echo", "7", "--id", "a", "--wait")
    assert done.stdout == "a\n7\n"
    daemon.terminate()
    assert daemon.wait(SAFETY) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_lets_steps_in_flight_end(project: Project, background: Background, number: int, code: int) -> None:
    daemon = stopping(project, background, number)
    (project.path / "gate.go").touch()
    assert daemon.wait(SAFETY) == code
    history = json.loads(project("history", "a", "--json").stdout)
    assert [step["value"] for step in history if step["kind"] == "save"] == ["gate"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_at_once(project: Project, background: Background, number: int, code: int) -> None:
    daemon = stopping(project, background, number)
    daemon.send_signal(number)
    assert daemon.wait(SAFETY) == code
    assert json.loads(project("history", "a", "--json").stdout) == []
    (project.path / "gate.go").touch()
    project.work()
    assert project("result", "a").stdout == '"gate"\n'


def test_a_second_daemon_works_beside_the_first(project: Project, background: Background) -> None:
    daemons = [background("run", "flows", stderr=subprocess.PIPE) for _ in range(2)]
    for daemon in daemons:
        read_until(daemon, "ready")
    for number in range(4):
        assert project("start", "flows:echo", str(number), "--id", f"e{number}").returncode == 0
    assert [project("result", f"e{number}", "--wait").stdout.strip() for number in range(4)] == ["0", "1", "2", "3"]
    daemons[0].send_signal(signal.SIGKILL)
    daemons[0].wait(SAFETY)
    assert project("start", "flows:echo", "4", "--wait").returncode == 0


def test_runs_that_wait_do_not_hold_a_worker_that_runs_until_idle(project: Project) -> None:
    assert project("start", "flows:order", "ord-1", "--id", "a").returncode == 0
    assert project("start", "flows:echo", "1", "--id", "b").returncode == 0
    assert project("run", "flows", "--until-idle").returncode == 0
    assert [run["status"] for run in json.loads(project("ls", "--json").stdout)] == ["completed", "waiting"]


def test_a_worker_takes_only_its_queues_and_workflows(project: Project) -> None:
    project("start", "flows:echo", "--id", "a", "--queue", "slow")
    project("start", "flows:echo", "--id", "b")
    project("start", "flows:failing", "--id", "c", "--queue", "slow")
    assert project("run", "flows:echo", "--queue", "slow", "--until-idle").returncode == 0
    statuses = {run["id"]: run["status"] for run in json.loads(project("ls", "--json").stdout)}
    assert statuses == {"a": "completed", "b": "pending", "c": "pending"}


def test_a_workflow_whose_queue_is_not_served_is_told(project: Project) -> None:
    project.write("billing.py", "from continuum import *\n@workflow(queue='billing')\ndef bill():\n    yield Now()\n")
    told = project("run", "billing", "--until-idle").stderr
    assert "runs of bill wait in queue 'billing'" in told
    assert "wait in queue" not in project("run", "billing", "--until-idle", "--queue", "billing").stderr


@pytest.mark.parametrize(
    "command",
    [["run", "forgets"], ["run", "forgets", "--processes", "2"], ["start", "forgets"], ["check", "forgets"]],
    ids=lambda command: " ".join(command),
)
def test_a_forgotten_yield_is_told_with_its_line_and_exits_with_2(project: Project, command: list[str]) -> None:
    text = "from continuum import *\n\n\n@workflow\ndef forgets():\n    Save(len, 'a')\n    yield Now()\n"
    project.write("forgets.py", text)
    done = project(*command)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: forgets.py:6 in forgets makes the command Save and does nothing with it")
    assert not (project.path / "store").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nope"],
        ["flows:nope"],
        ["flows", "--concurrency", "0"],
        ["flows", "--durability", "none"],
        ["flows", "--queue", "a\tb"],
        ["flows", "other.py"],
    ],
)
def test_a_daemon_that_makes_no_sense_exits_with_2(project: Project, arguments: list[str]) -> None:
    project.write("other.py", "from continuum import *\n@workflow\ndef order():\n    yield Now()\n")
    done = project("run", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert not (project.path / "store").exists()


def test_a_run_that_a_script_started_goes_on_in_a_daemon(project: Project) -> None:
    assert project.python("flows.py").returncode == 0
    project.work()
    assert project("result", "from-script").stdout == '"Point(x=8)"\n'


@pytest.mark.parametrize("command", [["start", "flows:order", "x", "--wait"], ["history", "a", "--follow"]])
def test_ctrl_c_ends_a_wait_with_130(project: Project, background: Background, command: list[str]) -> None:
    assert project("start", "flows:order", "x", "--id", "a").returncode == 0
    waiting = background(*command)
    assert waiting.stdout is not None
    assert waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    _, told = waiting.communicate(timeout=SAFETY)
    assert (waiting.returncode, told) == (130, "")


def test_a_history_is_followed_until_the_run_has_ended(project: Project, background: Background) -> None:
    assert project("start", "flows:gated", "gate", "--id", "a").returncode == 0
    background("run", "flows", "--until-idle", stderr=subprocess.DEVNULL)
    until((project.path / "gate.begun").exists)
    following = background("history", "a", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline().startswith("POSITION")
    (project.path / "gate.go").touch()
    printed, _ = following.communicate(timeout=SAFETY)
    assert following.returncode == 0
    assert printed.split()[:3] == ["0", "save", "gate"]


def test_a_log_line_of_a_workflow_is_one_line_whatever_it_says(project: Project) -> None:
    said = r"Log('one\ntwo\x1b[31m', who='a\u202eb', run=7, when=3.5)"
    project.write("logs.py", f"from continuum import *\n@workflow\ndef logs():\n    yield {said}\n")
    assert project("start", "logs", "--id", "r").returncode == 0
    lines = project("run", "logs", "--until-idle").stderr.splitlines()
    (line,) = (line for line in lines if "continuum.workflow" in line)
    assert line.endswith(r"one\ntwo\x1b[31m  run=r  position=0  who=a\u202eb  run=7  when=3.5")


def test_log_lines_go_to_standard_error(project: Project) -> None:
    project.write("logs.py", "from continuum import *\n@workflow\ndef logs():\n    yield Log('seen once')\n")
    assert project("start", "logs", "--id", "r").returncode == 0
    done = project("run", "logs", "--until-idle")
    assert "INFO continuum.workflow: seen once  run=r  position=0" in done.stderr
    assert done.stdout == ""
    assert project("start", "logs").returncode == 0
    assert "seen once" not in project("run", "logs", "--until-idle", "--log-level", "error").stderr
