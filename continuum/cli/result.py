"""``continuum result``: what a run gave back. The value is shown, never loaded."""

from __future__ import annotations

import click

from continuum.cli import exits, output
from continuum.cli.options import DURATION, RUN_ID, Settings, client, json_option, pass_settings, store_option
from continuum.durations import Duration

__all__ = ["result"]


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@click.option("--wait", is_flag=True, help="Wait until the run has ended.")
@click.option("--timeout", type=DURATION, help="How long, in seconds or as in 1h30m; implies --wait.")
@json_option
@store_option
@pass_settings
def result(settings: Settings, run_id: str, wait: bool, timeout: Duration | None, as_json: bool) -> None:
    """Print the result of a run as JSON.

    What is no plain data is shown as text. Exits with 1 if the run ended without one, 4 if it has not
    ended, 6 if it is blocked, 124 on timeout.
    """
    with client(settings) as engine:
        run = engine.run(run_id)
        if wait or timeout is not None:
            run.wait(timeout)
        description = run.describe()
    exits.require_result(description)
    output.json(description.result)
