"""``continuum copy``: a whole store, with the runs that wait in it, into another store."""

from __future__ import annotations

import time
from contextlib import ExitStack

import click

from continuum.cli import output
from continuum.cli.options import json_option, opening
from continuum.errors import BadValue
from continuum.store.copying import copy as move
from continuum.store.copying import count
from continuum.store.opening import open_store

__all__ = ["copy"]


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@json_option
def copy(source: str, destination: str, as_json: bool) -> None:
    """Move a whole store to another one, where its runs go on.

    FROM and TO are stores: directories or URLs. TO is made if it is not there, and has to be empty. No worker may
    run on either. FROM is marked as moved: it can still be read, and refuses all else. A copy that was cut off is
    begun anew by the same command.
    """
    with ExitStack() as stack:
        with opening():
            here = open_store(source, create=False)
            stack.callback(here.close)
            there = open_store(destination)
            stack.callback(there.close)
        if here.location == there.location:
            raise BadValue(f"FROM and TO are the same store: {here.location}")
        bar = stack.enter_context(output.progress(count(here), "moving"))
        copied = move(here, there, now=time.time_ns(), told=bar.update)
    if as_json:
        output.json(copied._asdict())
    else:
        runs = "1 run" if copied.runs == 1 else f"{copied.runs} runs"
        output.line(f"moved {runs} ({copied.records} records) from {here.location} to {there.location}")
