"""Runs of workflows that no other program can import, worked on by daemons that know none of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
from projects import SAFETY, Project, until

Background = Callable[..., subprocess.Popen[str]]

PROGRAM = """
import os
import sys
import time
from pathlib import Path

from continuum import Call, ContinueUsing, Engine, Receive, RunFailed, Save, workflow
from flows import gate

FACTOR = 10


class Point:
    def __init__(self, x):
        self.x = x

    def scaled(self):
        return Point(self.x * FACTOR)


class Refused(Exception):
    pass


def scale(point):
    return point.scaled()


def refuse(number):
    if number < 0:
        raise Refused(number)


@workflow
def child(point):
    yield Save(gate, "gate")
    return (yield Save(scale, point))


@workflow(version="3")
def order(point, rounds=0):
    if rounds < 2:
        yield ContinueUsing(order((yield Save(scale, point)), rounds + 1))
    point = yield Call(child(point), id="child")
    other = yield Receive("point")
    assert isinstance(point, Point) and isinstance(other, Point)
    try:
        yield Save(refuse, other.x)
    except Refused as error:
        print("the workflow knows", repr(error))
        raise
    return Point(point.x + other.x)


def main(number, wait=True):
    with Engine("store", work=False) as engine:
        run = engine.start(order(Point(4)), id="a")
        run.send("point", Point(number))
        try:
            if wait:
                print(vars(run.result()), type(run.result()) is Point)
        except RunFailed as error:
            print(repr(error.__cause__), type(error.__cause__) is Refused)
"""

NOTEBOOK = """
import sys

main = sys.modules["__main__"].__dict__
cells = open("program.py").read().split("def main")
del main["__file__"]
main["__spec__"] = None
exec(compile(cells[0], "<cell 1>", "exec"), main)
exec(compile("def main" + cells[1], "<cell 2>", "exec"), main)
"""

KINDS = ["script", "-c", "notebook"]


def start(project: Project, kind: str, call: str) -> str:
    """What a program prints that has the workflow in its main module, and calls its `main`."""
    project.write("program.py", PROGRAM)
    if kind == "-c":
        done = project.python("-c", PROGRAM + call)
    else:
        project.write("start.py", (NOTEBOOK if kind == "notebook" else PROGRAM) + call)
        done = project.python("start.py")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def daemon(background: Background, *arguments: str) -> subprocess.Popen[str]:
    process = background("run", *arguments)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("ready")
    return process


@pytest.mark.parametrize("kind", KINDS)
def test_a_program_starts_what_a_daemon_does_not_have(project: Project, background: Background, kind: str) -> None:
    (project.path / "gate.go").touch()
    daemon(background, "flows:echo")
    assert start(project, kind, "main(5)") == "{'x': 4005} True"


def test_errors_of_its_own_are_known_to_the_workflow_and_to_the_program(
    project: Project, background: Background
) -> None:
    (project.path / "gate.go").touch()
    worker = daemon(background, "flows:echo")
    assert start(project, "script", "main(-1)") == "Refused(-1) True"
    worker.terminate()
    printed, _ = worker.communicate(timeout=SAFETY)
    assert printed == "the workflow knows Refused(-1)\n"


@pytest.mark.parametrize("kind", KINDS)
def test_a_daemon_that_was_killed_is_followed_by_one_without_workflows(
    project: Project, background: Background, kind: str
) -> None:
    start(project, kind, "main(5, wait=False)")
    first = daemon(background, "flows:echo")
    until((project.path / "gate.begun").exists)
    first.kill()
    first.wait()
    (project.path / "gate.go").touch()
    safe = {"PYTHONSAFEPATH": "1"}  # as with the command `continuum`: what is imported here is found all the same
    assert project("run", "--carried", "--until-idle", env=safe).returncode == 0
    assert project("result", "a").stdout == '"Point(x=4005)"\n'
    recorded = json.loads(project("history", "child", "--json").stdout)
    assert [(step["kind"], step["name"]) for step in recorded] == [("save", "gate"), ("save", "scale")]


def test_a_daemon_that_has_the_script_works_on_it_by_name(project: Project) -> None:
    start(project, "script", "main(5, wait=False)")
    (project.path / "gate.go").touch()
    changed = PROGRAM.replace("point.x + other.x", "-1")
    project.write("start.py", changed)
    assert project("run", "start.py", "--until-idle").returncode == 0
    assert project("result", "a").stdout == '"Point(x=-1)"\n'


def test_show_tells_of_the_code_and_loads_none_of_it(project: Project) -> None:
    trap = "\nclass Trap:\n    def __reduce__(self):\n        return open, ('sprung', 'w')\n"
    program = PROGRAM.replace("FACTOR = 10", f"{trap}\nFACTOR = Trap()")
    project.write("start.py", program + "main(5, wait=False)")
    assert project.python("start.py").returncode == 0
    described = json.loads(project("show", "a", "--json").stdout)
    assert described["code"]["bytes"] > 1000
    shown = project("show", "a").stdout
    assert f"code        carried by the run: {described['code']['bytes']:,} bytes, for Python 3." in shown
    assert project("ls").returncode == project("history", "a").returncode == 0
    assert not (project.path / "sprung").exists()
    assert project("run", "--carried", "--until-idle").returncode == 0
    assert (project.path / "sprung").exists()


def test_a_run_by_name_shows_no_code(project: Project) -> None:
    assert project("start", "flows:echo", "--id", "a").returncode == 0
    assert json.loads(project("show", "a", "--json").stdout)["code"] is None
    assert "code" not in project("show", "a").stdout


def test_what_a_workflow_does_not_mention_cannot_come_in_an_event(project: Project) -> None:
    text = PROGRAM.replace("run.send", "run.send('point', Other()); run.send")
    project.write("start.py", f"class Other:\n    pass\n\n{text}main(5, wait=False)")
    (project.path / "gate.go").touch()
    assert project.python("start.py").returncode == 0
    assert project("run", "--carried", "--until-idle").returncode == 0
    described = json.loads(project("show", "a", "--json").stdout)
    assert described["status"] == "blocked"
    assert "has no 'Other' of its main program" in described["reason"]


def test_a_daemon_may_refuse_code(project: Project) -> None:
    start(project, "script", "main(5, wait=False)")
    assert project("run", "flows:echo", "--no-carried", "--until-idle").returncode == 0
    assert json.loads(project("show", "a", "--json").stdout)["status"] == "pending"


@pytest.mark.parametrize("options", [[], ["--no-carried"], ["--until-idle"]])
def test_a_daemon_without_a_target_is_to_be_wanted(project: Project, options: list[str]) -> None:
    done = project("run", *options)
    assert done.returncode == 2
    assert "name a TARGET, or give --carried" in done.stderr


def test_steps_of_the_code_run_in_worker_processes_too(project: Project) -> None:
    program = PROGRAM.replace("Save(scale, point)", "Save(scale, point, executor='process')")
    assert program != PROGRAM
    project.write("start.py", program + "main(5, wait=False)")
    (project.path / "gate.go").touch()
    assert project.python("start.py").returncode == 0
    assert project("run", "--carried", "--until-idle").returncode == 0
    assert project("result", "a").stdout == '"Point(x=4005)"\n'


def test_cached_results_of_two_scripts_are_kept_apart(project: Project) -> None:
    program = """
from continuum import Engine, Save, workflow

def fetch(number):
    return NAME, number

@workflow
def fetching():
    return (yield Save(fetch, 1, cache=3600))

with Engine("store", work=False) as engine:
    engine.start(fetching(), id=NAME)
"""
    for name, script in (("a", "one.py"), ("b", "other.py"), ("c", "one.py")):
        project.write(script, program.replace("NAME", repr(name)))
        assert project.python(script).returncode == 0
        assert project("run", "--carried", "--until-idle").returncode == 0
    results = [json.loads(project("result", name).stdout) for name in "abc"]
    assert results == [["a", 1], ["b", 1], ["a", 1]]


def test_reading_a_result_leaves_the_classes_of_the_program_as_they_are(
    project: Project, background: Background
) -> None:
    (project.path / "gate.go").touch()
    daemon(background, "--carried")
    call = "before = Point.scaled\nmain(5)\nFACTOR = 7\nprint(Point.scaled is before, Point(1).scaled().x)"
    assert start(project, "script", call).splitlines() == ["{'x': 4005} True", "True 7"]
