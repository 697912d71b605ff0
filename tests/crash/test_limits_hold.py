"""Limits hold over several workers, also while these are killed; every slot comes back."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import limited
import pytest
from hosts import dump, opened
from limited import AT_A_TIME, RATE, RUNS_AT_A_TIME, rings, stays, visits
from nursery import Born, Nursery
from test_processes_share import SAFETY, said

from continuum import Run

PROGRAM = Path(limited.__file__)
WORKERS = 4
LEASE = 2.0
RINGS = 50
SECOND = 1_000_000_000


class Crew:
    """Workers in processes of their own."""

    def __init__(self, born: Nursery, store: str, directory: Path) -> None:
        self.store = store
        self.workers: list[Born] = []
        self._born = born
        self._directory = directory
        self._all = ExitStack()

    def hire(self) -> None:
        """Another worker."""
        arguments = [str(PROGRAM), self.store, str(LEASE)]
        worker = self._born.start(arguments, cwd=self._directory, env=os.environ)
        self.workers.append(self._all.enter_context(worker))

    def kill(self, worker: Born) -> None:
        """No more of this one."""
        worker.kill()
        worker.wait(SAFETY)
        self.workers.remove(worker)

    def leave(self) -> None:
        """Whoever is still there is killed."""
        self._all.close()


@pytest.fixture(params=["lmdb", "postgresql"])
def crew(request: pytest.FixtureRequest, born: Nursery, tmp_path: Path) -> Iterator[Crew]:
    """Four workers, once they are ready."""
    store = str(tmp_path / "store") if request.param == "lmdb" else request.getfixturevalue("schema")
    crew = Crew(born, store, tmp_path)
    for _ in range(WORKERS):
        crew.hire()
    assert [said(worker) for worker in crew.workers] == ["ready"] * WORKERS
    yield crew
    crew.leave()


def until_all_have_ended(runs: list[Run[object]], crew: Crew, kills: int, chance: random.Random) -> None:
    """Kill a worker now and then, and hire another one; then wait for the rest."""
    pause = threading.Event()
    for _ in range(kills):
        pause.wait(chance.uniform(0.05, 0.4))
        crew.kill(chance.choice(crew.workers))
        crew.hire()
    for run in runs:
        run.result(SAFETY)


@pytest.mark.parametrize("kills", [0, 8])
def test_limits_hold_over_several_workers_that_are_killed(crew: Crew, tmp_path: Path, kills: int) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    effects = str(tmp_path / "effects")
    with opened(crew.store, work=False) as client:
        runs = [
            client.start(code(effects, f"{code.name}-{number}"), id=f"{code.name}-{number}")
            for code, count in ((visits, 40), (rings, RINGS), (stays, 12))
            for number in range(count)
        ]
        until_all_have_ended(runs, crew, kills, random.Random(seed))
    lines = Path(effects).read_text().splitlines()
    check_at_a_time(lines, kills)
    check_runs_at_a_time(lines, kills)
    crew.leave()
    check_rate(crew.store, sum(line.startswith("ring") for line in lines))
    left = [key for key, _ in dump(crew.store) if key[:2] in (b"fr", b"fs", b"fw")]
    assert left == [], "a slot has not come back"


def check_at_a_time(lines: list[str], kills: int) -> None:
    """A run that was cut off has its slot until it is over, so it counts until then."""
    under_way: set[str] = set()
    begun = 0
    for line in lines:
        what, _, name = line.partition(" ")
        if not name.startswith("visits"):
            continue
        if what == "begin":
            begun += 1
            under_way.add(name)
        else:
            under_way.discard(name)
        assert len(under_way) <= AT_A_TIME
    assert not under_way
    assert 40 <= begun <= 40 + AT_A_TIME * kills, "a step was repeated that no kill had hit"


def check_runs_at_a_time(lines: list[str], kills: int) -> None:
    there: set[str] = set()
    for line in lines:
        what, _, name = line.partition(" ")
        if what == "come":
            there.add(name)
        elif what == "gone":
            there.discard(name)
        assert len(there) <= RUNS_AT_A_TIME
    assert not there


def check_rate(store: str, rung: int) -> None:
    """By the times at which attempts were let begin, of which none was without."""
    pairs = sorted((key, int.from_bytes(at, "big")) for key, at in dump(store) if key.startswith(limited.TRACE + b"ft"))
    times = [at for _, at in pairs]
    assert RINGS <= rung <= len(times)
    for first, last in zip(times, times[RATE:], strict=False):
        assert last - first >= SECOND
