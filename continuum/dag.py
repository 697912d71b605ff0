"""A graph of steps: each starts as soon as the results that it needs are there.

A helper over commands; the machine knows nothing of it. The steps are laid out in branches of one
:class:`~continuum.All`: a step goes on in the branch of a step that it needs, if no other one does, and
waits with :class:`~continuum.Ensure` for what it needs from other branches. The layout follows from the
order in which steps were added, not from time, so a position always means the same step, and adding a
step at the end moves none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, overload

from continuum.branches import makes_branch
from continuum.commands import All, Ensure, Save
from continuum.errors import BadValue
from continuum.steps import step_name

__all__ = ["Dag"]


@dataclass(frozen=True, slots=True)
class _Step:
    name: str
    fn: Callable[..., Any]
    needs: tuple[str, ...]
    options: Mapping[str, Any]

    def body(self, results: Mapping[str, Any]) -> Generator[Any, Any, Any]:
        """The step's commands, as a generator that gives its result."""
        arguments = [results[need] for need in self.needs]
        if makes_branch(self.fn):
            body: Generator[Any, Any, Any] = iter(self.fn(*arguments))
            return body
        return iter(Save(self.fn, *arguments, name=self.name, **self.options))


class Dag:
    """Steps with dependencies, executed side by side as far as these allow.

    A Dag holds no results: make it once, beside the workflows that run it.

    >>> from continuum import workflow
    >>> words = Dag()
    >>> words.step("upper", str.upper, needs=("text",))
    >>> words.step("length", len, needs=("text",))
    >>> words.step("both", lambda upper, length: (upper, length), needs=("upper", "length"))
    >>> @workflow
    ... def describe(text: str):
    ...     return (yield from words.run(final="both", inputs={"text": text}))
    """

    def __init__(self) -> None:
        self._steps: dict[str, _Step] = {}

    def step(self, name: str, fn: Callable[..., Any], *, needs: Iterable[str] = (), **options: Any) -> None:
        """Add a step: ``fn`` is called with the results of its `needs`, in that order.

        A need is the name of another step, or of an input. `fn` is a function, which is saved under `name`
        with the `options` of :class:`~continuum.Save`, or a generator function or workflow, whose commands
        become part of the run. Raises BadValue for a name that is taken, options that Save does not
        take, and a function that cannot be called with that many results.
        """
        if not isinstance(name, str) or not name:
            raise BadValue(f"the name of a step must be text and not empty, not {name!r}")
        if name in self._steps:
            raise BadValue(f"there are two steps {name!r}; give one another name")
        added = _Step(name, fn, _names(name, needs), options)
        _check_options(added)
        _check_arguments(added)
        self._steps[name] = added

    @overload
    def run(
        self, final: None = None, *, inputs: Mapping[str, Any] | None = None
    ) -> Generator[Any, Any, dict[str, Any]]: ...

    @overload
    def run(self, final: str, *, inputs: Mapping[str, Any] | None = None) -> Generator[Any, Any, Any]: ...

    def run(self, final: str | None = None, *, inputs: Mapping[str, Any] | None = None) -> Generator[Any, Any, Any]:
        """Execute all steps, by ``yield from``; gives the results by name, or the one of the step `final`.

        `inputs` are values that steps may need besides the results of others. The first failure cancels
        the other steps and is raised. Raises BadValue, before anything is run, where a step needs what is
        neither a step nor an input, where steps need each other in a circle, and if there is no step `final`.
        """
        given = dict(inputs or {})
        self._check(final, given)
        return self._run(final, given)

    def _run(self, final: str | None, results: dict[str, Any]) -> Generator[Any, Any, Any]:
        yield All(*(self._branch(path, results) for path in self._paths()))
        return {name: results[name] for name in self._steps} if final is None else results[final]

    def _branch(self, path: Iterable[_Step], results: dict[str, Any]) -> Generator[Any, Any, None]:
        """Execute the steps of a path, one after the other; `results` belongs to all branches."""
        own: set[str] = set()
        for step in path:
            others = [need for need in step.needs if need in self._steps and need not in own]
            if others:  # even if all of them are there: whether it waits must not depend on time
                yield Ensure(partial(_are_there, others, results))
            results[step.name] = yield from step.body(results)
            own.add(step.name)

    def _paths(self) -> Iterator[Iterator[_Step]]:
        """The steps, each in one path; in a path each step needs the one before it."""
        first: list[_Step] = []
        next_after: dict[str, _Step] = {}
        for step in self._steps.values():
            free = (need for need in step.needs if need in self._steps and need not in next_after)
            before = next(free, None)
            if before is None:
                first.append(step)
            else:
                next_after[before] = step
        return (_path(step, next_after) for step in first)

    def _check(self, final: str | None, inputs: Mapping[str, Any]) -> None:
        known = self._steps.keys() | inputs.keys()
        for step in self._steps.values():
            for need in step.needs:
                if need not in known:
                    raise BadValue(f"step {step.name!r} needs {need!r}, which is neither a step nor an input")
        both = self._steps.keys() & inputs.keys()
        if both:
            raise BadValue(f"{min(both)!r} is a step and an input; give one of them another name")
        if final is not None and final not in self._steps:
            raise BadValue(f"there is no step {final!r} to give the result of; there are {_listed(self._steps)}")
        try:
            TopologicalSorter({step.name: step.needs for step in self._steps.values()}).prepare()
        except CycleError as error:
            circle = " needs ".join(map(repr, reversed(error.args[1])))
            raise BadValue(f"the steps wait for each other for ever: {circle}") from None


def _path(step: _Step | None, next_after: Mapping[str, _Step]) -> Iterator[_Step]:
    while step is not None:
        yield step
        step = next_after.get(step.name)


def _are_there(names: list[str], results: Mapping[str, Any]) -> bool:
    """Whether there are results of these names; they are taken off the list, so none is looked for twice."""
    while names and names[-1] in results:
        names.pop()
    return not names


# Checks


def _names(step: str, needs: Iterable[str]) -> tuple[str, ...]:
    names = () if isinstance(needs, str) else tuple(needs)
    if isinstance(needs, str) or not all(isinstance(name, str) for name in names):
        raise BadValue(f"step {step!r}: needs is a tuple of names, such as needs=('fetch',), not {needs!r}")
    return names


def _check_options(step: _Step) -> None:
    if not makes_branch(step.fn):
        try:
            Save(step.fn, name=step.name, **step.options)
        except TypeError as error:
            raise BadValue(f"step {step.name!r}: {error}") from None
    elif step.options:
        raise BadValue(
            f"step {step.name!r} has the options {_listed(step.options)}, but {step_name(step.fn)} is no function "
            "to be saved: give the options to the commands that it yields"
        )


def _check_arguments(step: _Step) -> None:
    try:
        signature = inspect.signature(step.fn)
    except (TypeError, ValueError):  # some builtin functions have none
        return
    try:
        signature.bind(*step.needs)
    except TypeError as error:
        called = f"is called with the results of {_listed(step.needs)}" if step.needs else "needs nothing"
        raise BadValue(
            f"step {step.name!r} {called}, but its function is {step_name(step.fn)}{signature}: {error}"
        ) from None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
