"""kill -9 at random moments: every step's effect is there, and repeated only where a kill hit that very step.

More rounds than usual: ``pytest tests/crash --rounds 200``.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import stepping
from hosts import TOO_LONG, opened
from nursery import Nursery
from stepping import EVENTS, LIMIT, STEPS

from continuum.errors import RunNotFound

PROGRAM = Path(__file__).with_name("stepping.py")

VARIANTS = [
    ("one_by_one", "thread", 1, "lmdb"),
    ("one_by_one", "async", 1, "lmdb"),
    ("one_by_one", "inline", 1, "lmdb"),
    ("one_by_one", "process", 1, "lmdb"),
    ("side_by_side", "thread", LIMIT, "lmdb"),
    ("side_by_side", "async", LIMIT, "lmdb"),
    ("side_by_side", "process", LIMIT, "lmdb"),
    ("with_pauses", "thread", 1, "lmdb"),
    ("in_generations", "thread", 1, "lmdb"),
    ("compacting", "thread", 1, "lmdb"),
    ("kept", "thread", 1, "lmdb"),
    ("one_by_one", "inline", 1, "postgresql"),
    ("side_by_side", "thread", LIMIT, "postgresql"),
    ("with_pauses", "thread", 1, "postgresql"),
]


class Killings:
    """One run after another, worked on by a program that is killed again and again."""

    def __init__(self, born: Nursery, store: str, directory: Path, variant: str, executor: str, in_flight: int) -> None:
        self.born = born
        self.store = store
        self.directory = directory
        self.workflow = stepping.WORKFLOWS[variant]
        self.executor = executor
        self.in_flight = in_flight
        self.pace = 0.0  # seconds that a run takes that is left alone
        self.spread: list[int] = []  # how many steps were recorded at each kill
        self.life = 0
        self.kills = 0
        self.runs = 0

    def start(self) -> str:
        """A new run, and the events that it will ask for."""
        self.runs += 1
        name = f"run-{self.runs}"
        self.recorded: dict[int, set[int]] = {}  # life -> the steps that were recorded at its end
        with opened(self.store, work=False) as client:
            run = client.start(self.workflow(str(self.directory / name), self.executor), id=name)
            if self.workflow.name == "with_pauses":
                for number in range(EVENTS):
                    run.send("go", number)
        return name

    def live(self, name: str, moment: float | None) -> bool:
        """Let the program work and kill it after that time; True if it had ended by then."""
        self.life += 1
        arguments = [str(PROGRAM), self.store, str(self.life), name]
        with self.born.start(arguments, cwd=self.directory, env=os.environ) as process:
            assert process.stdout.readline() == "ready\n"
            if moment is None:
                began = time.monotonic()
                assert process.stdout.readline() == "done\n"
                self.pace = max(self.pace, time.monotonic() - began)
            else:
                time.sleep(moment)
                process.kill()
            code = process.wait(TOO_LONG * 4)
        assert code in (0, -signal.SIGKILL)
        self.kills += code == -signal.SIGKILL
        self.recorded[self.life] = set(self.positions(name))
        if code:
            self.spread.append(len(self.recorded[self.life]))
        return code == 0

    def positions(self, name: str) -> list[int]:
        """The numbers of the steps that are recorded; each may be there once."""
        with opened(self.store, work=False) as client:
            try:
                run = client.run(name).describe()
            except RunNotFound:
                return []
            history, state = client.run(name).history(), client.run(name).state()
        positions = [step.position for step in history]
        assert len(positions) == len(set(positions)), "a position is there twice"
        values = [step.value for step in history if step.kind == "save"]
        values[:0] = run.args[2] if run.generation else []  # of the histories that have been left
        values[:0] = state.get("results", [])  # of what was deleted
        return [round(value**0.5) for value in values]

    def check(self, name: str) -> None:
        """What the run leads to, and what its steps have left in the file."""
        with opened(self.store, work=False) as client:
            result, deleted = client.run(name).result(TOO_LONG), client.run(name).kept().deleted
        squares = [number * number for number in range(STEPS)]
        if self.workflow.name == "with_pauses":
            assert result == (squares, list(range(EVENTS)))
        else:
            assert result == squares
        assert (deleted > 0) == (self.workflow.name in ("compacting", "kept")), "nothing was deleted, or what is needed"
        assert sorted(self.recorded[self.life]) == list(range(STEPS))
        self.check_effects((self.directory / name).read_text().splitlines())

    def check_effects(self, lines: list[str]) -> None:
        effects: dict[int, list[int]] = defaultdict(list)  # life -> the steps that had an effect
        for line in lines:
            life, number = map(int, line.split())
            effects[life].append(number)
        assert set().union(*effects.values()) == set(range(STEPS)), "an effect is missing"
        before: set[int] = set()  # what was recorded when this life began
        for life, recorded in sorted(self.recorded.items()):
            made = effects[life]
            assert len(made) == len(set(made)), "a step ran twice in one life"
            assert not before & set(made), "a step ran again after its result was recorded"
            assert before <= recorded, "a record is gone"
            assert len(set(made) - recorded) <= self.in_flight, "a step ran before what led to it was recorded"
            if self.in_flight == 1:
                assert made == sorted(made)
                assert recorded == set(range(len(recorded)))
            before = recorded


@pytest.mark.parametrize(("variant", "executor", "in_flight", "where"), VARIANTS, ids=str, indirect=["where"])
def test_every_steps_effect_is_there_and_repeated_only_where_a_kill_hit_it(
    born: Nursery,
    tmp_path: Path,
    where: str,
    rounds: int,
    variant: str,
    executor: str,
    in_flight: int,
    record_property: Any,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    record_property("seed", seed)
    chance = random.Random(seed)
    killings = Killings(born, where, tmp_path, variant, executor, in_flight)
    killings.live(killings.start(), None)
    while killings.kills < rounds:
        name = killings.start()
        while not killings.live(name, chance.uniform(0, killings.pace)):
            if killings.kills >= rounds:
                killings.live(name, None)
                break
        killings.check(name)
    print(f"{killings.kills} kills in {killings.life} lives of {killings.runs} runs, after {killings.spread} steps")
    assert killings.kills >= rounds
    assert executor == "process" or rounds < 5 or len(set(killings.spread)) > 1, (
        "the kills hit nobody who was getting on"
    )
