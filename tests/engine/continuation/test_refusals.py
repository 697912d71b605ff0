"""What cannot be captured is refused, with a reason that says where and why; the twin runs all the same."""
# ruff: noqa: B030, UP028  # the code of the workflows is as odd as it has to be

from __future__ import annotations

import functools
import io
import linecache
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from collected import COLLECTED, Body
from collecting import Noted
from driving import numbers, step, taken, throwing, trace
from elsewhere import ROOT, load_module

from continuum import Log, workflow
from continuum.engine.continuation import Refused, adopt, dumps, loads, twin_of
from continuum.engine.continuation.syntax import FRAME
from continuum.store.pickling import holds_code


def refused(value: object) -> str:
    with pytest.raises(Refused) as caught:
        dumps(value)
    assert caught.value.reason == str(caught.value)
    return caught.value.reason


def begun(body: Body, times: int = 1) -> Body:
    """The twin of a generator, sent so many numbers."""
    twin = adopt(body)
    for index in range(times):
        twin.send(numbers(index).value)
    return twin


def at(function: Callable[..., object], line: int) -> str:
    """A line, counted from that of the function."""
    return f"test_refusals.py:{function.__code__.co_firstlineno + line} in {function.__qualname__}: "


# Functions without a twin


def no_twin(function: object) -> str:
    with pytest.raises(Refused) as caught:
        twin_of(function)
    return caught.value.reason


def test_a_lambda_has_none() -> None:
    anonymous: Any = lambda: (yield 1)  # noqa: E731
    line = anonymous.__code__.co_firstlineno
    where = f"test_refusals.py:{line} in {anonymous.__qualname__}: "
    assert no_twin(anonymous) == where + "a lambda cannot be instrumented; make it a function"
    body = anonymous()
    assert adopt(body) is body
    next(body)
    assert refused(body) == no_twin(anonymous)


def test_code_without_a_source_has_none() -> None:
    names: dict[str, Any] = {}
    exec("def order():\n    yield 1", names)
    assert no_twin(names["order"]) == "<string>:1 in order: it has no source that could be read"


def test_a_source_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "changing.py"
    path.write_text("def order():\n    yield 1\n")
    module = load_module("changing", str(path))
    path.write_text("def order():\n    yield 22\n")
    linecache.checkcache(str(path))
    expected = "changing.py:1 in order: its source was changed since it was loaded, or the code was"
    assert no_twin(module.order) == expected
    body = module.order()
    assert adopt(body) is body


def test_code_that_would_become_too_long_is_refused(tmp_path: Path) -> None:
    lines = ["def order():", " while True:"]
    for depth in range(2, 9):
        body = [f"got = yield {depth}", "if got: return got", "if got == 0: break"]
        lines += [" " * depth + "try:", *(" " * (depth + 1) + line for line in body), " " * depth + "finally:"]
    path = tmp_path / "nested.py"
    path.write_text("\n".join([*lines, " " * 9 + "yield 'innermost'"]))
    reason = no_twin(load_module("nested", str(path)).order)
    what = "it has too many `finally` blocks in each other, each with yields, to be instrumented"
    assert reason == f"nested.py:1 in order: {what}"


@pytest.mark.parametrize("what", [len, "text", dict, test_code_without_a_source_has_none])
def test_what_is_no_generator_function_has_none(what: object) -> None:
    assert no_twin(what).endswith(" is not a generator function")


def decorated(function: Callable[..., Body]) -> Callable[..., Body]:
    return functools.wraps(function)(lambda *args: function(*args))


@workflow
def order() -> Body:
    yield Log("order")


@decorated
@decorated
def wrapped() -> Body:
    yield 1


def test_the_function_is_found_behind_decorators() -> None:
    assert twin_of(order) is twin_of(order.function)
    assert len(twin_of(wrapped).points) == 1


# Yields that cannot be entered again


def delegated() -> Body:
    return (yield "delegated")


def unsupported() -> Body:
    got = [(yield "first")]
    try:
        try:
            got.append((yield "second"))
            raise Noted("noted")
        except (yield "class"):
            got.append((yield "not reached"))
    except Exception as error:
        got.append((yield repr(error)))
    try:
        raise ExceptionGroup("group", [Noted("noted")])
    except* Noted:
        got.append((yield "starred"))
        got.append((yield from delegated()))
    return got, (yield "last")


REASONS = {
    3: (6, "a yield in the class of an except clause cannot be entered again"),
    6: (13, "a yield in an except* clause cannot be entered again"),
    7: (14, "a yield in an except* clause cannot be entered again"),
}


def test_single_yields_are_refused_and_the_others_are_not() -> None:
    twin = twin_of(unsupported)
    assert [point.number for point in twin.points] == [1, 2, 3, 4, 5, 6, 7, 8]
    first = unsupported.__code__.co_firstlineno
    assert twin.refusals == {
        (number, first + line): at(unsupported, line) + why for number, (line, why) in REASONS.items()
    }
    seen = []

    def hop(body: Body, sent: Any) -> tuple[str, Any, Body | None]:
        kind, value, going_on = step(body, sent)
        if going_on is not None:
            try:
                going_on = loads(taken(going_on))
                seen.append(value)
            except Refused as refusal:
                seen.append(str(refusal).partition(": ")[2])
        return kind, value, going_on

    for answer in (numbers, throwing(5), throwing(6)):
        assert trace(adopt(unsupported()), answer) == trace(unsupported(), answer)
    assert trace(adopt(unsupported()), numbers, hop) == trace(unsupported(), numbers)
    reasons = [REASONS[number][1] for number in REASONS]
    assert seen == ["'first'", "'second'", reasons[0], seen[3], reasons[1], reasons[2], "'last'"]


# Values that cannot be pickled


def with_a_socket() -> Body:
    conn = socket.socket()
    try:
        yield "open"
    finally:
        conn.close()


def test_a_local_that_cannot_be_pickled_is_named() -> None:
    body = begun(with_a_socket())
    what = "local 'conn' of type socket cannot be pickled: cannot pickle 'socket' object"
    assert refused(body) == at(with_a_socket, 3) + what
    body.close()


def deep() -> Body:
    table = {"lock": [threading.Lock()]}
    yield
    return table


def delegating() -> Body:
    fine = 1
    yield from deep()
    return fine


def test_the_part_of_a_local_and_the_frame_are_named() -> None:
    what = "local 'table' of type dict cannot be pickled: dict key 'lock' → list item 0: cannot pickle"
    assert refused(begun(delegating())) == at(deep, 2) + what + " '_thread.lock' object"


def with_a_lock() -> Body:
    with threading.Lock():
        yield "locked"


def over_lines() -> Body:
    for line in io.TextIOWrapper(io.BytesIO(b"one\ntwo")):
        yield line


def with_an_argument() -> Body:
    return str(threading.Lock(), (yield "argument"))  # type: ignore[call-overload]


def shared_lock() -> Body:
    lock = threading.Lock()
    yield lambda: lock


@pytest.mark.parametrize(
    ("function", "line", "what"),
    [
        (with_a_lock, 2, "the manager of a `with` of type lock cannot be pickled"),
        (over_lines, 2, "the iterator of a `for` of type TextIOWrapper cannot be pickled"),
        (with_an_argument, 1, "a value that is still needed of type lock cannot be pickled"),
        (shared_lock, 2, "local 'lock' of type lock cannot be pickled"),
    ],
)
def test_what_is_no_variable_is_named_by_what_it_is_for(function: Any, line: int, what: str) -> None:
    body = begun(function())
    assert refused(body).startswith(at(function, line) + what)
    body.close()


def too_deep() -> Body:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    yield "nested"
    del nested[:]


def test_a_local_that_is_nested_too_deeply_is_named() -> None:
    body = begun(too_deep())
    assert re.search(r"local 'nested' of type list cannot be pickled: it is nested too deeply", refused(body))
    next(body, None)


# Generators that cannot be captured


def numbered() -> Iterator[int]:
    yield 1
    yield 2


def holding() -> Body:
    kept = numbered()
    list_of_it = [kept]
    yield from kept
    return list_of_it


def advancing() -> Body:
    kept = numbered()
    next(kept)
    yield "advanced"
    return list(kept)


def test_a_generator_that_others_hold_is_refused_once_it_runs() -> None:
    why = "a generator that was begun by other code, or is held by it, cannot be captured"
    assert refused(begun(holding())) == at(numbered, 1) + why
    assert refused(begun(advancing())) == at(numbered, 1) + why


def enumerating() -> Body:
    held = numbered()
    for pair in enumerate(held):
        yield pair
        yield next(held)


def test_a_generator_that_is_held_by_what_goes_over_it_is_refused() -> None:
    why = "a generator that was begun by other code, or is held by it, cannot be captured"
    assert refused(begun(enumerating())) == at(numbered, 1) + why
    assert list(adopt(enumerating())) == [(0, 1), 2]


COMPREHENDING = """
from continuum.engine.continuation import Refused, adopt, dumps
def order():
    for number in max((n for n in range(3)), (n for n in range(2)), key=id):
        yield number
body = adopt(order())
next(body)
try:
    dumps(body)
except Refused as refused:
    print(refused.reason)
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ""),
        (
            ["-X", "no_debug_ranges"],
            "comprehending.py:4 in order.<locals>.<genexpr>: there are others on that line, "
            "and which one it is cannot be told",
        ),
    ],
)
def test_one_of_several_generator_expressions_on_a_line_is_told_by_its_place(
    tmp_path: Path, options: list[str], expected: str
) -> None:
    path = tmp_path / "comprehending.py"
    path.write_text(COMPREHENDING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, *options, str(path)], capture_output=True, env=environment, check=True)
    assert ran.stdout.decode().strip() == expected


def capturing(bodies: list[Body]) -> Body:
    yield 1
    yield refused(bodies)


def test_a_generator_that_runs_is_refused() -> None:
    bodies: list[Body] = []
    bodies.append(begun(capturing(bodies)))
    assert next(bodies[0]) == at(capturing, 2) + "it is running"


def one_of_two(work: Body) -> Body:
    yield from work


def test_a_generator_that_two_delegate_to_is_refused() -> None:
    work = adopt(numbered())  # type: ignore[arg-type]
    one, two = begun(one_of_two(work)), begun(one_of_two(work))
    assert refused([one, two]) == at(one_of_two, 1) + "two generators delegate to the same one"
    assert next(loads(dumps(two)), "ended") == "ended"


def test_what_was_started_plain_stays_plain() -> None:
    body = unsupported()
    next(body)
    assert adopt(body) is body
    assert FRAME not in body.gi_code.co_varnames  # type: ignore[attr-defined]
    body.close()


# Code by value


def with_a_class_of_its_own() -> Body:
    class Point:
        x = 1

    point = Point()
    yield "made"
    return point.x


def test_code_goes_by_value_only_where_there_is_no_other_way() -> None:
    data = dumps(begun(with_a_class_of_its_own()))
    assert holds_code(data)
    with pytest.raises(StopIteration) as stopped:
        next(loads(data))
    assert stopped.value.value == 1


@pytest.mark.parametrize("function", COLLECTED, ids=lambda function: function.__name__)
def test_no_state_of_the_collection_holds_code(function: Callable[[], Body]) -> None:
    def hop(body: Body, sent: Any) -> tuple[str, Any, Body | None]:
        assert not holds_code(dumps(body))
        return step(body, sent)

    trace(adopt(function()), numbers, hop)
