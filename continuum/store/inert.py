"""A pickle read as a picture of itself: nothing is imported, called or built.

pickle's own Unpickler cannot be used for that. It calls what the pickle names, sets attributes on
whatever is at hand, and takes sizes from the pickle before it has seen the bytes. This reader knows
the opcodes that protocol 5 writes. What would be a call or an import becomes an inert stand-in (see
:mod:`continuum.store.picture`); only numbers, text, bytes, lists and tuples become the real thing.

Everything here takes time and memory in proportion to the bytes that are read. How a picture is shown
is the business of :mod:`continuum.store.wording`.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Final, NoReturn

from continuum.store.picture import Made, Mapping, Name, Node, Opaque, Set

__all__ = ["Unreadable", "read"]


class Unreadable(Exception):
    """The bytes are no pickle that this module reads."""


def read(data: bytes | memoryview) -> Node:
    """The picture of a pickle; raises Unreadable, whatever the bytes are."""
    reader = _Reader(bytes(data))
    try:
        while True:
            opcode = reader.byte()
            if opcode == STOP:
                return reader.stack.pop()
            OPCODES.get(opcode, _unknown)(reader)
    except IndexError as error:
        raise Unreadable("it takes what is not there") from error
    except UnicodeDecodeError as error:
        raise Unreadable("its text is no UTF-8") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.stack: list[Node] = []
        self.marked: list[list[Node]] = []
        self.memo: list[Node] = []

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size: int) -> bytes:
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise Unreadable("it ends too early")
        return self.data[start : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def since_mark(self) -> list[Node]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def made(self) -> Made:
        """The top of the stack, which is to be something made."""
        top = self.stack[-1]
        if not isinstance(top, Made):
            raise Unreadable("it changes what it did not make")
        return top


def _unknown(reader: _Reader) -> NoReturn:
    raise Unreadable(f"opcode {reader.data[reader.at - 1]:#04x} is none that is written here")


# Data


def _constant(value: Node) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(value)


def _empty(kind: Callable[[], Node]) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(kind())


def _unsigned(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.number(size))


def _text(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.take(reader.number(size)).decode("utf-8", "surrogatepass"))


def _bytes(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.take(reader.number(size)))


def _long(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(int.from_bytes(reader.take(reader.number(size)), "little", signed=True))


def _signed(reader: _Reader) -> None:
    reader.stack.append(int.from_bytes(reader.take(4), "little", signed=True))


def _float(reader: _Reader) -> None:
    reader.stack.append(struct.unpack(">d", reader.take(8))[0])


def _skip(size: int) -> Callable[[_Reader], object]:
    return lambda reader: reader.take(size)


# Containers


def _tuple(size: int) -> Callable[[_Reader], None]:
    def make(reader: _Reader) -> None:
        items = tuple(reader.stack.pop() for _ in range(size))
        reader.stack.append(items[::-1])

    return make


def _marked(kind: Callable[[list[Node]], Node]) -> Callable[[_Reader], None]:
    def make(reader: _Reader) -> None:
        items = reader.since_mark()  # first: it changes what the stack is
        reader.stack.append(kind(items))

    return make


def _extend(reader: _Reader, items: list[Node]) -> None:
    target = reader.stack[-1]
    (target if isinstance(target, list) else reader.made().items).extend(items)


def _set_pairs(reader: _Reader, flat: list[Node]) -> None:
    target = reader.stack[-1]
    pairs = target.pairs if isinstance(target, Mapping) else reader.made().pairs
    pairs.extend(zip(flat[::2], flat[1::2], strict=False))


def _append(reader: _Reader) -> None:
    item = reader.stack.pop()
    _extend(reader, [item])


def _set_item(reader: _Reader) -> None:
    value, key = reader.stack.pop(), reader.stack.pop()
    _set_pairs(reader, [key, value])


def _add_items(reader: _Reader) -> None:
    items = reader.since_mark()
    target = reader.stack[-1]
    (target.items if isinstance(target, Set) else reader.made().items).extend(items)


# The stack


def _mark(reader: _Reader) -> None:
    reader.marked.append(reader.stack)
    reader.stack = []


def _pop(reader: _Reader) -> None:
    if reader.stack:
        reader.stack.pop()
    else:
        reader.since_mark()


def _get(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(reader.memo[reader.number(size)])


# What would be calls and imports


def _global(reader: _Reader) -> None:
    qualname, module = reader.stack.pop(), reader.stack.pop()
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise Unreadable("a name in it is no text")
    reader.stack.append(Name(module, qualname))


def _arguments(reader: _Reader) -> tuple[Node, ...]:
    args = reader.stack.pop()
    if not isinstance(args, tuple):
        raise Unreadable("the arguments of a call are no tuple")
    return args


def _call(reader: _Reader) -> None:
    args, maker = _arguments(reader), reader.stack.pop()
    if isinstance(maker, Name) and (maker.module, maker.qualname) in STATE_SETTERS:
        made = args[0] if len(args) == 2 else None
        if isinstance(made, Made):
            made.state = args[1]
    reader.stack.append(Made(maker, args))


def _call_with_keywords(reader: _Reader) -> None:
    kwargs, args, maker = reader.stack.pop(), _arguments(reader), reader.stack.pop()
    if not isinstance(kwargs, Mapping):
        raise Unreadable("the keywords of a call are no dict")
    reader.stack.append(Made(maker, args, kwargs))


def _build(reader: _Reader) -> None:
    state = reader.stack.pop()
    reader.made().state = state


def _persistent(reader: _Reader) -> None:
    reader.stack[-1] = Opaque("<persistent id>")


def _extension(size: int) -> Callable[[_Reader], None]:
    return lambda reader: reader.stack.append(Opaque(f"<extension {reader.number(size)}>"))


STATE_SETTERS: Final = frozenset(
    {
        ("cloudpickle.cloudpickle", "_function_setstate"),
        ("cloudpickle.cloudpickle", "_class_setstate"),
        ("continuum.store.exceptions", "restore_error"),
    }
)
"""Functions that a pickle calls to put a state into what it has made before."""

STOP: Final = pickle.STOP[0]

OPCODES: Final[dict[int, Callable[[_Reader], object]]] = {
    opcode[0]: handler
    for opcode, handler in {
        pickle.PROTO: _skip(1),
        pickle.FRAME: _skip(8),
        pickle.NONE: _constant(None),
        pickle.NEWTRUE: _constant(True),
        pickle.NEWFALSE: _constant(False),
        pickle.BININT: _signed,
        pickle.BININT1: _unsigned(1),
        pickle.BININT2: _unsigned(2),
        pickle.LONG1: _long(1),
        pickle.LONG4: _long(4),
        pickle.BINFLOAT: _float,
        pickle.SHORT_BINUNICODE: _text(1),
        pickle.BINUNICODE: _text(4),
        pickle.BINUNICODE8: _text(8),
        pickle.SHORT_BINBYTES: _bytes(1),
        pickle.BINBYTES: _bytes(4),
        pickle.BINBYTES8: _bytes(8),
        pickle.BYTEARRAY8: _bytes(8),
        pickle.EMPTY_TUPLE: _constant(()),
        pickle.TUPLE1: _tuple(1),
        pickle.TUPLE2: _tuple(2),
        pickle.TUPLE3: _tuple(3),
        pickle.TUPLE: _marked(tuple),
        pickle.EMPTY_LIST: _empty(list),
        pickle.APPEND: _append,
        pickle.APPENDS: lambda reader: _extend(reader, reader.since_mark()),
        pickle.EMPTY_DICT: _empty(Mapping),
        pickle.SETITEM: _set_item,
        pickle.SETITEMS: lambda reader: _set_pairs(reader, reader.since_mark()),
        pickle.EMPTY_SET: _empty(lambda: Set([])),
        pickle.ADDITEMS: _add_items,
        pickle.FROZENSET: _marked(Set),
        pickle.MARK: _mark,
        pickle.POP: _pop,
        pickle.POP_MARK: lambda reader: reader.since_mark(),
        pickle.MEMOIZE: lambda reader: reader.memo.append(reader.stack[-1]),
        pickle.BINGET: _get(1),
        pickle.LONG_BINGET: _get(4),
        pickle.STACK_GLOBAL: _global,
        pickle.REDUCE: _call,
        pickle.NEWOBJ: _call,
        pickle.NEWOBJ_EX: _call_with_keywords,
        pickle.BUILD: _build,
        pickle.BINPERSID: _persistent,
        pickle.EXT1: _extension(1),
        pickle.EXT2: _extension(2),
        pickle.EXT4: _extension(4),
        pickle.NEXT_BUFFER: _empty(lambda: Opaque("<buffer>")),
        pickle.READONLY_BUFFER: _skip(0),
    }.items()
}
"""What protocol 5 writes, each with what is done for it."""
