"""Where a yield may stand, one by one: see :mod:`collecting`. The code is as odd as it has to be."""
# ruff: noqa

from __future__ import annotations

from typing import Any

from collecting import Body, Noted, Thing, collect, join, note, tuples


@collect
def statement() -> Body:
    yield "first"
    yield
    yield "third"


@collect
def assignment() -> Body:
    a = yield "a"
    b = c = yield a
    thing = Thing()
    thing.value = yield b
    thing["k"] = yield c
    d, (e, *f) = yield from tuples("x")
    [g, thing["g"]] = a, (yield e)
    return a, b, c, d, e, f, g, repr(thing)


@collect
def assignment_to_what_a_yield_gives() -> Body:
    things = {1: Thing(), 2: Thing(), 3: Thing()}
    things[(yield 1) % 3 + 1].value = note("value")
    things[(yield 2) % 3 + 1][(yield 3)] = yield 4
    a, things[(yield 5) % 3 + 1].value, *(rest) = 1, 2, 3, 4
    (b, things[3][(yield 6)]), c = (yield 7), 9
    return a, rest, b, c, repr(things)


@collect
def augmented_assignment() -> Body:
    total = 1
    total += yield total
    total *= (yield total) + (yield -total)
    thing = Thing(2)
    thing.value -= yield "value"
    thing["key"] += yield "key"
    thing[(yield "index")] += yield "indexed"
    thing[1:2] += yield "slice"
    things = [thing]
    things[(yield "where") * 0].value += 1
    listed = same = [1]
    listed += [(yield "listed")]
    return total, repr(thing), same


@collect
def annotated_assignment() -> Body:
    a: int = yield "a"
    b: list[int] = [(yield "b"), a]
    thing = Thing()
    thing.value: int = yield "c"  # type: ignore[misc]
    (c): int = yield "d"
    return a, b, c, thing.value


@collect
def return_value() -> Body:
    return (yield "a"), (yield "b")


@collect
def yield_as_an_argument() -> Body:
    thing = Thing()
    a = thing.add((yield 1), times=(yield 2))
    b = thing.add(1, *[(yield 3), 2], (yield 4), *(5,), six=(yield 6), seven=(yield 7), eight=8)
    c = thing.add(*(1, 2), (yield 5), a=1, b=(yield 6))
    d = join(note(1), (yield note(2)), note(3), x=note(4), y=(yield note(5)), z=note(6))
    return a, b, c, d, repr(thing)


@collect
def call_of_what_a_yield_gives() -> Body:
    functions = {0: str, 1: repr, 2: Thing}
    return repr(functions[(yield "which") % 3]((yield "with")))


@collect
def comparison() -> Body:
    a = 3 < (yield 1)
    b = (yield 2) < 3 < note(4)
    c = 0 < note(1) < (yield 3) < note(7) < (yield 4)
    d = 9 < note(1) < (yield "not reached")
    e = (yield 5) in [5, (yield 6)]
    f = (yield 7) is not None
    return a, b, c, d, e, f


@collect
def boolean_operators() -> Body:
    a = (yield 1) and (yield 2)
    b = (yield 3) and None and (yield "not reached")
    c = 0 or (yield 4) or (yield "nor this")
    d = not (yield 5)
    e = (note(0) or (yield 6)) and (note(1) and not (yield 7))
    return a, b, c, d, e


@collect
def conditional_expression() -> Body:
    a = (yield 1) if (yield 2) else (yield 3)
    b = "b" if not (yield 4) else (yield 5)
    c = (yield 6) if a is None else note("c")
    return a, b, c


@collect
def formatted_string() -> Body:
    width = 8
    a = f"{note(1)}, {(yield 2)!r:>{(yield 3)}} and {(yield 4):0{width}} {note(5)!s} {{}} {(yield 6)=}"
    b = f"{(yield 7)}text"
    c = "%s %s" % ((yield 8), note(9))
    return a, b, c


@collect
def subscript() -> Body:
    listed = list(range(200))
    a = listed[(yield "index")]
    b = listed[(yield "from") : note(9) : (yield "step")]
    c = listed[: (yield "to")]
    d = Thing()[1:2, (yield "key"), ::3]
    e = {(yield 1): 2}.get((yield 3), "missing")
    return a, b, c, d, e


@collect
def subscripts_with_slices_and_stars() -> Body:
    thing = Thing()
    thing[*(1, 2), (yield 1)] = yield "value"
    thing[1:2, (yield 2) : (yield 3)] += yield "more"
    listed = list(range(9))
    listed[(yield 4) : 5] = [(yield "x")]
    del listed[: (yield 5)], listed[-1:]
    (listed)[(yield 6) - 6] = yield "nested", (yield "more nested")
    return repr(thing), listed


@collect
def yields_in_yields() -> Body:
    a = yield (yield (yield 1), 2), [(yield 3)]
    b = yield from (yield 4) * []
    return a, b, (yield (yield from tuples((yield 5))))


@collect
def attribute() -> Body:
    things = [Thing(1), Thing(2)]
    a = things[(yield "which") % 2].value
    b = things[(yield "which") % 2].add((yield "more")).bit_length()
    c = (yield "number").real
    return a, b, c


@collect
def containers() -> Body:
    a = [note(1), (yield 2), *[3, 4], note(5), *[(yield 6)], 7]
    b = {note(1): (yield 2), (yield 3): note(4), "x": 5, "y": (yield 6), "z": (yield 7)}
    c = {note(1), (yield 2), *(3, 4), (yield 5)}
    d = (*a, (yield 8)), (yield 9)
    return a, b, sorted(c), d


@collect
def containers_with_what_cannot_be_hashed() -> Body:
    got = []
    try:
        got.append({[]: 1, **{"x": 1}, "y": (yield 1)})
    except TypeError as error:
        got.append(str(error))
    try:
        got.append({**{"x": 1}, []: 2, **{"y": (yield 2)}})
    except TypeError as error:
        got.append(str(error))
    try:
        got.append({1, [], *(2, 3), (yield 3)})
    except TypeError as error:
        got.append(str(error))
    try:
        got.append({1, *(2, 3), [], (yield 4), 5})
    except TypeError as error:
        got.append(str(error))
    return got, {**{"x": 1}, "y": 2, **{"z": (yield 5)}}, sorted({*(1, 2), 3, (yield 6), *str((yield 7)), 9}, key=repr)


@collect
def operators() -> Body:
    a = note(10) - (yield 1) * note(3) + -(yield 2)
    b = ~(yield 3) | (yield 4) ** 2
    c = [1] * (yield 5)
    d = -(+(yield 6))
    return a, b, c, d


@collect
def walrus() -> Body:
    if (a := (yield 1)) and (b := (yield 2)):
        pass
    c = (d := note(3)) + (d := (yield 4)) + d
    e = [last := each for each in range((yield 5))]
    return a, b, c, d, e, last


@collect
def comprehension_over_a_yield() -> Body:
    a = [each * 2 for each in range((yield 1)) if each]
    b = dict.fromkeys([(yield 2), 3], a)
    c = sum(each for each in (note(1), (yield 3)))
    return a, b, c


@collect
def lambda_with_a_yield() -> Body:
    scale = yield "scale"
    f = lambda a, b=(yield "default"), *, c=scale: (a, b, c)
    return f(1), f(1, c=(yield "c"))


@collect
def delete() -> Body:
    thing = Thing()
    thing["1"], thing["2"], thing["3"] = 1, 2, 3
    name = yield 0
    del thing[(yield 1)], name
    try:
        name
    except NameError as error:
        caught = type(error).__name__
    del (thing[(yield 3)], thing.value)
    return repr(thing.items), caught


@collect
def assertion() -> Body:
    try:
        assert (yield 1) > 0, "fine"
        assert (yield 2) < 0, f"it is {(yield 3)}"
    except AssertionError as error:
        yield str(error)
    assert (yield 4) and not (yield 5), note("message")
    return "not reached"


@collect
def raising() -> Body:
    errors = [ValueError("a"), KeyError("b")]
    try:
        raise errors[(yield 1) * 0] from errors[(yield 2) * 0 + 1]
    except ValueError as error:
        yield repr(error.__cause__)
    raise Noted((yield 3))
