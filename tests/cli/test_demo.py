"""The demo: it proves what it says, or says that it does not."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from projects import ROOT, SAFETY, Project, until

from continuum.cli.demo_proof import Proof
from continuum.cli.demo_workflow import python_files, read_file, read_marks
from continuum.cli.main import cli

GOOD = Proof("run", 3, 9, {"parsed": 3}, 2, 2, 1, 8, 3, 0.01, 1.5)


def tree(project: Project, count: int) -> None:
    (project.path / "tree").mkdir()
    for number in range(count):
        project.write(f"tree/part{number % 3}/file{number}.py", f"x = {number}\n")


@pytest.mark.parametrize("count", [0, 1, 25])
def test_it_adds_up(project: Project, count: int) -> None:
    tree(project, count)
    done = project("demo", "--path", "tree", "--json")
    assert done.returncode == 0, done.stderr
    proof = json.loads(done.stdout)
    assert (proof["ok"], proof["problems"]) == (True, [])
    assert proof["files"] == proof["journaled"] == count
    assert proof["before_kill"] + proof["after_kill"] == count + proof["repeated"]
    assert proof["repeated"] <= proof["in_flight_at_most"]
    assert proof["before_kill"] >= count // 2
    assert "was killed with SIGKILL" in done.stderr
    assert list(project.temp.iterdir()) == []


def test_it_prints_a_table_and_keeps_what_it_is_asked_to_keep(project: Project) -> None:
    tree(project, 4)
    project.write("tree/bad.py", "def x(:\n")
    done = project("demo", "--path", "tree", "--keep", "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^files +5 +4 lines|^files +5 +5 lines", done.stdout, re.MULTILINE)
    assert "1 not Python, 4 parsed" in done.stdout
    assert "at most 2 were in flight" in done.stdout
    (kept,) = project.temp.iterdir()
    assert str(kept) in done.stderr
    listed = json.loads(project("ls", "--json", "--store", str(kept / "store")).stdout)
    assert [run["status"] for run in listed] == ["completed"]


def test_it_uses_the_store_that_it_is_given_and_leaves_it(project: Project) -> None:
    tree(project, 2)
    assert project("demo", "--path", "tree", "--store", "mine").returncode == 0
    assert project("demo", "--path", "tree").returncode == 0  # not that of the environment
    assert len(json.loads(project("ls", "--json", "--store", "mine").stdout)) == 1
    assert not (project.path / "store").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing_behind(
    project: Project, background: Callable[..., subprocess.Popen[str]], number: int, code: int
) -> None:
    demo = background("demo", "--path", str(ROOT))
    assert demo.stderr is not None
    said = re.match(r"worker (\d+) works", demo.stderr.readline())
    assert said is not None
    demo.send_signal(number)
    assert demo.wait(SAFETY) == code
    assert list(project.temp.iterdir()) == []
    until(lambda: not _is_alive(int(said[1])))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("problems", "code"), [([], 0), (["not every file was read"], 1)])
def test_what_does_not_add_up_is_told_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, problems: list[str], code: int
) -> None:
    monkeypatch.setattr("continuum.cli.demo.prove", lambda *given: replace(GOOD, problems=problems))
    done = CliRunner().invoke(cli, ["demo"])
    assert done.exit_code == code
    assert ("does not add up: not every file was read" in done.output) == bool(problems)


def test_a_directory_that_is_not_there_is_refused(project: Project) -> None:
    assert project("demo", "--path", "nowhere").returncode == 2


def test_installed_packages_and_what_is_no_file_are_passed_over(tmp_path: Path) -> None:
    for name in ("b.py", "a/c.py", "site-packages/d.py", "__pycache__/e.py", "f.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.py")
    assert python_files(str(tmp_path)) == ["a/c.py", "b.py"]


@pytest.mark.parametrize(
    ("content", "verdict"),
    [(b"x = 1\n", "parsed"), (b"def x(:\n", "not Python"), (b"\x00\n", "not Python"), (b"\xff\n", "not Python")],
)
def test_each_file_gets_a_verdict_and_each_step_leaves_a_mark(tmp_path: Path, content: bytes, verdict: str) -> None:
    (tmp_path / "a.py").write_bytes(content)
    marks = str(tmp_path / "marks")
    facts = read_file(str(tmp_path), marks, "a.py")
    assert (facts[0], facts[2:]) == ("a.py", (1, verdict))
    assert read_file(str(tmp_path), marks, "gone.py") == ("gone.py", "", 0, "unreadable")
    assert [(mark.process, mark.path) for mark in read_marks(marks)] == [
        (os.getpid(), "a.py"),
        (os.getpid(), "gone.py"),
    ]
