"""Commands in a state that was captured: of this version of the library, and of one that knows less of them."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Any

import pytest

from continuum import (
    All,
    Call,
    ContinueUsing,
    Ensure,
    Handle,
    Invocation,
    Map,
    Race,
    Receive,
    Retry,
    Save,
    Send,
    Sleep,
    Start,
    workflow,
)
from continuum.engine.continuation import Stale, dumps, loads
from continuum.steps import StepOptions


@workflow
def child(number: int) -> Any:
    yield Sleep(number)


COMMANDS = [
    Save(len, "ab", retry=Retry(3, delay="5s"), cache=60),
    Sleep(5),
    Receive("a", timeout=3),
    Map(len, ["a"], limit=2),
    All(Save(len, "a"), child(3)),
    Call(child(5), id="mine"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_commands_stay_what_they_are(command: Any) -> None:
    again = loads(dumps(command))
    assert type(again) is type(command)
    assert again == command
    assert repr(again) == repr(command)


def test_a_command_may_hold_itself() -> None:
    holder: list[Any] = []
    holder.append(Ensure(holder.pop))
    again = loads(dumps(holder))
    assert again[0].predicate.__self__ is again


def retry_with(*more: Any) -> type:
    known = [(each.name, each.type, field(default=None)) for each in fields(Retry)]
    return make_dataclass("Retry", [*known, *more], frozen=True, slots=True)


def test_a_field_that_is_new_gets_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dumps(Retry(7, delay=3))
    more = ("urgency", str, field(default="high")), ("tags", list, field(default_factory=list))
    monkeypatch.setattr("continuum.retry.Retry", retry_with(*more))
    again = loads(data)
    assert (again.attempts, again.delay, again.urgency, again.tags) == (7, 3, "high", [])


def test_a_field_that_is_new_and_has_no_default_makes_it_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dumps(Retry(7, delay=3))
    monkeypatch.setattr("continuum.retry.Retry", retry_with(("urgency", str, field(kw_only=True))))
    with pytest.raises(Stale, match="the Retry that was captured has no 'urgency'"):
        loads(data)


def test_what_a_later_version_has_captured_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = retry_with(("urgency", str, field(default="high")))
    newer.__module__ = "continuum.retry"
    with monkeypatch.context() as later:
        later.setattr("continuum.retry.Retry", newer)
        data = dumps(newer(7))
    with pytest.raises(Stale, match="more fields than this version knows"):
        loads(data)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (Save, "fn args name options"),
        (StepOptions, "retry timeout compensate key executor at_most_once cache once"),
        (Retry, "attempts delay factor max_delay max_elapsed jitter backoff on"),
        (Sleep, "duration until"),
        (Receive, "name timeout default"),
        (Handle, "name callback"),
        (Ensure, "predicate timeout"),
        (All, "branches return_exceptions"),
        (Race, "branches"),
        (Map, "fn items limit return_exceptions"),
        (Call, "invocation id queue timeout"),
        (Start, "invocation id queue timeout"),
        (Send, "run_id name payload"),
        (ContinueUsing, "invocation"),
        (Invocation, "workflow args kwargs"),
    ],
)
def test_the_order_of_fields_stays(kind: Any, names: str) -> None:
    """States that were kept go by it. A field may be added at the end, with a default."""
    assert " ".join(each.name for each in fields(kind)).startswith(names)
