"""A state is used with the code that it was captured from, and with no other."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
from elsewhere import load_module

from continuum.engine.continuation import Stale, adopt, dumps, loads, twin_of

Load = Callable[[str], ModuleType]

SOURCE = """
def order(number, *rest, key=None, **named):
    total = 0
    def add(amount: int) -> int:
        nonlocal total
        total += amount
        return total
    for each in [1, 2.5, "three", b"four", None, ...]:
        got = yield f"{each!r:>{10}} {number}"
        add(1 if got is None else got)
    match total:
        case {"a": [x, *_], **others}:
            return x
    return total, lambda: -total
"""


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Write source to a file, the same each time, and import it."""
    numbers = itertools.count()

    def load(source: str) -> ModuleType:
        path = tmp_path / f"{next(numbers)}" / "orders.py"
        path.parent.mkdir()
        path.write_text(source)
        return load_module("orders", str(path))

    yield load
    sys.modules.pop("orders", None)


def test_it_is_the_same_under_every_python(load: Load) -> None:
    assert twin_of(load(SOURCE).order).fingerprint == "5e9b9f3a75e6d6c2b22382cf6464a7bc"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total = 0\n", "total = 0  # in cents\n"),
        ("\ndef order", "\nimport os\n\n\ndef order"),
        ("    total = 0\n", '    """What it does."""\n\n    total = 0\n'),
        ("int:\n        nonlocal", 'int:\n        """Add."""\n        nonlocal'),
        ("[1, 2.5", "[\n        1, 2.5"),
        ("\ndef order", "\n@(lambda function: function)\ndef order"),
        ("total += amount", "total += (amount)"),
    ],
)
def test_it_does_not_change_with(load: Load, old: str, new: str) -> None:
    assert old in SOURCE
    body = adopt(load(SOURCE).order(1))
    assert next(body) == "         1 1"
    data = dumps(body)
    first = twin_of(sys.modules["orders"].order).fingerprint
    assert twin_of(load(SOURCE.replace(old, new)).order).fingerprint == first
    assert loads(data).send(1) == "       2.5 1"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("total = 0\n", "total = 1\n"),
        ("total += amount", "total -= amount"),
        ("-total", "+total"),
        ("2.5", "2"),
        ("2.5", "'2.5'"),
        ("!r:>", "!s:>"),
        ("[1, 2.5", "[2.5, 1"),
        ("each", "other"),
        ("return total, lambda", "yield\n    return total, lambda"),
        ("key=None", "key=1"),
    ],
)
def test_it_changes_with(load: Load, old: str, new: str) -> None:
    assert old in SOURCE
    body = adopt(load(SOURCE).order(1))
    next(body)
    data = dumps(body)
    load(SOURCE.replace(old, new))
    with pytest.raises(Stale, match=r"orders\.py:2 in order: its code was changed since its state was captured"):
        loads(data)


def test_a_function_that_is_gone_is_told(load: Load) -> None:
    body = adopt(load(SOURCE).order(1))
    next(body)
    data = dumps(body)
    load("")
    with pytest.raises(Stale, match="the state cannot be loaded: AttributeError: Can't get attribute 'order' on"):
        loads(data)
    del sys.modules["orders"]
    with pytest.raises(Stale, match="the state cannot be loaded: ModuleNotFoundError: No module named 'orders'"):
        loads(data)


MAKING = """
def make(count):
    return lambda more: count + more

def order():
    add = make(1)
    return add((yield 1))
"""


def test_a_function_made_by_another_one_goes_with_the_code_of_that(load: Load) -> None:
    body = adopt(load(MAKING).order())
    next(body)
    data = dumps(body)
    load(MAKING.replace("count + more", "count - more"))
    with pytest.raises(Stale, match=r"the state refers to make.<locals>.<lambda> of module orders, whose code was"):
        loads(data)
    load(MAKING.replace("def order", "# a comment\ndef order"))
    with pytest.raises(StopIteration) as stopped:
        loads(data).send(2)
    assert stopped.value.value == 3
