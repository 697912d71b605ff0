"""The picture of a pickle in words: a text that looks like Python, bounded in length and depth.

Pictures come from :mod:`continuum.store.inert`; what the standard library's values are called is told
by :mod:`continuum.store.standard`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, Final

from continuum.store.picture import Made, Mapping, Name, Node, Opaque, Set
from continuum.store.standard import contents, full_name, shown

__all__ = ["INTEGER_LIMIT", "cut", "words"]

DEPTH_LIMIT: Final = 20
BYTES_LIMIT: Final = 60
INTEGER_LIMIT: Final = 10_000  # bits; Python refuses to write down much longer ones
CLOUDPICKLE: Final = "cloudpickle.cloudpickle"


def words(node: Node, limit: int) -> str:
    """The text, of at most `limit` characters."""
    writer = _Text(limit)
    with contextlib.suppress(_Full):
        writer.write(node, 0)
    return cut("".join(writer.pieces), limit)


def cut(text: str, limit: int) -> str:
    """The text, its end replaced by an ellipsis if it is too long."""
    return text if len(text) <= limit else text[: max(limit - 1, 0)] + "…"


class _Full(Exception):
    """There is no room left."""


class _Text:
    """Nodes to a text that looks like Python, until there is no room left."""

    def __init__(self, limit: int) -> None:
        self.pieces: list[str] = []
        self._left = limit

    def put(self, text: str) -> None:
        # One more than there is room for, so that the cut is seen.
        self.pieces.append(text[: self._left + 1])
        self._left -= len(text)
        if self._left < 0:
            raise _Full

    def write(self, node: Node, depth: int) -> None:
        if depth > DEPTH_LIMIT:
            self.put("…")
        elif isinstance(node, str):
            self.put(repr(node[: self._left + 1]))
        else:
            WRITERS.get(type(node), _Text._repr)(self, node, depth + 1)

    def _repr(self, node: Node, depth: int) -> None:
        self.put(repr(node))

    def _int(self, node: int, depth: int) -> None:
        bits = node.bit_length()
        self.put(str(node) if bits <= INTEGER_LIMIT else f"<int of {bits} bits>")

    def _bytes(self, node: bytes, depth: int) -> None:
        short = len(node) <= BYTES_LIMIT
        self.put(repr(node) if short else f"{node[:BYTES_LIMIT]!r}… ({len(node)} bytes)")

    def _list(self, node: list[Node], depth: int) -> None:
        self._enclosed("[", node, "]", depth)

    def _tuple(self, node: tuple[Node, ...], depth: int) -> None:
        self._enclosed("(", node, ",)" if len(node) == 1 else ")", depth)

    def _set(self, node: Set, depth: int) -> None:
        self._enclosed("{", node.items, "}", depth)

    def _mapping(self, node: Mapping, depth: int) -> None:
        self._enclosed("{", (_Pair(key, ": ", value) for key, value in node.pairs), "}", depth)

    def _name(self, node: Name, depth: int) -> None:
        self.put(node.qualname if node.module == "builtins" else f"{node.module}.{node.qualname}")

    def _opaque(self, node: Opaque, depth: int) -> None:
        self.put(node.text)

    def _pair(self, node: _Pair, depth: int) -> None:
        if isinstance(node.key, str) and node.sign == "=":
            self.put(node.key)
        else:
            self.write(node.key, depth)
        self.put(node.sign)
        self.write(node.value, depth)

    def _made(self, node: Made, depth: int) -> None:
        known, named = shown(node), full_name(node)
        text = known.inside if known else _short(named[1]) if named else _code(node)
        if text is not None:
            self.put(text)
            return
        node = _error(node)
        self.put(_maker(node.maker))
        self._enclosed("(", _inside(node), ")", depth)

    def _enclosed(self, opening: str, nodes: Iterable[Node], closing: str, depth: int) -> None:
        self.put(opening)
        for index, node in enumerate(nodes):
            if index:
                self.put(", ")
            self.write(node, depth)
        self.put(closing)


class _Pair:
    """A key or the name of a field, and its value."""

    __slots__ = ("key", "sign", "value")

    def __init__(self, key: Node, sign: str, value: Node) -> None:
        self.key = key
        self.sign = sign
        self.value = value


WRITERS: Final[dict[type, Callable[[_Text, Any, int], None]]] = {
    int: _Text._int,
    bytes: _Text._bytes,
    list: _Text._list,
    tuple: _Text._tuple,
    Set: _Text._set,
    Mapping: _Text._mapping,
    Name: _Text._name,
    Opaque: _Text._opaque,
    Made: _Text._made,
    _Pair: _Text._pair,
}


# Strangers


def _short(qualname: str) -> str:
    return qualname.rpartition("<locals>.")[2]


def _code(node: Made) -> str | None:
    """The text for what cloudpickle holds by value."""
    match node:
        case Made(Name(module, "_make_function")) if module == CLOUDPICKLE:
            return f"<function {_function_name(node)}>"
        case Made(Name(module, "_make_skeleton_class" | "_make_skeleton_enum"), (_, str(name), *_)) if (
            module == CLOUDPICKLE
        ):
            return f"<class {name}>"
        case Made(Name(module, "subimport"), (str(name),)) if module == CLOUDPICKLE:
            return f"<module {name}>"
    return None


def _function_name(node: Made) -> str:
    match node.state:
        case (_, Mapping(pairs)):
            return next((value for key, value in pairs if key == "__name__" and isinstance(value, str)), "?")
    return "?"


def _error(node: Made) -> Made:
    """An error that was taken apart, as if its class had been called; others as they are."""
    match node:
        case Made(Name("continuum.store.exceptions", "new_error"), (cls, *_), state=Mapping() as state):
            args = _named("args", _named("attributes", state))
            return Made(cls, args if isinstance(args, tuple) else (), state=_named("fields", state))
        case Made(Name("continuum.errors", "_rebuild"), (cls, tuple(args), *_)):
            return Made(cls, args)
    return node


def _named(name: str, mapping: Node) -> Node:
    pairs = mapping.pairs if isinstance(mapping, Mapping) else ()
    return next((value for key, value in pairs if key == name), None)


def _maker(maker: Node) -> str:
    """The name of a class or function, without its module."""
    if isinstance(maker, Made):
        named = full_name(maker)
        text = _short(named[1]) if named else _code(maker)
        return "<made>" if text is None else text.removeprefix("<class ").removesuffix(">")
    return _short(maker.qualname) if isinstance(maker, Name) else "<unknown>"


def _inside(node: Made) -> list[Node]:
    """What stands between the parentheses."""
    inside = contents(node)
    if inside is not None:
        return [inside]
    found = [*node.args, *_fields(node.kwargs)]
    match node.state:
        case (None | Mapping(), Mapping()):  # the `__dict__` and the slots
            found += [pair for part in node.state for pair in _fields(part)]
        case list() | tuple():
            found += node.state
        case Mapping():
            found += _fields(node.state)
        case None:
            pass
        case _:
            found.append(_Pair("state", "=", node.state))
    found += [node.items] if node.items else []
    found += [Mapping(node.pairs)] if node.pairs else []
    return found


def _fields(mapping: Mapping | None) -> list[Node]:
    return [] if mapping is None else [_Pair(key, "=", value) for key, value in mapping.pairs]
