"""Calling a step's function, on a thread or in a worker process, where nothing can be awaited.

Whatever a step does, it comes to an outcome here. This module is loaded by worker processes too, so it
imports next to nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import partial
from types import FunctionType
from typing import Any, Final, Protocol

from continuum.errors import permanent
from continuum.journal import Failure, Outcome

__all__ = ["Codec", "call", "is_async", "is_awaitable"]

# What cannot be awaited; to look further for every result costs ten times as much.
_USUAL: Final = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict})


class Codec(Protocol):
    """What the performing of steps needs of a codec. Every outcome that it makes carries its payload."""

    def result(self, value: Any, step: str) -> Outcome:
        """What the step of that name gave back, or the failure that says why it cannot be recorded."""

    def failure(self, error: BaseException) -> Failure:
        """The failure that records this error."""

    def decode(self, data: bytes) -> Any:
        """The value that a payload holds."""

    def decode_error(self, data: bytes) -> BaseException:
        """The error that a payload holds."""


def call(codec: Codec, name: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> Outcome:
    """Run a step to its end. Whatever it raises, SystemExit too, is its outcome."""
    try:
        value = fn(*args)
        if is_awaitable(value):
            raise _stray_awaitable(name, value)
        return codec.result(value, name)
    except BaseException as error:
        return codec.failure(error)


def is_async(fn: Callable[..., Any]) -> bool:
    """Is this an async function, a partial of one, or an object whose call is one?"""
    if type(fn) is FunctionType:  # what most steps are
        return bool(fn.__code__.co_flags & inspect.CO_COROUTINE or (fn.__dict__ and inspect.iscoroutinefunction(fn)))
    while isinstance(fn, partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def is_awaitable(value: object) -> bool:
    """Whether a step gave back something that is to be awaited."""
    kind = type(value)
    return kind not in _USUAL and hasattr(kind, "__await__")


def _stray_awaitable(name: str, value: object) -> TypeError:
    if isinstance(value, Coroutine):
        value.close()
    told = f"step {name!r} returned an awaitable; make it an async function or use executor='inline'"
    return permanent(TypeError(told))  # another attempt would return one again
