"""The bytes around a pickle: what it is, which Python it needs, what to tell of an error.

A payload is a tag, two bytes of Python version if the pickle holds code by value, a summary in plain
text if it is an error, and the pickle. All but the pickle can be read without loading anything; who
only looks never needs the rest. Pickles are made in :mod:`continuum.store.pickling`.
"""

from __future__ import annotations

import struct
import sys
from typing import Final, NamedTuple

from continuum.errors import CorruptRecord, UnsupportedRecord
from continuum.store.exceptions import Summary

__all__ = ["PLAIN_VALUE", "TAGS", "Payload", "join", "require_python", "split", "this_python"]

PLAIN_VALUE: Final = b"v"
CODE_VALUE: Final = b"V"
PLAIN_ERROR: Final = b"e"
CODE_ERROR: Final = b"E"
TAGS: Final = {PLAIN_VALUE: False, CODE_VALUE: False, PLAIN_ERROR: True, CODE_ERROR: True}
"""The tags, each with whether it is an error's."""

THIS_PYTHON: Final = (sys.version_info[0], sys.version_info[1])
LENGTHS: Final = struct.Struct("<III")


class Payload(NamedTuple):
    """A payload's parts. `python` is the version that the pickle needs, if it holds code."""

    pickle: memoryview
    python: tuple[int, int] | None
    summary: Summary | None


def join(pickle: bytes, *, code: bool, summary: Summary | None = None) -> bytes:
    """Put a payload together, for this Python version if it holds code."""
    plain, by_value = (PLAIN_VALUE, CODE_VALUE) if summary is None else (PLAIN_ERROR, CODE_ERROR)
    texts = [text.encode("utf-8", "surrogatepass") for text in summary or ()]
    lengths = LENGTHS.pack(*map(len, texts)) if texts else b""
    return b"".join([by_value if code else plain, bytes(THIS_PYTHON if code else ()), lengths, *texts, pickle])


def split(payload: bytes) -> Payload:
    """A payload's parts; raises CorruptRecord and UnsupportedRecord."""
    tag, rest, python = payload[:1], memoryview(payload)[1:], None
    if not tag:
        raise CorruptRecord("a recorded value is empty")
    if tag not in TAGS:
        raise UnsupportedRecord(f"a recorded value is of unknown form {tag!r}; a newer continuum may have made it")
    if tag in (CODE_VALUE, CODE_ERROR):
        if len(rest) < 2:
            raise CorruptRecord("a recorded value ends too early")
        python, rest = (rest[0], rest[1]), rest[2:]
    if not TAGS[tag]:
        return Payload(rest, python, None)
    summary, rest = _split_summary(rest)
    return Payload(rest, python, summary)


def _split_summary(rest: memoryview) -> tuple[Summary, memoryview]:
    if len(rest) < LENGTHS.size:
        raise CorruptRecord("a recorded error ends too early")
    lengths = LENGTHS.unpack_from(rest)
    rest = rest[LENGTHS.size :]
    if sum(lengths) > len(rest):
        raise CorruptRecord("a recorded error ends too early")
    texts = []
    for length in lengths:
        texts.append(_text(rest[:length]))
        rest = rest[length:]
    return Summary(*texts), rest


def _text(data: memoryview) -> str:
    try:
        return str(data, "utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise CorruptRecord("the text of a recorded error is no UTF-8") from error


def this_python() -> str:
    """The version that code by value is made for and needs here: ``3.11``."""
    return ".".join(map(str, THIS_PYTHON))


def require_python(python: tuple[int, int] | None) -> None:
    """Raise UnsupportedRecord if a pickle needs another Python: loading it would crash this one."""
    if python is not None and python != THIS_PYTHON:
        made, here = ".".join(map(str, python)), this_python()
        raise UnsupportedRecord(
            f"a recorded value holds code of Python {made}, which Python {here} cannot load; "
            f"go on under Python {made}, or record functions and classes that can be imported"
        )
