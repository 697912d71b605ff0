"""Values, errors and journal entries to bytes and back.

User values become payloads (:mod:`continuum.store.payload`), pickled by
:mod:`continuum.store.pickling`. An entry is a packed head and, where it has an outcome, a payload. Everything
else in the store is a record: a JSON header and a payload. :func:`seal` puts a checksum in front.

This module knows nothing of runs and keys. To look at a payload without loading it, see
:mod:`continuum.store.preview`.
"""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

from continuum.errors import CorruptRecord, PayloadTooLarge, UnpicklableError, UnpicklableValue, UnsupportedRecord
from continuum.journal import Entry, Failure, Kind, Outcome, Value
from continuum.store.culprit import explain
from continuum.store.exceptions import keep_tracebacks, set_recorded, summarize, traceback_of
from continuum.store.loading import load
from continuum.store.payload import PLAIN_VALUE, TAGS, join, require_python, split
from continuum.store.pickling import dump_code, dump_error, dump_other, dump_plain, holds_code, is_plain

__all__ = [
    "UNLOADED",
    "UNLOADED_ERROR",
    "Codec",
    "Unloaded",
    "UnloadedError",
    "pack_text",
    "seal",
    "traceback_of",
    "unseal",
]

FORMAT: Final = 1
KEYED: Final = 2  # the format of an entry with a key, which stands behind its name; all others are as before
KINDS: Final = tuple(Kind)
# By value: the hash of an enum member is computed in Python, that of its value is not.
KIND_NUMBERS: Final[dict[str, int]] = {str(kind): number for number, kind in enumerate(KINDS)}
NOTHING, VALUE, ERROR = 0, 1, 2
HEAD: Final = struct.Struct("<BBBQIQHI")  # format, kind, outcome, at, attempts, ref, positions, name
HEADER: Final = struct.Struct("<BI")
CHECKSUM: Final = struct.Struct("<I")
LENGTH: Final = struct.Struct("<I")  # of the key

# What cannot be changed needs no copy: decoding it again would give an equal value of the same type.
ATOMS: Final = frozenset({type(None), bool, int, float, str, bytes})

ERROR_LIMIT: Final = 64 * 1024  # there is always this much room for an error, however low the limit

_to_json: Final = json.JSONEncoder(separators=(",", ":")).encode


class Unloaded:
    """The type of :data:`UNLOADED`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNLOADED"


class UnloadedError(Exception):
    """The type of :data:`UNLOADED_ERROR`; never raised."""


UNLOADED: Final = Unloaded()
"""Stands in Value.value where an entry was decoded without loading its payload."""

UNLOADED_ERROR: Final = UnloadedError("the recorded error was not loaded")
"""Stands in Failure.error where an entry was decoded without loading its payload."""


class Codec:
    """Turns values and entries into bytes. `payload_limit` is in bytes, for one pickled value.

    May be used from several threads at once.
    """

    def __init__(self, payload_limit: int = 16 * 1024 * 1024) -> None:
        self.payload_limit = payload_limit
        self._main: Mapping[str, Any] | None = None

    def within(self, main: Mapping[str, Any]) -> Codec:
        """The same codec, to which ``__main__`` is a program of that content wherever a pickle refers to it."""
        codec = Codec(self.payload_limit)
        codec._main = main
        return codec

    # Payloads

    def encode(self, value: object, what: str = "value") -> bytes:
        """The value's payload; raises UnpicklableValue and PayloadTooLarge, which begin with `what`."""
        plain = dump_plain(value)
        if plain is not None and len(plain) < self.payload_limit:  # as most values are; and it holds no code
            return PLAIN_VALUE + plain
        try:
            data = dump_other(value)
        except Exception as error:  # any code of the user's may run in a pickler
            raise UnpicklableValue(explain(value, what, error)) from error
        code = holds_code(data)
        return self._limited(join(data, code=True) if code else PLAIN_VALUE + data, what)

    def encode_code(self, value: object, what: str, suspect: object) -> bytes:
        """The payload of code that is to run where it cannot be imported; raises as :meth:`encode`.

        What cannot be pickled is looked for in `suspect`, a part of the value.
        """
        try:
            data = dump_code(value)
        except Exception as error:  # any code of the user's may run in a pickler
            raise UnpicklableValue(explain(suspect, what, error, dump_code)) from error
        return self._limited(join(data, code=True), what)

    def encode_loadable(self, value: object, what: str) -> bytes:
        """As :meth:`encode`; raises UnpicklableValue also for what is pickled but cannot be loaded again.

        Only what refers to classes or functions is loaded to see that; nothing else can fail.
        """
        payload = self.encode(value, what)
        if not is_plain(payload):
            self._copy(payload, what)
        return payload

    def _copy(self, payload: bytes, what: str) -> Any:
        try:
            return self.decode(payload)
        except Exception as error:  # any code of the user's may run in a pickle
            reason = f"{type(error).__name__}: {error}"
            raise UnpicklableValue(f"{what}: it was pickled but cannot be loaded again: {reason}") from error

    def _limited(self, payload: bytes, what: str) -> bytes:
        if len(payload) > self.payload_limit:
            size, limit = f"{len(payload):,}", f"{self.payload_limit:,}"
            raise PayloadTooLarge(f"{what}: {size} bytes when pickled, over the limit of {limit}")
        return payload

    def decode(self, payload: bytes) -> Any:
        """The value. What loading it raises (ModuleNotFoundError, AttributeError) comes out as it is.

        Raises UnsupportedRecord, before anything is loaded, if it holds code of another Python version,
        and CorruptRecord.
        """
        if payload[:1] == PLAIN_VALUE:
            return _load(memoryview(payload)[1:], self._main)
        parts = split(payload)
        if parts.summary is not None:
            raise CorruptRecord("an error is recorded where a value belongs")
        require_python(parts.python)
        return _load(parts.pickle, self._main, code=parts.python is not None)

    def decode_code(self, payload: bytes) -> Any:
        """What :meth:`encode_code` was given; raises as :meth:`decode`.

        Classes of it that are here already become as it has them.
        """
        parts = split(payload)
        require_python(parts.python)
        return _load(parts.pickle, None)

    def encode_error(self, error: BaseException) -> bytes:
        """The error's payload. Never fails: what cannot be pickled is replaced by its repr."""
        return self._encode_error(error)[0]

    def _encode_error(self, error: BaseException) -> tuple[bytes, BaseException]:
        data, copy = dump_error(error, max(self.payload_limit, ERROR_LIMIT))
        return join(data, code=holds_code(data), summary=summarize(error)), copy

    def decode_error(self, payload: bytes) -> BaseException:
        """The error, with the text of its traceback (:func:`traceback_of`); raises as :meth:`decode`."""
        parts = split(payload)
        if parts.summary is None:
            raise CorruptRecord("a value is recorded where an error belongs")
        require_python(parts.python)
        error = _load(parts.pickle, self._main, code=parts.python is not None)
        if not isinstance(error, BaseException):
            raise CorruptRecord("a recorded error is no error")
        set_recorded(error, parts.summary.traceback)
        return error

    def told_error(self, payload: bytes) -> BaseException:
        """As :meth:`decode_error`; an UnpicklableError for one that cannot be loaded here. Raises CorruptRecord."""
        try:
            return self.decode_error(payload)
        except CorruptRecord:
            raise
        except Exception as problem:
            summary = split(payload).summary
            assert summary is not None, "decode_error has seen it"
            error = UnpicklableError(summary.type, summary.message)
            error.add_note(f"The error itself cannot be loaded here: {type(problem).__name__}: {problem}")
            set_recorded(error, summary.traceback)
            return error

    def traceback(self, payload: bytes) -> str:
        """The text of a recorded error's traceback, without loading the error; empty for a value."""
        summary = split(payload).summary
        return "" if summary is None else summary.traceback

    # Outcomes: what the workflow sees is what the journal holds

    def value(self, value: object, what: str) -> Value:
        """The value as a replay will see it: a copy. Raises as :meth:`encode_loadable`."""
        return self._plain(value) or self._value(value, what)

    def _plain(self, value: object) -> Value | None:
        """The same for what is built in, as most results are: this is done for every step."""
        if type(value) is dict:
            value = value.copy()  # what is in it now is both recorded and seen, whoever goes on changing it
            for each in value.values():
                if type(each) not in ATOMS:
                    fixed = False
                    break
            else:  # nor can its keys be changed, being built in
                fixed = True
        else:
            fixed = type(value) in ATOMS
        data = dump_plain(value)
        if data is None or len(data) >= self.payload_limit:
            return None
        return Value(value if fixed else pickle.loads(data), PLAIN_VALUE + data)

    def _value(self, value: object, what: str) -> Value:
        payload = self.encode(value, what)
        return Value(value if type(value) in ATOMS else self._copy(payload, what), payload)

    def failure(self, error: BaseException) -> Failure:
        """The error as a replay will see it: a copy, though with the live traceback. Never fails."""
        payload, copy = self._encode_error(error)
        keep_tracebacks(error, copy)
        return Failure(copy, payload)

    def outcome(self, value: object, what: str) -> Outcome:
        """The value, as :meth:`value` gives it; the failure of recording it becomes the command's own."""
        return self._plain(value) or self._recorded(value, what)

    def result(self, value: object, step: str) -> Outcome:
        """The same for what the step of that name gave back."""
        return self._plain(value) or self._recorded(value, f"the result of step {step!r}")

    def _recorded(self, value: object, what: str) -> Outcome:
        try:
            return self._value(value, what)
        except (UnpicklableValue, PayloadTooLarge) as error:
            return self.failure(error)

    # Entries

    def encode_entry(self, entry: Entry) -> bytes:
        """The entry's bytes; the outcome's payload is taken as it is where there is one."""
        outcome, position = entry.outcome, entry.position
        if isinstance(outcome, Value):
            form, payload = VALUE, outcome.data or self.encode(outcome.value, entry.name)
        elif outcome is None:
            form, payload = NOTHING, b""
        else:
            form, payload = ERROR, outcome.data or self.encode_error(outcome.error)
        name = entry.name.encode("utf-8", "surrogatepass")
        version = FORMAT
        if entry.key:
            key = entry.key.encode("utf-8", "surrogatepass")
            version, payload = KEYED, LENGTH.pack(len(key)) + key + payload
        kind, at, attempts, ref = KIND_NUMBERS[entry.kind._value_], entry.at, entry.attempts, entry.ref
        if len(position) == 1:  # a command that is in no branch; to unpack the position costs half as much again
            head = _pack_shallow(version, kind, form, at, attempts, ref, 1, len(name), position[0])
        else:
            pack = _head(len(position)).pack
            head = pack(version, kind, form, at, attempts, ref, len(position), len(name), *position)
        return head + name + payload

    def decode_entry(self, data: bytes, *, load: bool = True) -> Entry:
        """The entry. With load=False nothing is unpickled: UNLOADED or UNLOADED_ERROR stands beside the data.

        Raises UnsupportedRecord, CorruptRecord, and what :meth:`decode` raises.
        """
        if data[:1] not in (b"", b"\x01", b"\x02"):
            raise UnsupportedRecord(f"a journal entry has format {data[0]}; a newer continuum may have written it")
        try:
            _, kind, form, at, attempts, ref, positions, length = HEAD.unpack_from(data)
            position = _numbers(positions).unpack_from(data, HEAD.size)
            start = HEAD.size + 4 * positions
            end = start + length
            name = data[start:end].decode("utf-8", "surrogatepass")
            key, end = _key(data, end) if data[0] == KEYED else ("", end)
        except (struct.error, UnicodeDecodeError) as error:
            raise CorruptRecord("a journal entry is malformed") from error
        if kind >= len(KINDS):
            raise UnsupportedRecord(f"a journal entry is of unknown kind {kind}; a newer continuum may have written it")
        if end > len(data):
            raise CorruptRecord("a journal entry ends too early")
        outcome = self._outcome(form, data[end:], load)
        return Entry(position, KINDS[kind], name, outcome, at, attempts, ref, key)

    def key_of(self, key: bytes, data: bytes) -> str:
        """The key with which the entry was recorded that is stored there; empty where there was none."""
        if data[CHECKSUM.size : CHECKSUM.size + 1] != bytes([KEYED]):
            return ""
        return self.decode_entry(unseal(key, data), load=False).key

    def _outcome(self, form: int, payload: bytes, load: bool) -> Outcome | None:
        if form == NOTHING and not payload:
            return None
        if form not in (VALUE, ERROR) or TAGS.get(payload[:1], form == ERROR) != (form == ERROR):
            raise CorruptRecord("the outcome of a journal entry is malformed")
        if not load:
            split(payload)
            return Value(UNLOADED, payload) if form == VALUE else Failure(UNLOADED_ERROR, payload)
        if form == VALUE:
            return Value(self.decode(payload), payload)
        return Failure(self.decode_error(payload), payload)

    # Records

    def pack(self, header: Sequence[Any], payload: bytes = b"") -> bytes:
        """A record: a list of plain JSON data and, behind it, a payload or any other bytes."""
        return pack_text(_to_json(header), payload)

    def unpack(self, data: bytes) -> tuple[list[Any], bytes]:
        """The header and the payload of a record; raises UnsupportedRecord and CorruptRecord."""
        if data[:1] not in (b"", b"\x01"):
            raise UnsupportedRecord(f"a record has format {data[0]}; a newer continuum may have written it")
        if len(data) < HEADER.size:
            raise CorruptRecord("a record ends too early")
        end = HEADER.size + HEADER.unpack_from(data)[1]
        if end > len(data):
            raise CorruptRecord("a record ends too early")
        try:
            header = json.loads(data[HEADER.size : end].decode())
        except (ValueError, RecursionError) as error:
            raise CorruptRecord("the header of a record is no JSON") from error
        if not isinstance(header, list):
            raise CorruptRecord("the header of a record is no list")
        return header, data[end:]


def _load(data: memoryview, main: Mapping[str, Any] | None, *, code: bool = False) -> Any:
    try:
        return load(data, main) if code or main is not None else pickle.loads(data)
    except (pickle.UnpicklingError, EOFError) as error:
        raise CorruptRecord("a recorded value is no pickle, or ends too early") from error


@lru_cache(maxsize=256)
def _head(positions: int) -> struct.Struct:
    return struct.Struct(f"{HEAD.format}{positions}I")


@lru_cache(maxsize=256)
def _numbers(positions: int) -> struct.Struct:
    return struct.Struct(f"<{positions}I")


def _key(data: bytes, start: int) -> tuple[str, int]:
    """The key of an entry, and where it ends."""
    end = start + LENGTH.size + LENGTH.unpack_from(data, start)[0]
    return data[start + LENGTH.size : end].decode("utf-8", "surrogatepass"), end


_pack_shallow: Final = _head(1).pack  # of a command that is in no branch
_checksum: Final = CHECKSUM.pack


def pack_text(header: str, payload: bytes = b"") -> bytes:
    """A record whose header is JSON already: see :meth:`Codec.pack`."""
    text = header.encode()
    return HEADER.pack(FORMAT, len(text)) + text + payload


def seal(key: bytes, body: bytes) -> bytes:
    """The body with a checksum of key and body in front: bytes that changed or moved are found out."""
    # Starting from the length keeps apart the pairs that are the same bytes when put together.
    return _checksum(crc32(key + body, len(key))) + body


def unseal(key: bytes, data: bytes) -> bytes:
    """The body that was sealed for this key; raises CorruptRecord."""
    body = data[CHECKSUM.size :]
    if data != seal(key, body):
        raise CorruptRecord(f"the record at {key!r} does not fit its checksum")
    return body
