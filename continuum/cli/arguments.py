"""Values from the command line: JSON where it parses, else plain text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isinf
from typing import Any, Final

import click

__all__ = ["TakesValues", "keywords", "value_of"]

NEGATIVE: Final = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")
MEANT_AS_JSON: Final = ("{", "[", '"')


class TakesValues(click.Command):
    """A command among whose arguments ``-5`` is a number and no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        # With a space in front it is the same JSON, and looks like no option.
        numbers = [f" {arg}" if NEGATIVE.fullmatch(arg) else arg for arg in args[:end]]
        return super().parse_args(ctx, numbers + args[end:])


def value_of(text: str) -> Any:
    """The value that was typed. Raises click.BadParameter for what was meant as JSON and is none."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        if text.lstrip().startswith(MEANT_AS_JSON):
            raise click.BadParameter(f"{_shortened(text)} is not JSON: {error}") from None
        return text


def keywords(pairs: Iterable[str]) -> dict[str, Any]:
    """Keyword arguments from ``name=value``. Raises click.BadParameter."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"--arg takes name=value, not {_shortened(pair)}")
        if name in found:
            raise click.BadParameter(f"--arg {name}= is given twice")
        found[name] = value_of(text)
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"JSON has no {constant}")


def _finite(number: str) -> float:
    if isinf(value := float(number)):
        raise ValueError(f"{_shortened(number)} is too large for a number")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the name {_shortened(twice)} stands twice in an object")
    return found


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:59] + "…")
