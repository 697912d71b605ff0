"""``continuum retry``: let a failed run go on."""

from __future__ import annotations

import click

from continuum.cli import output
from continuum.cli.options import RUN_ID, Settings, client, pass_settings, store_option

__all__ = ["retry"]


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@store_option
@pass_settings
def retry(settings: Settings, run_id: str) -> None:
    """Let a failed run go on from that step, or one that its workers died of from where it stands."""
    with client(settings) as engine:
        engine.run(run_id).retry()
    output.note(f"run {run_id!r} goes on")
