"""``continuum run``: a worker as a daemon.

The first SIGTERM or SIGINT, on Windows also SIGBREAK, lets steps in flight end, the second ends the process at
once; nothing recorded is lost either way. With ``--processes`` it is the parent of several workers, see
:mod:`continuum.cli.pool`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import anyio
import click

from continuum.blocking import Engine
from continuum.cli import output
from continuum.cli.exits import FAILED, OK
from continuum.cli.options import DURATION, QUEUE, Settings, check_outlives, opening, pass_settings, store_option
from continuum.cli.pool import supervise, worker_command
from continuum.cli.signals import Signals
from continuum.cli.targets import load_all
from continuum.cli.text import GAP, escaped
from continuum.door import check_lease
from continuum.durations import NANOSECONDS, Duration
from continuum.engine.lease import LEASE
from continuum.host import DEFAULT_CONCURRENCY, AsyncEngine
from continuum.store.opening import without_secrets
from continuum.workflow import Workflow

__all__ = ["run"]

LEVELS: Final = ("debug", "info", "warning", "error")
PASSED_ON: Final = ("concurrency", "durability", "continuations", "lease", "log_level")
LINE: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


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
    lease: Duration
    supervised: bool


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
@click.option(
    "--lease",
    type=DURATION,
    default=LEASE / NANOSECONDS,
    show_default=True,
    help="Other workers go on with this one's runs when it has been silent for so many seconds.",
)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="That many workers, each a process; one that dies is replaced.",
)
@click.option("--until-idle", is_flag=True, help="End when nothing can be done now; runs that wait do not hold it.")
@click.option("--supervised", is_flag=True, hidden=True, help="End when standard input ends.")
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
    lease: Duration,
    processes: int,
    supervised: bool,
    log_level: str,
) -> None:
    """Execute runs, as a daemon.

    A TARGET is module, module:attr, file.py or file.py:attr: the workflows whose runs are executed. SIGTERM
    and Ctrl-C let steps in flight end; a second one ends the process at once. Without a TARGET, --carried
    executes nothing but the runs that carry their code. Several workers may share a store: this one and
    others, or those of --processes.
    """
    if not targets and not carried:
        raise click.UsageError("name a TARGET, or give --carried to execute only runs that carry their code")
    _log_lines(log_level)
    check_lease(lease)
    workflows = load_all(targets)
    queues, takes = queues or ("default",), carried is not False
    if processes > 1:
        ctx.exit(_supervise(ctx, settings.store, processes))
    daemon = Daemon(
        settings.store, workflows, queues, concurrency, durability, until_idle, continuations, takes, lease, supervised
    )
    ctx.exit(anyio.run(serve, daemon, backend="asyncio"))


class Lines(logging.Formatter):
    """What a workflow says is one line, whatever it says, and its run, its position and the fields stand behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        line = super().formatMessage(record)
        if record.name != "continuum.workflow":
            return line
        said: Any = record
        told = [("run", said.run_id), ("position", said.position), *said.fields.items()]
        return escaped(GAP.join([line, *(f"{name}={value}" for name, value in told)]))


def _log_lines(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(Lines(LINE))
    logging.basicConfig(level=level.upper(), handlers=[handler])


def _supervise(ctx: click.Context, store: str, processes: int) -> int:
    check_outlives(store)
    given: dict[str, Any] = ctx.params
    with opening(), Engine(store, durability=given["durability"]):
        pass  # what keeps workers from the store is told once, not by each of them again and again
    options = [f"--queue={queue}" for queue in given["queues"]]
    options += [f"--{name.replace('_', '-')}={given[name]}" for name in PASSED_ON]
    options += ["--until-idle"] * given["until_idle"]
    if given["carried"] is not None:
        options.append("--carried" if given["carried"] else "--no-carried")
    command = worker_command(given["targets"], options)
    return anyio.run(partial(supervise, command, store, processes, until_idle=given["until_idle"]), backend="asyncio")


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
        lease=daemon.lease,
    )
    engine.when_given_up = _end_at_once
    async with AsyncExitStack() as stack:
        signals = stack.enter_context(Signals())
        with opening():
            await stack.enter_async_context(engine)
        if daemon.supervised:
            _watch_standard_input(signals.came)
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


def _end_at_once() -> None:
    """Others have what this process had, and a run holds it up for as long as it likes: another process is of use."""
    output.note("ending at once: a run holds up this worker")
    os._exit(FAILED)


def _watch_standard_input(ended: anyio.Event) -> None:
    """Set that event when whoever started this process wants it to end, or has died."""
    loop = asyncio.get_running_loop()

    def watch() -> None:
        with suppress(RuntimeError):  # the loop is gone
            while os.read(0, 1):  # not by sys.stdin, whose lock nobody may hold when the interpreter ends
                pass
            loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, name="continuum-stdin", daemon=True).start()


def _announce(daemon: Daemon) -> None:
    names = ", ".join(workflow.name for workflow in daemon.workflows) or "that runs carry"
    place = without_secrets(daemon.store)
    output.note(f"ready: store {place}, workflows {names}, queues {', '.join(daemon.queues)}")
    for workflow in daemon.workflows:
        if workflow.queue is not None and workflow.queue not in daemon.queues:
            output.note(f"runs of {workflow.name} wait in queue {workflow.queue!r}, which is not among these queues")
