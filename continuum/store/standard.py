"""Values of the standard library, told from the picture of their pickle.

A fixed table: who is not in it is a stranger and shown as one by :mod:`continuum.store.preview`. The
few types that are really made here are made from numbers and bytes whose types were looked at first.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from fractions import Fraction
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from continuum.store.picture import Made, Mapping, Name, Node

__all__ = ["Shown", "contents", "full_name", "shown"]

D = TypeVar("D", datetime, time)

TEXT_LIMIT: Final = 1_000  # a Decimal of a million digits is a stranger


class Shown(NamedTuple):
    """A value as plain text, and as it looks inside of another one."""

    plain: str
    inside: str


def shown(made: Made) -> Shown | None:
    """A single value in words, or None for a stranger."""
    teller = TELLERS.get(full_name(made.maker) or ("", ""))
    try:
        return None if teller is None else teller(made)
    except (TypeError, ValueError, ArithmeticError, IndexError):
        return None  # it has the name of a friend but not the shape


def contents(made: Made) -> Mapping | list[Node] | None:
    """What a standard container holds, or None if it is none."""
    match full_name(made.maker), made.args:
        case ("collections", "OrderedDict" | "defaultdict"), _:
            return Mapping(made.pairs)
        case ("collections", "Counter"), (Mapping() as counts,):
            return counts
        case ("collections", "deque"), _:
            return made.items
    return None


def full_name(node: Node) -> tuple[str, str] | None:
    """Module and qualified name of what a pickle refers to, directly or by getattr."""
    match node:
        case Name(module, qualname):
            return module, qualname
        case Made(Name("builtins", "getattr"), (Name(module, qualname), str(attribute))):
            return module, f"{qualname}.{attribute}"
    return None


# Numbers


def _integers(values: tuple[Node, ...]) -> tuple[int, ...]:
    if not all(type(value) is int and value.bit_length() < TEXT_LIMIT for value in values):
        raise ValueError
    return values


def _one_text(values: tuple[Node, ...]) -> str:
    (text,) = values
    if not isinstance(text, str) or len(text) > TEXT_LIMIT:
        raise ValueError
    return text


def _same(text: str) -> Shown:
    return Shown(text, text)


def _decimal(made: Made) -> Shown:
    text = _one_text(made.args)
    return Shown(text, f"Decimal({text!r})")


def _fraction(made: Made) -> Shown:
    if len(made.args) == 1:  # the form of Python 3.11
        return _same(_one_text(made.args))
    numerator, denominator = _integers(made.args)
    return _same(str(Fraction(numerator, denominator)))


def _complex(made: Made) -> Shown:
    real, imaginary = made.args
    if type(real) is not float or type(imaginary) is not float:
        raise ValueError
    return _same(repr(complex(real, imaginary)))


def _range(made: Made) -> Shown:
    return _same(repr(range(*_integers(made.args))))


def _slice(made: Made) -> Shown:
    _integers(tuple(value for value in made.args if value is not None))
    return _same(repr(slice(*made.args)))


def _uuid(made: Made) -> Shown:
    if not isinstance(made.state, Mapping):
        raise ValueError
    (number,) = _integers(tuple(value for key, value in made.state.pairs if key == "int"))
    value = UUID(int=number)
    return Shown(str(value), repr(value))


# Paths


def _posix_path(made: Made) -> Shown:
    text = str(PurePosixPath(*_texts(made.args)))
    return Shown(text, f"Path({text!r})")


def _windows_path(made: Made) -> Shown:
    text = str(PureWindowsPath(*_texts(made.args)))
    return Shown(text, f"Path({text!r})")


def _texts(values: tuple[Node, ...]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise ValueError
    return values


# Time


def _timedelta(made: Made) -> Shown:
    return _same(str(timedelta(*_integers(made.args))))


def _date(made: Made) -> Shown:
    return _same(date(*_state(made, 4)).isoformat())


def _time(made: Made) -> Shown:
    return _same(_zoned(time(*_state(made, 6)), made))


def _datetime(made: Made) -> Shown:
    return _same(_zoned(datetime(*_state(made, 10)), made))


def _state(made: Made, size: int) -> tuple[Any, ...]:
    """The bytes of which a date or time is made; the constructors look into them."""
    if type(made.args[0]) is not bytes or len(made.args[0]) != size:
        raise ValueError
    return (made.args[0],)


def _zoned(value: D, made: Made) -> str:
    """RFC 3339, with the name of the zone (RFC 9557) where the offset is not in the pickle."""
    zone = made.args[1] if len(made.args) > 1 else None
    match zone:
        case Made(Name("datetime", "timezone"), (Made(Name("datetime", "timedelta"), offset), *_)):
            return value.replace(tzinfo=timezone(timedelta(*_integers(offset)))).isoformat()
        case Made(_, ("UTC" | "Etc/UTC", *_)) if _is_zoneinfo(zone):
            return value.replace(tzinfo=UTC).isoformat()
        case Made(_, (str(key), *_)) if _is_zoneinfo(zone):
            return f"{value.isoformat()}[{key[:64]}]"
        case None:
            return value.isoformat()
    raise ValueError


def _is_zoneinfo(zone: Made) -> bool:
    return (full_name(zone.maker) or ("", ""))[0].startswith("zoneinfo")


def _timezone(made: Made) -> Shown:
    match made.args:
        case (Made(Name("datetime", "timedelta"), offset), *_):
            return _same(str(timezone(timedelta(*_integers(offset)))))
    raise ValueError


def _zone(made: Made) -> Shown:
    key = _one_text(made.args[:1])
    return Shown(key, f"ZoneInfo({key!r})")


TELLERS: Final[dict[tuple[str, str], Callable[[Made], Shown]]] = {
    ("builtins", "complex"): _complex,
    ("builtins", "range"): _range,
    ("builtins", "slice"): _slice,
    ("datetime", "date"): _date,
    ("datetime", "datetime"): _datetime,
    ("datetime", "time"): _time,
    ("datetime", "timedelta"): _timedelta,
    ("datetime", "timezone"): _timezone,
    ("decimal", "Decimal"): _decimal,
    ("fractions", "Fraction"): _fraction,
    ("uuid", "UUID"): _uuid,
    ("zoneinfo", "ZoneInfo._unpickle"): _zone,
    **{
        (module, flavour + "Path"): teller
        for module in ("pathlib", "pathlib._local")
        for flavour, teller in (
            ("Posix", _posix_path),
            ("PurePosix", _posix_path),
            ("Windows", _windows_path),
            ("PureWindows", _windows_path),
        )
    },
}
