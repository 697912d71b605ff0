"""Several workers on one store: who dies, or stands still for too long, loses its runs to the others, and nothing else.

The full load: ``pytest tests/crash/test_workers.py --runs 2000 -s``.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import takewhile
from pathlib import Path

import pytest
from crew import STEPS, TRACE, holds, kills, spins, ten_steps
from hosts import opened
from nursery import Born, Nursery
from storm import Storm
from test_processes_share import SAFETY, all_said, said

from continuum import Engine, Run
from continuum.store.opening import open_store
from continuum.store.tenure import TOKEN

PROGRAM = Path(__file__).with_name("crew.py")
LEASE = 1.0
LONGER_LEASE = 2.0
"""One that a worker on a busy machine lives through."""
FOR_EVER = 3600.0
"""A lease that no test lives through."""

Crew = Callable[..., Born]


@pytest.fixture(params=["lmdb", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is: a backend that processes share."""
    if request.param == "lmdb":
        return str(tmp_path / "store")
    url: str = request.getfixturevalue("schema")
    return url


@pytest.fixture
def effects(tmp_path: Path) -> str:
    """The file in which steps leave traces."""
    return str(tmp_path / "effects")


@pytest.fixture
def crew(born: Nursery, store: str, tmp_path: Path) -> Iterator[Crew]:
    """Start a worker; whoever still runs at the end is killed."""
    with ExitStack() as stack:

        def start(lease: float = FOR_EVER) -> Born:
            worker = born.start([str(PROGRAM), store, str(lease)], cwd=tmp_path, env=os.environ)
            return stack.enter_context(worker)

        yield start


@pytest.fixture
def client(store: str) -> Iterator[Engine]:
    """A client in this process."""
    with opened(store, work=False) as engine:
        yield engine


def ready(worker: Born) -> Born:
    assert said(worker) == "ready"
    return worker


def until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds."""
    for _ in range(SAFETY * 200):
        if condition():
            return
        threading.Event().wait(0.005)
    raise AssertionError("what the test waits for did not come")


def lines(effects: str) -> Counter[str]:
    file = Path(effects)
    return Counter(file.read_text().splitlines() if file.exists() else ())


def traces(store: str) -> dict[str, list[list[str]]]:
    """What workers have done, as the traces in the store tell: for each kind the key, the claim and the process."""
    found: dict[str, list[list[str]]] = defaultdict(list)
    opened_store = open_store(store)
    with opened_store.view() as view:
        for key, _ in view.scan(TRACE):
            _, what, *rest = key.decode().split("/")
            found[what].append(rest)
    opened_store.close()
    return found


def check_claims(store: str) -> None:
    """No claim was ever of two workers, nobody wrote under another's, and no entry was written twice."""
    found = traces(store)
    owners = {(run, claim): pid for run, claim, pid in found["claimed"]}
    assert len(owners) == len(found["claimed"]), "two workers had the same claim"
    # What a worker's tenure is enough of a check for, which each of its claims begins with.
    owners |= {(run, claim[: 2 * TOKEN]): pid for run, claim, pid in found["claimed"]}
    for run, claim, pid in found["wrote"]:
        assert owners[run, claim] == pid, "a worker wrote under another one's claim"
    entries = Counter(key for key, _, _ in found["entry"])
    assert set(entries.values()) <= {1}, "an entry was written twice"


def test_of_a_killed_worker_another_takes_over_at_once(store: str, effects: str, crew: Crew, client: Engine) -> None:
    gate = Path(effects).with_name("gate")
    first = ready(crew())
    run = client.start(holds(effects, str(gate), "a"), id="a")
    until(lambda: lines(effects)["a holds"] == 1)
    ready(crew())
    first.kill()
    until(lambda: lines(effects)["a holds"] == 2)
    gate.touch()
    run.result()
    assert lines(effects) == {"a begun": 1, "a holds": 2, "a ended": 1}
    check_claims(store)


def test_a_worker_that_stalls_loses_its_runs_commits_nothing_and_goes_on(
    store: str, effects: str, crew: Crew, client: Engine
) -> None:
    gates = [Path(effects).with_name(f"gate-{number}") for number in range(2)]
    first = ready(crew(LEASE))
    run = client.start(holds(effects, str(gates[0]), "a"), id="a")
    until(lambda: lines(effects)["a holds"] == 1)
    first.send_signal(signal.SIGSTOP)
    second = ready(crew(LEASE))
    until(lambda: lines(effects)["a holds"] == 2)
    gates[0].touch()
    assert run.result() == str(second.pid)
    history = run.history()
    wrote = [trace for trace in traces(store)["wrote"] if trace[2] == str(first.pid)]
    first.send_signal(signal.SIGCONT)
    # It learns of its loss, and is fit for work again: one of two runs is its own once it looks.
    others = [client.start(holds(effects, str(gates[1]), name), id=name) for name in "bc"]
    until(lambda: lines(effects)["b holds"] and lines(effects)["c holds"])
    second.kill()
    gates[1].touch()
    assert str(first.pid) in {other.result() for other in others}
    assert client.run("a").history() == history
    assert [trace for trace in traces(store)["wrote"] if trace[0] == b"a".hex() and trace[2] == str(first.pid)] == wrote
    assert lines(effects)["a ended"] == 1
    check_claims(store)


def test_a_run_that_kills_three_workers_is_laid_aside_and_the_others_go_on(
    store: str, effects: str, crew: Crew, client: Engine
) -> None:
    gate = Path(effects).with_name("gate")
    bad = client.start(kills(effects, str(gate), "bad"), id="bad")
    good = [client.start(ten_steps(effects, f"good-{number}"), id=f"good-{number}") for number in range(20)]
    for _ in range(3):
        assert crew().wait(SAFETY) == 9
    ready(crew())
    for run in good:
        run.result()
    until(lambda: bad.status() == "blocked")
    assert "continuum retry bad" in bad.describe().reason
    assert lines(effects)["bad kills"] == 3
    bad.send("whatever")
    another = ready(crew())  # looks at runs that are blocked, but not at this one
    client.start(ten_steps(effects, "late"), id="late").result()
    all_said(another)
    assert (bad.status(), lines(effects)["bad kills"]) == ("blocked", 3)
    gate.touch()
    bad.retry()
    assert bad.result() == "bad kills"
    assert lines(effects)["bad begun"] == 1
    check_claims(store)


def test_a_run_that_holds_up_three_workers_is_laid_aside_and_no_other_is_suspected(
    store: str, effects: str, crew: Crew, client: Engine
) -> None:
    gate = Path(effects).with_name("gate")
    bad = client.start(spins(effects, str(gate), "bad"), id="bad")
    good = [client.start(ten_steps(effects, f"good-{number}"), id=f"good-{number}") for number in range(20)]
    for worker in [crew(LONGER_LEASE) for _ in range(4)]:
        ready(worker)
    for run in good:
        run.result()
    until(lambda: bad.status() == "blocked")
    assert "continuum retry bad" in bad.describe().reason
    assert lines(effects)["bad spins"] == 3
    assert {run for run, *_ in traces(store)["counted"]} == {b"bad".hex()}
    gate.touch()
    bad.retry()
    assert bad.result() == "bad ended"
    check_claims(store)


def test_workers_killed_and_stopped_every_second_lose_nothing_and_do_nothing_twice(
    store: str, effects: str, crew: Crew, client: Engine, runs: int
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    workers = [ready(crew(LEASE)) for _ in range(4)]
    started: list[Run[list[str]]] = []
    ended: list[Run[list[str]]] = []

    def start_all() -> None:
        started.extend(client.start(ten_steps(effects, f"r{number}"), id=f"r{number}") for number in range(runs))

    def over() -> bool:
        left = started[len(ended) :]
        ended.extend(takewhile(lambda run: run.status() in ("completed", "blocked"), left))
        return starting.done() and len(ended) == len(started)

    storm = Storm(lambda: crew(LEASE), workers, LEASE, random.Random(seed))
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(start_all)
        storm.rage_until(over)
        starting.result()
    assert len(started) == runs
    made, counted = lines(effects), Counter(int(claim[:2], 16) for _, claim, _ in traces(store)["counted"])
    print(f"{runs} runs, {dict(storm.blows)}, {storm.long} of these longer than the lease;")
    print(f"{made.total() - len(made)} of {len(made)} steps were made again;")
    print(f"runs that lost their worker, by how many died of them in a row: {counted}")
    assert [run.id for run in started if run.status() == "blocked"] == []
    wanted = {run.id: [f"{run.id} {number}" for number in range(STEPS)] for run in started}
    assert {run.id: run.result() for run in started} == wanted
    for run in started:
        assert [entry.position for entry in run.history()] == [str(number) for number in range(STEPS)]
    assert set(made) == {line for each in wanted.values() for line in each}
    check_claims(store)
