"""Which run the code that is running belongs to, and in a step which attempt at it that is.

Whoever calls code of the user's says so by :func:`enter`, and the code asks by :func:`current`. What is said is
how to make the answer: most code never asks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import Final

from continuum.errors import UsageError

__all__ = ["Context", "current", "enter", "leave"]


@dataclass(frozen=True, slots=True)
class Context:
    """The run of the code that asks, and the step, if it is one; in a workflow the last three are None.

    `position` is that of the step in the history, such as ``4`` or ``4.1.0``; `attempt` counts from 1. `key`
    is the same for every attempt at the step, also after a crash and a retry, and no other step of any run
    has it: an idempotency key for services that take one.
    """

    run_id: str
    workflow: str
    position: str | None = None
    attempt: int | None = None
    key: str | None = None


def current() -> Context:
    """The run, and the step, that the code which calls this belongs to.

    For workflows, callbacks and steps, wherever these are performed. What it gives a workflow is the same on
    replay. Raises UsageError where there is no run, as in a thread that a step has started by itself.

    >>> def charge(order_id):
    ...     return post("/charges", order_id, idempotency_key=current().key)
    """
    context = _context.get(None)
    if context is None:
        raise UsageError(
            "current() tells which run the code belongs to, and no run does: call it in a workflow or in a step, "
            "in the thread or task in which that was called"
        )
    return context()


_context: Final[ContextVar[Callable[[], Context]]] = ContextVar("continuum_context")

enter: Final = _context.set
"""Say how to make the answer, until :func:`leave` is called with what this gives."""

leave: Final[Callable[[Token[Callable[[], Context]]], None]] = _context.reset
"""Take back what was said."""
