"""Several engines on one store, in one process: what they leave to each other."""

from __future__ import annotations

import threading
from typing import Any

from hosts import TOO_LONG, OpenEngine, eventually

from continuum import Save, workflow


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
        for number in range(300):
            client.start(holds(f"r{number}"))
        eventually(lambda: len(client.runs(status="running")) >= 200)
        with open_engine(holds, concurrency=1):
            eventually(lambda: len(held) == 2)
            assert len(client.runs(status="running")) == 216
            gate.set()
            for run in client.runs():
                run.result(TOO_LONG)
