"""Values from the command line: JSON where it parses, else text."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from continuum.cli.arguments import TakesValues, keywords, value_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("-2.5", -2.5),
        (" 7", 7),
        ("true", True),
        ("null", None),
        ('"5"', "5"),
        ('{"a": [1, null]}', {"a": [1, None]}),
        ("alice", "alice"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e400", "1e400"),
        ("", ""),
        ("it's {not} json", "it's {not} json"),
    ],
)
def test_json_is_taken_as_json_and_the_rest_as_text(text: str, value: Any) -> None:
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    "text", ["{bad", "[1, 2", '"open', " {bad", '{"a": NaN}', "[-1e400]", '{"a": 1, "a": 2}', "[" * 100_000]
)
def test_what_was_meant_as_json_must_be_json(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is not JSON"):
        value_of(text)


def test_keywords_are_split_at_the_first_equals_sign() -> None:
    assert keywords(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}


@pytest.mark.parametrize("pairs", [["a"], ["=1"], ["a=1", "a=2"], ["a={"]])
def test_bad_keywords_are_refused(pairs: list[str]) -> None:
    with pytest.raises(click.BadParameter):
        keywords(pairs)


@click.command(cls=TakesValues)
@click.argument("values", nargs=-1)
@click.option("--size", type=int)
def probe(values: tuple[str, ...], size: int | None) -> None:
    click.echo([[value_of(value) for value in values], size])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["-5", "-1.5e3"], "[[-5, -1500.0], None]"),
        (["a", "--size", "-3"], "[['a'], -3]"),
        (["--", "-5", "--size"], "[[-5, '--size'], None]"),
    ],
)
def test_a_negative_number_is_no_option(arguments: list[str], shown: str) -> None:
    assert CliRunner().invoke(probe, arguments).output == f"{shown}\n"


def test_an_unknown_option_is_still_refused() -> None:
    assert CliRunner().invoke(probe, ["--sise", "3"]).exit_code == 2
