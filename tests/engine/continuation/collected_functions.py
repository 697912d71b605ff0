"""What functions are made of, and what they delegate to, one by one: see :mod:`collecting`. The code is as odd as it has to be."""
# ruff: noqa

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import collecting
from collecting import Body, Noted, collect, tuples

from continuum import Log, Now, workflow


@collect
def inner_functions() -> Body:
    count = yield "start"
    seen: list[int] = []

    def add(number: int, times: int = (yield "times")) -> int:
        nonlocal count
        count += number * times
        seen.append(number)
        return count

    yield add(1)
    add((yield "more"))
    doubled = [add(each) for each in range(2)]
    yield doubled
    power = lambda exponent: count**exponent
    yield power(2)
    count = 2
    return power(3), add(1), seen, count


@collect
def names_itself(depth: int = 3) -> Body:
    here = yield depth

    def deeper(left: int) -> Body:
        below = yield left
        return below + ((yield from deeper(left - 1)) if left else 0)

    below = (yield from names_itself(depth - 1)) if depth else (0, [])
    return here + below[0], [(yield from deeper(depth)), *below[1]]


@collect
def inner_functions_of_inner_functions() -> Body:
    level = 0

    def outer(step: int) -> Callable[[], int]:
        def inner() -> int:
            nonlocal level
            level += step
            return level

        return inner

    up, down = outer((yield "up")), outer(-(yield "down"))
    yield up(), down()
    functions = [lambda number=number: number + level for number in range(3)]
    yield [each() for each in functions]
    up()
    return [each() for each in functions], level


@collect
def inner_generators() -> Body:
    total = 0

    def part(count: int) -> Body:
        nonlocal total
        for _ in range(count):
            total += yield count, total

    yield from part(2)
    work = part(1)
    yield "between"
    yield from work
    return total


@collect
def decorators_of_inner_functions() -> Body:
    got = []

    def noting(name: Any) -> Callable[[Any], Any]:
        got.append(name)
        return lambda function: function(name)

    @noting((yield "outer"))
    @noting((yield "inner"))
    def made(name: Any, *, default: Any = (yield "default"), other: Any = (yield "other")) -> Any:
        return name, default, other

    yield made
    return made, got


@collect
def inner_classes() -> Body:
    class Local(*[] * (yield "bases"), metaclass=(type, (yield "metaclass"))[0], **((yield "keywords") and {})):
        factor = 2

        def scaled(self, number: int) -> int:
            return number * self.factor

    number = Local().scaled(3)
    del Local
    return number, (yield number)


@collect
def imports_and_yields_in_one_line() -> Body:
    import math

    a = yield math.floor(2.5)
    b = yield a
    return a, b


# What functions are made of


@collect
def arguments() -> Body:
    return (yield from parameters(1, 2, 3, 4, 5, six=6, seven=7, eight=8))


def parameters(a: int, /, b: int, c: int = 0, *rest: int, six: int, nine: int = 9, **named: int) -> Body:
    del b
    yield a, c, rest, six, nine, named
    a = yield "a"
    named["added"] = yield "b"
    return a, c, rest, six, nine, named


class Base:
    def greet(self, greeting: str) -> Body:
        return f"{greeting} {(yield 'name')}"


class Derived(Base):
    __private = "private"

    def __init__(self) -> None:
        self.count = 0

    def greet(self, greeting: str) -> Body:
        __secret = yield self.__private
        first = yield from super().greet(greeting)
        then = lambda: (self.count, self.__private, __secret)
        self.count += yield from self.__hidden()
        return first, then(), __class__.__name__, (yield __secret)  # type: ignore[name-defined]

    def __hidden(self) -> Body:
        return (yield "hidden")

    @staticmethod
    def plain(a: int) -> Body:
        return a, (yield "static")

    @classmethod
    def of_class(cls, a: int) -> Body:
        return cls.__name__, a, (yield "class")


@collect
def methods() -> Body:
    derived = Derived()
    a = yield from derived.greet("hello")
    b = yield from Derived.plain(1)
    c = yield from derived.of_class(2)
    return a, b, c, derived.count


def factory(base: int) -> Callable[[int], Body]:
    def made(times: int) -> Body:
        total = base
        for _ in range(times):
            total += yield base, total
        return total, base

    return made


def counting(base: int) -> Callable[[int], Body]:
    total = base

    def made(times: int) -> Body:
        nonlocal total
        for _ in range(times):
            total += yield base, total
        return total, base

    return made


made_by_a_factory = factory(10)


@collect
def functions_made_by_a_factory() -> Body:
    a = yield from made_by_a_factory(2)
    local = counting(20)
    b = yield from local(2)
    c = yield from local(1)
    return a, b, c


def wrapping(function: Callable[..., Body]) -> Callable[..., Body]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Body:
        return function(*args, "added", **kwargs)

    return wrapper


def delegating(function: Callable[..., Body]) -> Callable[..., Body]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Body:
        got = yield "before"
        return got, (yield from function(*args, **kwargs)), (yield "after")

    return wrapper


@wrapping
def wrapped(*args: Any) -> Body:
    return args, (yield "wrapped")


@delegating
@wrapping
def wrapped_twice(*args: Any) -> Body:
    return args, (yield "wrapped twice")


@collect
def decorated_functions() -> Body:
    return (yield from wrapped(1)), (yield from wrapped_twice(2))


@collecting.repeating
def repeated(name: str) -> Body:
    return name, (yield name)


@collect
def functions_decorated_on_the_way() -> Body:
    local = collecting.repeating(tuples)
    a = yield from repeated("a")
    b = yield from local("b")
    twice = collecting.repeating(repeated)
    c = yield from twice("c")
    return a, b, c


COUNTER = 0


@collect
def global_statement() -> Body:
    global COUNTER
    before = COUNTER
    COUNTER = yield "global"
    COUNTER, same = before, COUNTER
    return before == COUNTER, same


@collect
def imports() -> Body:
    import os.path
    from math import floor as down

    yield "imported"
    return down(2.5), os.path.basename("a/b")


@collect
def names_of_locals() -> Body:
    shared = yield "shared"
    plain = (yield "plain"), lambda: shared
    return sorted(locals()), sorted(vars()), dir(), sorted(plain[1:] and locals())


# Delegation


@collect
def commands() -> Body:
    a = yield Log("yield")
    b = yield from Log("yield from")
    given = Now()
    c = yield from given
    d = (yield from Log("one")), (yield from Log("two"))
    return a, b, c, d, repr(given)


@workflow
def child(name: str, times: int = 1) -> Body:
    got = []
    for number in range(times):
        got.append((yield Log(name, number=number)))
    return got


@collect
def invocations() -> Body:
    a = yield from child("a", times=2)
    later = child("b")
    b = yield from later
    c = yield from later
    return a, b, c, repr(later)


@collect
def generator_in_a_local() -> Body:
    work = tuples("kept")
    yield "before"
    same = yield from work
    try:
        next(work)
    except StopIteration:
        yield "ended"
    return same


@collect
def generators_in_generators() -> Body:
    def descend(depth: int) -> Body:
        got = yield depth
        if depth:
            return [got, *(yield from descend(depth - 1))]
        return [got]

    return (yield from descend(4))


@collect
def generator_that_is_iterated() -> Body:
    def numbers() -> Iterator[int]:
        for number in range(3):
            yield number

    got = []
    for number in numbers():
        got.append((yield number))
    return got


class Tree:
    def __init__(self, *children: Tree) -> None:
        self.children = children

    def __iter__(self) -> Iterator[Any]:
        yield len(self.children)
        for each in self.children:
            yield from each


@collect
def delegation_to_something_that_iterates() -> Body:
    a = yield from Tree(Tree(), Tree(Tree()))
    return a


class Sending:
    """An iterator with a `send` and a `throw`."""

    def __init__(self) -> None:
        self.left = 3

    def __iter__(self) -> Sending:
        return self

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise StopIteration(value)
        return "sending", self.left, value

    def throw(self, error: BaseException) -> Any:
        self.left -= 1
        return "thrown", repr(error)


@collect
def delegation_to_an_iterator_that_takes_values() -> Body:
    return (yield from Sending())


@collect
def errors_through_generators() -> Body:
    def fails(depth: int) -> Body:
        try:
            if depth:
                yield from fails(depth - 1)
            yield depth
            raise Noted(depth)
        except Noted as error:
            raise KeyError((yield repr(error))) from error
        finally:
            yield "finally", depth

    try:
        yield from fails(2)
    except KeyError as error:
        return repr(error), repr(error.__cause__)


# What a state holds


@collect
def shared_objects() -> Body:
    shared: list[Any] = []
    again, iterator = {"shared": shared}, iter(shared)
    circle: list[Any] = [shared]
    circle.append(circle)
    shared.append((yield "one"))
    again["shared"].append((yield "two"))
    got = list(iterator)
    return got, circle[1] is circle, circle[0] is shared, again["shared"] is shared


@collect
def locals_that_come_and_go() -> Body:
    a = b = yield "both"
    del a
    yield b
    try:
        return a
    except UnboundLocalError as error:
        yield type(error).__name__
    a = yield "again"
    return a


@collect
def errors_with_fields() -> Body:
    error = Noted("message")
    error.field = yield "field"  # type: ignore[attr-defined]
    error.add_note("a note")
    yield "kept"
    return error.args, error.field, error.__notes__  # type: ignore[attr-defined]


@collect
def unreachable() -> Body:
    if False:
        yield "never"
    while 0:
        yield "nor this"
    return (yield "reached")
    yield "nor that"


@collect
def generator_expressions() -> Body:
    offset = yield "offset"
    for number in (each + offset for each in range(6) if each % 2 if each > 1):
        yield number
    for pair in ((a, b, offset) for a in "ab" for b in range((len(a) + 1)) if (kept := b) or a == "b"):
        offset += yield pair
    yield kept
    return (yield from (each for each in [[offset], offset]))


@collect
def generators_within_iterators() -> Body:
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    got = []
    for index, number in enumerate(number * 2 for number in range(3)):
        got.append((index, number, (yield index)))
    for pair in zip(numbers(2), (letter for letter in "ab"), [3, 4], strict=True):
        got.append((pair, (yield pair)))
    try:
        for pair in zip(numbers(1), numbers(2), strict=True):
            yield pair
    except ValueError as error:
        got.append(str(error))
    for text in map(str, filter(None, numbers(3))):
        got.append((text, (yield text)))
    return got
