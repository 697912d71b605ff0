"""Values of this library, such as commands and their options, by the names of their fields.

A later version of the library may add a field to one of them. What was captured before has no value for it, and
gets its default: a run whose history was deleted has nothing else to go on from.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Final

from continuum.engine.continuation.refusal import Stale

__all__ = ["is_ours", "reduce_value"]

OURS: Final = __name__.partition(".")[0]


def is_ours(kind: type) -> bool:
    """Whether values of this type are pickled here."""
    return is_dataclass(kind) and kind.__module__.partition(".")[0] == OURS


def reduce_value(value: Any) -> tuple[Any, ...]:
    """How it is pickled."""
    values = {field.name: getattr(value, field.name) for field in fields(value)}
    return _empty, (type(value),), values, None, None, _fill


def _empty(kind: type) -> object:
    return object.__new__(kind)


def _fill(made: Any, values: dict[str, Any]) -> None:
    for field in fields(made):
        if field.name in values:
            value = values[field.name]
        elif field.default is not MISSING:
            value = field.default
        elif field.default_factory is not MISSING:
            value = field.default_factory()
        else:
            raise Stale(f"the {type(made).__name__} that was captured has no {field.name!r}, and there is no default")
        object.__setattr__(made, field.name, value)
