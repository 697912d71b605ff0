"""The server of the store crashes again and again: workers and clients go on by themselves, and nothing is lost."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hosts import TOO_LONG, eventually, opened
from proxy import Proxy, proxy_to
from servers import Server, new_schema, pick

from continuum import Engine, Receive, Save, workflow
from continuum.store.opening import open_store
from continuum.store.protocol import Hold

RESTARTS = 5
STEPS = 5
SAFETY = 60  # seconds after which something hangs: a server that crashed reads its log first


@pytest.fixture
def name(postgres_server: Server) -> Iterator[str]:
    """A schema of the server that is ours."""
    with new_schema(postgres_server.url) as name:
        yield name


def test_everything_acknowledged_is_there_and_every_step_ran_once(postgres_server: Server, name: str) -> None:
    url = pick(postgres_server.url, name)
    effects: Counter[tuple[int, int]] = Counter()
    stop = threading.Event()

    def note(run: int, step: int) -> int:
        effects[run, step] += 1
        return step

    @workflow
    def order(number: int) -> Any:
        for step in range(STEPS):
            yield Save(note, number, step)
        answer = yield Receive("answer")
        return [(yield Save(note, number, STEPS)), answer]

    def use(client: Engine) -> int:
        """Start runs and answer them, until it is enough; gives how many were acknowledged."""
        number = 0
        while not stop.is_set():
            client.start(order(number), id=f"r{number}").send("answer", number)
            number += 1
        return number

    with opened(url, order) as worker, opened(url, work=False) as client, ThreadPoolExecutor(1) as pool:
        using = pool.submit(use, client)
        try:
            for _ in range(RESTARTS):
                before = len(effects)
                eventually(lambda before=before: len(effects) > before + 5 * STEPS, SAFETY)
                postgres_server.restart()
        finally:
            stop.set()
        count = using.result(SAFETY)
        assert [client.run(f"r{number}").result(TOO_LONG) for number in range(count)] == [
            [STEPS, number] for number in range(count)
        ]
        for number in range(count):
            assert len(worker.run(f"r{number}").history()) == STEPS + 2
    assert effects == {(number, step): 1 for number in range(count) for step in range(STEPS + 1)}


def test_a_worker_that_was_cut_off_loses_its_run_its_late_result_is_refused_and_it_goes_on(
    postgres_server: Server, name: str
) -> None:
    gates: list[threading.Event] = []

    def wait_for_gate() -> int:
        gate = threading.Event()
        gates.append(gate)
        assert gate.wait(SAFETY)
        return gates.index(gate)

    @workflow
    def waits() -> Any:
        return (yield Save(wait_for_gate))

    with proxy_to(postgres_server.socket) as proxy, opened(pick(proxy.url, name), waits) as first:
        first.start(waits(), id="r")
        eventually(lambda: len(gates) == 1)
        cut_off(proxy, postgres_server)
        with opened(pick(postgres_server.url, name), waits) as second:
            eventually(lambda: len(gates) == 2, SAFETY)
            proxy.target = postgres_server.socket
            gates[0].set()
            assert first.run("r").status() == "running"  # it is connected again
            gates[1].set()
            assert second.run("r").result(SAFETY) == 1
            assert len(second.run("r").history()) == 1
        again = first.start(waits(), id="again")
        eventually(lambda: len(gates) == 3, SAFETY)
        gates[2].set()
        assert again.result(SAFETY) == 2
        assert first.run("r").result(SAFETY) == 1


def test_a_worker_that_is_connected_again_soon_was_missed_by_nobody(
    postgres_server: Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates: list[threading.Event] = []

    def wait_for_gate() -> None:
        gate = threading.Event()
        gates.append(gate)
        assert gate.wait(SAFETY)

    @workflow
    def waits() -> Any:
        yield Save(wait_for_gate)

    with proxy_to(postgres_server.socket) as proxy, opened(pick(proxy.url, name), waits) as first:
        run = first.start(waits(), id="r")
        eventually(lambda: len(gates) == 1)
        with closing(open_store(pick(postgres_server.url, name))) as store, opened(store, waits) as second:
            free, hold = [False], store.hold

            def look(name: str) -> Hold | None:
                found = hold(name)
                free.append(found is not None)
                return found

            monkeypatch.setattr(store, "hold", look)
            cut_off(proxy, postgres_server)
            eventually(lambda: free[-1], SAFETY)
            proxy.target = postgres_server.socket
            eventually(lambda: not free[-1], SAFETY)
            gates[0].set()
            run.result(SAFETY)
            second.until_idle()
    assert len(gates) == 1


def cut_off(proxy: Proxy, server: Server) -> None:
    """Nobody gets through the proxy any more, and the server has noticed."""
    proxy.target = "/nowhere"
    proxy.cut()
    proxy.forget()
