"""One workflow for each construct: its twin does what it does, also when it is captured at every yield."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from collected import COLLECTED, NOTES, Body
from driving import Answer, captured, numbers, step, throwing, trace
from elsewhere import Elsewhere

from continuum.engine.continuation import adopt, twin_of
from continuum.engine.continuation.syntax import FRAME

each = pytest.mark.parametrize("function", COLLECTED, ids=lambda function: function.__name__)


@each
def test_the_twin_does_the_same_at_every_yield(function: Callable[[], Body]) -> None:
    compare(function, numbers)


@each
def test_the_twin_does_the_same_with_an_error_at_every_yield(function: Callable[[], Body]) -> None:
    for at in range(len(trace(function(), numbers))):
        compare(function, throwing(at))


@each
def test_the_twin_goes_on_in_another_process_at_every_yield(function: Callable[[], Body], elsewhere: Elsewhere) -> None:
    expected = trace(function(), numbers)
    assert trace(adopt(function()), numbers, elsewhere.step) == expected
    for at in range(len(expected)):
        answer = throwing(at)
        assert trace(adopt(function()), answer, elsewhere.step) == trace(function(), answer)


def compare(function: Callable[[], Body], answer: Answer) -> None:
    NOTES.clear()
    expected = trace(function(), answer, step), _notes()
    twin_of(function)
    twin = adopt(function())
    assert FRAME in twin.gi_code.co_varnames
    assert (trace(twin, answer, step), _notes()) == expected
    assert (trace(adopt(function()), answer, captured), _notes()) == expected


def _notes() -> list[str]:
    notes = NOTES.copy()
    NOTES.clear()
    return notes


def test_the_collection_has_a_workflow_for_each_construct() -> None:
    assert len(COLLECTED) >= 60
    assert [twin_of(function).refusals for function in COLLECTED] == [{}] * len(COLLECTED)
