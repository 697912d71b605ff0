"""What the commands show of a run that has gone on as another workflow."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from projects import SAFETY, Project


def fine(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def polled(project: Project, *words: str) -> None:
    """A run that has gone on for each of these words."""
    fine(project("start", "flows:polls", "--id", "a"))
    for word in words:
        fine(project("send", "a", "word", word))
    project.work()


def shown(project: Project) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(fine(project("show", "a", "--json")))
    return run


def test_show_and_ls_tell_of_the_workflow_that_it_is_now(project: Project) -> None:
    polled(project, "one", "order")
    run = shown(project)
    assert (run["workflow"], run["started_as"], run["generation"]) == ("order", "polls", 2)
    assert (run["args"], run["status"]) == (["order"], "waiting")
    assert run["state"] == {"word": "order", "stage": "paid", "doubled": 0}
    text = fine(project("show", "a"))
    assert "workflow    order, version 1" in text
    assert "continued   2 times, started as polls" in text
    assert [each["workflow"] for each in json.loads(fine(project("ls", "--json", "--workflow", "order")))] == ["order"]
    assert json.loads(fine(project("ls", "--json", "--workflow", "polls"))) == []


def test_show_says_nothing_of_it_where_a_run_has_not_gone_on(project: Project) -> None:
    polled(project)
    assert "continued" not in fine(project("show", "a"))
    assert (shown(project)["started_as"], shown(project)["generation"]) == ("polls", 0)


def test_history_and_logs_are_those_since_then(project: Project) -> None:
    polled(project, "one", "two")
    steps = json.loads(fine(project("history", "a", "--json")))
    assert [(step["position"], step["kind"], step["value"]) for step in steps[:2]] == [
        ("", "publish", {"word": "two"}),
        ("0", "save", 4),
    ]
    logs = fine(project("logs", "a")).splitlines()
    assert len(logs) == 1
    assert "seen=2" in logs[0]


def test_who_follows_a_history_is_told_to_its_end(
    project: Project, background: Callable[..., subprocess.Popen[str]]
) -> None:
    fine(project("start", "flows:polls", "--id", "a"))
    follower = background("history", "a", "--follow", "--json")
    worker = background("run", "flows")
    for word in ("one", "order"):
        fine(project("send", "a", "word", word))
    fine(project("send", "a", "approved"))
    told, _ = follower.communicate(timeout=SAFETY)
    worker.terminate()
    last = [json.loads(line) for line in told.splitlines()]
    assert last[-1]["kind"] == "receive"
    assert last[-1]["name"] == "approved"


def test_a_run_that_went_on_as_what_the_worker_lacks_waits_for_one_that_has_it(project: Project) -> None:
    fine(project("start", "flows:polls", "--id", "a"))
    fine(project("send", "a", "word", "order"))
    fine(project("run", "flows:polls", "--until-idle"))
    assert (shown(project)["workflow"], shown(project)["waiting_for"]) == ("order", "a worker")
    project.work()
    assert shown(project)["waiting_for"] == "receive 'approved'"
