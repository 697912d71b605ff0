"""Text for a terminal: nothing in it moves the cursor, and columns stand under each other.

What a store holds was written by anyone who may start a run, so whatever comes from it is escaped.
This module prints nothing; that is done by :mod:`continuum.cli.output`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

__all__ = ["age", "as_json", "brief", "columns", "cut", "escaped", "moment", "width"]

GAP: Final = "  "
LEAST: Final = 8  # to which the last column may be cut
UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"), (1, "s"))
NOT_ASCII: Final = re.compile(r"[^\x20-\x7e\n]")


def escaped(text: str) -> str:
    """One line; characters that do not print stand there as their escapes."""
    return text if text.isprintable() else "".join(map(_escaped_character, text))


def _escaped_character(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


def as_json(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """JSON in which whatever does not print is escaped."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    return NOT_ASCII.sub(_escaped_in_json, text)


def _escaped_in_json(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]


def brief(value: Any, limit: int) -> str:
    """The value in one line: text as it is, anything else as JSON."""
    if value is None:
        return ""
    return cut(escaped(value[: limit + 1]) if isinstance(value, str) else as_json(value), limit)


def moment(when: datetime | None) -> str | None:
    """A time in UTC as RFC 3339 has it."""
    return None if when is None else when.isoformat().replace("+00:00", "Z")


def age(since: datetime, now: datetime) -> str:
    """How long ago that was, in the largest unit that fits: ``5m``."""
    seconds = max(0, int((now - since).total_seconds()))
    size, unit = next((pair for pair in UNITS if seconds >= pair[0]), UNITS[-1])
    return f"{seconds // size}{unit}"


# Columns


def width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_character_width, text))


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, limit: int | None) -> str:
    """The text, its end replaced by an ellipsis if it is too wide."""
    if limit is None or width(text) <= limit:
        return text
    while text and width(text) > limit - 1:
        text = text[: max(limit - 1, 0)] if len(text) > limit else text[:-1]
    return text + "…" if limit > 0 else ""


def columns(rows: Sequence[Sequence[str]], limit: int | None) -> list[list[str]]:
    """The rows with every cell as wide as its column; what is too wide for `limit` is cut from the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    if limit is not None:
        rest = limit - sum(widths[:-1]) - len(GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(rest, LEAST))
    return [_fitted(row, widths) for row in rows]


def _fitted(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [cut(cell, size) for cell, size in zip(row, widths, strict=True)]
    padded = [cell + " " * (size - width(cell)) for cell, size in zip(cells, widths, strict=True)]
    return [*padded[:-1], cells[-1]]
