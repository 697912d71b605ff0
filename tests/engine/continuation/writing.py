"""Random programs, as source: generator functions of all constructs, nested in each other.

Expressions have small numbers as values, and say in `got` in which order they were evaluated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any
from zlib import crc32

from collecting import Noted, Thing
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

__all__ = ["Manager", "Noted", "Thing", "Writer", "examples", "generated", "note", "ones", "sources", "weigh"]

TIMES = int(os.environ.get("CONTINUUM_EXAMPLES", "1"))
PREAMBLE = "from writing import Manager, Noted, Thing, generated, note, ones, weigh\nfrom continuum import Log\n\n\n"
DEPTH = 5


def examples(count: int) -> settings:
    """So many examples, the same each time; or CONTINUUM_EXAMPLES times as many, by chance."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
    if TIMES == 1:
        return settings(max_examples=count, deadline=None, derandomize=True, suppress_health_check=slow)
    return settings(max_examples=count * TIMES, deadline=None, print_blob=True, suppress_health_check=slow)


# What the programs call


def note(got: list[Any], value: Any) -> Any:
    got.append(value)
    return value


def weigh(*values: Any, **named: Any) -> int:
    """A small number that depends on all that it is given."""
    return crc32(repr((values, sorted(named.items()))).encode()) % 5


def ones(count: Any) -> Any:
    """A generator to delegate to, or to iterate over."""
    total = 0
    for number in range(count % 3):
        total += (yield ("ones", number)) or 0
    return total


class Manager:
    def __init__(self, got: list[Any], name: Any, swallows: bool) -> None:
        self.got, self.name, self.swallows = got, name, swallows

    def __enter__(self) -> Any:
        self.got.append(f"enter {self.name}")
        return self.name

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self.got.append(f"exit {self.name} {type(error).__name__}")
        return self.swallows and isinstance(error, Exception)


@contextmanager
def generated(got: list[Any], name: Any) -> Any:
    got.append(f"enter {name}")
    try:
        yield name
    except KeyError:
        got.append("swallowed")
    finally:
        got.append(f"exit {name}")


# Their source


class Writer:
    """Writes a program, by choices that are made by bytes; zeros when they are used up."""

    def __init__(self, source: bytes) -> None:
        self._left = iter(source)
        self._count = 0
        self.lines: list[str] = []
        self._loops = 0
        self._handlers = 0
        self._starred = 0
        self._functions = 0

    def choose(self, below: int) -> int:
        return next(self._left, 0) % below

    def number(self) -> int:
        self._count += 1
        return self._count

    def add(self, indent: int, text: str) -> None:
        self.lines.append("    " * indent + text)

    def program(self) -> str:
        self.add(0, "def program():")
        for text in ("got, thing, table = [], Thing(1), {0: 1, 1: 2, 2: 3}", "a = b = c = 0", "keep = lambda: a"):
            self.add(1, text)
        self.block(1, DEPTH, least=2)
        self.add(1, f"return (yield {self.number()}), a, b, c, keep(), got, repr(thing), sorted(table.items())")
        return PREAMBLE + "\n".join(self.lines) + "\n"

    def block(self, indent: int, depth: int, least: int = 1) -> None:
        for _ in range(least + self.choose(3)):
            kinds = STATEMENTS if depth and self.choose(5) < 3 else SIMPLE
            kinds[self.choose(len(kinds))](self, indent, depth - 1)

    def name(self) -> str:
        return "abc"[self.choose(3)]

    # Expressions

    def e(self, depth: int = 2) -> str:
        """An expression whose value is a number."""
        if depth <= 0 or not self.choose(3):
            return LEAVES[self.choose(len(LEAVES))](self)
        return self.filled(FORMS[self.choose(len(FORMS))], depth - 1)

    def filled(self, form: str, depth: int = 2) -> str:
        """E is an expression, L one without parts, V a variable, W one that no function shares, # a number."""
        kinds: dict[str, Callable[[], object]] = {
            "E": lambda: self.e(depth),
            "L": lambda: self.e(0),
            "V": self.name,
            "W": lambda: "bc"[self.choose(2)],
            "#": self.number,
        }
        return re.sub(r"\b[ELVW]\b|#", lambda found: str(kinds[found.group()]()), form)


Leaf = Callable[[Writer], str]
LEAVES: tuple[Leaf, ...] = (
    lambda w: f"(yield {w.number()})",
    lambda w: f"(yield {w.number()})",
    lambda w: f"(yield ({w.number()}, {w.name()}))",
    lambda w: w.name(),
    lambda w: str(w.choose(4)),
    lambda w: f"note(got, {w.number()})",
    lambda w: "thing.value",
)

FORMS = (
    "(yield (#, E))",
    "(E + E)",
    "(E * 2 - E)",
    "(-E)",
    "weigh(E, *[E, E], key=E, **{'x': E}, last=E)",
    "weigh(E, E)",
    "weigh(*[E], E, *(E,), y=(E))",
    "note(got, E)",
    "(E < E < E)",
    "(E >= E)",
    "(E != E < E != E)",
    "(E in [E, E])",
    "(E and E)",
    "(E or E)",
    "(E and E or E and E)",
    "(not E)",
    "(E if E else E)",
    "weigh(f'{L}:{L:>{L % 3 + 1}} {L!r} {L}')",
    "weigh([E, *[E, E], E])",
    "weigh({E: E, **{'k': E}, E: E})",
    "weigh((E, *(E,), E))",
    "table.get(E % 3, E)",
    "weigh([4, 5, 6][E % 3 : E], E)",
    "thing.add(E, times=E)",
    "thing.add((E)).real",
    "(V := E)",
    "weigh([x + 1 for x in range(L % 3)])",
    "sum(x for x in (L, L))",
    "weigh([y := x for x in [L, L]])",
    "(lambda p, q=E, *, r=E: p + q + r)(E)",
    "(yield from ones(E))",
    "weigh((yield from Log(str(E))))",
    "weigh(sorted(locals()))",
)

Statement = Callable[[Writer, int, int], None]


def _line(form: str) -> Statement:
    def write(writer: Writer, indent: int, depth: int) -> None:
        writer.add(indent, writer.filled(form))

    return write


def _if(writer: Writer, indent: int, depth: int) -> None:
    writer.add(indent, f"if {writer.e()}:")
    writer.block(indent + 1, depth)
    if writer.choose(2):
        writer.add(indent, f"elif {writer.e(1)}:")
        writer.block(indent + 1, depth)
    if writer.choose(2):
        writer.add(indent, "else:")
        writer.block(indent + 1, depth)


def _loop(writer: Writer, indent: int, depth: int) -> None:
    writer._loops += 1
    writer.block(indent, depth)
    writer._loops -= 1


def _else(writer: Writer, indent: int, depth: int) -> None:
    if writer.choose(3) == 0:
        writer.add(indent, "else:")
        writer.block(indent + 1, depth)


def _while(writer: Writer, indent: int, depth: int) -> None:
    count = f"n{writer.number()}"
    writer.add(indent, f"{count} = 0")
    writer.add(indent, f"while {count} < 2 and {writer.e(1)} < 5:")
    writer.add(indent + 1, f"{count} += 1")
    _loop(writer, indent + 1, depth)
    _else(writer, indent, depth)


def _for(writer: Writer, indent: int, depth: int) -> None:
    over = (
        "range(E % 3)",
        "[E, E]",
        "(1, 2)",
        "ones(E)",
        "sorted({1: E, 2: 3}.items())",
        "enumerate('ab')",
        "enumerate(ones(E))",
        "map(abs, ones(E))",
        "(number * 2 for number in [L, L] if number)",
        "iter([E, 1])",
    )
    target = ("V", "x", "thing.value", "table[E % 3]", "thing[(E)]")
    text = f"for {target[writer.choose(len(target))]} in {over[writer.choose(len(over))]}:"
    if "items" in text or "enumerate" in text:
        text = text.replace("for V in", "for x, V in").replace("for thing.value in", "for thing.value, *x in")
        text = text.replace("for table[E % 3] in", "for table[E % 3], y in")
    _line(text)(writer, indent, depth)
    _loop(writer, indent + 1, depth)
    _else(writer, indent, depth)


def _leave_loop(writer: Writer, indent: int, depth: int) -> None:
    if not writer._loops:
        return _line("got.append(E)")(writer, indent, depth)
    writer.add(indent, f"if {writer.e(1)} > 1:")
    writer.add(indent + 1, ("break", "continue")[writer.choose(2)])
    return None


def _return(writer: Writer, indent: int, depth: int) -> None:
    if writer._starred:
        return _line("got.append(E)")(writer, indent, depth)
    writer.add(indent, f"if {writer.e(1)} > 2:")
    writer.add(indent + 1, f"return {writer.e()}, got")
    return None


def _raise(writer: Writer, indent: int, depth: int) -> None:
    forms = ("raise Noted(E)", "raise KeyError(E) from Noted(E)", "raise ValueError(E) from None")
    writer.add(indent, f"if {writer.e(1)} > 1:")
    if writer._handlers and writer.choose(2):
        writer.add(indent + 1, "raise")
    else:
        _line(forms[writer.choose(len(forms))])(writer, indent + 1, depth)


def _try(writer: Writer, indent: int, depth: int) -> None:
    kind = writer.choose(4)
    writer.add(indent, "try:")
    writer.block(indent + 1, depth)
    if kind < 3:
        _handlers(writer, indent, depth)
        if writer.choose(3) == 0:
            writer.add(indent, "else:")
            writer.block(indent + 1, depth)
    if kind > 1:
        writer.add(indent, "finally:")
        writer.block(indent + 1, depth)


def _handlers(writer: Writer, indent: int, depth: int) -> None:
    clauses = (
        "except Noted as error:",
        "except (KeyError, ValueError):",
        "except Exception as error:",
        "except BaseException:",
    )
    first = writer.choose(len(clauses))
    for clause in clauses[first : first + 1 + writer.choose(2)]:
        writer.add(indent, clause)
        if "error" in clause:
            writer.add(indent + 1, "got.append((type(error).__name__, str(error)))")
        writer._handlers += 1
        writer.block(indent + 1, depth)
        if clause == "except BaseException:":
            writer.add(indent + 1, "raise")
        writer._handlers -= 1


def _try_star(writer: Writer, indent: int, depth: int) -> None:
    writer.add(indent, "try:")
    writer.block(indent + 1, depth)
    writer.add(indent, "except* (Noted, KeyError) as group:")
    writer.add(indent + 1, "got.append(repr(group))")
    if writer.choose(2):
        writer.add(indent, "finally:")
        writer.block(indent + 1, depth)


def _with(writer: Writer, indent: int, depth: int) -> None:
    forms = (
        "with Manager(got, E, True) as V:",
        "with Manager(got, E, False), Manager(got, E, True) as V:",
        "with generated(got, E) as table[E % 3]:",
        "with Manager(got, E, False):",
    )
    _line(forms[writer.choose(len(forms))])(writer, indent, depth)
    writer.block(indent + 1, depth)


def _match(writer: Writer, indent: int, depth: int) -> None:
    writer.add(indent, f"match ({writer.e(1)} % 3, {writer.e(1)}):")
    cases = ("case (0, V):", "case (1, V) if E:", "case [x, V] if x == 2:", "case (V, *_) if E > 1:", "case _:")
    last = 2 + writer.choose(len(cases) - 1)
    for case in cases[:last]:
        _line(case)(writer, indent + 1, depth)
        writer.block(indent + 2, depth)


def _function(writer: Writer, indent: int, depth: int) -> None:
    name = f"f{writer.number()}"
    _line(f"def {name}(x=E):")(writer, indent, depth)
    for text in ("nonlocal a", "a += x", "got.append(a)", "return a"):
        writer.add(indent + 1, text)
    _line(f"V = {name}() + {name}(E)")(writer, indent, depth)


def _generator(writer: Writer, indent: int, depth: int) -> None:
    name = f"g{writer.number()}"
    loops, handlers, starred = writer._loops, writer._handlers, writer._starred
    writer._loops = writer._handlers = writer._starred = 0
    writer.add(indent, f"def {name}(x, thing=thing, table=table):")
    writer.add(indent + 1, "nonlocal a, got")
    writer.add(indent + 1, "b = c = x")
    writer.block(indent + 1, depth)
    writer.add(indent + 1, f"return b + (yield {writer.number()})")
    writer._loops, writer._handlers, writer._starred = loops, handlers, starred
    if writer.choose(2):
        _line(f"V = weigh((yield from {name}(E)))")(writer, indent, depth)
    else:
        _line(f"later = {name}(E)")(writer, indent, depth)
        _line("b = E")(writer, indent, depth)
        _line("V = weigh((yield from later))")(writer, indent, depth)


SIMPLE: tuple[Statement, ...] = (
    *[_line("V = E")] * 3,
    _line("V += E"),
    _line("V -= E"),
    _line("E"),
    _line("got.append(E)"),
    _line("thing.value = E"),
    _line("thing.value += E"),
    _line("thing[E % 3, (E)] = E"),
    _line("thing[E:(E)] += E"),
    _line("table[E % 3] = E"),
    _line("table[E % 3] = V = E"),
    _line("table[E % 3] *= E"),
    _line("V, (V, *x), thing.value = E, (E, E), E"),
    _line("table[E % 3], [V, *thing.value] = E, (E, 1)"),
    _line("annotated: int = E"),
    _line("assert E < 9, E"),
    _line("assert E, E"),
    _line("del table[E % 3]"),
    _line("del W"),
    _line("yield"),
    _line("yield E"),
    _line("V = yield E"),
    _leave_loop,
    _leave_loop,
    _return,
    _raise,
    _raise,
)

STATEMENTS: tuple[Statement, ...] = (
    *[_if, _while, _for, _for] * 2,
    *[_try] * 7,
    _try_star,
    *[_with] * 3,
    *[_match] * 2,
    _function,
    *[_generator] * 2,
)

sources = st.binary(min_size=100, max_size=400).map(lambda source: Writer(source).program())
