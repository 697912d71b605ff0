"""``continuum start``: a run of a workflow. It is executed by whoever works on the store."""

from __future__ import annotations

import click

from continuum.cli import exits, output
from continuum.cli.arguments import TakesValues, keywords, value_of
from continuum.cli.options import (
    DURATION,
    QUEUE,
    RUN_ID,
    Settings,
    client,
    json_option,
    pass_settings,
    store_option,
)
from continuum.cli.shapes import run_shape
from continuum.cli.targets import load_one
from continuum.durations import Duration

__all__ = ["start"]


@click.command(cls=TakesValues)
@click.argument("target")
@click.argument("arguments", metavar="[ARG]...", nargs=-1)
@click.option("--arg", "pairs", metavar="NAME=VALUE", multiple=True, help="A keyword argument; repeatable.")
@click.option("--id", "run_id", type=RUN_ID, help="The run's id; a run that has it already is not started again.")
@click.option("--queue", type=QUEUE, help="Where it waits for a worker.")
@click.option("--priority", type=int, default=0, help="Higher ones are taken up first.")
@click.option("--delay", type=DURATION, help="Not before that time has passed: seconds, or as in 1h30m.")
@click.option("--timeout", type=DURATION, help="The run's deadline, from then on: seconds, or as in 1h30m.")
@click.option("--wait", is_flag=True, help="Wait for its end, and print its result too.")
@json_option
@store_option
@pass_settings
def start(
    settings: Settings,
    target: str,
    arguments: tuple[str, ...],
    pairs: tuple[str, ...],
    run_id: str | None,
    queue: str | None,
    priority: int,
    delay: Duration | None,
    timeout: Duration | None,
    wait: bool,
    as_json: bool,
) -> None:
    """Start a run of a workflow, and print its id.

    TARGET is module:attr or file.py:attr, or a module or file.py with one workflow in it. Arguments are
    JSON where they parse, else plain text. The run is durable when its id is printed.
    """
    positional, named = [value_of(text) for text in arguments], keywords(pairs)
    invocation = load_one(target)(*positional, **named)
    with client(settings, create=True) as engine:
        run = engine.start(invocation, run_id, queue, priority, delay, timeout)
        if not as_json:
            output.line(run.id)
        if wait:
            run.wait()
        description = run.describe()
    if as_json:
        output.json(run_shape(description))
    if wait:
        exits.require_result(description)
        if not as_json:
            output.json(description.result)
