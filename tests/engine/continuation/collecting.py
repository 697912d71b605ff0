"""How generator functions are collected, one for each construct, and what they are made of.

They yield plain values and are sent numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from typing import Any

Body = Generator[Any, Any, Any]

COLLECTED: list[Callable[[], Body]] = []


def collect(function: Callable[[], Body]) -> Callable[[], Body]:
    COLLECTED.append(function)
    return function


class Noted(Exception):
    """Raised by the functions themselves."""


class Thing:
    """Something with an attribute, and items."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value
        self.items: dict[Any, Any] = {}

    def __getitem__(self, key: Any) -> Any:
        return self.items.get(_key(key), 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[_key(key)] = value

    def __delitem__(self, key: Any) -> None:
        del self.items[_key(key)]

    def add(self, *numbers: int, times: int = 1, **named: int) -> int:
        self.value += sum(numbers) * times + sum(named.values())
        return self.value

    def __repr__(self) -> str:
        return f"Thing({self.value!r}, {self.items!r})"


def _key(key: Any) -> Any:
    return str(key)


def join(*values: Any, **named: Any) -> str:
    return "-".join(map(str, values)) + str(sorted(named.items()))


NOTES: list[str] = []


def note(value: Any) -> Any:
    """To see in which order things are evaluated: in a list that goes with the process, not with the state."""
    NOTES.append(str(value))
    return value


def repeating(function: Callable[..., Body]) -> Callable[..., Body]:
    """A decorator of another module than those of the functions that it is used for."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Body:
        first = yield from function(*args, **kwargs)
        return first, (yield from function(*args, **kwargs))

    return wrapper


def tuples(name: str) -> Body:
    got = yield name
    return got, (got, name, got)
