"""What is gathered for one run, and how it is closed, without a worker around it."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import pytest

from continuum import Save, workflow
from continuum.engine.active import Active
from continuum.engine.intake import machine_of
from continuum.engine.machine.requests import RunStep
from continuum.journal import RunId, Status, Value
from continuum.stamps import Stamps
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.protocol import Batch
from continuum.store.recorder import Recorder
from continuum.store.records import RunRecord, RunState


@workflow
def steps() -> Generator[Any, Any, None]:
    yield Save(len, "a")
    yield Save(len, "b")
    yield Save(len, "c")


@pytest.fixture
def active() -> Active:
    """A new run that is at its first step."""
    codec, stamps = Codec(), Stamps(time.time_ns)
    record = RunRecord(RunId("r"), "steps", "", "default", 1, stamps.seed())
    active = Active(record, RunState(Status.RUNNING, 1), b"claim", Recorder(Ledger(codec), stamps))
    active.machine = machine_of(record, steps, steps.function(), codec.outcome)
    first = active.begin(1)
    assert first is not None
    assert first.position == (0,)
    return active


def test_from_one_step_to_the_next_there_is_nothing_to_be_closed(active: Active) -> None:
    passed = active.step_done((0,), Value(1), 2)
    assert passed is not None
    _, step = passed
    assert (step.position, active.in_flight, active.number) == ((1,), {(1,)}, 1)
    assert not active.changed
    assert active.close(3, common := Batch()) == (None, [])
    assert common == Batch()
    assert active.step_done((1,), Value(1), 4) is not None


def test_what_is_taken_back_comes_first(active: Active) -> None:
    passed = active.step_done((0,), Value(1), 2)
    assert passed is not None
    line, step = passed
    active.batch.puts.append((b"more", b""))
    active.gather_again(line, step)
    batch, effects = active.close(3, Batch())
    assert batch is not None
    assert (batch.puts, effects) == ([line, (b"more", b"")], [step])


def test_what_a_step_gave_is_kept_when_its_run_is_blocked_and_no_other_begins(active: Active) -> None:
    passed = active.step_done((0,), Value(1), 2)
    assert passed is not None
    line, step = passed
    active.block("something cannot be loaded")
    active.gather_again(line, step)
    batch, effects = active.close(3, Batch())
    assert batch is not None
    assert batch.puts[0] == line
    assert active.state.status is Status.BLOCKED
    assert not [each for each in effects if isinstance(each, RunStep)]
