"""Records are read as they were written, by whichever version of the library that was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuum.journal import RunId, Status
from continuum.store.codec import Codec, pack_text, seal, unseal
from continuum.store.records import Address, RunEnd, RunRecord, RunState, read, write, write_plain_state

CODEC = Codec()
KEY = b"key"
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
NUMBERS = st.integers(0, 2**63)
POSITIONS = st.none() | st.lists(st.integers(0, 9), max_size=3)

RUNS = st.builds(
    RunRecord,
    TEXT.map(RunId),
    workflow=TEXT,
    version=TEXT,
    queue=TEXT,
    created=NUMBERS,
    seed=TEXT,
    priority=st.integers(-9, 9),
    deadline=st.none() | NUMBERS,
    parent=st.none() | st.builds(Address, TEXT.map(RunId), TEXT, st.integers(-9, 9), TEXT, TEXT),
    parent_position=POSITIONS,
    started_as=TEXT,
    compacted=NUMBERS,
    payload=st.binary(),
)
STATES = st.builds(
    RunState,
    st.sampled_from(Status),
    NUMBERS,
    waiting_for=TEXT,
    reason=TEXT,
    wake=st.none() | NUMBERS,
    failed_at=POSITIONS,
    rewind=st.booleans(),
    crashes=NUMBERS,
)
ENDS = st.builds(RunEnd, st.sampled_from(Status), st.booleans(), TEXT, st.binary())


@given(st.one_of(RUNS, STATES, ENDS))
def test_a_record_is_read_as_it_was_written(record: RunRecord | RunState | RunEnd) -> None:
    assert read(CODEC, type(record), *write(CODEC, KEY, record)) == record


PLAIN_RUN = RunRecord(RunId('a "run" \\ of \u00fc\u2603'), "order\n", "1", "default", 17, "5eed", payload=b"args")
PLAIN_STATE = RunState(Status.RUNNING, 17)
PLAIN_END = RunEnd(Status.COMPLETED, False, payload=b"result")


@pytest.mark.parametrize("record", [PLAIN_RUN, PLAIN_STATE, PLAIN_END], ids=["run", "state", "end"])
def test_what_has_its_default_is_left_out_at_the_end(record: RunRecord | RunState | RunEnd) -> None:
    _, data = write(CODEC, KEY, record)
    header, _ = CODEC.unpack(unseal(KEY, data))
    assert len(header) == {RunRecord: 9, RunState: 2, RunEnd: 2}[type(record)]
    assert read(CODEC, type(record), KEY, data) == record


@given(st.sampled_from(Status), NUMBERS)
def test_a_new_state_is_written_as_any_other(status: Status, updated: int) -> None:
    assert write_plain_state(KEY, status, updated) == write(CODEC, KEY, RunState(status, updated))


@pytest.mark.parametrize(
    ("record", "header", "payload"),
    [
        (
            PLAIN_RUN,
            [PLAIN_RUN.id, "order\n", "1", "default", 17, "5eed", 0, None, None, None, 0, 0, 0, "", 0, "", 0],
            b"args",
        ),
        (PLAIN_STATE, ["running", 17, "", "", None, None, False, 0, 0], b""),
        (PLAIN_END, ["completed", False, ""], b"result"),
    ],
    ids=["run", "state", "end"],
)
def test_a_record_is_read_that_was_written_in_full(
    record: RunRecord | RunState | RunEnd, header: list[object], payload: bytes
) -> None:
    key, data = write(CODEC, KEY, record)
    text = json.dumps(header, separators=(",", ":"))
    assert unseal(key, data) != CODEC.pack(header, payload) == pack_text(text, payload)
    assert read(CODEC, type(record), key, seal(key, CODEC.pack(header, payload))) == record
