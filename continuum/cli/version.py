"""``continuum version``: what to name in a report."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of

import click

from continuum import __version__
from continuum.cli import output
from continuum.cli.options import json_option

__all__ = ["version"]


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the versions of all parts."""
    others = {name: version_of(name) for name in ("lmdb", "anyio", "cloudpickle", "click")}
    if as_json:
        output.json({"continuum": __version__, "python": platform.python_version(), **others})
    else:
        listed = ", ".join(f"{name} {number}" for name, number in others.items())
        output.line(f"continuum {__version__} (Python {platform.python_version()}, {listed})")
