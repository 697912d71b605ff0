"""The only place that prints: results to standard output, everything about them to standard error.

Colour is for terminals alone, and not for those who set NO_COLOR. What a stream's encoding cannot
say is written as an escape, so that no text fails to be printed.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, Protocol

import click

from continuum.cli.text import GAP, as_json, columns, cut, escaped, width
from continuum.journal import Status

__all__ = ["Progress", "Table", "coloured", "error", "json", "line", "note", "progress", "silence", "table"]

COLOURS: Final[dict[str, str]] = {
    Status.COMPLETED: "green",
    Status.RUNNING: "cyan",
    Status.FAILED: "red",
    Status.TIMED_OUT: "red",
    Status.BLOCKED: "magenta",
    Status.CANCELLED: "yellow",
    Status.REVERTED: "yellow",
}


def line(text: str = "") -> None:
    """A line of what was asked for. It may hold colours, so the caller escapes what others wrote."""
    _write(text, to_error=False)


def note(text: str) -> None:
    """A line beside what was asked for."""
    _write("\n".join(map(escaped, text.split("\n"))), to_error=True)


def error(text: str) -> None:
    """What went wrong."""
    note(f"error: {text}")


def json(value: Any, *, indent: int | None = 2) -> None:
    """The value as JSON."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    line(as_json(value, indent=indent, ascii_only=not encoding.lower().startswith("utf")))


def coloured(text: str, status: str) -> str:
    """The text in the colour of a status."""
    return click.style(text, fg=COLOURS[status]) if status in COLOURS else text


class Table:
    """Rows under headings. Its first rows decide how wide the columns are; more may follow."""

    def __init__(self, headings: Sequence[str], status_column: int | None = None) -> None:
        self._head = [heading.upper() for heading in headings]
        self._status_column = status_column
        self._widths: list[str] | None = None

    def show(self, rows: Sequence[Sequence[str]]) -> None:
        """Print rows; the first time with the headings above them."""
        first = self._widths is None
        fitted = columns([self._widths or self._head, *rows], _room())
        self._widths = [" " * len(cell) for cell in fitted[0]]
        heading = [click.style(cell, bold=True) for cell in fitted[0]] if first else []
        lines = [_joined(heading)] * first + [_joined(self._coloured(cells)) for cells in fitted[1:]]
        if lines:
            line("\n".join(lines))

    def _coloured(self, cells: list[str]) -> list[str]:
        at = self._status_column
        return [coloured(cell, cell.strip()) if number == at else cell for number, cell in enumerate(cells)]


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], status_column: int | None = None) -> None:
    """A table as wide as the terminal at most; the cells have been escaped."""
    Table(headings, status_column).show(rows)


def _joined(cells: Sequence[str]) -> str:
    text, room = GAP.join(cells).rstrip(), _room()
    return text if room is None or width(click.unstyle(text)) <= room else cut(click.unstyle(text), room)


def _room() -> int | None:
    """The columns of the terminal. Where there is none, and none is pretended, there is room for all."""
    if "COLUMNS" in os.environ or sys.stdout.isatty():
        return shutil.get_terminal_size().columns
    return None


# Progress


class Progress(Protocol):
    """What is told how far something has come."""

    def update(self, n_steps: int) -> None: ...


class _Quiet:
    def update(self, n_steps: int) -> None:
        pass


@contextmanager
def progress(length: int, label: str) -> Iterator[Progress]:
    """A bar on a terminal's standard error, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield _Quiet()
        return
    with click.progressbar(length=length, label=label, file=sys.stderr, show_pos=True) as bar:
        yield bar


# The stream itself


def silence() -> None:
    """Nobody reads any more: let what is still to be written, at exit too, go nowhere."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _write(text: str, *, to_error: bool) -> None:
    encoding = getattr(sys.stderr if to_error else sys.stdout, "encoding", None) or "utf-8"
    writable = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(writable, err=to_error, color=False if os.environ.get("NO_COLOR") else None)
