"""``continuum logs``, and how it and ``continuum history`` read on in a journal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from projects import SAFETY, Project, until

from continuum.cli import following
from continuum.cli.following import Reader
from continuum.store.ledger import HistoryRow

EVIL = "\x1b[31mred\x9b\u202e"

TALKS = """
import os
import threading
import time
from pathlib import Path

from continuum import Log, Save, UnpicklableValue, workflow

EVIL = "\\x1b[31mred\\x9b\\u202e"


class Trap:
    def __reduce__(self):
        return open, ("sprung", "w")


def gate():
    Path("begun").touch()
    while not os.path.exists("go"):
        time.sleep(0.005)


@workflow
def talks():
    yield Log("packed", weight=3, by=["ada", None])
    yield Save(len, "abc")
    yield Log("on its way")


@workflow
def pauses():
    yield Log("before")
    yield Save(gate)
    yield Log("after", gate="open")


@workflow
def silent():
    yield Save(len, "abc")
    try:
        yield Log("never said", lock=threading.Lock())
    except UnpicklableValue:
        pass


@workflow
def evil():
    yield Log("two\\nlines " + EVIL, trap=Trap(), **{"a b" + EVIL: EVIL})
"""


@pytest.fixture
def talking(project: Project) -> Project:
    project.write("flows.py", TALKS)
    return project


def ran(project: Project, name: str) -> Project:
    assert project("start", f"flows:{name}", "--id", "a").returncode == 0
    project.work()
    return project


def printed(project: Project, *extra: str) -> str:
    done = project("logs", "a", *extra)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_line_has_the_time_the_position_the_message_and_the_fields(talking: Project) -> None:
    first, second = printed(ran(talking, "talks")).splitlines()
    at, *rest = first.split("  ")
    assert datetime.fromisoformat(at).utcoffset() == timedelta(0)
    assert rest == ["0", "packed", "weight=3", 'by=["ada", null]']
    assert second.split("  ")[1:] == ["2", "on its way"]


@pytest.mark.parametrize("follow", [False, True])
def test_logs_json_is_a_list_or_an_object_a_line(talking: Project, follow: bool) -> None:
    if follow:
        shown = [json.loads(line) for line in printed(ran(talking, "talks"), "--json", "--follow").splitlines()]
    else:
        shown = json.loads(printed(ran(talking, "talks"), "--json"))
    assert [datetime.fromisoformat(each.pop("at")).utcoffset() for each in shown] == [timedelta(0)] * 2
    assert shown == [
        {"position": "0", "message": "packed", "fields": {"weight": 3, "by": ["ada", None]}},
        {"position": "2", "message": "on its way", "fields": {}},
    ]


def test_a_run_that_logs_nothing_prints_nothing(talking: Project) -> None:
    ran(talking, "silent")
    assert printed(talking) == printed(talking, "--follow") == printed(talking, "--json", "--follow") == ""
    assert printed(talking, "--json") == "[]\n"


def test_nothing_in_a_log_moves_the_cursor_or_is_loaded(talking: Project) -> None:
    ran(talking, "evil")
    (talking.path / "sprung").unlink(missing_ok=True)
    shown = printed(talking)
    assert shown.count("\n") == 1
    assert shown.strip().isprintable()
    assert "two\\nlines \\x1b[31mred" in shown
    assert json.loads(printed(talking, "--json"))[0]["message"] == "two\nlines " + EVIL
    assert not (talking.path / "sprung").exists()


@pytest.mark.parametrize("extra", [[], ["--json"]])
def test_following_the_logs_of_a_run_ends_with_it(
    talking: Project, background: Callable[..., subprocess.Popen[str]], extra: list[str]
) -> None:
    assert talking("start", "flows:pauses", "--id", "a").returncode == 0
    background("run", "flows", "--until-idle", stderr=subprocess.DEVNULL)
    until((talking.path / "begun").exists)
    tail = background("logs", "a", "--follow", *extra)
    assert tail.stdout is not None
    assert "before" in tail.stdout.readline()
    (talking.path / "go").touch()
    rest, _ = tail.communicate(timeout=SAFETY)
    assert tail.returncode == 0
    assert rest.count("\n") == 1
    assert "after" in rest


# Reading on


@dataclass
class Journal:
    """What a handle to a run shows of a journal, and how much of it was read."""

    entries: dict[int, HistoryRow] = field(default_factory=dict)
    read: int = 0

    def recorded(self, start: int, limit: int) -> list[HistoryRow]:
        rows = [row for number, row in sorted(self.entries.items()) if number >= start][:limit]
        self.read += len(rows)
        return rows

    def add(self, number: int, at: int, name: str = "") -> None:
        self.entries[number] = HistoryRow(number, str(number), "save", name, at, 1, False, b"")


def unseen(reader: Reader) -> list[int]:
    return [row.at for rows in reader.unseen() for row in rows]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PAGE", 3)


def following_a(journal: Any) -> Reader:
    return Reader(journal)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 6, 7])
def test_a_journal_is_read_page_by_page(length: int) -> None:
    journal = Journal()
    for number in range(length):
        journal.add(number, number)
    pages = list(following_a(journal).unseen())
    assert [row.at for rows in pages for row in rows] == list(range(length))
    assert max(map(len, pages)) <= 3


def test_what_was_read_is_not_read_again() -> None:
    journal = Journal()
    reader = following_a(journal)
    told = []
    for number in range(100):
        journal.add(number, number)
        told += unseen(reader)
    assert told == list(range(100))
    assert journal.read <= 200, "each entry once, and the last one again at each look"


def test_entries_of_one_moment_are_all_told() -> None:
    journal = Journal()
    reader = following_a(journal)
    for number in range(8):
        journal.add(number, 5)
    assert len(unseen(reader)) == 8
    journal.add(8, 5)
    assert len(unseen(reader)) == 1


@pytest.mark.parametrize("first", [2, 3, 4, 5, 9], ids=lambda number: f"goes on at {number}")
def test_what_is_recorded_after_a_retry_is_told_whatever_its_number(first: int) -> None:
    journal = Journal()
    reader = following_a(journal)
    for number in range(5):
        journal.add(number, number)
    assert unseen(reader) == [0, 1, 2, 3, 4]
    for number in (2, 3, 4):
        del journal.entries[number]
    if first != 2:
        assert unseen(reader) == []
    for number in range(5):
        journal.add(first + number, 10 + number)
        assert unseen(reader) == [10 + number]


def test_a_journal_that_begins_anew_is_told_from_its_beginning() -> None:
    journal = Journal()
    reader = following_a(journal)
    for number in range(5):
        journal.add(number, number)
    unseen(reader)
    journal.entries.clear()
    assert unseen(reader) == []
    for number in range(5):
        journal.add(number, 10 + number)
    assert unseen(reader) == [10, 11, 12, 13, 14]
