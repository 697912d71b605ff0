"""``continuum run``: a worker as a daemon.

The first SIGTERM or SIGINT, on Windows also SIGBREAK, lets steps in flight end, the second ends the process at
once; nothing recorded is lost either way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Final, Literal, Self

import anyio
import click

from continuum.cli import output
from continuum.cli.exits import OK
from continuum.cli.options import QUEUE, Settings, opening, pass_settings, store_option
from continuum.cli.targets import load_all
from continuum.host import DEFAULT_CONCURRENCY, AsyncEngine
from continuum.workflow import Workflow

__all__ = ["run"]

LEVELS: Final = ("debug", "info", "warning", "error")
LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"

STOP: Final = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    STOP.append(signal.SIGBREAK)  # the one that another process can send


@dataclass(frozen=True, slots=True)
class Daemon:
    """What a worker is started with."""

    store: str
    workflows: Sequence[Workflow[..., Any]]
    queues: Sequence[str]
    concurrency: int
    durability: Literal["power", "process"]
    until_idle: bool
    continuations: Literal["auto", "off"]
    carried: bool


@click.command()
@click.argument("targets", metavar="TARGET...", nargs=-1)
@click.option(
    "--carried/--no-carried",
    default=None,
    help="Whether runs of other workflows are executed by the code that they carry.  [default: with a TARGET they are]",
)
@click.option("--queue", "queues", type=QUEUE, multiple=True, help="Take runs of that queue; repeatable.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=DEFAULT_CONCURRENCY,
    show_default=True,
    help="That many steps at once.",
)
@click.option(
    "--durability",
    type=click.Choice(["power", "process"]),
    default="power",
    show_default=True,
    help="With 'process' commits are not synced: a power cut may destroy the store.",
)
@click.option(
    "--continuations",
    type=click.Choice(["auto", "off"]),
    default="auto",
    show_default=True,
    help="With 'off' long runs are replayed; only those that ask for it by Compact are kept to go on without.",
)
@click.option("--until-idle", is_flag=True, help="End when nothing can be done now; runs that wait do not hold it.")
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
@store_option
@pass_settings
@click.pass_context
def run(
    ctx: click.Context,
    settings: Settings,
    targets: tuple[str, ...],
    carried: bool | None,
    queues: tuple[str, ...],
    concurrency: int,
    durability: Literal["power", "process"],
    until_idle: bool,
    continuations: Literal["auto", "off"],
    log_level: str,
) -> None:
    """Execute runs, as a daemon.

    A TARGET is module, module:attr, file.py or file.py:attr: the workflows whose runs are executed. SIGTERM
    and Ctrl-C let steps in flight end; a second one ends the process at once. Without a TARGET, --carried
    executes nothing but the runs that carry their code.
    """
    if not targets and not carried:
        raise click.UsageError("name a TARGET, or give --carried to execute only runs that carry their code")
    logging.basicConfig(level=log_level.upper(), format=LINE)
    workflows = load_all(targets)
    queues, takes = queues or ("default",), carried is not False
    daemon = Daemon(settings.store, workflows, queues, concurrency, durability, until_idle, continuations, takes)
    ctx.exit(anyio.run(serve, daemon, backend="asyncio"))


async def serve(daemon: Daemon) -> int:
    """Work until a signal comes, or all is done that can be, and give the exit code."""
    engine = AsyncEngine(
        daemon.store,
        workflows=daemon.workflows,
        queues=daemon.queues,
        concurrency=daemon.concurrency,
        durability=daemon.durability,
        continuations=daemon.continuations,
        carried=daemon.carried,
    )
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(_Signals())
        with opening():
            await stack.enter_async_context(engine)
        _announce(daemon)
        await _until_done(engine, signals.came, until_idle=daemon.until_idle)
        if signals.first is not None:
            output.note("stopping: steps in flight may end; a second signal stops at once")
    return 128 + signals.first if signals.first == signal.SIGINT else OK


async def _until_done(engine: AsyncEngine, stop: anyio.Event, *, until_idle: bool) -> None:
    async def idle() -> None:
        await engine.until_idle()
        stop.set()

    async with anyio.create_task_group() as group:
        if until_idle:
            group.start_soon(idle)
        await stop.wait()
        group.cancel_scope.cancel()


def _announce(daemon: Daemon) -> None:
    names = ", ".join(workflow.name for workflow in daemon.workflows) or "that runs carry"
    output.note(f"ready: store {daemon.store}, workflows {names}, queues {', '.join(daemon.queues)}")
    for workflow in daemon.workflows:
        if workflow.queue is not None and workflow.queue not in daemon.queues:
            output.note(f"runs of {workflow.name} wait in queue {workflow.queue!r}, which is not among these queues")


class _Signals:
    """The signals to stop: the first one is noted, the second one ends the process.

    Plain handlers, not the loop's: a second signal counts also while a step holds up the loop.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self.came = anyio.Event()
        self._loop = asyncio.get_running_loop()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in STOP:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.first is not None:
            os._exit(128 + number)
        self.first = number
        self._loop.call_soon_threadsafe(self.came.set)
