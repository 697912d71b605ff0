"""``continuum ls``: the runs of a store, newest first."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from continuum.cli import output
from continuum.cli.options import Settings, client, json_option, pass_settings, store_option
from continuum.cli.shapes import run_shape
from continuum.cli.text import age, brief
from continuum.description import Description
from continuum.journal import Status

__all__ = ["ls"]

DETAIL = 200  # characters


@click.command()
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only runs of that status.")
@click.option("--workflow", metavar="NAME", help="Only runs of that workflow.")
@click.option("--limit", type=click.IntRange(min=0), help="That many at most.")
@json_option
@store_option
@pass_settings
def ls(settings: Settings, status: str | None, workflow: str | None, limit: int | None, as_json: bool) -> None:
    """List runs, newest first."""
    with client(settings) as engine:
        listed = [run.listed for run in engine.runs(status=status, workflow=workflow, limit=limit)]
    runs = [run for run in listed if run is not None]
    if as_json:
        output.json([run_shape(run) for run in runs])
    elif runs:
        now = datetime.now(UTC)
        output.table(("id", "status", "workflow", "age", "detail"), [_row(run, now) for run in runs], status_column=1)
    else:
        output.note("no runs")


def _row(run: Description, now: datetime) -> list[str]:
    first_line = run.reason.partition("\n")[0]
    detail = f"waits for {run.waiting_for}" if run.waiting_for else first_line
    return [run.id, run.status, run.workflow, age(run.created, now), brief(detail, DETAIL)]
