"""What to say when a workflow yields something that is no command."""

from __future__ import annotations

import inspect
from types import GeneratorType
from typing import Any

from continuum.commands import Command
from continuum.errors import BadCommand
from continuum.workflow import Invocation, Workflow

__all__ = ["explain_bad_command"]


def explain_bad_command(yielded: Any, where: str) -> BadCommand:
    """The error to raise at the yield: what was yielded, where, and what to write instead."""
    what, remedy = _diagnosis(yielded)
    if inspect.iscoroutine(yielded):
        yielded.close()
    return BadCommand(f"{where} yielded {what}; {remedy}")


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
                f"a {type(yielded).__name__}",
                "a workflow yields commands, such as `yield Save(step, argument)`",
            )
