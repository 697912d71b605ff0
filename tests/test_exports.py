"""The public names: the list is true, and each command that can be named can be carried out."""

from __future__ import annotations

import importlib
import pkgutil
import sys

import pytest

import continuum
from continuum import commands
from continuum.commands import Command
from continuum.engine.machine.vocabulary import ASK, BEGIN
from continuum.journal import FINISHED, MARKS, TAKES, Kind, Status

CONTRACT = """
    workflow Save Sleep Receive Handle Ensure Now Random Uuid4 Log All Race Map Call Start Send Publish Revert
    Patch Retry Engine AsyncEngine step Run ContinuumError Cancelled RunFailed RunCancelled RunReverted RunTimedOut
    RunFinished RunExists RunNotFound WrongState UnknownWorkflow StepTimeout StepUncertain ReceiveTimeout EnsureTimeout
"""


OF_OTHER_SYSTEMS = {"win32": ["posix", "sockets"]}.get(sys.platform, ["windows"])


def modules() -> list[str]:
    """All that can be imported here."""
    elsewhere = {"continuum.__main__", *(f"continuum.store.{name}" for name in OF_OTHER_SYSTEMS)}
    return [each.name for each in pkgutil.walk_packages(continuum.__path__, "continuum.") if each.name not in elsewhere]


def every_command() -> set[type]:
    classes = (value for value in vars(commands).values() if isinstance(value, type))
    return {each for each in classes if issubclass(each, Command) and each is not Command}


def test_everything_public_is_there() -> None:
    assert [name for name in continuum.__all__ if not hasattr(continuum, name)] == []


def test_no_name_is_listed_twice() -> None:
    assert len(set(continuum.__all__)) == len(continuum.__all__)


def test_the_public_names_are_in_order_before_those_of_the_errors() -> None:
    own = [name for name in continuum.__all__ if name not in continuum.errors.__all__]
    assert own == sorted(own)
    assert continuum.__all__ == [*own, *continuum.errors.__all__]


@pytest.mark.parametrize("name", CONTRACT.split())
def test_the_names_of_the_contract_are_public(name: str) -> None:
    assert name in continuum.__all__


def test_nothing_else_is_public_by_accident() -> None:
    public = {name for name, value in vars(continuum).items() if not name.startswith("_")}
    submodules = {name for name in public if f"continuum.{name}" in {*modules()}}
    assert public - submodules - set(continuum.__all__) == set()


def test_every_command_can_be_imported_from_the_top() -> None:
    assert {each.__name__ for each in every_command()} <= set(continuum.__all__)
    assert {each.__name__ for each in every_command()} <= set(commands.__all__)


def test_every_command_has_a_row() -> None:
    assert set(BEGIN) == every_command()


def test_every_kind_that_may_wait_has_a_row() -> None:
    waiting = {
        Kind.SAVE,
        Kind.SLEEP,
        Kind.RECEIVE,
        Kind.ENSURE,
        Kind.CALL,
        Kind.START,
        Kind.SEND,
        Kind.CONTINUE,
        Kind.COMPACT,
    }
    assert set(ASK) == waiting


def test_the_words_of_the_journal_are_consistent() -> None:
    assert MARKS.isdisjoint(TAKES)
    assert {status.value for status in FINISHED} == {"completed", "failed", "cancelled", "reverted", "timed_out"}
    assert len(Status) == 9


@pytest.mark.parametrize("name", modules())
def test_each_module_lists_what_it_offers(name: str) -> None:
    module = importlib.import_module(name)
    listed = getattr(module, "__all__", None)
    if listed is not None:
        assert [each for each in listed if not hasattr(module, each)] == []
        assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("name", modules())
def test_each_module_tells_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    is_empty_package = hasattr(module, "__path__") and not getattr(module, "__all__", None)
    assert module.__doc__ or is_empty_package
