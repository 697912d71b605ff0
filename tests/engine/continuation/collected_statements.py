"""Compound statements around yields, one by one: see :mod:`collecting`. The code is as odd as it has to be."""
# ruff: noqa

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from collecting import Body, Noted, Thing, collect


@collect
def if_elif_else() -> Body:
    got = []
    for number in range(4):
        if number == (yield "zero") - 1:
            got.append((yield "then"))
        elif number == (yield "one") % 3:
            got.append("plain")
        elif number < 3:
            got.append((yield "elif"))
        else:
            got.append((yield "else"))
        got.append(number)
    if got:
        pass
    else:
        yield "not reached"
    return got


@collect
def while_loop() -> Body:
    total = 0
    while total < 12:
        total += yield total
    else:
        total += yield "else"
    while True:
        total -= 1
        if total % 5 == 0:
            break
        if total % 2:
            continue
        yield total
    else:
        yield "not reached"
    return total


@collect
def while_with_a_yield_in_the_test() -> Body:
    got = []
    while (number := (yield "more")) < 4 or (yield "really") < 5:
        got.append(number)
        if len(got) == 3:
            got.append((yield "in"))
            continue
    else:
        got.append((yield "else"))
    while not (yield "stop"):
        return "not reached"
    while (yield "again"):
        break
    else:
        got.append("not reached")
    return got


@collect
def for_loop() -> Body:
    got = []
    for number in range(5):
        if number == 1:
            continue
        got.append((yield number))
        if number == 3:
            break
    else:
        yield "not reached"
    for letter in "ab":
        for number in (number for number in [1, 2]):
            got.append((letter, number))
        got.append((yield letter))
    else:
        got.append((yield "else"))
    for _ in ():
        yield "not reached"
    else:
        got.append("empty")
    return got, number, letter


@collect
def for_over_what_a_yield_gives() -> Body:
    got = []
    for number in range((yield "how many")):
        got.append((yield number))
        number = "changed"
        got.append((yield number))
        del number
        got.append((yield "deleted"))
    for _ in [1, (yield 2)]:
        got.append("plain")
    return got


@collect
def for_with_other_targets() -> Body:
    thing = Thing()
    for thing.value, (thing["a"], *rest) in [(1, (2, 3)), (4, (5, 6, 7))]:
        yield repr(thing), rest
    for thing[(yield "index")] in "xy":
        yield repr(thing)
    for key, value in {"a": 1, "b": 2}.items():
        yield key, value
    for index, each in enumerate(sorted({3, 4, 5})):
        yield index, each
    for pair in zip("abc", [1, 2, 3], strict=True):
        yield pair
    return repr(thing)


@collect
def for_only_with_an_else() -> Body:
    got = []
    for number in range(3):
        got.append(number)
    else:
        got.append((yield "else"))
    for number in range(3):
        if number == 2:
            break
    else:
        yield "not reached"
    return got, number


@collect
def nested_loops() -> Body:
    got = []
    for a in range(2):
        b = 0
        while b < 2:
            b += 1
            for c in iter([1, 2, 3]):
                if c == 2:
                    continue
                got.append((a, b, c, (yield a, b, c)))
            if a:
                break
        got.append((yield "end"))
    return got


class Countdown:
    """An iterator whose `__iter__` begins anew."""

    def __init__(self, start: int) -> None:
        self.start = self.left = start

    def __iter__(self) -> Countdown:
        self.left = self.start
        return self

    def __next__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return self.left


@collect
def for_over_an_iterator_of_ones_own() -> Body:
    counting = Countdown(3)
    for number in counting:
        yield number, counting.left
    return counting.left


@collect
def for_ever() -> Body:
    for number in itertools.count(5):
        yield number
        if number == 7:
            break
    halves, downwards = itertools.count(0.5, 0.5), itertools.count(1, -1)
    for half in halves:
        yield half, next(downwards)
        if half > 1:
            return half, next(downwards), next(halves)


@collect
def for_over_a_generator_that_cleans_up() -> Body:
    got: list[Any] = []

    def numbers(name: str) -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            got.append(f"cleaned up {name}")

    for number in numbers("break"):
        yield number
        break
    got.append("after the break")
    try:
        for number in numbers("error"):
            yield number
            raise Noted("error")
    except Noted:
        got.append((yield "handled"))
    try:
        for number in numbers("return"):
            return got, (yield number)
    finally:
        got.append((yield "finally"))


@collect
def try_except() -> Body:
    got: list[Any] = []
    try:
        got.append((yield "try"))
        int("x")
    except (TypeError, KeyError):
        yield "not reached"
    except ValueError as error:
        got.append(str(error))
        got.append((yield "except"))
        error = "changed"  # type: ignore[assignment]
        got.append((yield error))
    else:
        yield "not reached"
    try:
        error  # type: ignore[used-before-def]
    except NameError:
        got.append("forgotten")
    return got


@collect
def try_else() -> Body:
    got = []
    try:
        got.append((yield "try"))
    except Noted:
        got.append("not reached")
    else:
        got.append((yield "else"))
        raise Noted(1)
    finally:
        got.append("finally")
    return got


@collect
def errors_that_are_sent_in() -> Body:
    got: list[Any] = []
    for _ in range(3):
        try:
            got.append((yield "try"))
            got.append((yield "try again"))
        except Exception as error:
            got.append(repr(error))
            got.append((yield "caught"))
        except BaseException:
            got.append((yield "bare"))
            raise
        finally:
            got.append((yield "finally"))
    return got


@collect
def bare_except_and_raise() -> Body:
    try:
        try:
            yield 1
            raise Noted("a")
        except:
            yield 2
            raise
    except Noted as error:
        yield repr(error)
        try:
            raise KeyError("b") from error
        except KeyError as other:
            yield repr(other.__cause__), repr(other.__context__)
            raise other from None


@collect
def context_of_errors() -> Body:
    try:
        raise Noted("a")
    except Noted:
        yield 1
        try:
            yield 2
            raise KeyError("b")
        except KeyError as error:
            yield repr(error.__context__)
            raise LookupError((yield 3))  # noqa: B904


@collect
def yields_in_a_handler_of_several() -> Body:
    got = []
    for kind in (ValueError, KeyError, OSError, Noted):
        try:
            raise kind(kind.__name__)
        except ValueError:
            got.append("plain")
        except KeyError as error:
            got.append((yield repr(error)))
        except (OSError, ZeroDivisionError):
            got.append((yield "os"))
        except BaseException:
            got.append((yield "other"))
    return got


@collect
def try_finally() -> Body:
    got = []
    try:
        got.append((yield "try"))
    finally:
        got.append((yield "finally"))
    got.append((yield "after"))
    return got


@collect
def finally_with_a_pending_error() -> Body:
    got = []
    try:
        try:
            yield "try"
            raise Noted("pending")
        finally:
            got.append((yield "inner"))
            got.append((yield "inner still"))
    finally:
        yield "outer", got


@collect
def finally_with_a_pending_return() -> Body:
    got = []
    try:
        try:
            got.append((yield "try"))
            return got, "returned"
        finally:
            got.append((yield "inner"))
    finally:
        got.append((yield "outer"))
    return "not reached"


@collect
def finally_with_a_pending_break_and_continue() -> Body:
    got = []
    for number in range(4):
        try:
            if number == 1:
                continue
            for _ in range(2):
                try:
                    yield number
                    break
                finally:
                    got.append((yield "inner"))
            if number == 2:
                break
        finally:
            got.append((yield "outer"))
        got.append(number)
    return got


@collect
def finally_that_overrules() -> Body:
    while True:
        try:
            try:
                return "not given"
            finally:
                yield 1
                raise Noted("instead of the return")
        except Noted:
            yield 2
        try:
            try:
                return 1
            finally:
                while True:
                    try:
                        return 2
                    finally:
                        yield 3
                        break
                yield 4
        finally:
            yield 5
            try:
                raise KeyError("swallowed")
            finally:
                yield 6
                return "this"


@collect
def try_except_else_finally() -> Body:
    got: list[Any] = []
    for number in range(3):
        try:
            got.append((yield "try"))
            if number == 1:
                raise Noted(number)
        except Noted as error:
            got.append((yield repr(error)))
        else:
            got.append((yield "else"))
        finally:
            got.append((yield "finally"))
    return got


@collect
def except_star() -> Body:
    got: list[Any] = []
    try:
        got.append((yield "try"))
        raise ExceptionGroup("several", [ValueError(1), KeyError(2)])
    except* ValueError as group:
        got.append(repr(group))
    except* KeyError:
        got.append("key")
    else:
        yield "not reached"
    finally:
        got.append((yield "finally"))
    return got


class Manager:
    """A context manager that tells what happens, and swallows what it is told to."""

    def __init__(self, got: list[Any], name: Any, swallows: type[BaseException] | tuple[()] = ()) -> None:
        self.got, self.name, self.swallows = got, name, swallows

    def __enter__(self) -> Any:
        self.got.append(f"enter {self.name}")
        return self.name

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self.got.append(f"exit {self.name} {error!r}")
        return isinstance(error, self.swallows)


@collect
def with_statement() -> Body:
    got: list[Any] = []
    with Manager(got, "a") as a:
        got.append((yield a))
    with Manager(got, (yield "name")) as b, Manager(got, "c"), Manager(got, (yield "d")) as d:
        got.append((yield b, d))
    with Manager(got, "e", Noted):
        yield "raises"
        raise Noted("swallowed")
    with contextlib.suppress(Exception):
        got.append((yield "suppress"))
        raise KeyError("swallowed")
    return got


@collect
def with_and_leaving() -> Body:
    got: list[Any] = []
    for number in range(3):
        with Manager(got, number) as got_number:
            if number == 1:
                continue
            yield got_number
            if number == 2:
                with Manager(got, "inner"):
                    return got, (yield "returns")


@contextlib.contextmanager
def generated(got: list[Any], name: str) -> Iterator[str]:
    got.append(f"enter {name}")
    try:
        yield name
    except Noted as error:
        got.append(repr(error))
    finally:
        got.append(f"exit {name}")


@collect
def with_a_generated_manager() -> Body:
    got: list[Any] = []
    with generated(got, "a") as a, generated(got, "b"):
        got.append((yield a))
        raise Noted("swallowed")
    with contextlib.ExitStack() as stack:
        stack.enter_context(Manager(got, "c"))
        got.append((yield "stack"))
    return got


@collect
def match_statement() -> Body:
    got: list[Any] = []
    for subject in (1, [1, 2, 3], {"k": 1, "l": 2}, Thing(4), "text", None):
        match subject:
            case 1:
                got.append((yield "one"))
            case [a, *rest] if rest:
                got.append((yield a, rest))
            case {"k": k, **others}:
                got.append((yield k, others))
            case Thing(value=value):
                got.append((yield value))
            case str() as text:
                got.append(text)
            case _:
                got.append((yield "other"))
    match (yield "subject"), (yield "and"):
        case (a, b) if a > 100:
            yield "not reached"
    return got


@collect
def match_with_a_yield_in_the_guard() -> Body:
    got: list[Any] = []
    for subject in range(4):
        match subject:
            case 0 if (yield "no") < 0:
                got.append("not reached")
            case 0 | 1:
                got.append((yield "low"))
            case number if number > 1 and (yield "guard") % 2:
                got.append(number)
            case _ if (yield "guard again"):
                got.append((yield "last"))
    return got
