"""Loops of asyncio and of trio whose time goes on only as the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import trio
import trio.testing

from continuum import AsyncEngine
from continuum.store.memory import MemoryStore, Space

__all__ = ["VirtualTime", "engine_on", "in_virtual_time"]

T = TypeVar("T")


class VirtualTime:
    """The time of all the loops that are run by it, one after the other; it begins anew with each of them."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self._passed = 0.0  # in loops that have ended
        self._loop = 0.0  # in the one that runs
        self._clock = trio.testing.MockClock()

    def run(self, main: Callable[[], Awaitable[T]]) -> T:
        """Run that to its end in a new loop."""
        self._clock = trio.testing.MockClock()
        options: dict[str, Any] = (
            {"clock": self._clock} if self.backend == "trio" else {"loop_factory": lambda: _Loop(lambda: self._loop)}
        )
        try:
            return anyio.run(main, backend=self.backend, backend_options=options)
        finally:
            self._passed, self._loop = self._passed + self._loop, 0.0

    def jump(self, seconds: float) -> None:
        """Let so much time pass."""
        self._loop += seconds
        self._clock.jump(seconds)

    def now(self) -> float:
        """Seconds that have passed in all."""
        return self._passed + self._loop


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self.time = clock  # type: ignore[method-assign]


def in_virtual_time(scenario: Callable[[], Any]) -> Any:
    """Run it on trio, whose time jumps when all tasks sleep."""
    return trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0.02))


def engine_on(space: Space, *workflows: Any) -> AsyncEngine:
    """An engine whose time is that of trio's clock, as it is when this is called."""
    current_time = trio.lowlevel.current_clock().current_time
    clock = lambda: round((1_700_000_000 + current_time()) * 1e9)  # noqa: E731
    return AsyncEngine(MemoryStore(space), workflows=workflows, clock=clock, grace=0.0)
