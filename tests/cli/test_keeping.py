"""What the commands tell of continuations: what is kept, why nothing is, and what could be."""

from __future__ import annotations

import json
import pickle
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from projects import Project

from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.opening import open_store
from continuum.store.payload import join
from continuum.store.protocol import Batch
from continuum.store.records import write

KEPT = """
import threading

from continuum import Compact, CompactRefused, Receive, Save, workflow


def double(n):
    return n * 2


@workflow
def compacts(rounds):
    total = 0
    for number in range(rounds):
        total += yield Save(double, number)
    yield Compact()
    return total, (yield Receive("word"))


@workflow
def measures(rounds):
    for number in range(rounds):
        yield Save(double, number, key=f"sensor {number % 2}")
        yield Save(double, 0)
    yield Compact()
    yield Receive("word")


@workflow
def locks():
    lock = threading.Lock()
    try:
        yield Compact()
    except CompactRefused:
        yield Receive("word")


def made():
    namespace = {"workflow": workflow, "Receive": Receive}
    exec("@workflow\\ndef hidden():\\n    yield Receive('word')\\n", namespace)
    return namespace["hidden"]


hidden = made()
"""


@pytest.fixture
def kept(project: Project) -> Project:
    project.write("kept.py", KEPT)
    return project


def fine(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(project: Project) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(fine(project("show", "a", "--json")))
    return run


def test_show_tells_what_is_kept_and_what_was_deleted(kept: Project) -> None:
    fine(kept("start", "kept.py:compacts", "3", "--id", "a"))
    assert shown(kept)["continuation"] is None
    fine(kept("run", "kept.py", "--until-idle", "--continuations", "off"))
    run = shown(kept)
    continuation = run["continuation"]
    assert (continuation["entries"], run["deleted"], run["refusal"]) == (3, 3, None)
    assert continuation["where"] == ["kept.py:16 in compacts"]
    assert [name for name, _ in continuation["functions"]] == ["kept.compacts"]
    assert continuation["at"].endswith("Z")
    lines = fine(kept("show", "a")).splitlines()
    assert "kept        after 3 entries, at kept.py:16 in compacts" in lines
    assert f"            {continuation['size']:,} bytes, " in "\n".join(lines)
    assert "deleted     the first 3 entries of the history" in lines
    assert [step["kind"] for step in json.loads(fine(kept("history", "a", "--json")))] == ["compact"]


def test_the_last_value_of_each_key_is_told_by_show_and_history(kept: Project) -> None:
    fine(kept("start", "kept.py:measures", "5", "--id", "a"))
    fine(kept("run", "kept.py", "--until-idle"))
    run = shown(kept)
    assert (run["deleted"], run["keys"], run["continuation"]["entries"]) == (8, 2, 10)
    told = "deleted     the first 10 entries of the history, except the last of each of 2 keys"
    assert told in fine(kept("show", "a")).splitlines()
    steps = json.loads(fine(kept("history", "a", "--json")))
    assert [(step["key"], step["value"]) for step in steps] == [("sensor 1", 6), ("sensor 0", 8), (None, None)]
    assert "double [sensor 1]" in fine(kept("history", "a")).splitlines()[1]


def test_show_tells_why_nothing_is_kept(kept: Project) -> None:
    fine(kept("start", "kept.py:locks", "--id", "a"))
    fine(kept("run", "kept.py", "--until-idle"))
    run = shown(kept)
    assert (run["status"], run["continuation"], run["deleted"]) == ("waiting", None, 0)
    assert "local 'lock' of type lock" in run["refusal"]["reason"]
    assert "not kept    after 0 entries, " in fine(kept("show", "a"))


class Canary:
    """Leaves a file behind where it is unpickled."""

    def __reduce__(self) -> Any:
        return open, ("sung", "w")


def test_nothing_is_unpickled_to_show_it(kept: Project) -> None:
    fine(kept("start", "kept.py:compacts", "3", "--id", "a"))
    fine(kept("run", "kept.py", "--until-idle"))
    store, ledger = open_store(str(kept.path / "store")), Ledger(Codec())
    with store.view() as view:
        continuation = ledger.continuation(view, "a")
    assert continuation is not None
    sings = replace(continuation, payload=join(pickle.dumps(Canary()), code=False))
    store.commit([Batch(puts=[write(ledger.codec, keys.continuation("a"), sings)])])
    store.close()
    kept.write("kept.py", "raise SystemExit('it was imported')")
    assert "kept        after 3 entries" in fine(kept("show", "a"))
    assert shown(kept)["continuation"]["entries"] == 3
    assert not (kept.path / "sung").exists()


def test_check_tells_at_which_yields_a_run_could_be_captured(kept: Project) -> None:
    done = kept("check", "kept.py")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "compacts (kept.py:11): at each of its 3 yields",
        "  line 15: ok",
        "  line 16: ok",
        "  line 17: ok",
    ]
    (at,) = (number for number, line in enumerate(lines) if line.startswith("hidden"))
    assert lines[at].endswith(": no")
    assert "source" in lines[at + 1]
    checked = json.loads(kept("check", "kept.py", "--json").stdout)
    assert [(each["workflow"], each["ok"]) for each in checked] == [
        ("compacts", True),
        ("measures", True),
        ("locks", True),
        ("hidden", False),
    ]
    assert [each["line"] for each in checked[0]["yields"]] == [15, 16, 17]
    assert checked[0]["yields"][0] == {"number": 1, "line": 15, "ok": True, "reason": None}
    assert fine(kept("check", "kept.py:compacts")).splitlines() == lines[:4]
    assert kept("check", "nothing.py").returncode == 2
