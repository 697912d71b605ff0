"""Several processes on one store: some work, the others start, send and wait; whoever dies stops nobody."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hosts import TOO_LONG, eventually, opened
from nursery import Born, Nursery
from sharing import asks, effects_of, holds, shares

from continuum import Engine
from continuum.store import notify

PROGRAM = Path(__file__).with_name("sharing.py")
SAFETY = 60  # seconds after which something hangs

Program = Callable[..., Born]


@pytest.fixture(autouse=True)
def only_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks into the store without having been woken."""
    monkeypatch.setattr(notify, "HEARTBEAT", 3600.0)


@pytest.fixture(params=["lmdb", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the store is."""
    monkeypatch.setenv("EFFECTS", str(tmp_path / "effects"))
    if request.param == "lmdb":
        return str(tmp_path / "store")
    url: str = request.getfixturevalue("schema")
    return url


@pytest.fixture
def program(store: str, born: Nursery, tmp_path: Path) -> Iterator[Program]:
    """Start ``sharing.py``; whatever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(*arguments: str) -> Born:
            process = born.start([str(PROGRAM), store, *arguments], cwd=tmp_path, env=os.environ)
            return stack.enter_context(process)

        yield start


@pytest.fixture
def client(store: str) -> Iterator[Engine]:
    """A client in this process."""
    with opened(store, work=False) as engine:
        yield engine


def said(process: Born) -> str:
    """The next line that the process prints; one that hangs is killed, and says nothing."""
    killer = threading.Timer(SAFETY, process.kill)
    killer.start()
    try:
        return process.stdout.readline().strip()
    finally:
        killer.cancel()


def all_said(process: Born) -> list[str]:
    """What the process prints until it ends, which it is asked to do."""
    process.stdin.close()
    assert process.wait(SAFETY) == 0
    return process.stdout.read().splitlines()


def working(program: Program) -> Born:
    worker = program("work")
    assert said(worker) == "ready"
    return worker


def kill(process: Born) -> None:
    process.kill()
    assert process.wait(SAFETY) == -signal.SIGKILL


def effects() -> Counter[str]:
    file = Path(effects_of())
    return Counter(file.read_text().splitlines() if file.exists() else ())


def test_processes_start_send_and_wait_while_another_one_works(store: str, program: Program) -> None:
    working(program)
    users = [program("use", f"user{number}", "10") for number in range(4)]
    for number, user in enumerate(users):
        assert all_said(user) == [f"user{number}-{run}: {run}" for run in range(10)]
    assert len(effects()) == 80
    assert set(effects().values()) == {1}


def test_who_waits_is_woken_when_another_process_has_answered(store: str, program: Program) -> None:
    waiting = program("wait", "r")
    assert said(waiting) == "waiting"
    working(program)
    eventually(lambda: effects()["asked r"])
    with opened(store, work=False) as client:
        client.run("r").send("answer", "yes")
    assert said(waiting) == "r: yes"


def test_one_id_started_by_several_processes_is_one_run(store: str, program: Program, client: Engine) -> None:
    waiting = [program("wait", "r") for _ in range(4)]
    assert [said(each) for each in waiting] == ["waiting"] * 4
    working(program)
    client.run("r").send("answer", "yes")
    assert [said(each) for each in waiting] == ["r: yes"] * 4
    assert effects() == {"asked r": 1, "answered r": 1}


def test_workers_that_open_at_once_share_the_work(store: str, program: Program, client: Engine) -> None:
    runs = [client.start(asks(effects_of(), f"r{number}"), id=f"r{number}") for number in range(20)]
    workers = [program("work") for _ in range(4)]
    assert [said(worker) for worker in workers] == ["ready"] * 4
    for number, run in enumerate(runs):
        run.send("answer", number)
    assert [run.result(TOO_LONG) for run in runs] == [f"r{number}: {number}" for number in range(20)]
    assert set(effects().values()) == {1}
    for worker in workers:
        assert all_said(worker) == []


def test_a_killed_worker_leaves_nothing_that_blocks_the_next_one(
    store: str, program: Program, client: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    held = client.start(holds(effects_of(), str(gate)), id="held")
    runs = [client.start(asks(effects_of(), "r0"), id="r0")]
    results: list[str] = []
    waiting = threading.Thread(target=lambda: results.append(held.result(SAFETY)), daemon=True)
    waiting.start()
    for life in range(1, 4):
        worker = working(program)
        eventually(lambda life=life: effects()["holding"] == life)
        eventually(lambda: all(run.status() == "waiting" for run in runs))
        kill(worker)
        runs.append(client.start(asks(effects_of(), f"r{life}"), id=f"r{life}"))
        assert runs[-1].status() == "pending"
    gate.touch()
    worker = working(program)
    waiting.join(SAFETY)
    assert results == ["ended"]
    for run in runs:
        run.send("answer", "yes")
        assert run.result(TOO_LONG) == f"{run.id}: yes"
    steps = effects()
    assert steps.pop("holding") == 4
    assert set(steps.values()) == {1}
    if os.path.isdir(store):
        assert len(list((Path(store) / "notify").iterdir())) <= 2, "sockets of the dead are left"
    assert all_said(worker) == []


def test_a_key_is_held_over_the_death_of_workers_and_its_result_shared(
    store: str, program: Program, client: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    runs = [client.start(shares(effects_of(), str(gate), name), id=name) for name in "abc"]

    def in_line() -> list[str]:
        return [run.id for run in runs if run.status() == "waiting"]

    for life in range(1, 3):
        worker = working(program)
        eventually(lambda life=life: effects()["holding"] == life and len(in_line()) == 2)
        kill(worker)
    assert len(effects()) == 2, "who has the key goes on with it"
    (owner,) = (run for run in runs if run.id not in in_line())
    owner.cancel()
    working(program)
    eventually(lambda: owner.status() == "cancelled" and effects()["holding"] == 3)
    gate.touch()
    left = [run for run in runs if run is not owner]
    assert len({run.result(TOO_LONG) for run in left}) == 1
    assert client.start(shares(effects_of(), str(gate), "late")).result(TOO_LONG) == left[0].result(TOO_LONG)
    assert effects()["holding"] == 3


def test_a_killed_client_stops_nobody(store: str, program: Program, client: Engine) -> None:
    working(program)
    waiting = [program("wait", f"r{number}") for number in range(3)]
    assert [said(each) for each in waiting] == ["waiting"] * 3
    kill(waiting[1])
    for number in range(3):
        client.run(f"r{number}").send("answer", number)
    assert [said(waiting[0]), said(waiting[2])] == ["r0: 0", "r2: 2"]
    assert client.run("r1").result(TOO_LONG) == "r1: 1"


def test_a_worker_killed_while_it_opens_or_works_at_any_moment_is_followed_by_the_next(
    store: str, program: Program, client: Engine, rounds: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    runs = []
    for number in range(rounds):
        runs.append(client.start(asks(effects_of(), f"r{number}"), id=f"r{number}"))
        worker = program("work")
        threading.Event().wait(chance.uniform(0, 0.15))
        runs[-1].send("answer", number)
        kill(worker)
    working(program)
    assert [run.result(TOO_LONG) for run in runs] == [f"r{number}: {number}" for number in range(rounds)]
    assert len(effects()) == 2 * rounds
