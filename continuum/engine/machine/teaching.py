"""What to say when a workflow yields something that is no command."""

from __future__ import annotations

import inspect
from types import GeneratorType
from typing import Any

from continuum.commands import Command
from continuum.errors import BadCommand
from continuum.workflow import Invocation, Workflow

__all__ = ["explain_bad_command", "explain_bad_delegate"]


def explain_bad_command(yielded: Any, where: str) -> BadCommand:
    """The error to raise at the yield: what was yielded, where, and what to write instead."""
    what, remedy = _diagnosis(yielded)
    if inspect.iscoroutine(yielded):
        yielded.close()
    return BadCommand(f"{where} yielded {what}; {remedy}")


def explain_bad_delegate(iterator: object, where: str) -> BadCommand:
    """The error to raise at a ``yield from`` something into which no results can be sent, by its iterator."""
    return BadCommand(
        f"{where} has a `yield from` {_iterated(iterator)}, which needs a command, a generator or an Invocation; "
        "use `yield All(*commands)` for several commands side by side, or a loop for one after the other"
    )


def _iterated(iterator: object) -> str:
    """What an iterator goes through, such as ``a list``, or what it is itself, such as ``a map``."""
    name = type(iterator).__name__  # such as list_iterator, dict_keyiterator, map
    of = name.strip("_").partition("_")[0] if name.endswith("iterator") else name
    return f"{_article(of)} {of}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiouAEIOU" else "a"


def _diagnosis(yielded: Any) -> tuple[str, str]:
    match yielded:
        case None:
            return "nothing", "a bare `yield` has no meaning here: yield a command, such as Sleep(1)"
        case Invocation():
            name = yielded.workflow.name
            return (
                f"the invocation {yielded!r}",
                f"use `yield Call({name}(...))` for a child run, or `yield from {name}(...)` to run it inline",
            )
        case Workflow():
            return f"the workflow {yielded.name!r}", f"call it: `yield Call({yielded.name}(...))`"
        case GeneratorType():
            name = yielded.__name__
            return f"a generator of {name}", f"use `yield from {name}(...)`"
        case type() if issubclass(yielded, Command):
            name = yielded.__name__
            return f"the class {name}", f"make a command of it: `yield {name}(...)`"
        case _ if inspect.iscoroutine(yielded):
            name = yielded.__name__
            return f"a coroutine of {name}", f"use `yield Save({name}, ...)`: the step is awaited for you"
        case list() | tuple():
            return f"a {type(yielded).__name__}", "use `yield All(...)` for several commands side by side"
        case _ if callable(yielded):
            name = getattr(yielded, "__name__", type(yielded).__name__)
            return f"the function {name}", f"use `yield Save({name}, ...)` to run it as a step"
        case _:
            return (
                f"{_article(type(yielded).__name__)} {type(yielded).__name__}",
                "a workflow yields commands, such as `yield Save(step, argument)`",
            )
