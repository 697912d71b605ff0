"""``continuum show``: all that is known of one run, for people. Nothing of it is executed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import click

from continuum.cli import output
from continuum.cli.options import RUN_ID, Settings, client, json_option, pass_settings, store_option
from continuum.cli.shapes import kept_shape, run_shape
from continuum.cli.text import age, escaped, moment
from continuum.cli.text import as_json as json_text
from continuum.description import Description, Kept
from continuum.journal import Status

__all__ = ["show"]

MARGIN = 12


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@json_option
@store_option
@pass_settings
def show(settings: Settings, run_id: str, as_json: bool) -> None:
    """Show all that is known of a run."""
    with client(settings) as engine:
        run = engine.run(run_id)
        description, published, kept = run.describe(), run.published(), run.kept()
    if as_json:
        output.json({**run_shape(description), "state": published, **kept_shape(kept)})
    else:
        output.line("\n".join(_lines([*_fields(description, published), *_kept_fields(kept, datetime.now(UTC))])))


def _lines(fields: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    for label, text in fields:
        if text:
            first, *more = text.splitlines()
            shown = escaped(first)
            yield f"{label:{MARGIN}}{output.coloured(shown, shown) if label == 'status' else shown}"
            yield from (" " * MARGIN + escaped(line.expandtabs()) for line in more)


def _fields(run: Description, published: Any) -> Iterator[tuple[str, str | None]]:
    yield "id", run.id
    yield "workflow", f"{run.workflow}, version {run.version}"
    yield "continued", f"{run.generation} times, started as {run.started_as}" if run.generation else None
    yield "code", _code(run.code)
    yield "status", run.status
    yield "waiting for", run.waiting_for
    yield "reason", "" if run.error else run.reason
    yield "queue", run.queue + (f", priority {run.priority}" if run.priority else "")
    yield "created", moment(run.created)
    yield "updated", moment(run.updated)
    yield "deadline", moment(run.deadline)
    yield "parent", run.parent
    yield "arguments", _arguments(run)
    yield "state", None if published is None else json_text(published, indent=2)
    yield "result", json_text(run.result, indent=2) if run.status == Status.COMPLETED else None
    yield "error", _error(run.error)


def _kept_fields(kept: Kept, now: datetime) -> Iterator[tuple[str, str | None]]:
    found, refusal = kept.continuation, kept.refusal
    if found is not None:
        where = f", at {', '.join(found['where'])}" if found["where"] else ""
        python = f"\nfor Python {found['python']} only" if found["python"] else ""
        yield (
            "kept",
            f"after {found['entries']:,} entries{where}\n{found['size']:,} bytes, {age(found['at'], now)} ago{python}",
        )
    yield "deleted", _deleted(kept) if kept.deleted else None
    if refusal is not None:
        yield "not kept", f"after {refusal['entries']:,} entries, {age(refusal['at'], now)} ago\n{refusal['reason']}"


def _deleted(kept: Kept) -> str:
    but = f", except the last of each of {kept.keys:,} keys" if kept.keys else ""
    return f"the first {kept.deleted + kept.keys:,} entries of the history{but}"


def _arguments(run: Description) -> str:
    named = (f"{name}={json_text(value)}" for name, value in run.kwargs.items())
    return "\n".join([*map(json_text, run.args), *named])


def _code(code: dict[str, Any] | None) -> str | None:
    return None if code is None else f"carried by the run: {code['bytes']:,} bytes, for Python {code['python']}"


def _error(error: Any) -> str:
    if not isinstance(error, dict):
        return "" if error is None else str(error)
    return f"{error['type']}: {error['message']}\n{error['traceback']}"
