"""A command that workflow code makes and does not yield is told as the engine comes to know the workflow."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest

import continuum
from continuum import (
    All,
    BadCommand,
    Engine,
    Handle,
    Map,
    Publish,
    Race,
    Random,
    Receive,
    Save,
    Sleep,
    Workflow,
    current,
    workflow,
)

Body = Generator[Any, Any, Any]


def step(number: int = 0) -> int:
    return number


def helper() -> Body:
    yield Save(step)


def forgetful_helper() -> Body:
    Save(step)
    yield Save(step)


@workflow
def child() -> Body:
    yield Save(step)


@workflow
def dropped() -> Body:
    Save(step, 1)
    yield Sleep(0)


@workflow
def dropped_with_options() -> Body:
    yield Sleep(0)
    continuum.Save(
        step,
        1,
        name="s",
    )


@workflow
def dropped_with_many() -> Body:
    arguments = (step, 1)
    Save(*arguments)
    yield Sleep(0)


@workflow
def asks_a_command() -> Body:
    if Receive("stop"):
        yield Sleep(0)


@workflow
def loops_until() -> Body:
    while not Receive("stop"):
        yield Sleep(0)


@workflow
def loops_over() -> Body:
    for number in Map(step, [1, 2]):
        yield Save(step, number)


@workflow
def unpacked() -> Body:
    one, other = All(Save(step), Save(step))
    yield Save(step, one + other)


@workflow
def dropped_by_a_callback() -> Body:
    def heard(word: str) -> None:
        Publish(word=word)

    yield Handle("word", heard)


@workflow
def dropped_by_a_helper() -> Body:
    yield from forgetful_helper()


@workflow
def helper_not_delegated_to() -> Body:
    helper()
    yield Sleep(0)


@workflow
def child_not_called() -> Body:
    child()
    yield Sleep(0)


def in_a_closure() -> Workflow[..., Any]:
    command = Save

    @workflow
    def closure() -> Body:
        command(step)
        yield Sleep(0)

    return closure


REMEDY = "put the missing `yield` before it, as in `x = yield {}(...)`"
MISTAKES: list[tuple[Workflow[..., Any], int, str]] = [
    (dropped, 2, "dropped makes the command Save and does nothing with it: " + REMEDY.format("Save")),
    (dropped_with_options, 3, "dropped_with_options makes the command Save and does nothing with it"),
    (dropped_with_many, 3, "dropped_with_many makes the command Save and does nothing with it"),
    (asks_a_command, 2, "asks_a_command tests the command Receive and not its result: " + REMEDY.format("Receive")),
    (loops_until, 2, "loops_until tests the command Receive and not its result"),
    (loops_over, 2, "loops_over goes through the command Map and not its result: " + REMEDY.format("Map")),
    (unpacked, 2, "unpacked goes through the command All and not its result"),
    (dropped_by_a_callback, 3, "heard makes the command Publish and does nothing with it"),
    (helper_not_delegated_to, 2, "makes a generator of helper and does nothing with it: use `yield from helper(...)`"),
    (child_not_called, 2, "makes an invocation of child and does nothing with it: use `yield Call(child(...))`"),
    (in_a_closure(), 2, "closure makes the command Save and does nothing with it"),
]


@pytest.mark.parametrize(("flow", "line", "told"), MISTAKES, ids=[flow.name for flow, _, _ in MISTAKES])
def test_a_forgotten_yield_is_told_with_its_line_before_anything_runs(
    flow: Workflow[..., Any], line: int, told: str
) -> None:
    where = flow.function.__code__.co_firstlineno + line  # the first one is that of the decorator
    with pytest.raises(BadCommand, match=re.escape(told)) as caught:
        Engine("memory://", workflows=[child, flow])
    assert str(caught.value).startswith(f"test_forgotten.py:{where} in ")


def test_it_is_told_of_the_generators_that_a_workflow_delegates_to() -> None:
    line = forgetful_helper.__code__.co_firstlineno + 1
    with pytest.raises(BadCommand, match=rf"^test_forgotten.py:{line} in forgetful_helper makes the command Save"):
        Engine("memory://", workflows=[dropped_by_a_helper])


@workflow
def all_is_well(urgent: bool = False) -> Body:
    made = [Save(step, number) for number in range(3)]
    yield All(*made)
    kept = again = Save(step)
    yield kept
    yield from again
    if (named := Save(step)).name:
        yield named
    yield (Sleep(0) if urgent else Save(step))
    _ = Sleep("1h")  # to see whether that is a duration
    if (yield Race(Save(step), *map(Save, [step])))[0] == 0 and (yield Random()) < 2:
        yield from helper()
    for number in (yield Map(step, [1, 2])):
        yield Save(step, number)
    current()
    return [each for each in (yield All(Save(step)))]  # noqa: C416


def test_what_is_yielded_kept_or_given_to_others_is_fine() -> None:
    with Engine("memory://", workflows=[all_is_well]) as engine:
        assert engine.start(all_is_well()).result(timeout=6) == [0]


WITHOUT_RANGES = """
from continuum import Engine, Save, Sleep, workflow

@workflow
def flow():
    Save(len, ()); yield Sleep(0)

Engine("memory://", workflows=[flow])
print("fine")
"""


def test_where_the_interpreter_does_not_tell_what_is_called_nothing_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "no_debug_ranges", "-c", WITHOUT_RANGES], capture_output=True, text=True, check=False
    )
    assert done.stdout == "fine\n", done.stderr
