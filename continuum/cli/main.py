"""The command ``continuum``: the group that all commands belong to, and where their errors end.

The commands are in the files of their names. What they are given is read in
:mod:`continuum.cli.options`, :mod:`continuum.cli.arguments` and :mod:`continuum.cli.targets`, what
they tell goes through :mod:`continuum.cli.output`, and what an error means for the exit code stands in
:mod:`continuum.cli.exits`.
"""

from __future__ import annotations

from typing import Any

import click

from continuum import __version__
from continuum.cli import exits, output
from continuum.cli.cancel import cancel
from continuum.cli.check import check
from continuum.cli.copy import copy
from continuum.cli.demo import demo
from continuum.cli.history import history
from continuum.cli.logs import logs
from continuum.cli.ls import ls
from continuum.cli.options import DEFAULT_STORE, STORE_HELP, STORE_VARIABLE, Settings
from continuum.cli.result import result
from continuum.cli.retry import retry
from continuum.cli.run import run
from continuum.cli.send import send
from continuum.cli.show import show
from continuum.cli.start import start
from continuum.cli.version import version

__all__ = ["cli", "main"]

COMMANDS = (run, start, send, result, cancel, retry, ls, show, history, logs, check, copy, demo, version)


class Commands(click.Group):
    """A group whose commands end with an exit code and a line of text, whatever they raise of ours."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            ctx.exit(exits.INTERRUPTED)
        except BrokenPipeError:
            output.silence()
            ctx.exit(exits.OK)
        except BaseException as error:
            code, text = exits.explain(error)
            if code is None:
                raise
            output.error(text)
            ctx.exit(code)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which people meet them


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--store", metavar="PATH", envvar=STORE_VARIABLE, help=STORE_HELP)
@click.version_option(__version__, prog_name="continuum", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, store: str | None) -> None:
    """Durable execution in one library and one file.

    Exit codes: 0 ok, 1 the run failed, 2 usage, 3 no such run, 4 wrong state for that, 5 store unusable, 6 replay
    mismatch, 124 timeout, 130 Ctrl-C.
    """
    source = ctx.get_parameter_source("store")
    typed = source is not None and source.name == "COMMANDLINE"
    ctx.obj = Settings(DEFAULT_STORE if store is None else store, typed=typed)


for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line with this process's arguments, and exit."""
    cli(prog_name="continuum")
