"""``continuum demo``: real work, killed with SIGKILL half-way, resumed, counted.

What is done is in :mod:`continuum.cli.demo_proof`, the workflow in :mod:`continuum.cli.demo_workflow`.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Final

import click

from continuum.cli import output
from continuum.cli.demo_proof import Plan, Proof, prove
from continuum.cli.demo_workflow import python_files
from continuum.cli.options import Settings, check_outlives, json_option, pass_settings, store_option
from continuum.store.opening import without_secrets

__all__ = ["demo"]

LIMIT: Final = 8
FAILED: Final = 1


@click.command()
@click.option(
    "--path",
    "root",
    type=click.Path(exists=True, file_okay=False, resolve_path=True),
    help="The tree whose Python files are read.  [default: the standard library]",
)
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Files read at a time.")
@click.option("--keep", is_flag=True, help="Keep the store and the marks, and say where they are.")
@json_option
@store_option
@pass_settings
@click.pass_context
def demo(ctx: click.Context, settings: Settings, root: str | None, limit: int, keep: bool, as_json: bool) -> None:
    """Kill a worker half-way, resume, and count.

    A workflow reads a tree of files, one step a file. Its worker is killed with SIGKILL at about half,
    another goes on, and what really ran is counted. It takes less than two minutes. The store is a
    temporary one unless --store is given. Exits with 0 if everything adds up, else with 1.
    """
    if settings.typed:
        check_outlives(settings.store)
    with ExitStack() as stack:
        stack.enter_context(_ended_by_sigterm())
        traces = stack.enter_context(_directory(keep=keep))
        store = _absolute(settings.store) if settings.typed else str(traces / "store")
        proof = _shown(Plan(root or sysconfig.get_path("stdlib"), store, traces, limit))
        if keep:
            output.note(f"kept in {traces}; try: continuum --store {without_secrets(store)} show {proof.run_id}")
    if as_json:
        output.json({**asdict(proof), "ok": not proof.problems})
    else:
        output.line("\n".join(_report(proof)))
    if proof.problems:
        ctx.exit(FAILED)


def _shown(plan: Plan) -> Proof:
    """The proof, while a bar on the terminal, or lines elsewhere, tell how far it is."""
    if not sys.stderr.isatty():
        return prove(plan, output.note, lambda done: None)
    told: list[str] = []
    with output.progress(len(python_files(plan.root)), "reading") as bar:
        done = 0

        def show(now: int) -> None:
            nonlocal done
            bar.update(now - done)
            done = now

        proof = prove(plan, told.append, show)
    for line in told:
        output.note(line)
    return proof


def _report(proof: Proof) -> list[str]:
    verdicts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(proof.verdicts.items()))
    once = "every file once" if proof.journaled == proof.files else "not every file once"
    resumed = "-" if proof.resumed_after is None else f"{proof.resumed_after * 1000:,.0f} ms"
    rows = [
        ("files", f"{proof.files:,}", f"{proof.lines:,} lines; {verdicts}" if proof.files else "there are none"),
        ("steps run before the kill", f"{proof.before_kill:,}", ""),
        ("steps run after the kill", f"{proof.after_kill:,}", ""),
        ("steps run twice", f"{proof.repeated:,}", f"at most {proof.in_flight_at_most} were in flight"),
        ("steps in the journal", f"{proof.journaled:,}", once),
        ("replay", resumed, "from the second worker being ready to its first new step"),
        ("wall time", f"{proof.wall_time:,.1f} s", "both workers, with their starts"),
    ]
    lines = [f"{name:<27}{value:>10}   {remark}".rstrip() for name, value, remark in rows]
    return [*lines, *(f"does not add up: {problem}" for problem in proof.problems)]


def _absolute(store: str) -> str:
    return store if "://" in store else os.path.abspath(store)


@contextmanager
def _directory(*, keep: bool) -> Iterator[Path]:
    made = tempfile.mkdtemp(prefix="continuum-demo-")
    try:
        yield Path(made)
    finally:
        if not keep:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the demo as Ctrl-C does: with its workers, and tidily."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
