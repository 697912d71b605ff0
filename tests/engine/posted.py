"""What a performer posted, kept for tests to look at and to wait for."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import anyio

from continuum.engine.steps import Task
from continuum.journal import Failure, Outcome, Value

TOO_LONG = 20  # seconds after which a test that hangs fails


class Posted:
    """What a performer posted, in order."""

    def __init__(self) -> None:
        self.keys: list[Hashable] = []
        self.outcomes: dict[Hashable, Outcome] = {}

    def post(self, task: Task, outcome: Outcome) -> None:
        assert task.key not in self.outcomes
        self.keys.append(task.key)
        self.outcomes[task.key] = outcome

    async def reach(self, count: int) -> None:
        await until(lambda: len(self.keys) >= count)

    def value(self, key: Hashable) -> Any:
        outcome = self.outcomes[key]
        assert isinstance(outcome, Value), outcome
        return outcome.value

    def error(self, key: Hashable) -> BaseException:
        outcome = self.outcomes[key]
        assert isinstance(outcome, Failure), outcome
        return outcome.error


async def until(condition: Callable[[], bool]) -> None:
    with anyio.fail_after(TOO_LONG):
        while not condition():
            await anyio.sleep(0.001)
