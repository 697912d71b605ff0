"""``continuum history``: the commands of one run, in the order of their completion."""

from __future__ import annotations

import click

from continuum.cli import output
from continuum.cli.following import steps, tell
from continuum.cli.options import RUN_ID, Settings, client, follow_option, json_option, pass_settings, store_option
from continuum.cli.shapes import step_shape
from continuum.cli.text import brief, escaped, moment
from continuum.description import HistoryStep
from continuum.journal import MARKS

__all__ = ["history"]

VALUE = 500  # characters
HEADINGS = ("position", "kind", "name", "at", "attempts", "value")


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@follow_option
@json_option
@store_option
@pass_settings
def history(settings: Settings, run_id: str, follow: bool, as_json: bool) -> None:
    """Print what a run has done."""
    table = output.Table(HEADINGS)
    with client(settings) as engine:
        pages = steps(engine.run(run_id), lambda kind: kind not in MARKS, follow=follow)
        if as_json:
            tell(pages, step_shape, follow=follow)
        else:
            for page in pages:
                table.show([_row(step) for step in page])


def _row(step: HistoryStep) -> list[str]:
    shown = brief(step.value, VALUE)
    if isinstance(step.error, dict):
        shown = brief(f"{step.error['type']}: {step.error['message']}", VALUE)
    elif step.error is not None:
        shown = brief(step.error, VALUE)
    name = escaped(step.name if step.key is None else f"{step.name} [{step.key}]")
    return [step.position, step.kind, name, moment(step.at) or "", str(step.attempts or ""), shown]
