"""Commands in a state that was captured: of this version of the library, and of one that knows less of them."""

from __future__ import annotations

from dataclasses import field, make_dataclass
from typing import Any

import pytest

from continuum import All, Call, Ensure, Map, Receive, Retry, Save, Sleep, workflow
from continuum.engine.continuation import Stale, dumps, loads


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


def test_a_field_that_is_new_gets_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dumps(Retry(7, delay=3))
    more = [("attempts", int), ("urgency", str, field(default="high")), ("tags", list, field(default_factory=list))]
    monkeypatch.setattr("continuum.retry.Retry", make_dataclass("Retry", more, frozen=True, slots=True))
    again = loads(data)
    assert (again.attempts, again.urgency, again.tags) == (7, "high", [])
    assert not hasattr(again, "delay")


def test_a_field_that_is_new_and_has_no_default_makes_it_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dumps(Retry(7, delay=3))
    newer = make_dataclass("Retry", [("attempts", int), ("urgency", str)], frozen=True, slots=True)
    monkeypatch.setattr("continuum.retry.Retry", newer)
    with pytest.raises(Stale, match="the Retry that was captured has no 'urgency'"):
        loads(data)
