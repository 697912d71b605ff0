"""A store that dies at a chosen commit, before or after it took place, as a killed process would."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import pytest
from hosts import opened

from continuum import Engine, Workflow
from continuum.engine import lease
from continuum.errors import CommitUnknown, StoreClosed
from continuum.journal import Entry, Kind
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch, Hold, View, Watch

ENOUGH = 500  # commits in one scenario: more mean that it goes round in circles


class CrashingStore:
    """Commits `count` times; the next commit is the last thing that happens, or just does not happen any more."""

    def __init__(self, space: Space, count: int, *, applied: bool) -> None:
        self._inner = MemoryStore(space)
        self._left = count
        self._applied = applied
        self.dead = False
        self.location = self._inner.location

    def view(self) -> AbstractContextManager[View]:
        self._check()
        return self._inner.view()

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        self._check()
        if self._left == 0:
            self.dead = True
            if self._applied:
                self._inner.commit(batches)
            raise CommitUnknown("the machine was switched off")
        self._left -= 1
        return self._inner.commit(batches)

    def watch(self, wake: Callable[[], None]) -> Watch:
        return self._inner.watch(wake)

    def hold(self, name: str) -> Hold | None:
        return self._inner.hold(name)

    def close(self) -> None:
        self._inner.close()

    def _check(self) -> None:
        if self.dead:
            raise CommitUnknown("the machine was switched off")


Scenario = Callable[[Engine], Any]


class Crashes:
    """Lives of one engine after another on one store, each ended by a crash but the last."""

    def __init__(self, *workflows: Workflow[..., Any], **options: Any) -> None:
        self.space = Space()
        self.workflows = workflows
        self.options = options
        self.count = 0

    def engine(self) -> Engine:
        """An engine that will not crash."""
        return opened(MemoryStore(self.space), *self.workflows, **self.options)

    def everything(self) -> list[bytes]:
        """The keys of all that the store holds."""
        with MemoryStore(self.space).view() as view:
            return [key for key, _ in view.scan(b"")]

    def journal(self, run_id: str) -> list[Entry]:
        """What is recorded of a run."""
        with MemoryStore(self.space).view() as view:
            return [entry for _, entry in Ledger(Codec()).entries(view, run_id)]

    def is_asked_to_end(self, run_id: str) -> bool:
        """Whether a cancel has reached the store, which the engine that was asked for it may not have lived to tell."""
        with MemoryStore(self.space).view() as view:
            waits = Ledger(Codec()).asked_to_end(view, run_id)
            return waits or any(entry.kind is Kind.CANCEL for _, entry in Ledger(Codec()).entries(view, run_id))

    def live(self, scenario: Scenario, commits: int, *, applied: bool) -> bool:
        """Let an engine live for so many commits; whether the scenario came to its end before that."""
        store = CrashingStore(self.space, commits, applied=applied)
        try:
            with opened(store, *self.workflows, **self.options) as engine:
                scenario(engine)
        except (CommitUnknown, StoreClosed):
            pass
        self.count += store.dead
        return not store.dead

    def finish(self, scenario: Scenario) -> Any:
        """A life without a crash."""
        with self.engine() as engine:
            return scenario(engine)


def crash_everywhere(
    prepare: Callable[[], tuple[Crashes, Callable[[Any], None]]], scenario: Scenario, lives: int = 1
) -> int:
    """Crash after every number of commits, then finish and check; gives how many crashes there were."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease, "CALM", 0.0)  # the test knows what they died of
        return _crash_everywhere(prepare, scenario, lives)


def _crash_everywhere(
    prepare: Callable[[], tuple[Crashes, Callable[[Any], None]]], scenario: Scenario, lives: int
) -> int:
    crashes_in_all = 0
    for applied in (False, True):
        for commits in range(ENOUGH):
            crashes, check = prepare()
            ended = [crashes.live(scenario, commits, applied=applied) for _ in range(lives)]
            check(crashes.finish(scenario))
            crashes_in_all += crashes.count
            if ended[0]:
                break
        else:
            raise AssertionError("the scenario does not come to an end")
    return crashes_in_all
