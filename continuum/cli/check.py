"""``continuum check``: whether runs of workflows can be captured at each of their yields. Nothing is run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import click

from continuum.cli import exits, output
from continuum.cli.options import json_option
from continuum.cli.targets import load_all
from continuum.cli.text import escaped
from continuum.engine.continuation import Refused, twin_of
from continuum.workflow import Workflow

__all__ = ["check"]


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1, required=True)
@json_option
@click.pass_context
def check(ctx: click.Context, targets: tuple[str, ...], as_json: bool) -> None:
    """Tell whether runs can go on without a replay.

    A TARGET is module, module:attr, file.py or file.py:attr. For each yield of its workflows it is told whether a
    continuation can be kept there, and if not, why. What only shows when a run is there (a local that cannot be
    pickled) is told by `continuum show`. Exits with 1 if there is a yield where none can be kept.
    """
    found = [_shape(workflow) for workflow in load_all(targets)]
    if as_json:
        output.json(found)
    else:
        output.line("\n".join(line for shape in found for line in _lines(shape)))
    ctx.exit(exits.OK if all(shape["ok"] for shape in found) else exits.FAILED)


def _shape(workflow: Workflow[..., Any]) -> dict[str, Any]:
    function = inspect.unwrap(workflow.function)
    code = function.__code__
    shape: dict[str, Any] = {"workflow": workflow.name, "file": code.co_filename, "line": code.co_firstlineno}
    try:
        points = twin_of(workflow.function).points
    except Refused as refused:
        return {**shape, "ok": False, "reason": refused.reason, "yields": []}
    yields = [
        {"number": each.number, "line": each.line, "ok": each.refusal is None, "reason": each.refusal}
        for each in points
    ]
    return {**shape, "ok": all(each["ok"] for each in yields), "reason": None, "yields": yields}


def _lines(shape: dict[str, Any]) -> list[str]:
    place = f"{Path(shape['file']).name}:{shape['line']}"
    if shape["reason"] is not None:
        return [f"{escaped(shape['workflow'])} ({escaped(place)}): no", f"  {escaped(shape['reason'])}"]
    lines = [f"  line {each['line']}: {'ok' if each['ok'] else escaped(each['reason'])}" for each in shape["yields"]]
    refused = sum(not each["ok"] for each in shape["yields"])
    verdict = f"not at {refused} of its {len(lines)} yields" if refused else f"at each of its {len(lines)} yields"
    return [f"{escaped(shape['workflow'])} ({escaped(place)}): {verdict}", *lines]
