"""One of several workers on a store, whose runs keep to limits; every time at which one was let begin is kept.

usage: limited.py STORE LEASE        work until standard input ends
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from at_once import take_over_at_once
from crew import note

from continuum import Engine, Limit, Save, workflow
from continuum.store.opening import open_store
from continuum.store.protocol import Batch, Store

AT_A_TIME = 3
RATE = 20
RUNS_AT_A_TIME = 2
TRACE = b"~"


def visit(effects: str, name: str) -> str:
    """Say when it begins and when it is over."""
    note(effects, f"begin {name}")
    time.sleep(0.03)
    note(effects, f"end {name}")
    return name


def ring(effects: str, name: str) -> str:
    """Say that it rang."""
    note(effects, f"ring {name}")
    return name


@workflow
def visits(effects: str, name: str) -> Any:
    return (yield Save(visit, effects, name, limit=Limit(AT_A_TIME)))


@workflow
def rings(effects: str, name: str) -> Any:
    return (yield Save(ring, effects, name, limit=Limit(rate=RATE)))


@workflow(limit=Limit(RUNS_AT_A_TIME))
def stays(effects: str, name: str) -> Any:
    yield Save(note, effects, f"come {name}")
    yield Save(visit, effects, f"stay {name}", name="stay")
    return (yield Save(note, effects, f"gone {name}"))


class Traced:
    """A store that forgets no time at which a slot was given."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        """Commit, with traces."""
        return self.inner.commit(
            [
                Batch(
                    batch.checks,
                    [*batch.puts, *((TRACE + key, at) for key, at in batch.puts if key[:2] == b"ft")],
                    batch.deletes,
                    batch.notify,
                )
                for batch in batches
            ]
        )


def work(url: str, lease: float) -> None:
    """Work until standard input ends."""
    take_over_at_once(url)
    store: Any = Traced(open_store(url))
    with Engine(store, workflows=[visits, rings, stays], grace=0.0, lease=lease):
        print("ready", flush=True)
        sys.stdin.read()
    store.close()


if __name__ == "__main__":
    work(sys.argv[1], float(sys.argv[2]))
