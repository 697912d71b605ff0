"""``continuum logs``: what a run has logged. Nothing of it is executed."""

from __future__ import annotations

import click

from continuum.cli import output
from continuum.cli.following import steps, tell
from continuum.cli.options import RUN_ID, Settings, client, follow_option, json_option, pass_settings, store_option
from continuum.cli.shapes import log_shape
from continuum.cli.text import GAP, as_json, escaped
from continuum.description import HistoryStep
from continuum.journal import Kind

__all__ = ["logs"]


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@follow_option
@json_option
@store_option
@pass_settings
def logs(settings: Settings, run_id: str, follow: bool, as_json: bool) -> None:
    """Print what a run has logged."""
    with client(settings) as engine:
        entries = steps(engine.run(run_id), lambda kind: kind == Kind.LOG, follow=follow)
        pages = ([step for step in page if step.error is None] for page in entries)
        if as_json:
            tell(pages, log_shape, follow=follow)
        else:
            for page in pages:
                for step in page:
                    output.line(_line(step))


def _line(step: HistoryStep) -> str:
    shape = log_shape(step)
    fields = (f"{escaped(name)}={as_json(value)}" for name, value in shape["fields"].items())
    return GAP.join([shape["at"], shape["position"], escaped(str(shape["message"])), *fields])
