"""Digests: equal for equal values however they came about, different for different ones, the same everywhere."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuum.errors import UnpicklableValue
from continuum.store.digest import digest_of_call, digest_of_key, module_name

ROOT = Path(__file__).parents[2]


@dataclass
class Point:
    x: Any
    y: Any = None

    def length(self, scale: int) -> int:
        return scale

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)

    def __call__(self) -> Any:
        return self.x


@dataclass(frozen=True, slots=True)
class Slotted:
    x: Any


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


def load(*args: Any) -> None: ...


def store(*args: Any) -> None: ...


def of(*args: Any) -> bytes:
    return digest_of_call("load", load, args)


atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.sampled_from(Colour),
)
hashable = st.recursive(atoms, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=4)
values = st.recursive(
    hashable,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(hashable, inner, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Slotted, inner),
    ),
    max_leaves=8,
)


def rebuilt(value: Any) -> Any:
    """An equal value none of whose parts is the same object, if that can be helped, with dicts the other way round."""
    match value:
        case str() if type(value) is str:
            return "".join([*value])
        case list():
            return [rebuilt(each) for each in value]
        case tuple():
            return tuple(rebuilt(each) for each in value)
        case frozenset():
            return frozenset(map(rebuilt, reversed([*value])))
        case dict():
            return {rebuilt(key): rebuilt(each) for key, each in reversed(value.items())}
        case Point():
            return Point(rebuilt(value.x), rebuilt(value.y))
        case Slotted():
            return Slotted(rebuilt(value.x))
        case _:
            return value


@given(values)
def test_equal_values_have_equal_digests(value: Any) -> None:
    assert of(value) == of(rebuilt(value))
    assert of(value, value) == of(rebuilt(value), value)


DIFFERENT: list[Any] = [
    (), (None,), (False,), (True,), (0,), (1,), (-1,), (10,), (1.0,), (0.0,), (-0.0,), ("",), ("1",), (b"",), (b"1",),
    ([],), ((),), (set(),), (frozenset(),), ({},), ([1, 2],), ([2, 1],), ([[1], 2],), ([[1, 2]],), ((1, 2),), (1, 2),
    ({1, 2},), ({1: 2},), ({2: 1},), ({"a": 1, "b": 2},), ({"a": 2, "b": 1},), ("ab", "c"), ("a", "bc"), (Point(1),),
    (Point(2),), (Slotted(1),), (Point,), (load,), (Colour.RED,), (Colour.BLUE,), (datetime(2030, 1, 1, tzinfo=UTC),),
    (datetime(2030, 1, 1),), (timedelta(1),), (Decimal("1"),), (UUID(int=1),), (PurePosixPath("1"),), (Ellipsis,),
    (bytearray(b"1"),), (partial(load, 1),), (partial(load, 2),), (Point(1).length,), (1 + 2j,), (range(1),),
]  # fmt: skip


def test_different_values_have_different_digests() -> None:
    assert len({of(*args) for args in DIFFERENT}) == len(DIFFERENT)


CALLED: list[Callable[..., Any]] = [
    load,
    store,
    partial(load, 1),
    partial(load, 2),
    partial(load, x=1),
    Point(1).length,
    Point(2).length,
    Point(1),
    Point(2),
    Point.origin,
    Point,
    len,
    str.upper,
    "a".upper,
    "b".upper,
    [].append,
    [1].append,
]


def test_functions_differ_by_module_and_name_and_by_what_they_are_bound_to() -> None:
    assert len({digest_of_call("step", fn, ()) for fn in CALLED}) == len(CALLED)
    assert len({digest_of_call(name, load, ()) for name in ("a", "b")}) == 2


def test_a_partial_of_a_partial_is_no_other_than_one() -> None:
    assert digest_of_call("s", partial(partial(load, 1), 2), ()) == digest_of_call("s", partial(load, 1, 2), ())


def test_a_function_made_in_a_function_counts_by_its_name() -> None:
    def make(number: int) -> Callable[[], int]:
        def step() -> int:
            return number

        return step

    assert digest_of_call("step", make(1), ()) == digest_of_call("step", make(2), ())


def ring() -> list[Any]:
    values: list[Any] = []
    values.append(values)
    return values


class Local:
    """Not to be found under its name: see below."""


REFUSED: dict[str, Any] = {
    "a lambda": lambda: None,
    "a class that is not where its name says": type("Local", (), {}),
    "an object of such a class": type("Local", (), {})(),
    "a lock": threading.Lock(),
    "a generator": (each for each in ()),
    "a module": os,
    "a ring": ring(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_told_from_others_is_refused(what: str) -> None:
    with pytest.raises(UnpicklableValue, match="the arguments of step 'load' cannot be told from others"):
        of([REFUSED[what]])


def test_what_is_deeper_than_python_goes_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnpicklableValue):
        of(deep)


PROGRAM = """
import sys
from continuum.store.digest import digest_of_call, digest_of_key
from datetime import datetime, UTC

def step(*args): ...

print(digest_of_call("step", step, ({"a", "b", "c"}, {"x": {"y"}, "z": 1}, datetime(2030, 1, 1, tzinfo=UTC))).hex())
print(digest_of_key("ord-1").hex())
"""


def test_every_process_makes_the_same_digests(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(PROGRAM)
    programs = [["script.py"], ["-m", "script"], ["-c", "import script"]]
    said = {
        subprocess.run(
            [sys.executable, *program],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(seed)},
            cwd=tmp_path,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for program in programs
        for seed in (1, 2)
    }
    assert len(said) == 1


def test_a_main_module_without_a_file_is_called_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert module_name("__main__") == "__main__"
    assert module_name("shop") == "shop"


def test_keys_and_calls_do_not_meet() -> None:
    assert digest_of_key("a") != digest_of_key("b")
    assert len(digest_of_key("a")) == len(of()) == 32
