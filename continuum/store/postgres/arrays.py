"""Arrays of one type, as PostgreSQL takes them in binary.

psycopg looks at every element of a list to find the type of an array, and finds another one for a
list that is empty or whose numbers are small: for the server that would be another statement each time.
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar

from psycopg.abc import AdaptContext
from psycopg.adapt import Dumper
from psycopg.pq import Format

__all__ = ["Blobs", "Flags", "Numbers", "register"]

BOOL, BYTEA, INT4 = 16, 17, 23


class Blobs(list[bytes]):
    """A ``bytea[]``."""


class Numbers(list[int]):
    """An ``int4[]``."""


class Flags(list[bool]):
    """A ``bool[]``."""


class _ArrayDumper(Dumper):
    """Writes an array of one dimension, none of whose elements is null."""

    format = Format.BINARY
    element: ClassVar[int]

    def dump(self, obj: Any) -> bytes:
        if not obj:
            return struct.pack(">iii", 0, 0, self.element)
        return struct.pack(">iiiii", 1, 0, self.element, len(obj), 1) + self.body(obj)

    def body(self, obj: Any) -> bytes:
        raise NotImplementedError


class _BlobsDumper(_ArrayDumper):
    oid = 1001
    element = BYTEA

    def body(self, obj: Blobs) -> bytes:
        pack = struct.Struct(">i").pack
        return b"".join([piece for blob in obj for piece in (pack(len(blob)), blob)])


class _NumbersDumper(_ArrayDumper):
    oid = 1007
    element = INT4

    def body(self, obj: Numbers) -> bytes:
        return struct.pack(">" + "ii" * len(obj), *(part for number in obj for part in (4, number)))


class _FlagsDumper(_ArrayDumper):
    oid = 1000
    element = BOOL

    def body(self, obj: Flags) -> bytes:
        return b"".join(b"\0\0\0\1\1" if flag else b"\0\0\0\1\0" for flag in obj)


def register(context: AdaptContext) -> None:
    """Have a connection know these."""
    for kind, dumper in ((Blobs, _BlobsDumper), (Numbers, _NumbersDumper), (Flags, _FlagsDumper)):
        context.adapters.register_dumper(kind, dumper)
