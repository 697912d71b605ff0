"""``continuum cancel``: ask a run to end."""

from __future__ import annotations

import click

from continuum.cli import output
from continuum.cli.options import RUN_ID, Settings, client, pass_settings, store_option

__all__ = ["cancel"]


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@click.option("--reason", default="", metavar="TEXT", help="Kept with the run.")
@store_option
@pass_settings
def cancel(settings: Settings, run_id: str, reason: str) -> None:
    """Ask a run to end. It may clean up first; the second time it ends at once."""
    with client(settings) as engine:
        run = engine.run(run_id)
        run.cancel(reason)
        status = run.status()
    output.note(f"run {run_id!r} was asked to end; it is {status}")
