"""Values, entries and records to bytes and back."""

from __future__ import annotations

import enum
import math
import pickle
import socket
import struct
import subprocess
import sys
import threading
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuum.errors import CorruptRecord, PayloadTooLarge, UnpicklableValue, UnsupportedRecord
from continuum.journal import Entry, Failure, Kind, Value
from continuum.store import pickling
from continuum.store.codec import UNLOADED, UNLOADED_ERROR, Codec, seal, unseal

CODEC = Codec()
OTHER_PYTHON = bytes((sys.version_info[0], sys.version_info[1] + 1))


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Line:
    item: str
    price: Decimal


@dataclass
class Order:
    id: int
    lines: list[Line] = field(default_factory=list)


class Point(NamedTuple):
    x: int
    y: int


class Pool:
    def __init__(self) -> None:
        self.sock = LOCK


class Slotted:
    __slots__ = ("lock",)

    def __init__(self) -> None:
        self.lock = LOCK


LOCK = threading.Lock()


def importable() -> str:
    return "by reference"


VALUES: list[object] = [
    None,
    False,
    0,
    -1,
    2**200,
    "",
    "\ud800",
    b"",
    b"\x00\xff",
    0.0,
    math.inf,
    (),
    (1, (2, [3])),
    [],
    {},
    {"a": {1: (None,)}},
    {1, 2},
    frozenset("ab"),
    bytearray(b"x"),
    Order(1, [Line("tea", Decimal("2.50"))]),
    Point(1, 2),
    Colour.RED,
    Colour,
    importable,
    datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))),
    datetime(2026, 10, 25, 2, 30, fold=1),
    date(2026, 1, 2),
    timedelta(days=-1, microseconds=1),
    uuid.UUID(int=5),
    Fraction(1, 3),
    Path("/a/b"),
    OrderedDict(b=1, a=2),
    Counter("aab"),
    defaultdict(list, a=[1]),
    deque([1, 2], maxlen=3),
    range(0, 10, 2),
    complex(1, -2),
]

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_with_its_type(value: object) -> None:
    copy = CODEC.decode(CODEC.encode(value))
    assert copy == value
    assert type(copy) is type(value)


@given(plain)
def test_plain_values_come_back(value: object) -> None:
    copy = CODEC.value(value, "value").value
    assert copy == value
    assert repr(copy) == repr(value)


def test_the_zone_of_a_datetime_comes_back() -> None:
    copy = CODEC.decode(CODEC.encode(datetime(2026, 7, 1, tzinfo=ZoneInfo("Europe/Berlin"))))
    assert copy.tzinfo is ZoneInfo("Europe/Berlin")
    assert CODEC.decode(CODEC.encode(datetime(2026, 7, 1, tzinfo=UTC))).tzinfo is UTC


def test_the_same_object_twice_stays_the_same_object() -> None:
    shared = [1]
    copy = CODEC.value([shared, shared], "value").value
    assert copy[0] is copy[1]


@pytest.mark.parametrize("value", [None, True, 7, 1.5, "text" * 50, b"bytes" * 50])
def test_an_atom_is_not_copied(value: object) -> None:
    assert CODEC.value(value, "value").value is value


def test_everything_else_is_copied() -> None:
    value = ["a"]
    outcome = CODEC.value(value, "value")
    value.append("b")
    assert outcome.value == ["a"]
    assert outcome.data is not None
    assert CODEC.decode(outcome.data) == ["a"]


class Declined(Exception):
    def __init__(self, order: str, *, code: int) -> None:
        super().__init__(f"{order} was declined")
        self.code = code

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Declined) and (self.args, self.code) == (other.args, other.code)

    def __hash__(self) -> int:
        return hash(self.code)


DECLINED = Declined("ord-1", code=7)


@pytest.mark.parametrize(
    "value",
    [
        DECLINED,
        [DECLINED],
        (1, {"error": DECLINED}),
        {DECLINED: DECLINED},
        {DECLINED},
        Point(1, DECLINED),  # type: ignore[arg-type]
        Order(1, [DECLINED]),  # type: ignore[list-item]
        deque([DECLINED]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_in_a_value_whose_init_takes_something_else(value: object) -> None:
    for copy in (CODEC.decode(CODEC.encode(value)), CODEC.value(value, "value").value):
        assert copy == value
        assert type(copy) is type(value)
    assert CODEC.decode(CODEC.encode([value, lambda: None]))[0] == value


def test_an_error_in_a_value_keeps_its_cause_if_that_can_be_pickled() -> None:
    error = Declined("ord-1", code=7)
    error.__cause__ = KeyError("reason")
    assert repr(CODEC.decode(CODEC.encode([error]))[0].__cause__) == "KeyError('reason')"
    error.__cause__ = KeyError(LOCK)
    copy = CODEC.decode(CODEC.encode([error]))[0]
    assert (copy, copy.__cause__) == (error, None)


# Code by value


def holds_code(payload: bytes) -> bool:
    return payload[:1].isupper()


def test_a_lambda_goes_by_value_and_is_flagged() -> None:
    payload = CODEC.encode([lambda x: x + 1])
    assert holds_code(payload)
    assert tuple(payload[1:3]) == sys.version_info[:2]
    assert CODEC.decode(payload)[0](1) == 2


def test_an_object_of_a_local_class_is_flagged_and_keeps_its_type() -> None:
    class Local(NamedTuple):
        x: int

    payload = CODEC.encode(Local(1))
    assert holds_code(payload)
    copy = CODEC.decode(payload)
    assert type(copy) is Local
    assert copy == Local(1)


def test_code_is_found_where_a_frame_ends_within_its_name() -> None:
    module, name = b"\x8c\x17cloudpickle.cloudpickle\x94", b"\x8c\x0e_make_function\x94"
    frame = pickle.FRAME + struct.pack("<Q", len(name) + 2)
    assert pickling.holds_code(b"\x80\x05" + module + frame + name + b"\x93.")
    assert not pickling.holds_code(b"\x80\x05" + module + frame + name + b".")


def test_code_is_found_where_its_name_was_seen_before() -> None:
    module, name = b"\x8c\x17cloudpickle.cloudpickle\x94", b"\x8c\x0e_make_function\x94"
    assert pickling.holds_code(b"\x80\x05" + module + name + b"NN" + b"h\x00h\x01\x93.")
    assert not pickling.holds_code(b"\x80\x05" + module + name + b"NN" + b"h\x00h\x01.")


@pytest.mark.parametrize(
    "value",
    [importable, len, Order, math, {"a": 1}.keys(), "cloudpickle.cloudpickle _make_function"],
    ids=repr,
)
def test_what_has_a_name_is_not_flagged(value: object) -> None:
    assert not holds_code(CODEC.encode(value))


def test_a_class_of_the_main_program_goes_by_name_also_beside_a_lambda(monkeypatch: pytest.MonkeyPatch) -> None:
    made: type = type("Mine", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Mine", made, raising=False)
    payload = CODEC.encode([made(), lambda: None])
    assert type(CODEC.decode(payload)[0]) is made
    assert b"_make_skeleton_class" not in payload


def test_a_class_that_is_here_already_is_not_changed_by_a_value_of_it() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        def doubled(self) -> int:
            return self.x * 2

    payload, error = CODEC.encode(Point(3)), CODEC.encode_error(ValueError(Point(4)))
    assert holds_code(payload)
    method = Point.doubled
    Point.more = 1  # type: ignore[attr-defined]
    assert type(CODEC.decode(payload)) is Point
    assert CODEC.decode_error(error).args[0].doubled() == 8
    assert CODEC.failure(ValueError(Point(5))).error.args[0].doubled() == 10
    assert Point.doubled is method
    code = f"import sys\nfrom continuum.store.codec import Codec\nprint(Codec().decode({payload!r}).doubled())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "6\n"


def test_a_class_that_has_nothing_but_a_text_keeps_it() -> None:
    class Refused(Exception):
        """It was refused."""

    class Colours(enum.Enum):
        """Some colours."""

        RED = 1

    payload = CODEC.encode([Refused, Colours])
    code = f"from continuum.store.codec import Codec\nfor each in Codec().decode({payload!r}):\n  print(each.__doc__)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "It was refused.\nSome colours.\n"


class Canary:
    """Unpickling it leaves a trace."""

    loaded = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return sing, ()


def sing() -> Canary:
    Canary.loaded = True
    return Canary()


@pytest.mark.parametrize("error", [False, True])
def test_code_of_another_python_is_refused_before_anything_is_loaded(error: bool) -> None:
    holder = [Canary(), lambda: None]
    payload = CODEC.encode_error(ValueError(holder)) if error else CODEC.encode(holder)
    assert holds_code(payload)
    decode: Callable[[bytes], object] = CODEC.decode_error if error else CODEC.decode
    Canary.loaded = False
    with pytest.raises(UnsupportedRecord, match=r"holds code of Python 3\.\d+"):
        decode(payload[:1] + OTHER_PYTHON + payload[3:])
    assert not Canary.loaded
    decode(payload)
    assert Canary.loaded


# What is refused


class Loop:
    def __init__(self, other: object, lock: object = None) -> None:
        self.other = other
        self.lock = lock


def closing_over(resource: object) -> Callable[[], object]:
    return lambda: resource


def counting() -> Generator[int, None, None]:
    yield 1


def in_a_circle() -> Loop:
    first = Loop(None, LOCK)
    first.other = Loop(first)
    return first


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: LOCK, "argument 'conn': cannot pickle '_thread.lock' object"),
    (
        lambda: {"db": Pool()},
        "dict key 'db' → attribute 'sock' of test_codec.Pool: cannot pickle '_thread.lock' object",
    ),
    (lambda: [0, (LOCK,)], "list item 1 → tuple item 0: cannot"),
    (lambda: {LOCK: 1}, "the key <unlocked _thread.lock object at"),
    (lambda: {LOCK}, "set item <unlocked _thread.lock object at"),
    (lambda: Slotted(), "attribute 'lock' of test_codec.Slotted: cannot"),
    (lambda: Order(1, [LOCK]), "attribute 'lines' of test_codec.Order → list item 0: cannot"),  # type: ignore[list-item]
    (lambda: closing_over(LOCK), "variable 'resource' of function closing_over.<locals>.<lambda>: cannot"),
    (lambda: Pool().__init__, "object of method __init__ → attribute 'sock' of test_codec.Pool: cannot"),  # type: ignore[misc]
    (lambda: (number for number in [1]), "argument 'conn': it is a generator expression; make a list of it"),
    (
        lambda: counting(),
        "argument 'conn': it is a generator of counting, which nobody has run; if it yields commands, use",
    ),
    (lambda: [counting()], "argument 'conn': list item 0: cannot pickle 'generator' object"),
    (in_a_circle, "argument 'conn': attribute 'lock' of test_codec.Loop: cannot pickle '_thread.lock' object"),
    (lambda: nested(100_000), "it is nested too deeply to be pickled"),
]


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("make", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_the_message_names_the_part_that_cannot_be_pickled(make: Callable[[], object], message: str) -> None:
    with pytest.raises(UnpicklableValue) as caught:
        CODEC.encode(make(), "argument 'conn'")
    assert str(caught.value).startswith("argument 'conn': ")
    assert message in str(caught.value)


def test_a_socket_is_named() -> None:
    with (
        socket.socket() as connection,
        pytest.raises(UnpicklableValue, match=r"^value: list item 0: cannot pickle 'soc"),
    ):
        CODEC.encode([connection])


def test_a_value_over_the_limit_is_refused() -> None:
    codec = Codec(payload_limit=1000)
    with pytest.raises(PayloadTooLarge, match=r"^result: 2,0\d\d bytes when pickled, over the limit of 1,000"):
        codec.encode(b"x" * 2000, "result")
    with pytest.raises(PayloadTooLarge):
        codec.encode([b"x" * 2000, lambda: None])
    fitting = b"x" * (1000 - len(codec.encode(b"")) - 10)
    assert codec.decode(codec.encode(fitting)) == fitting


class Unloadable:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return int, ("no number",)


def test_what_loads_no_more_is_refused() -> None:
    with pytest.raises(
        UnpicklableValue, match="it was pickled but cannot be loaded again: ValueError: invalid literal"
    ):
        CODEC.value(Unloadable(), "result")
    for value in (Unloadable(), [Unloadable()], {"a": Unloadable()}, [Unloadable(), lambda: None]):
        with pytest.raises(UnpicklableValue, match=r"^result: it was pickled but cannot be loaded again"):
            CODEC.encode_loadable(value, "result")
        assert CODEC.encode(value)  # who only sends it loads nothing


@pytest.mark.parametrize("value", [LOCK, b"x" * 20_000, Unloadable()], ids=["lock", "large", "unloadable"])
def test_a_result_that_cannot_be_recorded_is_the_steps_error(value: object) -> None:
    outcome = Codec(payload_limit=10_000).result(value, "a")
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, UnpicklableValue | PayloadTooLarge)
    assert str(outcome.error).startswith("the result of step 'a': ")
    assert outcome.data is not None
    assert type(CODEC.decode_error(outcome.data)) is type(outcome.error)


@pytest.mark.parametrize(
    "value",
    [{}, {"a": 1, "b": None}, {(1, "x"): b"y"}, {"a": 1, "b": ["c", {"d": 2}]}, {"a": (1, [2])}, [1], {1, 2}],
    ids=repr,
)
def test_a_result_is_seen_as_a_copy_that_shares_nothing_that_can_be_changed(value: Any) -> None:
    result = CODEC.result(value, "a")
    assert isinstance(result, Value)
    assert result.data is not None
    assert result.value == value == CODEC.decode(result.data)
    assert changeable(result.value).isdisjoint(changeable(value))


def changeable(value: Any) -> set[int]:
    """The identities of what can be changed in a value."""
    if not isinstance(value, dict | list | set | tuple):
        return set()
    parts = value.values() if isinstance(value, dict) else value
    mine = set() if isinstance(value, tuple) else {id(value)}
    return mine.union(*map(changeable, parts))


def test_an_outcome_that_can_be_recorded_is_a_value() -> None:
    assert CODEC.outcome([1], "result") == CODEC.result([1], "a") == CODEC.value([1], "result")


def test_the_errors_of_loading_come_out_as_they_are() -> None:
    payload = b"v" + pickle.dumps(importable, 5)
    with pytest.raises(ModuleNotFoundError):
        CODEC.decode(payload.replace(b"test_codec", b"no_such_mo"))
    with pytest.raises(AttributeError):
        CODEC.decode(payload.replace(b"importable", b"no_such_na"))


@pytest.mark.parametrize(
    ("payload", "error"), [(b"", CorruptRecord), (b"V\x03", CorruptRecord), (b"?abc", UnsupportedRecord)]
)
def test_a_payload_without_a_head_is_refused(payload: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        CODEC.decode(payload)
    with pytest.raises(error):
        CODEC.decode_error(payload)


def test_errors_and_values_are_not_taken_for_each_other() -> None:
    with pytest.raises(CorruptRecord):
        CODEC.decode(CODEC.encode_error(ValueError()))
    with pytest.raises(CorruptRecord):
        CODEC.decode_error(CODEC.encode(1))


# Entries

numbers = st.integers(0, 2**32 - 1)
times = st.integers(0, 2**64 - 1)
outcomes = st.none() | plain.map(Value) | st.text().map(lambda text: Failure(ValueError(text)))
entries = st.builds(
    Entry,
    position=st.lists(numbers, max_size=12).map(tuple),
    kind=st.sampled_from(Kind),
    name=st.text(),
    outcome=outcomes,
    at=times,
    attempts=numbers,
    ref=times,
)


def same(first: Entry, second: Entry) -> bool:
    if isinstance(first.outcome, Failure) and isinstance(second.outcome, Failure):
        outcome = repr(first.outcome.error) == repr(second.outcome.error)
    elif isinstance(first.outcome, Value) and isinstance(second.outcome, Value):
        outcome = first.outcome.value == second.outcome.value
    else:
        outcome = first.outcome is second.outcome
    return outcome and head(first) == head(second)


def head(entry: Entry) -> tuple[object, ...]:
    return entry.position, entry.kind, entry.name, entry.at, entry.attempts, entry.ref


@given(entries)
def test_an_entry_comes_back(entry: Entry) -> None:
    assert same(CODEC.decode_entry(CODEC.encode_entry(entry)), entry)


def test_a_ready_payload_is_taken_as_it_is() -> None:
    entry = Entry((1,), Kind.SAVE, "charge", Value("not this", CODEC.encode("this")), 5)
    assert CODEC.decode_entry(CODEC.encode_entry(entry)).outcome == Value("this", CODEC.encode("this"))


def test_the_name_of_an_entry_may_hold_a_lone_surrogate() -> None:
    entry = Entry((1,), Kind.RECEIVE, "\udcff", None, 5)
    assert CODEC.decode_entry(CODEC.encode_entry(entry)) == entry


def test_an_entry_can_be_read_without_loading_it() -> None:
    data = CODEC.encode_entry(Entry((1,), Kind.SAVE, "a", Value(Canary()), 5))
    Canary.loaded = False
    outcome = CODEC.decode_entry(data, load=False).outcome
    assert not Canary.loaded
    assert isinstance(outcome, Value)
    assert outcome.value is UNLOADED
    assert outcome.data == CODEC.encode(Canary())


def test_an_entry_with_an_error_can_be_read_without_loading_it() -> None:
    payload = CODEC.encode_error(ValueError(Canary()))
    data = CODEC.encode_entry(Entry((1,), Kind.SAVE, "a", Failure(ValueError(), payload), 5))
    Canary.loaded = False
    assert CODEC.decode_entry(data, load=False).outcome == Failure(UNLOADED_ERROR, payload)
    assert not Canary.loaded


def test_the_format_of_entries_and_payloads_stays() -> None:
    # Bytes as a store of the first version holds them.
    entry = "0100017b000000000000000200000009000000000000000200060000000400000001000000" + b"charge".hex()
    data = bytes.fromhex(entry) + b"v\x80\x05K\x07."
    assert CODEC.decode_entry(data) == Entry((4, 1), Kind.SAVE, "charge", Value(7, b"v\x80\x05K\x07."), 123, 2, 9)
    assert CODEC.encode_entry(CODEC.decode_entry(data)) == data


ENTRY = CODEC.encode_entry(Entry((4, 1), Kind.SAVE, "charge", Value("x" * 20), 123))
ERROR_ENTRY = CODEC.encode_entry(Entry((4, 1), Kind.SAVE, "charge", Failure(KeyError("x")), 123))


def read_or_refuse(data: bytes) -> None:
    with suppress(CorruptRecord, UnsupportedRecord):
        CODEC.decode_entry(data, load=False)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda data: b"\x01" + data))
def test_random_bytes_are_refused_as_entries(data: bytes) -> None:
    read_or_refuse(data)


@given(st.sampled_from([ENTRY, ERROR_ENTRY]), st.data())
def test_an_entry_with_a_changed_byte_is_read_or_refused(entry: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(entry) - 1))
    read_or_refuse(entry[:at] + bytes([data.draw(st.integers(0, 255))]) + entry[at + 1 :])


@pytest.mark.parametrize("size", range(len(ENTRY)))
def test_an_entry_that_ends_too_early_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptRecord):
        CODEC.decode_entry(ENTRY[:size])


@pytest.mark.parametrize("size", range(len(ERROR_ENTRY)))
def test_an_entry_with_an_error_may_end_anywhere(size: int) -> None:
    read_or_refuse(ERROR_ENTRY[:size])


KEYED_ENTRY = CODEC.encode_entry(Entry((4, 1, 0), Kind.SAVE, "charge", Value({"a": 1}), 1, 2, key="price é"))


def test_an_entry_has_its_key_and_one_without_is_as_it_was_before_there_were_any() -> None:
    read = CODEC.decode_entry(KEYED_ENTRY)
    assert (read.key, read.name, read.position, read.attempts) == ("price é", "charge", (4, 1, 0), 2)
    assert isinstance(read.outcome, Value)
    assert read.outcome.value == {"a": 1}
    # Written before there were keys.
    old = (
        bytes.fromhex("0100010700000000000000010000000000000000000000020006000000040000000100000063686172676576")
        + b"\x80\x05K\x07."
    )
    entry = CODEC.decode_entry(old)
    assert (entry.position, entry.name, entry.key, entry.at, entry.attempts) == ((4, 1), "charge", "", 7, 1)
    assert CODEC.encode_entry(entry) == old


def test_the_key_of_a_stored_entry_is_found_without_its_value() -> None:
    for entry, key in ((KEYED_ENTRY, "price é"), (ENTRY, ""), (ERROR_ENTRY, "")):
        assert CODEC.key_of(b"k", seal(b"k", entry)) == key
    with pytest.raises(CorruptRecord):
        CODEC.key_of(b"other", seal(b"k", KEYED_ENTRY))


@pytest.mark.parametrize("size", range(len(KEYED_ENTRY)))
def test_an_entry_with_a_key_that_ends_too_early_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptRecord):
        CODEC.decode_entry(KEYED_ENTRY[:size])


def test_a_newer_entry_is_unsupported() -> None:
    with pytest.raises(UnsupportedRecord, match="format 3"):
        CODEC.decode_entry(b"\x03" + ENTRY[1:])
    with pytest.raises(UnsupportedRecord, match="unknown kind 250"):
        CODEC.decode_entry(b"\x01\xfa" + ENTRY[2:])


def test_an_entry_that_takes_an_error_for_a_value_is_corrupt() -> None:
    with pytest.raises(CorruptRecord):
        CODEC.decode_entry(ERROR_ENTRY[:2] + b"\x01" + ERROR_ENTRY[3:], load=False)


# Records


@given(st.lists(st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())), st.binary())
def test_a_record_comes_back(header: list[Any], payload: bytes) -> None:
    assert CODEC.unpack(CODEC.pack(header, payload)) == (header, payload)


@given(st.binary(max_size=40) | st.binary(max_size=40).map(lambda data: b"\x01" + data))
def test_random_bytes_are_refused_as_records(data: bytes) -> None:
    with suppress(CorruptRecord, UnsupportedRecord):
        CODEC.unpack(data)


@pytest.mark.parametrize("text", [b"{}", b"[", b"\xff", b"[" * 100_000, b"1" * 10_000])
def test_a_record_whose_header_is_no_list_is_corrupt(text: bytes) -> None:
    with pytest.raises(CorruptRecord):
        CODEC.unpack(struct.pack("<BI", 1, len(text)) + text)


def test_a_record_may_end_nowhere_but_in_its_payload() -> None:
    record = CODEC.pack([1])
    for size in range(len(record)):
        with pytest.raises(CorruptRecord):
            CODEC.unpack(record[:size])


def test_a_newer_record_is_unsupported() -> None:
    with pytest.raises(UnsupportedRecord):
        CODEC.unpack(b"\x02" + CODEC.pack([])[1:])


# Seals


@given(st.binary(), st.binary())
def test_a_sealed_record_comes_back(key: bytes, body: bytes) -> None:
    assert unseal(key, seal(key, body)) == body


@given(st.binary(min_size=1, max_size=60), st.integers(0))
def test_a_flipped_bit_is_found_out(body: bytes, bit: int) -> None:
    sealed = bytearray(seal(b"key", body))
    bit %= len(sealed) * 8
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptRecord):
        unseal(b"key", bytes(sealed))


def test_a_record_moved_to_another_key_is_found_out() -> None:
    with pytest.raises(CorruptRecord, match=r"the record at b'b\\x00' does not fit"):
        unseal(b"b\x00", seal(b"a", b"body"))
    with pytest.raises(CorruptRecord):
        unseal(b"ab", seal(b"a", b"bc")[:4] + b"c")


@pytest.mark.parametrize("size", range(8))
def test_a_sealed_record_that_ends_too_early_is_corrupt(size: int) -> None:
    with pytest.raises(CorruptRecord):
        unseal(b"key", seal(b"key", b"body")[:size])


def test_paths_that_are_equal_but_of_another_type_stay_apart() -> None:
    assert type(CODEC.decode(CODEC.encode(PurePosixPath("/a")))) is PurePosixPath
