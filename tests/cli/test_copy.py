"""``continuum copy``: a store moves, and the commands say so."""

from __future__ import annotations

import json

from projects import Project


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
