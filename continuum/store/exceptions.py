"""Errors taken apart for pickling, and put together again.

By itself pickle rebuilds an error as ``type(*args)``. That breaks for every class whose `__init__`
takes something else than it hands on, and it forgets the cause, the context and the traceback. Here
an error is made without calling its class, and all it holds is set on it afterwards.

The names of :func:`new_error` and :func:`restore_error` stand in every recorded error: they are part
of the store's format. This module knows no bytes; the picklers are in :mod:`continuum.store.pickling`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from types import MemberDescriptorType
from typing import Any, Final, NamedTuple, TypeAlias

from continuum.errors import PERMANENT_MARK, ContinuumError, UnpicklableError, is_permanent, permanent

__all__ = [
    "ErrorParts",
    "Summary",
    "brief",
    "chain",
    "keep_tracebacks",
    "message_of",
    "new_error",
    "restore_error",
    "set_recorded",
    "summarize",
    "traceback_of",
    "type_name",
]

CHAIN_LIMIT: Final = 50  # errors in a chain of causes; pickle recurses, so it must have an end
MESSAGE_LIMIT: Final = 10_000
TRACEBACK_LIMIT: Final = 100_000
BRIEF_LIMIT: Final = 1_000
RECORDED: Final = "__continuum_traceback__"
RAISED_AGAIN: Final = "\nThe error was recorded with the traceback above, and raised again here:\n\n"
HEAP_TYPE: Final = 1 << 9  # a class made by a class statement, not one of the interpreter's own

Reduction: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class Summary(NamedTuple):
    """What people are told of an error: plain text, readable without loading anything."""

    type: str
    message: str
    traceback: str


def new_error(cls: type[BaseException], *args: Any) -> BaseException:
    """An empty error of that class, made without running the class's own `__new__` or `__init__`."""
    native: Any = cls
    while native.__flags__ & HEAP_TYPE:
        native = native.__base__
    error: BaseException = native.__new__(cls, *args)
    return error


def restore_error(error: BaseException, state: dict[str, Any]) -> None:
    """Set on a new error what :class:`ErrorParts` found on the old one."""
    if "own" in state:
        error.__setstate__(state["own"])
    error.__dict__.update(state.get("fields", {}))
    for name, value in state.get("attributes", {}).items():
        # Not setattr: the class may forbid it, as a frozen dataclass does.
        object.__setattr__(error, name, value)


class ErrorParts:
    """Takes apart the errors that one pickle holds.

    `travels` says whether a part survives a pickle; what does not is replaced by its repr, and an
    error whose type does not by an UnpicklableError. Without it everything is taken as it is.
    With ``linked=False`` causes and contexts are left out.
    """

    def __init__(self, travels: Callable[[object], bool] | None = None, *, linked: bool = True) -> None:
        self._travels = travels
        self._limit = CHAIN_LIMIT if linked else 0
        self._depths: dict[int, int] = {}

    def reduce(self, error: BaseException) -> tuple[Any, ...]:
        """What a pickler's `reducer_override` returns for `error`."""
        make, args, state = (self._own(error) if self._travels is None else None) or self._native(error)
        state.setdefault("attributes", {}).update(self._links(error))
        return make, args, state, None, None, restore_error

    def _own(self, error: BaseException) -> Reduction | None:
        """The reduction that the author of the class has written, if there is one."""
        makers = ("__reduce__", "__reduce_ex__")
        owner = next(cls for cls in type(error).__mro__ if any(name in vars(cls) for name in makers))
        if not owner.__flags__ & HEAP_TYPE or owner is ContinuumError:
            return None
        reduced = error.__reduce_ex__(5)
        if not isinstance(reduced, tuple) or any(part is not None for part in reduced[3:]):
            return None
        # What others have set on it; the author of the class does not know of it.
        others = {name: value for name, value in vars(error).items() if name in ("__notes__", PERMANENT_MARK)}
        own = {"own": reduced[2]} if reduced[2:] and reduced[2] is not None else {}
        return reduced[0], reduced[1], {**own, "fields": others}

    def _native(self, error: BaseException) -> Reduction:
        if self._travels is not None and not self._travels(type(error)):
            return self._stand_in(error)
        fields = {name: self._part(value) for name, value in vars(error).items() if name != RECORDED}
        attributes = {name: self._part(value) for name, value in _members(error)}
        attributes["args"] = tuple(self._part(value) for value in error.args)
        made_of: tuple[Any, ...] = (type(error),)
        if isinstance(error, BaseExceptionGroup):
            made_of = (type(error), error.message, list(error.exceptions))
        return new_error, made_of, {"fields": fields, "attributes": attributes}

    def _stand_in(self, error: BaseException) -> Reduction:
        stand_in = UnpicklableError(type_name(type(error)), message_of(error))
        if is_permanent(error):
            permanent(stand_in)
        return new_error, (UnpicklableError,), {"fields": vars(stand_in), "attributes": {"args": stand_in.args}}

    def _part(self, value: object) -> object:
        return value if self._travels is None or self._travels(value) else brief(value)

    def _links(self, error: BaseException) -> dict[str, Any]:
        depth = self._depths.get(id(error), 0) + 1
        links: dict[str, Any] = {}
        if error.__cause__ is not None and depth < self._limit:
            links["__cause__"] = error.__cause__
        if error.__context__ is not None and not error.__suppress_context__ and depth < self._limit:
            links["__context__"] = error.__context__
        for linked in links.values():
            self._depths.setdefault(id(linked), depth)
        # Last, because setting a cause sets it too.
        links["__suppress_context__"] = error.__suppress_context__
        return links


def _members(error: BaseException) -> Iterator[tuple[str, object]]:
    """What the class keeps outside of `__dict__`: errno and filename, `__slots__`."""
    for cls in type(error).__mro__:
        if cls in (BaseException, BaseExceptionGroup):
            continue  # their members are set in other ways
        for name, member in vars(cls).items():
            if not isinstance(member, MemberDescriptorType) or (cls is AttributeError and name == "obj"):
                continue  # obj may be anything, however large; newer Pythons leave it out too
            try:
                value = member.__get__(error, cls)
            except AttributeError:
                continue
            if value is not None:  # unset and None are told apart by OSError's text
                yield name, value


# What people read


def type_name(cls: type) -> str:
    """As in a traceback: with the module, except for what needs none."""
    if cls.__module__ in ("builtins", "__main__"):
        return cls.__qualname__
    return f"{cls.__module__}.{cls.__qualname__}"


def brief(value: object, limit: int = BRIEF_LIMIT) -> str:
    """The repr, cut to a bearable length; values whose repr fails have one too."""
    try:
        text = repr(value)
    except Exception:  # any code of the user's may run in a repr
        text = f"<{type_name(type(value))} without a repr>"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def message_of(error: BaseException) -> str:
    """Its text, cut to a bearable length; errors whose text cannot be made have one too."""
    try:
        return str(error)[:MESSAGE_LIMIT]
    except Exception:  # any code of the user's may run in a str
        return "<its text could not be made>"


def summarize(error: BaseException) -> Summary:
    """The texts that are recorded with an error."""
    return Summary(type_name(type(error)), message_of(error), _both_ends(traceback_of(error)))


def _both_ends(text: str) -> str:
    """The text without its middle if it is too long: what was raised stands last, where from, first."""
    half = TRACEBACK_LIMIT // 2
    return text if len(text) <= TRACEBACK_LIMIT else f"{text[:half]}\n…\n{text[-half:]}"


def chain(error: BaseException) -> list[BaseException]:
    """The error, its cause or context, and so on; bounded, and without repeats."""
    found: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and len(found) < CHAIN_LIMIT and all(link is not known for known in found):
        found.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return found


def traceback_of(error: BaseException) -> str:
    """The text of the error's traceback: as recorded, as it is now, or one after the other."""
    recorded = [vars(link)[RECORDED] for link in reversed(chain(error)) if RECORDED in vars(link)]
    if error.__traceback__ is None and RECORDED in vars(error):
        return RAISED_AGAIN.join(recorded)
    try:
        live = "".join(traceback.format_exception(error))
    except Exception:  # any code of the user's may run in the texts of the chain
        live = f"{type_name(type(error))}: {message_of(error)}\n"
    return RAISED_AGAIN.join([*recorded, live])


def set_recorded(error: BaseException, text: str) -> None:
    """Keep the recorded text of a traceback with the error."""
    vars(error)[RECORDED] = text


def keep_tracebacks(original: BaseException, copy: BaseException) -> None:
    """Give a copy and its causes the tracebacks of the originals."""
    for old, new in zip(chain(original), chain(copy), strict=False):
        new.with_traceback(old.__traceback__)
        if RECORDED in vars(old):
            set_recorded(new, vars(old)[RECORDED])
