"""The server of the store crashes again and again under several workers and clients: they all go on by themselves.

Its locks are free then, but nobody is dead: no step is made twice.

The full load: ``pytest tests/crash/test_server_crashes_under_load.py --runs 2000``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crew import STEPS, WORDS, asks_between_steps, holds
from hiring import Hire, hiring
from hosts import eventually, opened
from nursery import Nursery
from servers import Server, new_schema, pick
from test_processes_share import all_said
from test_workers import check_claims, lines

WORKERS = 4
CLIENTS = 4
CRASHES = 5
LEASE = 10.0
LONGEST_ABSENCE = 2.0  # seconds
SAFETY = 300  # seconds after which something hangs


@pytest.fixture
def store(postgres_server: Server) -> Iterator[str]:
    """A store in a server that may be stopped."""
    with new_schema(postgres_server.url) as name:
        yield pick(postgres_server.url, name)


@pytest.fixture
def hire(born: Nursery) -> Iterator[Hire]:
    """Start a worker."""
    with hiring(born) as hire:
        yield hire


def use(store: str, effects: str, names: list[str]) -> list[str]:
    """Start the runs and send each its words; gives those of which all was acknowledged."""
    acknowledged = []
    with opened(store, work=False) as client:
        for name in names:
            run = client.start(asks_between_steps(effects, name), id=name)
            for number in range(WORDS):
                run.send("word", f"{name} word {number}")
            acknowledged.append(name)
    return acknowledged


def test_nothing_that_was_acknowledged_is_missing_and_no_step_is_made_twice(
    postgres_server: Server, store: str, hire: Hire, tmp_path: Path, runs: int
) -> None:
    workers = [hire(store, LEASE) for _ in range(WORKERS)]
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    effects = str(tmp_path / "effects")
    names = [f"r{number}" for number in range(runs)]
    with ThreadPoolExecutor(CLIENTS) as clients:
        using = [clients.submit(use, store, effects, names[at::CLIENTS]) for at in range(CLIENTS)]
        for crash in range(1, CRASHES + 1):
            due = crash * runs * STEPS // (CRASHES + 1)
            eventually(lambda due=due: lines(effects).total() >= due, SAFETY)
            postgres_server.stop()
            threading.Event().wait(chance.uniform(0, LONGEST_ABSENCE))
            postgres_server.start()
        assert sorted(name for used in using for name in used.result(SAFETY)) == sorted(names)
    with opened(store, work=False) as client:
        for name in names:
            run = client.run(name)
            steps = [f"{name} {number}" for number in range(STEPS)]
            assert run.result(SAFETY) == (steps, [f"{name} word {number}" for number in range(WORDS)])
            assert [entry.position for entry in run.history()] == [str(number) for number in range(STEPS + WORDS)]
    assert lines(effects) == {f"{name} {number}": 1 for name in names for number in range(STEPS)}
    for worker in workers:
        assert all_said(worker) == []
    check_claims(store)


def test_who_comes_after_a_worker_that_was_killed_is_not_idle_before_it_has_taken_over(
    store: str, hire: Hire, tmp_path: Path
) -> None:
    effects, gate = str(tmp_path / "effects"), tmp_path / "gate"
    worker = hire(store, LEASE)
    with opened(store, work=False) as client:
        client.start(holds(effects, str(gate), "a"), id="a")
        eventually(lambda: lines(effects)["a holds"] == 1)
    worker.kill()
    worker.wait(SAFETY)
    gate.touch()
    with opened(store, holds) as engine:
        engine.until_idle()
        assert engine.run("a").status() == "completed"
