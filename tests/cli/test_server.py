"""The command line on a store in PostgreSQL, whose password it keeps to itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from projects import Project
from servers import Server, new_schema, pick

SECRET = "canary"


@pytest.fixture
def on_server(project: Project, postgres_server: Server) -> Iterator[Project]:
    """A project whose store is on a server."""
    with new_schema(postgres_server.url) as name:
        url = postgres_server.url.replace("postgres@", f"postgres:{SECRET}@")
        project.environment["CONTINUUM_STORE"] = pick(url, name)
        yield project


def told(done: subprocess.CompletedProcess[str], code: int = 0) -> str:
    assert done.returncode == code, (done.stdout, done.stderr)
    assert SECRET not in done.stdout + done.stderr
    return done.stdout


def test_every_command_works_on_a_server_and_none_tells_the_password(on_server: Project) -> None:
    cli = on_server
    assert "there is no store at postgresql://postgres@" in cli("ls").stderr
    told(cli("ls"), 5)
    assert told(cli("start", "flows:order", '"ord-1"', "--arg", "amount=5", "--id", "a")) == "a\n"
    told(cli("start", "flows:failing", "--id", "b"))
    worked = cli("run", "flows", "--until-idle")
    told(worked)
    assert "ready: store postgresql://postgres:***@" in worked.stderr
    told(cli("send", "a", "approved", '"alice"'))
    told(cli("run", "flows", "--until-idle"))
    assert json.loads(told(cli("result", "a"))) == {"order": "ord-1", "doubled": 10, "by": "alice"}
    assert {run["id"]: run["status"] for run in json.loads(told(cli("ls", "--json")))} == {
        "a": "completed",
        "b": "failed",
    }
    assert "ord-1" in told(cli("show", "a"))
    assert "double" in told(cli("history", "a"))
    told(cli("retry", "b"))
    told(cli("cancel", "b"))
    missing = cli("show", "nope")
    told(missing, 3)
    assert "no run 'nope' in the store 'postgresql://postgres:***@" in missing.stderr


def test_a_store_moves_to_a_server_and_back(on_server: Project) -> None:
    cli, server = on_server, on_server.environment["CONTINUUM_STORE"]
    told(cli("start", "flows:order", '"ord-1"', "--id", "a", "--store", "here"))
    told(cli("run", "flows", "--until-idle", "--store", "here"))
    assert "moved 1 run" in told(cli("copy", "here", server))
    told(cli("send", "a", "approved", '"alice"'))
    told(cli("run", "flows", "--until-idle"))
    assert "moved 1 run" in told(cli("copy", server, "back"))
    told(cli("start", "flows:echo"), 5)
    assert json.loads(told(cli("result", "a", "--store", "back")))["by"] == "alice"


def test_a_server_that_is_not_there_is_trouble_with_the_store(project: Project) -> None:
    for url in ("postgresql://u:canary@127.0.0.1:1/db", "postgresql://u:canary/@127.0.0.1:1/db"):
        done = project("ls", "--store", url)
        told(done, 5)
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
