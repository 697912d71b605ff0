"""What a twin's own names are called in messages."""

from __future__ import annotations

from typing import Final

from continuum.engine.continuation.source import GOES_OVER
from continuum.engine.continuation.syntax import DELEGATE

__all__ = ["label"]

LABELS: Final = {
    "items": "the iterator of a `for`",
    "manager": "the manager of a `with`",
    "error": "the error that is being handled",
    "result": "the value that is being returned",
    DELEGATE[1:]: "what `yield from` goes to",
}


def label(name: str) -> str:
    """``local 'conn'``, or what a name of the twin's own stands for."""
    if name == GOES_OVER:
        return "what a generator expression goes over"
    if not name.startswith("."):
        return f"local {name!r}"
    word = name[1:].rstrip("0123456789")
    if name[1:].isidentifier() and word not in LABELS:
        return f"argument {name[1:]!r}"
    return LABELS.get(word, "a value that is still needed")
