"""Iterators that loops for ever go over, and that not every Python version pickles."""

from __future__ import annotations

import ast
from itertools import count
from typing import Any

__all__ = ["reduce_count"]


def reduce_count(counter: count[Any]) -> tuple[Any, ...] | None:
    """How ``itertools.count`` is pickled, which 3.14 does not do any more: by what it shows of itself.

    None where that does not tell the whole truth, since it counts in something else than ints and floats.
    """
    try:
        shown = ast.literal_eval(repr(counter).removeprefix("count"))
    except (SyntaxError, ValueError):
        return None
    arguments = shown if isinstance(shown, tuple) else (shown,)
    return (count, arguments) if all(type(each) in (int, float) for each in arguments) else None
