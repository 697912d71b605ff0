"""The commands that start, send and read, as scripts use them."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from projects import Project

from continuum import Engine
from continuum.cli import output
from continuum.cli.main import cli

EVIL = "\x1b[31mred\x9b\u202e"


def fine(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that went well printed."""
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    """What a command that was refused said; it printed nothing."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


# start


def test_start_prints_the_id_alone(project: Project) -> None:
    made = fine(project("start", "flows:order", "ord-1")).strip()
    assert fine(project("start", "flows:order", "ord-1", "--id", "mine")) == "mine\n"
    assert [run["id"] for run in json.loads(fine(project("ls", "--json")))] == ["mine", made]


def test_starting_the_same_id_again_starts_nothing(project: Project) -> None:
    for _ in range(2):
        assert fine(project("start", "flows:order", "ord-1", "--id", "a")) == "a\n"
    assert len(json.loads(fine(project("ls", "--json")))) == 1
    assert "order" in refused(project("start", "flows:echo", "--id", "a"), 4)


def test_arguments_are_json_or_text(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--arg", "amount=-5", "--id", "a"))
    fine(project("start", "flows:order", '["x"]', "-5", "--id", "b"))
    shown = {run["id"]: (run["args"], run["kwargs"]) for run in json.loads(fine(project("ls", "--json")))}
    assert shown == {"a": (["ord-1"], {"amount": -5}), "b": ([["x"], -5], {})}


@pytest.mark.parametrize(
    "arguments",
    [
        ["flows:order"],
        ["flows:order", "a", "b", "c"],
        ["flows:order", "a", "--arg", "nope=1"],
        ["flows:order", "{bad"],
        ["flows:order", "a", "--arg", "amount"],
        ["flows:order", "a", "--id", "x\ty"],
        ["flows:order", "a", "--id", ""],
        ["flows:order", "a", "--delay", "soon"],
        ["flows:order", "a", "--timeout=-1"],
        ["flows:order", "a", "--priority", "high"],
        ["flows:order", "a", "--queue", ""],
        ["flows:nope"],
        ["flows"],
        ["nope"],
        ["nope.py"],
        [],
    ],
)
def test_a_start_that_makes_no_sense_changes_nothing(project: Project, arguments: list[str]) -> None:
    refused(project("start", *arguments), 2)
    assert not (project.path / "store").exists()


def test_start_takes_queue_priority_delay_and_deadline(project: Project) -> None:
    options = ["--queue", "slow", "--priority", "7", "--delay", "1h", "--timeout", "7200"]
    run = json.loads(fine(project("start", "flows:echo", *options, "--json")))
    assert (run["queue"], run["priority"], run["status"]) == ("slow", 7, "pending")
    deadline, created = datetime.fromisoformat(run["deadline"]), datetime.fromisoformat(run["created"])
    assert deadline - created == timedelta(hours=3)  # it counts from the end of the delay


def test_start_and_wait_prints_the_id_and_the_result(project: Project) -> None:
    fine(project("start", "flows:echo", '{"a": 1}', "--id", "a"))
    project.work()
    lines = fine(project("start", "flows:echo", "--id", "a", "--wait")).splitlines()
    assert lines[0] == "a"
    assert json.loads("\n".join(lines[1:])) == {"a": 1}


def test_start_and_wait_for_a_run_that_fails_exits_with_1(project: Project) -> None:
    fine(project("start", "flows:failing", "--id", "a"))
    project.work()
    done = project("start", "flows:failing", "--id", "a", "--wait")
    assert (done.returncode, done.stdout) == (1, "a\n")
    assert done.stderr == "error: run 'a' failed: ValueError: boom\n"


# result


@pytest.mark.parametrize("value", [None, 0, False, "", "text", [1, "ä"], {"a": {"b": None}}])
def test_a_result_is_json(project: Project, value: Any) -> None:
    fine(project("start", "flows:echo", json.dumps(value), "--id", "a"))
    project.work()
    assert json.loads(fine(project("result", "a"))) == value
    assert json.loads(fine(project("result", "a", "--json", "--wait"))) == value


def test_a_run_that_has_not_ended_has_no_result(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    assert "pending" in refused(project("result", "a"), 4)
    project.work()
    assert "waiting for receive 'approved'" in refused(project("result", "a"), 4)
    assert "waiting" in refused(project("result", "a", "--wait", "--timeout", "0.01"), 124)
    assert "waiting" in refused(project("result", "a", "--timeout", "1s"), 124)


def test_a_run_that_failed_exits_with_1_and_one_line(project: Project) -> None:
    fine(project("start", "flows:failing", f"two\nlines {EVIL}", "--id", "a"))
    project.work()
    told = refused(project("result", "a"), 1)
    assert told.count("\n") == 1
    assert told.startswith("error: run 'a' failed: ValueError: two")
    assert told.strip().isprintable()


def test_a_run_whose_code_has_changed_exits_with_6(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    project.work()
    project.write("flows.py", (project.path / "flows.py").read_text().replace("Save(double, amount)", "Save(fail, 1)"))
    fine(project("send", "a", "approved"))
    project.work()
    told = refused(project("result", "a"), 6)
    assert "save 'double'" in told
    assert "save 'fail'" in told
    assert "blocked" in refused(project("result", "a", "--wait", "--timeout", "0.01"), 124)
    assert "save 'double'" in fine(project("show", "a"))


# send, cancel, retry


def test_an_event_reaches_the_run(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--arg", "amount=2", "--id", "a"))
    assert fine(project("send", "a", "approved", '{"by": "alice"}')) == ""
    project.work()
    assert json.loads(fine(project("result", "a"))) == {"order": "ord-1", "doubled": 4, "by": {"by": "alice"}}


@pytest.mark.parametrize(("payload", "received"), [([], None), (["bob"], "bob"), (["-3"], -3)])
def test_a_payload_is_json_or_text_or_nothing(project: Project, payload: list[str], received: object) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    fine(project("send", "a", "approved", *payload))
    project.work()
    assert json.loads(fine(project("result", "a")))["by"] == received


def test_a_payload_that_was_meant_as_json_must_be_json(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    assert "not JSON" in refused(project("send", "a", "approved", '{"by"'), 2)


def test_what_cannot_be_done_with_a_finished_run_exits_with_4(project: Project) -> None:
    fine(project("start", "flows:echo", "--id", "a"))
    project.work()
    for command in (["send", "a", "x"], ["cancel", "a"], ["retry", "a"]):
        told = refused(project(*command), 4)
        assert told.startswith("error: run 'a' is completed")
        assert told.count("\n") == 1


def test_a_pending_run_is_cancelled_at_once(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    fine(project("cancel", "a", "--reason", "no longer wanted"))
    assert "was cancelled: no longer wanted" in refused(project("result", "a"), 1)


def test_a_failed_run_goes_on_after_a_retry(project: Project) -> None:
    fine(project("start", "flows:failing", "--id", "a"))
    project.work()
    project.write("flows.py", (project.path / "flows.py").read_text().replace("raise ValueError(message)", "return 1"))
    fine(project("retry", "a"))
    project.work()
    assert fine(project("result", "a")) == "null\n"


@pytest.mark.parametrize(
    "command", [["send", "nope", "x"], ["cancel", "nope"], ["retry", "nope"], ["result", "nope"], ["show", "nope"]]
)
def test_an_unknown_run_exits_with_3_and_is_named(project: Project, command: list[str]) -> None:
    fine(project("start", "flows:echo"))
    assert refused(project(*command), 3) == "error: no run 'nope' in the store 'store'\n"


@pytest.mark.parametrize("command", ["history", "logs"])
@pytest.mark.parametrize("extra", [[], ["--follow"], ["--json"], ["--follow", "--json"]])
def test_the_history_of_an_unknown_run_exits_with_3(project: Project, command: str, extra: list[str]) -> None:
    fine(project("start", "flows:echo"))
    refused(project(command, "nope", *extra), 3)


@pytest.mark.parametrize("command", ["result", "show", "history", "logs", "cancel", "retry"])
def test_a_bad_id_exits_with_2(project: Project, command: str) -> None:
    assert "printable" in refused(project(command, "a\tb"), 2)


# ls, show, history


def test_ls_filters_and_limits(project: Project) -> None:
    fine(project("start", "flows:echo", "--id", "a"))
    fine(project("start", "flows:failing", "--id", "b"))
    project.work()
    fine(project("start", "flows:echo", "--id", "c"))

    def ids(*options: str) -> list[str]:
        return [run["id"] for run in json.loads(fine(project("ls", "--json", *options)))]

    assert ids() == ["c", "b", "a"]
    assert ids("--limit", "2") == ["c", "b"]
    assert ids("--status", "failed") == ["b"]
    assert ids("--workflow", "echo") == ["c", "a"]
    assert ids("--workflow", "echo", "--status", "completed") == ["a"]
    assert ids("--workflow", "nope") == []
    for options in (["--status", "nope"], ["--limit", "-1"], ["--limit", "x"]):
        refused(project("ls", *options), 2)


def test_the_table_is_aligned_and_fits_the_terminal(project: Project) -> None:
    fine(project("start", "flows:failing", "long " * 50, "--id", "a"))
    fine(project("start", "flows:echo", "--id", "run-2"))
    project.work()
    wide = fine(project("ls")).splitlines()
    assert wide[0].split() == ["ID", "STATUS", "WORKFLOW", "AGE", "DETAIL"]
    assert len({line.index(status) for line, status in zip(wide, ["STATUS", "completed", "failed"], strict=True)}) == 1
    assert "long long" in wide[2]
    narrow = fine(project("ls", env={"COLUMNS": "50"})).splitlines()
    assert max(map(len, narrow)) == 50
    assert narrow[2].endswith("…")


def test_ls_knows_the_workflow_that_may_be_meant(project: Project) -> None:
    fine(project("start", "flows:order", "x"))

    def told(*options: str) -> str:
        done = project("ls", *options)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr

    assert told("--workflow", "oder") == "no runs of workflow 'oder'; did you mean 'order'?\n"
    assert told("--workflow", "shipment") == "no runs of workflow 'shipment'\n"
    assert told("--workflow", "order", "--status", "failed") == "no runs\n"


@pytest.mark.parametrize("option", ["--delay", "--timeout"])
def test_a_duration_that_is_none_is_told_with_its_option(project: Project, option: str) -> None:
    told = refused(project("start", "flows:order", "x", option, "soon"), 2)
    assert f"Invalid value for '{option}': 'soon' is no duration; write numbers with units" in told


def test_an_empty_list_prints_nothing(project: Project) -> None:
    fine(project("start", "flows:echo", "--id", "a"))
    assert fine(project("ls", "--status", "failed")) == ""
    assert fine(project("ls", "--status", "failed", "--json")) == "[]\n"


@pytest.mark.parametrize("command", [["ls"], ["show", "a"], ["history", "a"], ["show", "a", "--json"]])
def test_nothing_that_a_store_holds_moves_the_cursor(project: Project, command: list[str]) -> None:
    fine(project("start", "flows:failing", EVIL, "--id", "a"))
    project.work()
    shown = fine(project(*command))
    assert "red" in shown
    assert shown.replace("\n", "").isprintable()


def test_show_tells_all_of_a_run(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--arg", "amount=2", "--id", "a"))
    project.work()
    shown = fine(project("show", "a"))
    for part in ("order, version 1", "waiting", "receive 'approved'", '"ord-1"', "amount=2", '"stage": "paid"'):
        assert part in shown


def test_show_json_is_one_object(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--id", "a"))
    project.work()
    run = json.loads(fine(project("show", "a", "--json")))
    assert run["state"] == {"stage": "paid", "doubled": 0}
    assert (run["workflow"], run["version"], run["status"], run["queue"]) == ("order", "1", "waiting", "default")
    assert (run["parent"], run["result"], run["error"]) == (None, None, None)
    assert "approved" in run["waiting_for"]
    for moment in (run["created"], run["updated"]):
        assert datetime.fromisoformat(moment).utcoffset() == timedelta(0)


def test_the_error_of_a_run_is_shown_with_its_traceback(project: Project) -> None:
    fine(project("start", "flows:failing", "--id", "a"))
    project.work()
    shown = fine(project("show", "a"))
    assert "ValueError: boom" in shown
    assert "in fail" in shown
    error = json.loads(fine(project("show", "a", "--json")))["error"]
    assert (error["type"], error["message"]) == ("ValueError", "boom")


def test_a_history_lists_the_commands(project: Project) -> None:
    fine(project("start", "flows:order", "ord-1", "--arg", "amount=2", "--id", "a"))
    project.work()
    steps = json.loads(fine(project("history", "a", "--json")))
    assert [(step["position"], step["kind"], step["name"]) for step in steps] == [
        ("0", "save", "double"),
        ("1", "publish", ""),
    ]
    assert (steps[0]["value"], steps[0]["error"], steps[0]["attempts"]) == (4, None, 1)
    assert datetime.fromisoformat(steps[0]["at"]).utcoffset() == timedelta(0)
    lines = fine(project("history", "a")).splitlines()
    assert lines[0].split() == ["POSITION", "KIND", "NAME", "AT", "ATTEMPTS", "VALUE"]
    assert lines[1].split()[:3] == ["0", "save", "double"]


def test_following_a_history_of_a_run_that_has_ended_ends(project: Project) -> None:
    fine(project("start", "flows:echo", "5", "--id", "a"))
    project.work()
    followed = fine(project("history", "a", "--follow", "--json"))
    assert [json.loads(line)["value"] for line in followed.splitlines()] == [5]
    assert "echo" in fine(project("history", "a", "--follow"))


def test_readers_never_load_what_a_store_holds(project: Project) -> None:
    trap = "class Trap:\n    def __reduce__(self):\n        return open, ('sprung', 'w')\n"
    text = (project.path / "flows.py").read_text()
    project.write("trap.py", trap)
    project.write("plant.py", f"from trap import Trap\n{text}".replace("moved(Point(4))", "echo(Trap())"))
    assert project.python("plant.py").returncode == 0
    for command in (["ls"], ["ls", "--json"], ["show", "from-script"], ["history", "from-script"]):
        fine(project(*command))
    assert not (project.path / "sprung").exists()


# The store


def test_the_store_is_named_in_front_or_behind_or_by_the_environment(project: Project) -> None:
    fine(project("--store", "front", "start", "flows:echo", "--id", "a"))
    fine(project("start", "flows:echo", "--store", "behind", "--id", "b"))
    fine(project("--store", "front", "start", "flows:echo", "--store", "behind", "--id", "c"))
    fine(project("start", "flows:echo", "--id", "d", env={"CONTINUUM_STORE": "environment"}))
    del project.environment["CONTINUUM_STORE"]
    fine(project("start", "flows:echo", "--id", "e"))
    stores = {"front": "a", "behind": "cb", "environment": "d", ".continuum": "e"}
    for store, ids in stores.items():
        found = json.loads(fine(project("ls", "--json", "--store", store)))
        assert "".join(run["id"] for run in found) == ids


@pytest.mark.parametrize(
    "command",
    [
        ["ls"],
        ["show", "a"],
        ["history", "a"],
        ["logs", "a"],
        ["result", "a"],
        ["send", "a", "x"],
        ["cancel", "a"],
        ["retry", "a"],
    ],
)
def test_a_store_that_is_not_there_is_not_made(project: Project, command: list[str]) -> None:
    assert "there is no store at" in refused(project(*command), 5)
    assert not (project.path / "store").exists()


@pytest.mark.parametrize("store", ["flows.py", "nope://x", "lmdb://relative", "flows.py/below", "postgresql://x", ""])
@pytest.mark.parametrize("command", [["ls"], ["start", "flows:echo"], ["run", "flows"]])
def test_a_store_that_cannot_be_used_exits_with_5(project: Project, store: str, command: list[str]) -> None:
    told = refused(project(*command, "--store", store), 5)
    assert told.startswith("error: ")
    assert told.count("\n") == 1


# Around


@pytest.mark.parametrize("command", [["ls"], ["show", "a"], ["history", "a", "--json"], ["version"], ["ls", "--json"]])
def test_a_broken_pipe_ends_quietly(project: Project, command: list[str]) -> None:
    fine(project("start", "flows:echo", "--id", "a"))
    unread, pipe = os.pipe()
    os.close(unread)
    done = project.python("-m", "continuum", *command, capture_output=False, stdout=pipe, stderr=subprocess.PIPE)
    os.close(pipe)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", [["show", "a"], ["result", "a"], ["ls", "--json"]])
def test_an_encoding_that_lacks_a_character_gets_an_escape(project: Project, command: list[str]) -> None:
    fine(project("start", "flows:echo", '"größe"', "--id", "a"))
    project.work()
    assert "\\" in fine(project(*command, env={"PYTHONIOENCODING": "ascii"}))


@pytest.mark.parametrize("command", [["nope"], ["ls", "--nope"], ["send", "a"], ["run"]])
def test_usage_errors_exit_with_2(project: Project, command: list[str]) -> None:
    refused(project(*command), 2)


def test_versions_are_told(project: Project) -> None:
    assert fine(project("--version")).startswith("continuum ")
    assert json.loads(fine(project("version", "--json"))).keys() >= {"continuum", "python", "lmdb"}


def test_colour_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)

    def shown(*, terminal: bool) -> str:
        with CliRunner().isolation(color=terminal) as streams:
            output.table(("id", "status"), [("a", "failed")], status_column=1)
            return streams[0].getvalue().decode()

    assert "\x1b[31mfailed" in shown(terminal=True)
    assert "\x1b" not in shown(terminal=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in shown(terminal=True)


def test_ctrl_c_exits_with_130(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Engine, "runs", interrupt)
    store = str(tmp_path / "store")
    with Engine(store, work=False):
        pass
    done = CliRunner().invoke(cli, ["ls", "--store", store])
    assert (done.exit_code, done.output) == (130, "")
