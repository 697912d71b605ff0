"""Options and parameter types that commands share, and the client that they work with.

Whatever is wrong with what was typed is found here, before a store is opened or made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from continuum.blocking import Engine
from continuum.checks import check_id, check_queue
from continuum.durations import Duration, nanoseconds
from continuum.errors import BadValue, RunNotFound, StoreError, UsageError
from continuum.store.opening import without_secrets

__all__ = [
    "DEFAULT_STORE",
    "DURATION",
    "QUEUE",
    "RUN_ID",
    "STORE_HELP",
    "STORE_VARIABLE",
    "Settings",
    "check_outlives",
    "client",
    "follow_option",
    "json_option",
    "opening",
    "pass_settings",
    "store_option",
]

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_STORE: Final = "./.continuum"
STORE_VARIABLE: Final = "CONTINUUM_STORE"
STORE_HELP: Final = f"The store: a directory or a URL.  [default: ${STORE_VARIABLE}, else {DEFAULT_STORE}]"


@dataclass(frozen=True, slots=True)
class Settings:
    """What holds for every command. `typed` says that the store was named on the command line."""

    store: str
    typed: bool


pass_settings = click.make_pass_decorator(Settings)


def store_option(command: F) -> F:
    """``--store`` behind the command's name; it counts more than the one in front."""

    def choose(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.obj = Settings(value, typed=True)

    decorate = click.option("--store", metavar="PATH", expose_value=False, callback=choose, help=STORE_HELP)
    return decorate(command)


def json_option(command: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def follow_option(command: F) -> F:
    """``--follow``."""
    text = "Go on until the run has ended; with --json one object a line."
    return click.option("--follow", is_flag=True, help=text)(command)


# Parameter types


class _Checked(click.ParamType):  # type: ignore[type-arg]  # generic in new versions of click alone
    """Text that is looked at by a check which raises UsageError."""

    def __init__(self, name: str, check: Callable[[str], Any]) -> None:
        self.name = name
        self._check = check

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._check(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def _duration(text: str) -> Duration:
    try:
        duration: Duration = float(text)
    except ValueError:
        duration = text
    try:
        nanoseconds(duration, "it")
    except BadValue as error:  # shown behind the option's name
        raise BadValue(str(error).removeprefix("it: ")) from None
    return duration


RUN_ID: Final = _Checked("id", check_id)
QUEUE: Final = _Checked("queue", check_queue)
DURATION: Final = _Checked("duration", _duration)


# The store


def check_outlives(store: str) -> None:
    """Raise click.UsageError for a store in memory, where it is to be there for another process."""
    if store.lower().startswith("memory:"):
        raise click.UsageError(f"the store {store} is one process's and gone with it; name a directory or a server")


@contextmanager
def client(settings: Settings, *, create: bool = False) -> Iterator[Engine]:
    """An engine on the store that starts, sends and reads; it makes no store unless told to."""
    check_outlives(settings.store)
    with ExitStack() as stack:
        with opening():
            engine = stack.enter_context(Engine(settings.store, work=False, create=create))
        try:
            yield engine
        except RunNotFound as error:
            raise RunNotFound(error.run_id, without_secrets(settings.store)) from None


@contextmanager
def opening() -> Iterator[None]:
    """Whatever keeps a store from being opened is trouble with the store, a path that is none too."""
    try:
        yield
    except (ValueError, OSError) as error:
        raise StoreError(str(error)) from error
