"""``continuum history``: the commands of one run, in the order of their completion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress

import click

from continuum.blocking import Run
from continuum.cli import output
from continuum.cli.options import RUN_ID, Settings, client, json_option, pass_settings, store_option
from continuum.cli.shapes import step_shape
from continuum.cli.text import brief, escaped, moment
from continuum.description import HistoryStep
from continuum.journal import FINISHED

__all__ = ["history"]

LOOK = 0.3  # seconds between two looks at a run that is followed
VALUE = 500  # characters
HEADINGS = ("position", "kind", "name", "at", "attempts", "value")


@click.command()
@click.argument("run_id", metavar="ID", type=RUN_ID)
@click.option("--follow", is_flag=True, help="Go on until the run has ended; with --json one object a line.")
@json_option
@store_option
@pass_settings
def history(settings: Settings, run_id: str, follow: bool, as_json: bool) -> None:
    """Print what a run has done."""
    with client(settings) as engine:
        run = engine.run(run_id)
        if as_json and not follow:
            output.json([step_shape(step) for step in run.history()])
            return
        table = output.Table(HEADINGS)
        for steps in _followed(run) if follow else [run.history()]:
            if as_json:
                for step in steps:
                    output.json(step_shape(step), indent=None)
            else:
                table.show([_row(step) for step in steps])


def _followed(run: Run[object]) -> Iterator[list[HistoryStep]]:
    """What is new in the history each time it is looked at, until the run has ended."""
    told: Counter[tuple[object, ...]] = Counter()
    ended = False
    while not ended:
        ended = run.status() in FINISHED  # before the history: what is added later is not missed
        yield list(_untold(run.history(), told))
        if not ended:
            with suppress(TimeoutError):
                run.wait(LOOK)


def _untold(steps: Iterable[HistoryStep], told: Counter[tuple[object, ...]]) -> Iterator[HistoryStep]:
    """The steps that are there more often than they were told; a retry takes some away and adds others."""
    found: Counter[tuple[object, ...]] = Counter()
    for step in steps:
        mark = (step.position, step.kind, step.name, step.at)
        found[mark] += 1
        if found[mark] > told[mark]:
            told[mark] += 1
            yield step


def _row(step: HistoryStep) -> list[str]:
    shown = brief(step.value, VALUE)
    if isinstance(step.error, dict):
        shown = brief(f"{step.error['type']}: {step.error['message']}", VALUE)
    elif step.error is not None:
        shown = brief(step.error, VALUE)
    return [step.position, step.kind, escaped(step.name), moment(step.at) or "", str(step.attempts or ""), shown]
