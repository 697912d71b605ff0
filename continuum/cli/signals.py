"""The signals that ask a daemon to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, Self

import anyio

__all__ = ["Signals"]

STOP: Final = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    STOP.append(signal.SIGBREAK)  # the one that another process can send


class Signals:
    """The signals to stop: the first one is noted, the second one ends the process, after a call of `abort`.

    Plain handlers, not the loop's: a second signal counts also while a step holds up the loop.
    """

    def __init__(self, abort: Callable[[], object] = lambda: None) -> None:
        self.first: int | None = None
        self.came = anyio.Event()
        self._abort = abort
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
            self._abort()
            os._exit(128 + number)
        self.first = number
        self._loop.call_soon_threadsafe(self.came.set)
