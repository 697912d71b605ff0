"""``continuum copy``: a store moves, and the commands say so."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from contextlib import closing

import pytest
from projects import Project
from test_daemon import read_until

from continuum.store.copying import _Moving
from continuum.store.opening import open_store

Background = Callable[..., subprocess.Popen[str]]


def test_a_store_is_moved_and_its_runs_go_on_in_the_other(project: Project) -> None:
    assert project("start", "flows:order", "ord-1", "--arg", "amount=3", "--id", "a").returncode == 0
    project.work()
    copied = project("copy", "store", "other")
    assert (copied.returncode, copied.stderr) == (0, "")
    place = str(project.path / "other")
    assert copied.stdout.startswith("moved 1 run (")
    assert copied.stdout.rstrip().endswith(f"from {project.path / 'store'} to {place}")
    refused = project("send", "a", "approved", "alice")
    assert (refused.returncode, refused.stdout) == (5, "")
    assert f"were moved to {place}" in refused.stderr
    assert project("run", "flows", "--until-idle").returncode == 5
    assert json.loads(project("show", "a", "--json").stdout)["status"] == "waiting"
    assert project("--store", "other", "send", "a", "approved", "alice").returncode == 0
    assert project("--store", "other", "run", "flows", "--until-idle").returncode == 0
    assert json.loads(project("--store", "other", "result", "a").stdout)["by"] == "alice"


def test_what_was_copied_can_be_printed_as_json(project: Project) -> None:
    assert project("start", "flows:order", "ord-1").returncode == 0
    told = json.loads(project("copy", "store", "other", "--json").stdout)
    assert told["runs"] == 1
    assert told["records"] > 1


def test_a_source_that_is_not_there_is_not_made(project: Project) -> None:
    done = project("copy", "nowhere", "other")
    assert done.returncode == 5
    assert not (project.path / "nowhere").exists()
    assert not (project.path / "other").exists()


def test_a_store_is_not_moved_to_itself(project: Project) -> None:
    assert project("start", "flows:order", "ord-1").returncode == 0
    done = project("copy", "store", "./store")
    assert (done.returncode, "same store" in done.stderr) == (2, True)
    project.work()


def test_whoever_is_at_work_is_named_and_the_destination_is_not_made(project: Project, background: Background) -> None:
    worker = background("run", "flows", stderr=subprocess.PIPE)
    read_until(worker, "ready")
    done = project("copy", "store", "other")
    assert done.returncode == 5
    assert re.search(rf"process {worker.pid} on \S+ executes the runs of \S+; stop it", done.stderr)
    assert not (project.path / "other").exists()


@pytest.mark.parametrize("places", [("memory://x", "other"), ("store", "memory://x")])
def test_a_store_that_would_end_with_the_command_is_refused(project: Project, places: tuple[str, str]) -> None:
    assert project("start", "flows:order", "ord-1").returncode == 0
    done = project("copy", *places)
    assert (done.returncode, "memory://x: a store in memory ends with this command" in done.stderr) == (2, True)
    project.work()


def test_a_copy_that_was_cut_off_is_begun_anew_or_given_up(project: Project) -> None:
    assert project("start", "flows:order", "ord-1", "--id", "a").returncode == 0
    with closing(open_store(project.path / "store")) as here, closing(open_store(project.path / "other")) as there:
        _Moving(here, there, 1).begin()
    for refused in (project("start", "flows:order", "ord-2"), project("copy", "store", "elsewhere")):
        assert refused.returncode == 5
        assert f"moved to {project.path / 'other'}; if that was cut off" in refused.stderr
        assert "--abandon" in refused.stderr
    given_up = project("copy", "store", "other", "--abandon")
    assert (given_up.returncode, given_up.stderr) == (0, "")
    assert given_up.stdout.startswith(f"given up: the runs go on in {project.path / 'store'}")
    again = project("copy", "store", "other", "--abandon")
    assert (again.returncode, "nothing to give up" in again.stderr) == (5, True)
    project.work()
    assert project("copy", "store", "other").stdout.startswith("moved 1 run")
