"""``continuum copy``: a whole store, with the runs that wait in it, into another store."""

from __future__ import annotations

import time
from contextlib import ExitStack

import click

from continuum.cli import output
from continuum.cli.options import json_option, opening
from continuum.errors import BadValue
from continuum.store.copying import Copied, abandon, check_source, count
from continuum.store.copying import copy as move
from continuum.store.memory import MemoryStore
from continuum.store.opening import open_store
from continuum.store.protocol import Store

__all__ = ["copy"]


@click.command()
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.option("--abandon", "gives_up", is_flag=True, help="Give up a copy that was cut off: the runs go on in FROM.")
@json_option
def copy(source: str, destination: str, gives_up: bool, as_json: bool) -> None:
    """Move a whole store to another one, where its runs go on.

    FROM and TO are stores: directories or URLs. TO is made if it is not there, and has to be empty. No worker may
    run on either. FROM is marked as moved: it can still be read, and refuses all else. A copy that failed has moved
    nothing. One that was cut off is begun anew by the same command, or given up with --abandon.
    """
    with ExitStack() as stack:
        here = _open(source, stack, create=False)
        if not gives_up:
            check_source(here)  # before TO is made
        there = _open(destination, stack, create=True)
        if here.location == there.location:
            raise BadValue(f"FROM and TO are the same store: {here.location}")
        if gives_up:
            abandon(here, there)
            output.line(f"given up: the runs go on in {here.location}, and {there.location} is empty")
            return
        bar = stack.enter_context(output.progress(count(here), "moving"))
        _tell(here, there, move(here, there, now=time.time_ns(), told=bar.update), as_json)


def _open(where: str, stack: ExitStack, *, create: bool) -> Store:
    with opening():
        store = open_store(where, create=create)
    stack.callback(store.close)
    if isinstance(store, MemoryStore):
        raise BadValue(f"{where}: a store in memory ends with this command; name a directory or a server")
    return store


def _tell(here: Store, there: Store, copied: Copied, as_json: bool) -> None:
    if as_json:
        output.json(copied._asdict())
    else:
        runs = "1 run" if copied.runs == 1 else f"{copied.runs} runs"
        output.line(f"moved {runs} ({copied.records} records) from {here.location} to {there.location}")
