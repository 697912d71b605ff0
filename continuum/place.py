"""Lines of the user's code, as messages name them."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import CodeType

__all__ = ["caller", "place"]

_OURS = __name__.partition(".")[0]


def place(code: CodeType, line: int) -> str:
    """A line of some code, such as ``order.py:12 in order``."""
    return f"{PurePath(code.co_filename).name}:{line} in {code.co_qualname}"


def caller() -> str:
    """The line outside of this library from which it is called. It is slow: for messages alone."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _OURS:
        frame = frame.f_back
    return place(frame.f_code, frame.f_lineno)
