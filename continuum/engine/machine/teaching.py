"""What to say when a workflow yields something that is no command, or does not yield what is one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final

from continuum.command import Command, told_unyielded
from continuum.errors import BadCommand
from continuum.place import place
from continuum.steps import step_name
from continuum.workflow import Invocation, Workflow

__all__ = [
    "check_done",
    "explain_bad_command",
    "explain_bad_delegate",
    "explain_mapped",
    "explain_unyielded",
    "holds",
    "unyielded",
]

_TO_BE_YIELDED: Final = (Command, Invocation, GeneratorType)


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


def unyielded(result: object) -> object | None:
    """What is to be yielded and was not: a result, or something in one."""
    if isinstance(result, _TO_BE_YIELDED):
        return result
    if not isinstance(result, list | tuple | set | dict):
        return None
    values = result.values() if isinstance(result, dict) else result
    return next((each for each in values if isinstance(each, _TO_BE_YIELDED)), None)


def explain_unyielded(left: object, result: object, where: str) -> BadCommand:
    """The error of a generator that gives back what it should have yielded, by itself or in something else."""
    holder = "" if left is result else f"{_article(type(result).__name__)} {type(result).__name__} that holds "
    if isinstance(left, Command):
        return BadCommand(f"{where} returns {holder}{told_unyielded(left)}")
    what, remedy = _diagnosis(left)
    return BadCommand(f"{where} returns {holder}{what}, which has not been run; {remedy}")


def explain_mapped(made: object, where: str) -> BadCommand:
    """The error of a Map whose function makes for each item what is to be yielded, and does not yield it."""
    kind = made.workflow.name if isinstance(made, Invocation) else type(made).__name__
    return BadCommand(
        f"{where} has a Map of a function that gives back {kind}(...) and not its result: make it a generator "
        f"function, as in `def each(item): return (yield {'from ' if isinstance(made, Invocation) else ''}{kind}(...))`"
    )


def check_done(left: object, callback: Callable[..., object]) -> None:
    """Raise BadCommand if what a callback of Handle gave back is something that nobody will do."""
    if inspect.iscoroutine(left):
        left.close()
    elif not isinstance(left, _TO_BE_YIELDED):
        return
    code = getattr(callback, "__code__", None)
    where = step_name(callback) if code is None else place(code, code.co_firstlineno)
    raise BadCommand(
        f"{where}, a callback of Handle, gives back {_article(type(left).__name__)} {type(left).__name__}, which is "
        "not carried out: a callback changes the workflow's own variables, and the workflow yields"
    )


def holds(told: object, predicate: Callable[..., object]) -> bool:
    """Whether what a predicate of Ensure tells is true. Raises BadCommand for what nobody has yielded."""
    if not isinstance(told, _TO_BE_YIELDED):
        return bool(told)
    code = getattr(predicate, "__code__", None)
    where = step_name(predicate) if code is None else place(code, code.co_firstlineno)
    what = told_unyielded(told) if isinstance(told, Command) else _diagnosis(told)[0]
    raise BadCommand(f"{where}, a predicate of Ensure, gives back {what}; it looks at the workflow's own variables")


def _iterated(iterator: object) -> str:
    """What an iterator goes through, such as ``a list``, or what it is itself, such as ``a map``."""
    name = type(iterator).__name__  # such as list_iterator, dict_keyiterator, map
    of = name.strip("_").partition("_")[0] if name.endswith("iterator") else name
    return f"{_article(of)} {of}"


def _article(noun: str) -> str:
    return "an" if noun[0] in "aeiouAEIO" else "a"


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
        case GeneratorType(__name__="<genexpr>"):
            return "a generator expression", "use `yield All(*(...))` for several commands side by side"
        case GeneratorType():
            name = yielded.__name__
            return f"a generator of {name}", f"use `yield from {name}(...)`"
        case type() if issubclass(yielded, Command):
            name = yielded.__name__
            return f"the class {name}", f"make a command of it: `yield {name}(...)`"
        case _ if inspect.iscoroutine(yielded):
            name = yielded.__name__
            return f"a coroutine of {name}", f"use `yield Save({name}, ...)`: the step is awaited for you"
        case AsyncGeneratorType():
            name = yielded.__name__
            return f"an async generator of {name}", "save an async function that collects what it gives"
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
