"""Several engines on one store, in one process: what they leave to each other."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import Any

from hosts import TOO_LONG, OpenEngine, eventually

from continuum import Save, workflow
from continuum.engine.scheduler import SHARED_WINDOW, WINDOW
from continuum.store.opening import open_store
from continuum.store.tenure import dismiss


def test_a_worker_that_has_just_come_takes_no_more_than_its_share(open_engine: OpenEngine) -> None:
    gate = threading.Event()
    held: list[str] = []

    def hold(who: str) -> None:
        held.append(who)
        gate.wait(TOO_LONG)

    @workflow
    def holds(who: str) -> Any:
        yield Save(hold, who)

    with open_engine(holds, concurrency=1) as first, open_engine(work=False) as client:
        first.until_idle()
        for number in range(WINDOW + 100):
            client.start(holds(f"r{number}"))
        eventually(lambda: len(client.runs(status="running")) >= WINDOW)
        with open_engine(holds, concurrency=1):
            eventually(lambda: len(held) == 2)
            assert len(client.runs(status="running")) == WINDOW + SHARED_WINDOW
            gate.set()
            for run in client.runs():
                run.result(TOO_LONG)


def test_what_a_step_gave_after_its_worker_was_found_dead_is_not_recorded(open_engine: OpenEngine, where: str) -> None:
    gate = threading.Event()
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            gate.wait(TOO_LONG)
        return len(begun)

    @workflow
    def works() -> Any:
        results = []
        for number in range(3):
            results.append((yield Save(work, number)))
        return results

    with open_engine(works) as engine, closing(open_store(where)) as store:
        run = engine.start(works())
        eventually(lambda: len(begun) == 2)
        with store.view() as view:
            ended = dismiss(view)
        assert store.commit([ended]) == [True]
        gate.set()
        assert run.result(TOO_LONG) == [1, 3, 4]
        assert begun == [0, 1, 1, 2], "what was recorded before is not repeated, and it goes on under a new tenure"
