"""``continuum send``: an event to a run."""

from __future__ import annotations

import click

from continuum.cli import output
from continuum.cli.arguments import TakesValues, value_of
from continuum.cli.options import RUN_ID, Settings, client, pass_settings, store_option

__all__ = ["send"]


@click.command(cls=TakesValues)
@click.argument("run_id", metavar="ID", type=RUN_ID)
@click.argument("event")
@click.argument("payload", metavar="[JSON]", required=False)
@store_option
@pass_settings
def send(settings: Settings, run_id: str, event: str, payload: str | None) -> None:
    """Send an event to a run.

    The payload is JSON, else plain text; without one it is null. The event is durable when the command
    ends.
    """
    value = None if payload is None else value_of(payload)
    with client(settings) as engine:
        engine.run(run_id).send(event, value)
    output.note(f"sent {event!r} to run {run_id!r}")
