"""Values of this library, such as commands and their options, by their fields.

A later version of the library may add fields to one of them, at the end. What was captured before has no
values for these, and gets their defaults: a run whose history was deleted has nothing else to go on from.
"""

from __future__ import annotations

import copyreg
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import zip_longest
from typing import Any, Final

from continuum.engine.continuation.refusal import Stale

__all__ = ["is_ours", "reduce_value"]

OURS: Final = __name__.partition(".")[0]


def is_ours(kind: type) -> bool:
    """Whether values of this type are pickled here."""
    return is_dataclass(kind) and kind.__module__.partition(".")[0] == OURS


def reduce_value(value: Any) -> tuple[Any, ...]:
    """How it is pickled."""
    values = tuple(getattr(value, field.name) for field in fields(value))
    return copyreg.__newobj__, (type(value),), values, None, None, _fill  # type: ignore[attr-defined]


def _fill(made: Any, values: tuple[Any, ...]) -> None:
    for field, value in zip_longest(fields(made), values, fillvalue=MISSING):
        if not isinstance(field, Field):
            raise Stale(f"the {type(made).__name__} that was captured has more fields than this version knows")
        object.__setattr__(made, field.name, _default(made, field) if value is MISSING else value)


def _default(made: object, field: Field[Any]) -> Any:
    if field.default is not MISSING:
        return field.default
    if field.default_factory is not MISSING:
        return field.default_factory()
    raise Stale(f"the {type(made).__name__} that was captured has no {field.name!r}, and there is no default")
