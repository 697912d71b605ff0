"""The pipeline: what is committed together, and what happens behind it, with a committer that only takes jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from continuum.commands import Save
from continuum.engine.machine.requests import RunStep
from continuum.engine.pipeline import Pipeline
from continuum.store.committer import Prepared
from continuum.store.protocol import Batch

FENCE = b"tenure", b"mine"
CLAIM = b"claim", b"mine"


class Run:
    """As much of a run as the pipeline needs."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.ended = False
        self.batch: Batch | None = None
        self.added: list[Any] = []
        self.effects: list[Any] = []

    def gather_again(self, line: Any, step: RunStep) -> None:
        (self.added if self.batch is None else self.batch.puts).insert(0, line)
        self.effects.insert(0, step)


class Bench:
    """A pipeline, what it has given away, and what it was told to let happen."""

    def __init__(self) -> None:
        self.jobs: list[Prepared] = []
        self.performed: list[tuple[str, Any]] = []
        self.refused: list[str] = []
        self.now = 0
        self.pipeline = Pipeline(
            self,  # type: ignore[arg-type]
            lambda: self.now,
            lambda: FENCE,
            self.close,  # type: ignore[arg-type]
            self.perform,  # type: ignore[arg-type]
            lambda run, step: self.performed.append((run.id, step)),
            lambda run: self.refused.append(run.id),
        )

    def perform(self, run: Run, effects: Iterator[Any], last: bool, until: int) -> bool:
        for effect in effects:
            self.performed.append((run.id, effect))
            if self.now > until:
                return False
        return True

    def submit(self, job: Prepared, give_way: float) -> None:
        self.jobs.append(job)

    def close(self, run: Run, common: Batch, now: int) -> tuple[Batch | None, list[Any]]:
        batch, run.batch = run.batch, None
        if batch is None:
            common.puts += run.added
            run.added = []
        effects, run.effects = run.effects, []
        return batch, effects

    def commit(self, *applied: bool) -> list[Batch]:
        """What is under way, once it is committed, or refused."""
        [job] = self.jobs
        self.jobs.clear()
        batches = job.ask(None)  # type: ignore[arg-type]
        job.settle(applied or [True] * len(batches))
        job.tell()
        return batches


def line(name: str) -> tuple[bytes, bytes]:
    return name.encode(), b"entry"


def step() -> RunStep:
    return RunStep((0,), Save(len, "x"), 1)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def go_straight_on(bench: Bench, run: Run) -> RunStep:
    due = step()
    bench.pipeline.go_straight_on(run, line(run.id), due)  # type: ignore[arg-type]
    return due


def test_runs_that_go_straight_on_are_committed_together_and_begin_their_steps_only_then(bench: Bench) -> None:
    a, b = Run("a"), Run("b")
    first, second = go_straight_on(bench, a), go_straight_on(bench, b)
    bench.pipeline.commit()
    bench.pipeline.perform(10, 0)
    assert not bench.performed
    assert bench.commit() == [Batch([FENCE], [line("a"), line("b")])]
    bench.pipeline.perform(1, 0)
    assert bench.performed == [("a", first)]
    bench.pipeline.perform(10, 0)
    assert bench.performed == [("a", first), ("b", second)]
    assert not bench.pipeline.at_work


def test_less_is_performed_once_the_time_for_it_is_over(bench: Bench) -> None:
    first, second = go_straight_on(bench, Run("a")), go_straight_on(bench, Run("b"))
    bench.pipeline.commit()
    bench.commit()
    bench.now = 6
    bench.pipeline.perform(10, 5)
    assert bench.performed == [("a", first)]
    assert bench.pipeline.waiting
    bench.pipeline.perform(10, 6)
    assert bench.performed == [("a", first), ("b", second)]


def test_the_effects_of_one_run_are_gone_on_with_where_the_time_was_over(bench: Bench) -> None:
    run = Run("a")
    run.added, run.effects = [line("a")], ["first", "second"]
    bench.pipeline.touch(run)  # type: ignore[arg-type]
    go_straight_on(bench, Run("b"))
    bench.pipeline.commit()
    bench.commit()
    bench.now = 6
    bench.pipeline.perform(10, 5)
    assert bench.performed == [("a", "first")]
    bench.pipeline.perform(10, 6)
    assert [run for run, _ in bench.performed] == ["a", "a", "b"]


def test_what_comes_while_a_commit_is_under_way_waits_for_the_next(bench: Bench) -> None:
    go_straight_on(bench, Run("a"))
    bench.pipeline.commit()
    go_straight_on(bench, Run("b"))
    bench.pipeline.commit()
    assert bench.pipeline.at_work
    assert bench.commit() == [Batch([FENCE], [line("a")])]
    assert bench.commit() == [Batch([FENCE], [line("b")])]


def test_the_first_step_of_a_new_run_waits_for_nothing_to_be_committed(bench: Bench) -> None:
    go_straight_on(bench, Run("a"))
    bench.pipeline.commit()
    new, first = Run("b"), step()
    bench.pipeline.set_out(new, first)  # type: ignore[arg-type]
    assert bench.pipeline.waiting
    bench.pipeline.perform(10, 0)
    assert bench.performed == [("b", first)]
    assert bench.commit() == [Batch([FENCE], [line("a")])]


@pytest.mark.parametrize("apart", [False, True])
def test_a_run_for_which_something_else_comes_up_is_closed_with_all_that_it_has(bench: Bench, apart: bool) -> None:
    run = Run("a")
    due = go_straight_on(bench, run)
    if apart:
        run.batch = Batch([CLAIM], [line("more")])
    else:
        run.added = [line("more")]
    run.effects = ["more"]
    bench.pipeline.touch(run)  # type: ignore[arg-type]
    bench.pipeline.commit()
    assert bench.commit() == [Batch([CLAIM if apart else FENCE], [line("a"), line("more")])]
    bench.pipeline.perform(10, 0)
    assert bench.performed == [("a", due), ("a", "more")]


def test_of_a_run_that_is_lost_nothing_more_is_committed(bench: Bench) -> None:
    run, other = Run("a"), Run("b")
    go_straight_on(bench, run)
    due = go_straight_on(bench, other)
    bench.pipeline.forget(run)  # type: ignore[arg-type]
    bench.pipeline.commit()
    assert bench.commit() == [Batch([FENCE], [line("b")])]
    bench.pipeline.perform(10, 0)
    assert bench.performed == [("b", due)]


def test_runs_whose_lines_are_refused_are_told_of_and_begin_nothing(bench: Bench) -> None:
    run, other = Run("a"), Run("b")
    go_straight_on(bench, run)
    other.batch, other.effects = Batch([CLAIM]), ["its own"]
    bench.pipeline.touch(other)  # type: ignore[arg-type]
    bench.pipeline.commit()
    bench.commit(True, False)
    bench.pipeline.perform(10, 0)
    assert bench.refused == ["a"]
    assert bench.performed == [("b", "its own")]
