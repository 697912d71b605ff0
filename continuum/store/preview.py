"""What people and scripts are shown of a payload. Nothing in it is imported, called or built.

Plain data is shown as itself, everything else as a text that looks like Python. The pickle is read by
:mod:`continuum.store.inert`, errors are told by the summary that stands beside their pickle.
"""

from __future__ import annotations

import math
from typing import Final

from continuum.store.inert import read
from continuum.store.payload import split
from continuum.store.picture import Made, Mapping, Node, Set
from continuum.store.standard import contents, shown
from continuum.store.wording import INTEGER_LIMIT, cut, words

__all__ = ["preview", "preview_text"]

DEPTH_LIMIT: Final = 100
LENGTH_LIMIT: Final = 16 * 1024 * 1024  # characters of strings, over those that the payload has

# What a payload shares can be far more than what it holds: a list of ten times the same list, and so
# on. Without sharing a payload has fewer nodes than bytes.
SHARED_LIMIT: Final = 1_000_000
SHARED_FACTOR: Final = 16


def preview(payload: bytes, limit: int = 10_000) -> object:
    """JSON-able data where the value is plain, else text of at most `limit` characters; never raises.

    An error gives an object with its `type`, `message` and `traceback`. Tuples and sets become lists;
    bytes, numbers that JSON has not, and anything else become text.
    """
    try:
        parts = split(payload)
        if parts.summary is not None:
            return parts.summary._asdict()
        return _data(read(parts.pickle), len(payload), limit)
    except Exception as error:  # whatever the bytes are, people get to see the rest
        return cut(f"<unreadable: {error}>", limit)


def preview_text(payload: bytes, limit: int = 200) -> str:
    """One line of at most `limit` characters, all of which print; never raises."""
    try:
        parts = split(payload)
        if parts.summary is not None:
            text = f"{parts.summary.type}: {parts.summary.message[:limit]}"
        else:
            text = words(read(parts.pickle), limit)
    except Exception as error:  # whatever the bytes are, people get to see the rest
        text = f"<unreadable: {error}>"
    return cut("".join(sign if sign.isprintable() else _escaped(sign) for sign in text), limit)


def _escaped(sign: str) -> str:
    return repr(sign)[1:-1]


class _Full(Exception):
    """There is no room left."""


def _data(node: Node, size: int, limit: int) -> object:
    try:
        return _Data(size, limit).of(node, 0)
    except _Full:
        return words(node, limit)


class _Data:
    """Nodes to JSON-able data."""

    def __init__(self, size: int, text_limit: int) -> None:
        self._text_limit = text_limit
        self._nodes_left = SHARED_LIMIT + SHARED_FACTOR * size
        self._length_left = LENGTH_LIMIT + size

    def of(self, node: Node, depth: int) -> object:
        self._spend(nodes=1)
        match node:
            case None | bool():
                return node
            case int() if node.bit_length() <= INTEGER_LIMIT:
                return node
            case float():
                return node if math.isfinite(node) else str(node)
            case str():
                self._spend(length=len(node))
                return node
            case list() | tuple() | Set() | Mapping() if depth < DEPTH_LIMIT:
                return self._container(node, depth + 1)
            case Made():
                return self._made(node, depth)
        return self._words(node)

    def _container(self, node: Node, depth: int) -> object:
        if isinstance(node, Set):
            return [self.of(item, depth) for item in node.items]
        if not isinstance(node, Mapping):
            return [self.of(item, depth) for item in node]
        if not all(isinstance(key, str) for key, _ in node.pairs):
            return self._words(node)
        self._spend(length=sum(len(key) for key, _ in node.pairs))
        return {key: self.of(value, depth) for key, value in node.pairs}

    def _made(self, node: Made, depth: int) -> object:
        inside = contents(node)
        if inside is not None:
            return self.of(inside, depth)
        known = shown(node)
        return self._words(node) if known is None else known.plain

    def _words(self, node: Node) -> str:
        text = words(node, self._text_limit)
        self._spend(nodes=len(text))
        return text

    def _spend(self, nodes: int = 0, length: int = 0) -> None:
        self._nodes_left -= nodes
        self._length_left -= length
        if self._nodes_left < 0 or self._length_left < 0:
            raise _Full
