"""The key layout: what is told apart by its letters stays apart."""

from __future__ import annotations

import re

from continuum.store import keys


def test_no_letters_stand_for_two_kinds_of_records() -> None:
    assert keys.__doc__ is not None
    letters = re.findall(r"^``(\w+)``", keys.__doc__, re.MULTILINE)
    assert len(letters) > 20
    assert [each for each in letters if sum(other.startswith(each) for other in letters) > 1] == []


def test_the_table_is_complete() -> None:
    assert keys.__doc__ is not None
    letters = set(re.findall(r"^``(\w+)``", keys.__doc__, re.MULTILINE))
    with open(keys.__file__, encoding="utf-8") as file:
        used = set(re.findall(r'(?:return|prefix =) b"(\w+)"', file.read()))
    assert used == letters
