"""The errors: the tree that is drawn is the tree that is, and each of them travels whole."""

from __future__ import annotations

import copy
import pickle
import re
import threading
from typing import Any

import pytest

from continuum import errors
from continuum.errors import (
    CompensationFailed,
    ContinuumError,
    RunCancelled,
    RunFailed,
    RunTimedOut,
    UnknownWorkflow,
    UnpicklableError,
    WrongState,
)
from continuum.store.codec import Codec

CLASSES: dict[str, type[BaseException]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, BaseException)
}

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "UnknownWorkflow": ("ordr", ["order", "pay"]),
    "RunNotFound": ("run-1",),
    "RunExists": ("run-1", "order"),
    "WrongState": ("run-1", "completed", "it is over"),
    "RunFinished": ("run-1", "completed", "it is over"),
    "RunEnded": ("run-1", "why"),
    "RunFailed": ("run-1", "why", "Traceback: ..."),
    "RunTimedOut": ("run-1", "why", "Traceback: ..."),
    "RunCancelled": ("run-1", "why"),
    "RunReverted": ("run-1", "why"),
    "CompensationFailed": ("it failed", None),
    "UnpicklableError": ("shop.Strange", "odd"),
}


def made(name: str) -> BaseException:
    if name == "ReplayMismatch":
        return errors.ReplayMismatch("no", position="1.2.3", recorded="save 'a'", attempted="save 'b'")
    return CLASSES[name](*ARGUMENTS.get(name, ("what happened",)))


@pytest.mark.parametrize("name", sorted(CLASSES))
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy], ids=["pickle", "copy"])
def test_every_error_travels_with_its_fields(name: str, travel: Any) -> None:
    error = made(name)
    again = travel(error)
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args
    assert vars(again) == vars(error)


def test_a_subclass_with_a_signature_of_its_own_travels_too() -> None:
    again = pickle.loads(pickle.dumps(Odd(1, second=2)))
    assert (again.first, again.second, str(again)) == (1, 2, "odd 1 2")


class Odd(ContinuumError):
    def __init__(self, first: int, *, second: int) -> None:
        self.first, self.second = first, second
        super().__init__(f"odd {first} {second}")


def test_an_original_error_travels_along() -> None:
    again = pickle.loads(pickle.dumps(CompensationFailed("no", ValueError("money"))))
    assert repr(again.original) == "ValueError('money')"


# The tree


def drawn() -> list[tuple[str, str | None, str | None]]:
    """Each name in the docstring, what it stands under, and the built-in type beside it."""
    found: list[tuple[str, str | None, str | None]] = []
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"( *)\* :exc:`(\w+)`(?: \((\w+))?", line)
        if match is None:
            continue
        indent, name, builtin = len(match[1]), match[2], match[3]
        above = [(depth, each) for depth, each in above if depth < indent]
        found.append((name, above[-1][1] if above else None, builtin))
        above.append((indent, name))
    return found


def test_the_tree_holds_every_error_once() -> None:
    assert sorted(name for name, _, _ in drawn()) == sorted(CLASSES)


@pytest.mark.parametrize(("name", "parent", "builtin"), drawn())
def test_the_tree_that_is_drawn_is_true(name: str, parent: str | None, builtin: str | None) -> None:
    bases = {base.__name__ for base in CLASSES[name].__bases__}
    expected = {parent or builtin or "Exception", builtin} if builtin else {parent or "Exception"}
    assert bases == expected


def test_all_public_errors_are_listed_in_order() -> None:
    assert errors.__all__ == [*sorted(CLASSES), "permanent"]


def test_everything_that_continuum_raises_but_cancelled_is_an_error_of_ours() -> None:
    others = {name for name, each in CLASSES.items() if not issubclass(each, ContinuumError)}
    assert others == {"Cancelled", "Permanent"}
    assert not issubclass(errors.Cancelled, Exception)


# What no further attempt can mend


class Fatal(errors.Permanent):
    pass


class Frozen(Exception):
    """An error that takes no attributes by the usual way."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


class SelfMade(Exception):
    """An error that pickles in a way of its own."""

    def __reduce__(self) -> Any:
        return SelfMade, ()


class Holding(errors.Permanent):
    """An error whose type cannot be recorded."""

    def __reduce__(self) -> Any:
        raise TypeError("not this one")


@pytest.mark.parametrize(
    "error",
    [
        Fatal("no"),
        errors.UnpicklableValue("no"),
        errors.permanent(ValueError("no")),
        errors.permanent(Frozen()),
        errors.permanent(SelfMade()),
        Holding(),
        type("Local", (Fatal,), {"lock": threading.Lock()})(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_permanent_by_its_class_or_its_mark_and_is_recorded_so(error: Exception) -> None:
    assert errors.is_permanent(error)
    assert errors.is_permanent(Codec().failure(error).error)


def test_other_errors_are_not_permanent() -> None:
    assert not errors.is_permanent(ValueError("permanent"))
    assert not errors.is_permanent(errors.StepTimeout())


# What they say


def test_an_unknown_workflow_is_told_with_what_is_known_and_what_was_meant() -> None:
    error = UnknownWorkflow("ordr", ["pay", "order"])
    assert error.known == ["order", "pay"]
    assert str(error) == "no workflow 'ordr' is registered here; did you mean 'order'? (known: 'order', 'pay')"
    assert "known: none" in str(UnknownWorkflow("x", []))


def test_how_a_run_ended_names_the_run_and_the_reason() -> None:
    assert str(RunFailed("r-1", "ValueError: no")) == "run 'r-1' failed: ValueError: no"
    assert str(RunCancelled("r-1")) == "run 'r-1' was cancelled"
    assert isinstance(RunTimedOut("r-1"), RunFailed)


def test_a_wrong_state_names_the_run_and_its_status() -> None:
    error = WrongState("r-1", "running", "only a failed run can be retried")
    assert str(error) == "run 'r-1' is running: only a failed run can be retried"


def test_an_error_that_could_not_be_recorded_keeps_its_type_and_text() -> None:
    error = UnpicklableError("shop.Strange", "odd")
    assert (error.type_name, error.message, str(error)) == ("shop.Strange", "odd", "shop.Strange: odd")
