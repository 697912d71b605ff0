"""The rules of the data that only show where two plans meet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from continuum.journal import RunId, Status
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.look import Look, Taken
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch
from continuum.store.recorder import Recorder, Successor
from continuum.store.records import Message, RunRecord, RunState
from continuum.store.tenure import Tenure, call_roll, enlist
from continuum.store.worklist import Worklist

CODEC = Codec()
LEDGER = Ledger(CODEC)
RECORD = RunRecord(RunId("r"), "first", "1", "default", 1, "00", payload=CODEC.encode(((), {})))


@pytest.fixture
def store() -> MemoryStore:
    """A store with a run that a worker has."""
    store = MemoryStore(Space())
    with store.view() as view:
        batch, _ = LEDGER.start(view, RECORD)
    assert batch is not None
    assert store.commit([batch]) == [True]
    return store


@pytest.mark.parametrize("ask", ["send", "cancel"])
def test_what_is_asked_of_a_run_that_goes_on_as_another_meanwhile_is_asked_anew(store: MemoryStore, ask: str) -> None:
    worklist = Worklist(LEDGER, Stamps(lambda: 1), ["default"], lambda label: True)
    tenure = Tenure(b"sometime", b"somebody")
    assert store.commit([enlist(tenure, (keys.worker(b"somebody"), b""), (keys.move(), None))]) == [True]
    with store.view() as view:
        look = Look(tenure, call_roll(view), 1, 1)
        worklist.look(view, look)
    ((claim, taken),) = look.found
    assert claim is not None
    assert isinstance(taken, Taken)
    assert store.commit([claim]) == [True]
    with store.view() as view:
        late = _ask(ask, store)
        switch = Batch([(keys.claim("r"), taken.claim)])
        old = LEDGER.state(view, "r")
        successor = Successor(replace(RECORD, workflow="second", generation=1))
        Recorder(LEDGER, Stamps(lambda: 1)).hand_over(switch, RECORD, old, successor, 2)
    assert store.commit([switch, late]) == [True, False]
    assert store.commit([_ask(ask, store)]) == [True]
    with store.view() as view:
        calls = {label for _, label in view.scan(b"q")}
        assert LEDGER.state(view, "r") == RunState(Status.WAITING, 2, waiting_for="a worker")
    assert calls == {b"second\x001"}


def test_of_a_run_that_ends_before_it_is_due_no_timer_is_left_and_one_status_is_told() -> None:
    store = MemoryStore(Space())
    with store.view() as view:
        batch, _ = LEDGER.start(view, RECORD, wake=9)
    assert batch is not None
    assert store.commit([batch]) == [True]
    assert store.commit([_ask("cancel", store)]) == [True]
    with store.view() as view:
        assert not list(view.scan(keys.timers()))
        assert [key for key, _ in view.scan(b"x")] == [keys.index(Status.CANCELLED, RECORD.created, "r")]


def _ask(what: str, store: MemoryStore) -> Batch:
    with store.view() as view:
        if what == "send":
            batch, _ = LEDGER.send(view, "r", Message("event", "word"), 7)
        else:
            batch, _ = LEDGER.cancel(view, "r", "enough", 7)
    assert batch is not None
    return batch
