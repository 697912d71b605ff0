"""The code that a run carries: what goes into it, and what the run's values mean where it is loaded."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from continuum import Workflow
from continuum.errors import PayloadTooLarge, UnpicklableValue, UnsupportedRecord
from continuum.journal import RunId
from continuum.store.carried import pack, unpack
from continuum.store.codec import Codec
from continuum.store.payload import this_python
from continuum.store.records import RunRecord

CODEC = Codec()

PROGRAM = """
from continuum import Save, workflow

class Point:
    class Inner:
        pass
    def __init__(self, x):
        self.x = x
    def text(self):
        return str(self.x)

class Unused(Point):
    pass

FACTOR = 3
guard = None

def scale(point):
    guard and guard.acquire()
    return point.x * FACTOR

@workflow(version="2", timeout="1h")
def order(point):
    return (yield Save(scale, point))
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Makes the main program another one, in which this program has run; gives what it has."""

    def become() -> dict[str, Any]:
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(PROGRAM, vars(module))
        return vars(module)

    return become


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes the main program one that has nothing."""
    return lambda: monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


NOTHING = CODEC.encode(((), {}))
RECORD = RunRecord(RunId("a"), "order", "2", "default", 1, "00", payload=NOTHING)


def packed(program: dict[str, Any], arguments: bytes) -> bytes:
    """The code of a run that is started with the payload of those arguments."""
    record, code = pack(CODEC, replace(RECORD, payload=arguments), program["order"])
    assert (record.python, record.code_size) == (this_python(), len(code))
    return code


def test_the_workflow_comes_with_all_that_it_refers_to(
    main: Callable[[], dict[str, Any]], elsewhere: Callable[[], None]
) -> None:
    program = main()
    payload = packed(program, NOTHING)
    elsewhere()
    loaded = unpack(CODEC, payload).workflow
    assert isinstance(loaded, Workflow)
    assert loaded is not program["order"]
    assert (loaded.name, loaded.version, loaded.timeout) == ("order", "2", 3600 * 10**9)
    save = next(loaded(program["Point"](5)).body())
    assert save.fn(*save.args) == 15


def test_the_last_code_that_came_counts_for_classes_too(main: Callable[[], dict[str, Any]]) -> None:
    program = main()
    point = program["Point"]
    payloads = [packed(program, CODEC.encode(point))]
    point.text = lambda self: f"changed {self.x}"  # in place, as in a notebook
    payloads.append(packed(program, CODEC.encode(point)))
    code = f"""
from continuum.store.carried import unpack
from continuum.store.codec import Codec
for payload in {payloads!r}:
    point = unpack(Codec(), payload).codec._main["Point"]
    print(point(5).text())
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "5\nchanged 5\n"


def test_values_mean_what_came_with_the_code(
    main: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = main()
    values = CODEC.encode([program["Point"](5), program["Point"].Inner(), program["Unused"](6)])
    payload = packed(program, values)
    here = main()  # the worker's own program has the same names
    first, second, third = unpack(CODEC, payload).codec.decode(values)
    assert (first.x, third.x) == (5, 6)
    assert type(first) is not here["Point"]
    assert type(second) is type(first).Inner
    assert type(third).__mro__[1] is type(first)
    assert type(CODEC.decode(values)[0]) is here["Point"]


def test_errors_mean_that_too(main: Callable[[], dict[str, Any]], elsewhere: Callable[[], None]) -> None:
    program = main()
    payload = packed(program, CODEC.encode([program["Point"], program["Unused"]]))
    error = CODEC.encode_error(ValueError(program["Point"](5)))
    elsewhere()
    assert unpack(CODEC, payload).codec.decode_error(error).args[0].x == 5


def test_what_did_not_come_is_told(main: Callable[[], dict[str, Any]], elsewhere: Callable[[], None]) -> None:
    program = main()
    value = CODEC.encode(program["Unused"](5))
    payload = packed(program, NOTHING)
    elsewhere()
    with pytest.raises(AttributeError, match="came with the run has no 'Unused' of its main program"):
        unpack(CODEC, payload).codec.decode(value)


def test_what_does_not_travel_is_named(main: Callable[[], dict[str, Any]]) -> None:
    program = main()
    program["guard"] = threading.Lock()
    with pytest.raises(UnpicklableValue) as caught:
        packed(program, NOTHING)
    assert str(caught.value).startswith(
        "the code of workflow 'order': global 'scale' of function order → global 'guard' of function scale: "
    )
    assert "lock" in str(caught.value)


def test_code_may_be_too_large(main: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(PayloadTooLarge, match="the code of workflow 'order'"):
        pack(Codec(100), RECORD, main()["order"])


def test_another_python_is_refused_before_anything_is_loaded(
    main: Callable[[], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = packed(main(), NOTHING)
    here = this_python()
    monkeypatch.setattr("continuum.store.payload.THIS_PYTHON", (3, 99))
    monkeypatch.setattr("pickle.loads", lambda data: pytest.fail("it was loaded"))
    with pytest.raises(UnsupportedRecord, match=rf"is for Python {here}, and this worker's is Python 3\.99") as caught:
        unpack(CODEC, payload)
    assert f"start a worker under Python {here}" in str(caught.value)
