"""What one task waits for until it is given: the answer of the store, the end of a run.

On asyncio it is a bare future: an anyio.Event does the same, and takes several times as long to be made and
waited for, which shows where a run takes little more than that. Elsewhere it is an event and a value.

A promise is for one task alone, for who gives up waiting takes it along: where several wait for one thing,
each has its own.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from typing import Any, Generic, Protocol, TypeVar

import anyio
from anyio.lowlevel import current_token

__all__ = ["Promise", "keep", "promises"]

T = TypeVar("T")


class Promise(Protocol[T]):
    """Something to await. Use :func:`keep` to give it."""

    def done(self) -> bool:
        """Whether it was given, or nobody waits for it any more."""

    def set_result(self, result: T, /) -> None:
        """Give it, once."""

    def __await__(self) -> Generator[Any, Any, T]: ...


def promises() -> Callable[[], Promise[Any]]:
    """What makes promises for tasks of the running loop; they are kept on its thread."""
    loop: Any = current_token().native_token
    make: Callable[[], Promise[Any]] = loop.create_future if isinstance(loop, AbstractEventLoop) else _Promise
    return make


def keep(promise: Promise[T], result: T) -> None:
    """Let who waits have it; nothing happens where it was given before, or nobody waits any more."""
    if not promise.done():
        promise.set_result(result)


class _Promise(Generic[T]):
    """A promise on any loop of anyio's."""

    __slots__ = ("_given", "_result")

    def __init__(self) -> None:
        self._given = anyio.Event()

    def done(self) -> bool:
        return self._given.is_set()

    def set_result(self, result: T) -> None:
        self._result = result
        self._given.set()

    def __await__(self) -> Generator[Any, Any, T]:
        yield from self._given.wait().__await__()
        return self._result
