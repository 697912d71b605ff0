"""What people are shown of a payload, and that nothing in it is executed."""

from __future__ import annotations

import collections
import copyreg
import enum
import functools
import json
import math
import operator
import pickle
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuum.errors import RunNotFound
from continuum.store.codec import Codec
from continuum.store.preview import preview, preview_text

CODEC = Codec()


class Colour(enum.Enum):
    RED = 1


@dataclass
class Order:
    id: int
    total: object


@dataclass(slots=True)
class Slotted:
    a: int


@dataclass(slots=True, frozen=True)
class FrozenSlotted:
    a: int


class Point(NamedTuple):
    x: int
    y: int


class Bag(dict[str, int]):
    pass


def work() -> None: ...


def shown(value: object) -> object:
    return preview(CODEC.encode(value))


PLAIN: list[object] = [None, True, False, 0, -5, 2**70, -(2**70), 1.5, "", "a\nb", "\ud800", [], {}]

DATA: list[tuple[object, object]] = [
    *zip(PLAIN, PLAIN, strict=True),
    ([1, [2, {"a": None}]], [1, [2, {"a": None}]]),
    ((1, (2,)), [1, [2]]),
    ({7}, [7]),
    (frozenset("a"), ["a"]),
    (math.nan, "nan"),
    ([math.inf, -math.inf], ["inf", "-inf"]),
    (10**5000, "<int of 16610 bits>"),
    ({1: "a", None: "b"}, "{1: 'a', None: 'b'}"),
    (b"ab", "b'ab'"),
    (bytearray(b"ab"), "b'ab'"),
    (bytes(1000), repr(bytes(60)) + "… (1000 bytes)"),
    (collections.OrderedDict(a=1, b=2), {"a": 1, "b": 2}),
    (collections.defaultdict(list, a=[1]), {"a": [1]}),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.deque([1, 2], maxlen=5), [1, 2]),
    (complex(1, -2), "(1-2j)"),
    (range(0, 10, 2), "range(0, 10, 2)"),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), "2026-01-02T03:04:05+01:00"),
    (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "2026-01-02T03:04:05.000006+00:00"),
    (datetime(2026, 1, 2, 3, 4, 5, tzinfo=ZoneInfo("UTC")), "2026-01-02T03:04:05+00:00"),
    (datetime(2026, 1, 2, tzinfo=ZoneInfo("Europe/Berlin")), "2026-01-02T00:00:00[Europe/Berlin]"),
    (datetime(2026, 1, 2, fold=1), "2026-01-02T00:00:00"),
    (date(2026, 1, 2), "2026-01-02"),
    (time(3, 4, tzinfo=UTC), "03:04:00+00:00"),
    (timedelta(hours=-1), "-1 day, 23:00:00"),
    (UTC, "UTC"),
    (ZoneInfo("Europe/Berlin"), "Europe/Berlin"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (Decimal("2.50"), "2.50"),
    (Decimal("NaN"), "NaN"),
    (Fraction(1, 3), "1/3"),
    (Path("/a") / "b", "/a/b"),
    (PureWindowsPath("c:/a"), "c:\\a"),
    ({"at": date(2026, 1, 2), "order": Point(1, 2)}, {"at": "2026-01-02", "order": "Point(1, 2)"}),
]


@pytest.mark.parametrize(("value", "expected"), DATA, ids=[repr(expected)[:40] for _, expected in DATA])
def test_a_value_is_shown_as_data(value: object, expected: object) -> None:
    assert shown(value) == expected
    json.dumps(shown(value), allow_nan=False)


def test_a_value_is_shown_with_its_json_type() -> None:
    assert shown(True) is True
    assert shown(1) is not True
    assert type(shown(1.0)) is float


def local() -> object:
    class Local:
        def __init__(self) -> None:
            self.a = 1

    return Local()


STRANGERS: list[tuple[object, str]] = [
    (Order(1, Decimal("2")), "Order(id=1, total=Decimal('2'))"),
    (Order(1, [Order(2, None)]), "Order(id=1, total=[Order(id=2, total=None)])"),
    (Order(1, (uuid.UUID(int=0),)), "Order(id=1, total=(UUID('00000000-0000-0000-0000-000000000000'),))"),
    (Order(1, {"at": datetime(2026, 1, 2, tzinfo=UTC)}), "Order(id=1, total={'at': 2026-01-02T00:00:00+00:00})"),
    (Order(1, Path("/a")), "Order(id=1, total=Path('/a'))"),
    (Order(1, {2}), "Order(id=1, total={2})"),
    (Order(1, collections.Counter("a")), "Order(id=1, total=Counter({'a': 1}))"),
    (Slotted(1), "Slotted(a=1)"),
    (FrozenSlotted(1), "FrozenSlotted(1)"),
    (Bag(a=1), "Bag({'a': 1})"),
    (Colour.RED, "Colour(1)"),
    (ValueError("x", 1), "ValueError('x', 1)"),
    (RunNotFound("r"), "RunNotFound(\"no run 'r' in this store\", run_id='r')"),
    (functools.partial(work), "partial(test_preview.work, test_preview.work, (), {}, None)"),
    (work, "test_preview.work"),
    (len, "len"),
    (Order, "test_preview.Order"),
    (lambda: None, "<function <lambda>>"),
    (math, "<module math>"),
    (local(), "Local(a=1)"),
    (type(local()), "<class Local>"),
    (operator.attrgetter("a"), "attrgetter('a')"),
]


@pytest.mark.parametrize(("value", "expected"), STRANGERS, ids=[expected for _, expected in STRANGERS])
def test_a_stranger_is_shown_as_text(value: object, expected: str) -> None:
    assert shown(value) == expected


def test_an_enum_member_that_is_pickled_by_name_is_shown_by_name() -> None:
    class ByName:
        def __reduce__(self) -> tuple[Any, ...]:
            return getattr, (Colour, "RED")

    assert preview(b"v" + pickle.dumps(ByName(), 5)) == "Colour.RED"


def test_an_error_in_a_value_that_was_taken_apart_is_shown() -> None:
    assert shown([KeyError("k"), lambda: None]) == ["KeyError('k')", "<function <lambda>>"]
    error = ValueError("late")
    error.hours = 2  # type: ignore[attr-defined]
    assert shown([error]) == ["ValueError('late', hours=2)"]


def test_an_error_is_told_by_its_summary() -> None:
    payload = CODEC.encode_error(ValueError("bad"))
    assert preview(payload) == {"type": "ValueError", "message": "bad", "traceback": "ValueError: bad\n"}
    assert preview_text(payload) == "ValueError: bad"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(plain)
def test_plain_data_is_shown_as_itself(value: object) -> None:
    assert shown(value) == value


def test_large_plain_data_is_shown_whole() -> None:
    value = {"numbers": list(range(100_000)), "text": "x" * 100_000}
    assert shown(value) == value


# Nothing is executed

Ops = list[bytes]


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value.encode())]) + value.encode()


def name(module: str, qualname: str) -> bytes:
    return text(module) + text(qualname) + pickle.STACK_GLOBAL


def hostile(command: str, code: str) -> dict[str, bytes]:
    """Pickles that leave a trace when loaded, by many ways."""
    arg, run = text(command) + pickle.TUPLE1, name("os", "system")
    attr = name("builtins", "getattr") + name("os", "system") + text("__call__") + pickle.TUPLE2 + pickle.REDUCE
    stand_in = name("test_preview", "Order") + b")" + pickle.NEWOBJ
    return {
        "os.system": run + arg + pickle.REDUCE,
        "posix.system": name("posix", "system") + arg + pickle.REDUCE,
        "eval": name("builtins", "eval") + text(code) + pickle.TUPLE1 + pickle.REDUCE,
        "exec": name("builtins", "exec") + text(code) + pickle.TUPLE1 + pickle.REDUCE,
        "getattr": attr + arg + pickle.REDUCE,
        "methodcaller": name("operator", "methodcaller")
        + text("system")
        + text(command)
        + pickle.TUPLE2
        + pickle.REDUCE
        + name("builtins", "__import__")
        + text("os")
        + pickle.TUPLE1
        + pickle.REDUCE
        + pickle.TUPLE1
        + pickle.REDUCE,
        "reconstructor": name("copyreg", "_reconstructor") + run + arg + pickle.TUPLE2 + pickle.REDUCE,
        "newobj": run + arg + pickle.NEWOBJ,
        "newobj_ex": run + arg + pickle.EMPTY_DICT + pickle.NEWOBJ_EX,
        "build": stand_in + pickle.EMPTY_DICT + text("__setstate__") + run + pickle.SETITEM + pickle.BUILD + arg,
        "build on a setter": run + arg + pickle.REDUCE + text(command) + pickle.BUILD,
        "append": name("test_preview", "Runs") + b")" + pickle.NEWOBJ + text(command) + pickle.APPEND,
        "setitem": name("test_preview", "Runs") + b")" + pickle.NEWOBJ + text("a") + text(command) + pickle.SETITEM,
        "persistent id": text(command) + pickle.BINPERSID,
        "extension": pickle.EXT1 + b"\xf0" + arg + pickle.REDUCE,
        "buffer": pickle.NEXT_BUFFER + pickle.READONLY_BUFFER,
        "dotted": name("test_preview", "Runs.append") + arg + pickle.REDUCE,
        "in a set": pickle.EMPTY_SET + pickle.MARK + run + arg + pickle.REDUCE + pickle.ADDITEMS,
        "as a key": pickle.EMPTY_DICT + run + arg + pickle.REDUCE + pickle.NONE + pickle.SETITEM,
        "Decimal": name("decimal", "Decimal") + run + arg + pickle.REDUCE + pickle.TUPLE1 + pickle.REDUCE,
        "deque": name("collections", "deque") + run + arg + pickle.REDUCE + pickle.TUPLE1 + pickle.REDUCE,
        "old global": b"cos\nsystem\n" + arg + pickle.REDUCE,
        "old inst": pickle.MARK + text(command) + b"ios\nsystem\n",
        "old obj": pickle.MARK + run + text(command) + pickle.OBJ,
    }


class Runs:
    """Whatever is done to it is done."""

    def append(self, command: str) -> None:
        import os

        os.system(command)

    def __setitem__(self, key: str, command: str) -> None:
        self.append(command)


@pytest.mark.parametrize("way", hostile("", ""))
def test_a_hostile_payload_is_shown_without_being_executed(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary = tmp_path / "canary"
    monkeypatch.setitem(copyreg._inverted_registry, 0xF0, ("os", "system"))  # type: ignore[attr-defined]
    pickled = b"\x80\x05" + hostile(f"touch '{canary}'", f"open({str(canary)!r}, 'w').close()")[way] + b"."
    for tag in (b"v", b"V\x03\x0b"):
        for shown in (preview(tag + pickled), preview_text(tag + pickled)):
            json.dumps(shown)
    assert not canary.exists()


def test_the_hostile_payloads_are_real(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for way in ("os.system", "exec", "getattr", "methodcaller", "append", "old global"):
        pickle.loads(b"\x80\x05" + hostile(f"touch '{canary}'", f"open({str(canary)!r}, 'w').close()")[way] + b".")
        assert canary.exists(), way
        canary.unlink()


def test_a_hostile_payload_says_what_it_would_have_done() -> None:
    assert preview(b"v\x80\x05" + hostile("rm", "")["os.system"] + b".") == "system('rm')"
    assert preview(b"v\x80\x05" + hostile("rm", "")["newobj_ex"] + b".") == "system('rm')"


def test_nothing_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_by_preview.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    pickled = name("imported_by_preview", "Thing") + b")" + pickle.NEWOBJ
    assert preview(b"v\x80\x05" + pickled + b".") == "Thing()"
    assert "imported_by_preview" not in sys.modules


def test_code_of_another_python_is_shown_too() -> None:
    payload = CODEC.encode({"f": lambda: None})
    assert preview(payload[:1] + b"\x03\xff" + payload[3:]) == {"f": "<function <lambda>>"}


def test_friends_in_a_strange_shape_are_strangers() -> None:
    year = name("datetime", "datetime") + pickle.NONE + pickle.TUPLE1 + pickle.REDUCE
    assert preview(b"v\x80\x05" + year + b".") == "datetime(None)"
    nobody = name("uuid", "UUID") + b")" + pickle.NEWOBJ + pickle.NONE + pickle.BUILD
    assert preview(b"v\x80\x05" + nobody + b".") == "UUID()"
    empty = name("datetime", "date") + b")" + pickle.REDUCE
    assert preview(b"v\x80\x05" + empty + b".") == "date()"
    huge = name("fractions", "Fraction") + text("1e999999999") + pickle.TUPLE1 + pickle.REDUCE
    assert preview(b"v\x80\x05" + huge + b".") == "1e999999999"


# Bounds


def test_what_claims_to_be_huge_is_unreadable() -> None:
    for claim in (pickle.BYTEARRAY8, pickle.BINBYTES8, pickle.BINUNICODE8):
        assert preview(b"v\x80\x05" + claim + b"\xff" * 7 + b"\x00.") == "<unreadable: it ends too early>"
    assert preview(b"v\x80\x05N" + pickle.LONG_BINPUT + b"\xff\xff\xff\x7f.") == (
        "<unreadable: opcode 0x72 is none that is written here>"
    )


def laughs(depth: int) -> list[object]:
    value: list[object] = ["ha"]
    for _ in range(depth):
        value = [value] * 10
    return value


def test_what_is_shared_too_often_is_cut() -> None:
    shown = preview(CODEC.encode(laughs(12)), limit=100)
    assert isinstance(shown, str)
    assert len(shown) == 100
    assert shown.endswith("…")


def test_a_value_that_holds_itself_is_cut() -> None:
    ring: list[object] = []
    ring += [ring, ring]
    assert isinstance(shown(ring), str)
    order = Order(1, None)
    order.total = order
    assert "…" in str(shown(order))
    assert len(preview_text(CODEC.encode(ring))) <= 200


def test_a_deep_value_is_cut() -> None:
    pickled = pickle.EMPTY_LIST * 200_000 + pickle.APPEND * 199_999
    shown = preview(b"v\x80\x05" + pickled + b".")
    assert "…" in json.dumps(shown, ensure_ascii=False)
    assert preview_text(b"v\x80\x05" + pickled + b".") == "[" * 21 + "…" + "]" * 21


def test_a_text_is_bounded() -> None:
    payload = CODEC.encode(Order(1, "x" * 100_000))
    assert len(str(preview(payload))) == 10_000
    assert len(str(preview(payload, limit=50))) == 50
    assert preview_text(payload, limit=20) == "Order(id=1, total='…"
    assert preview_text(CODEC.encode("x" * 18), limit=20) == f"'{'x' * 18}'"
    assert preview_text(CODEC.encode("x" * 19), limit=20) == f"'{'x' * 18}…"


def test_the_text_for_tables_is_one_line_that_prints() -> None:
    assert preview_text(CODEC.encode("a\nb\x1b[31m\u202e")) == r"'a\nb\x1b[31m\u202e'"
    assert preview_text(CODEC.encode_error(ValueError("a\nb\ud800"))) == r"ValueError: a\nb\ud800"
    nasty = name("m", "evil\n\x1b") + b")" + pickle.NEWOBJ
    assert preview_text(b"v\x80\x05" + nasty + b".") == r"evil\n\x1b()"


def test_the_text_for_tables_looks_like_python() -> None:
    assert preview_text(CODEC.encode({"a": (1, None, 1.5)})) == "{'a': (1, None, 1.5)}"


@pytest.mark.parametrize(
    "payload", [b"", b"v", b"?", b"e", b"e\xff\xff\xff\xff", b"V\x03", b"v\x80\x05", b"v\x80\x05(."]
)
def test_broken_bytes_are_called_unreadable(payload: bytes) -> None:
    assert str(preview(payload)).startswith("<unreadable: ")
    assert preview_text(payload).startswith("<unreadable: ")


opcodes = st.sampled_from([value for key, value in vars(pickle).items() if key.isupper() and isinstance(value, bytes)])
pickles = st.lists(opcodes | st.binary(max_size=3) | st.just(name("os", "system")), max_size=40).map(b"".join)


@given(st.binary(max_size=60) | pickles.map(lambda ops: b"v\x80\x05" + ops + b"."))
def test_whatever_the_bytes_are_a_preview_is_given(payload: bytes) -> None:
    json.dumps(preview(payload))
    assert preview_text(payload).isprintable()


WHOLE = CODEC.encode([Order(1, Decimal("2")), datetime(2026, 1, 2, tzinfo=UTC), lambda: None, {1: {"a"}}])


@given(st.data())
def test_a_changed_byte_does_no_harm(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    payload = WHOLE[:at] + bytes([data.draw(st.integers(0, 255))]) + WHOLE[at + 1 :]
    json.dumps(preview(payload))


PREVIEWS: list[Callable[[bytes], object]] = [preview, preview_text]


@pytest.mark.parametrize("show", PREVIEWS)
def test_a_payload_may_end_anywhere(show: Callable[[bytes], object]) -> None:
    for size in range(len(WHOLE)):
        assert str(show(WHOLE[:size])).startswith("<unreadable: ")
