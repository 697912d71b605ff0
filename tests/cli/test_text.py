"""Text for a terminal: escapes, widths, columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from continuum.cli.text import age, as_json, brief, columns, cut, escaped, moment, width


@pytest.mark.parametrize("evil", ["\x1b[2J", "\n", "\x9b31m", "\u202etxt", "\x00", "\x7f", "\ud800"])
def test_what_does_not_print_is_escaped(evil: str) -> None:
    assert escaped(f"a{evil}b").isprintable()
    assert escaped(f"a{evil}b").startswith("a\\")


def test_text_that_prints_stays_as_it_is() -> None:
    assert escaped("größe 大 ✓") == "größe 大 ✓"


@pytest.mark.parametrize("evil", ["\x1b[2J", "\x9b31m", "\u202etxt", "\ud800", "\U000e0001", "\x7f"])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_prints_and_still_holds_the_same(evil: str, indent: int | None) -> None:
    text = as_json({"ä": [evil]}, indent=indent)
    assert text.replace("\n", "").isprintable()
    assert "ä" in text
    assert json.loads(text) == {"ä": [evil]}


def test_json_for_a_narrow_encoding_is_ascii() -> None:
    assert as_json("ä", ascii_only=True) == '"\\u00e4"'


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert width("大a") == 3
    assert width("e\u0301") == 1


@pytest.mark.parametrize(
    ("text", "limit", "expected"), [("abcdef", 4, "abc…"), ("大大大", 4, "大…"), ("abc", 3, "abc")]
)
def test_a_cut_fits(text: str, limit: int, expected: str) -> None:
    assert cut(text, limit) == expected


def test_columns_stand_under_each_other() -> None:
    assert columns([["a", "b", "c"], ["大大", "x", "long text"]], None) == [
        ["a   ", "b", "c"],
        ["大大", "x", "long text"],
    ]


def test_the_last_column_is_cut_to_the_terminal() -> None:
    rows = columns([["id", "detail"], ["run-1", "a very long explanation"]], 20)
    assert rows[1] == ["run-1", "a very long …"]


def test_a_brief_value_is_one_line() -> None:
    assert brief("a\nb", 10) == "a\\nb"
    assert brief({"a": [1]}, 20) == '{"a": [1]}'
    assert brief("x" * 100, 5) == "xxxx…"
    assert brief(None, 5) == ""


@pytest.mark.parametrize(("seconds", "expected"), [(-3, "0s"), (59, "59s"), (61, "1m"), (7_300, "2h"), (200_000, "2d")])
def test_an_age_has_the_largest_unit_that_fits(seconds: int, expected: str) -> None:
    now = datetime(2024, 5, 1, tzinfo=UTC)
    assert age(now - timedelta(seconds=seconds), now) == expected


def test_a_moment_is_rfc_3339_in_utc() -> None:
    assert moment(datetime(2024, 5, 1, 12, 30, tzinfo=UTC)) == "2024-05-01T12:30:00Z"
    assert moment(None) is None
