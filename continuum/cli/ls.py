"""``continuum ls``: the runs of a store, newest first."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import click

from continuum.blocking import Run
from continuum.cli import output
from continuum.cli.options import Settings, client, json_option, pass_settings, store_option
from continuum.cli.shapes import run_shape
from continuum.cli.text import age, brief
from continuum.description import Description
from continuum.journal import Status

__all__ = ["ls"]

DETAIL = 200  # characters
LOOKED_AT = 1_000  # of the newest runs, for the names of workflows that there are


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
        runs = _listed(engine.runs(status=status, workflow=workflow, limit=limit))
        known = set() if runs or not workflow else {run.workflow for run in _listed(engine.runs(limit=LOOKED_AT))}
    if as_json:
        output.json([run_shape(run) for run in runs])
    elif runs:
        now = datetime.now(UTC)
        output.table(("id", "status", "workflow", "age", "detail"), [_row(run, now) for run in runs], status_column=1)
    else:
        output.note(_nothing(workflow, known))


def _listed(runs: Sequence[Run[Any]]) -> list[Description]:
    return [run.listed for run in runs if run.listed is not None]


def _nothing(workflow: str | None, known: Collection[str]) -> str:
    """That there are no such runs; where the workflow's name is a slip, the name that may be meant."""
    if workflow is None or workflow in known:
        return "no runs"
    near = get_close_matches(workflow, known, n=1)
    return f"no runs of workflow {workflow!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _row(run: Description, now: datetime) -> list[str]:
    first_line = run.reason.partition("\n")[0]
    detail = f"waits for {run.waiting_for}" if run.waiting_for else first_line
    return [run.id, run.status, run.workflow, age(run.created, now), brief(detail, DETAIL)]
