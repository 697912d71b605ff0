"""What a workflow is: the decorator, the Invocation that a call of it makes, and the registry.

Calling a workflow runs nothing. The arguments are checked against the signature at once, and what
comes back is a value that can be started, called as a child, used as a branch, or inlined.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from types import FunctionType
from typing import Any, Generic, Literal, ParamSpec, SupportsIndex, TypeVar, overload

from continuum.durations import Duration, nanoseconds
from continuum.errors import BadArguments, BadValue, NotAWorkflow, UnknownWorkflow
from continuum.limit import Limit
from continuum.place import place

__all__ = ["Invocation", "Registry", "Workflow", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
Body = Generator[Any, Any, R]


@dataclass(frozen=True, slots=True)
class Invocation(Generic[R_co]):
    """A workflow together with checked arguments. ``yield from`` runs it inline in another workflow."""

    workflow: Workflow[..., R_co]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Generator[Any, Any, R_co]:
        return self.body()

    def body(self) -> Generator[Any, Any, R_co]:
        """A fresh generator of the workflow's code."""
        return self.workflow.function(*self.args, **self.kwargs)

    def __repr__(self) -> str:
        shown = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.workflow.name}({', '.join(shown)})"


class Workflow(Generic[P, R]):
    """A generator function that can be executed durably, made by :func:`workflow`."""

    def __init__(
        self,
        function: Callable[P, Body[R]],
        *,
        name: str | None = None,
        version: str = "1",
        queue: str | None = None,
        timeout: Duration | None = None,
        compensate_on_failure: bool = False,
        limit: Limit | None = None,
        history: Literal["forever", "since_continuation"] = "forever",
    ) -> None:
        _check_function(function)
        self.function = function
        self.name = _checked_label(function.__name__ if name is None else name, "the name of a workflow")
        self.version = _checked_label(version, "the version of a workflow")
        self.queue = None if queue is None else _checked_label(queue, "the queue of a workflow")
        self.timeout = None if timeout is None else nanoseconds(timeout, "workflow(timeout=)")
        self.compensate_on_failure = compensate_on_failure
        if limit is not None and not isinstance(limit, Limit):
            raise BadValue(f"workflow(limit=) must be a Limit, such as Limit(concurrency=3), not {limit!r}")
        self.limit = limit
        if history not in ("forever", "since_continuation"):
            raise BadValue(f"workflow(history=) must be 'forever' or 'since_continuation', not {history!r}")
        self.history = history
        self.signature = inspect.signature(function)
        # A call of a generator function runs none of it, and checks its arguments far faster than a Signature.
        plain = type(function) is FunctionType and not hasattr(function, "__wrapped__")
        self._bind: Callable[..., object] = function if plain else self.signature.bind
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Invocation[R]:
        """Check the arguments and give the Invocation. Raises BadArguments; nothing is run."""
        try:
            self._bind(*args, **kwargs)
        except TypeError as error:
            what = str(error).removeprefix(f"{self.function.__qualname__}() ")
            raise BadArguments(f"{self.name}{self.signature}: {what}") from None
        return Invocation(self, args, kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Workflow[P, R]:
        if instance is not None:
            raise NotAWorkflow(
                f"workflow {self.name!r} is defined in a class; a workflow is a function of its module or "
                "a staticmethod, since an instance would have to be stored with every run"
            )
        return self

    def __repr__(self) -> str:
        return f"<workflow {self.name!r} version {self.version!r}>"

    @property
    def import_name(self) -> str | None:
        """The name by which its module has it; None where other programs cannot import it by that.

        They cannot where it was defined in the main program, in a notebook, or by another function.
        """
        module = sys.modules.get(self.__module__)
        if module is None or self.__module__ == "__main__":
            return None
        path: str = getattr(self, "__qualname__", "")
        found: object = module
        for name in path.split("."):
            found = getattr(found, name, None)
        if found is self:
            return path
        return next((name for name, value in vars(module).items() if value is self), None)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        """Pickled by its name where that leads to it, else by its parts."""
        return self.import_name or super().__reduce_ex__(protocol)


@overload
def workflow(function: Callable[P, Body[R]], /) -> Workflow[P, R]: ...


@overload
def workflow(
    *,
    name: str | None = None,
    version: str = "1",
    queue: str | None = None,
    timeout: Duration | None = None,
    compensate_on_failure: bool = False,
    limit: Limit | None = None,
    history: Literal["forever", "since_continuation"] = "forever",
) -> Callable[[Callable[P, Body[R]]], Workflow[P, R]]: ...


def workflow(
    function: Callable[P, Body[R]] | None = None, /, **options: Any
) -> Workflow[P, R] | Callable[[Callable[P, Body[R]]], Workflow[P, R]]:
    """Make a workflow of a generator function.

    `name` is how runs refer to it (default: the function's own name), `version` a label that a worker
    must have to take a run, `queue` where its runs wait unless start says otherwise, `timeout` a
    deadline for each run (seconds, a timedelta, or text such as ``"2h"``). With
    `compensate_on_failure` a run that fails undoes its saved steps and ends as reverted. `limit`, a
    :class:`Limit`, bounds how many runs of it have begun and not ended, and how many begin in a time. With
    ``history="since_continuation"`` the history behind each continuation is deleted.

    Raises NotAWorkflow for anything but a plain generator function, BadValue for a bad option.

    >>> from continuum import Save, workflow
    >>> @workflow
    ... def greet(name: str):
    ...     return (yield Save(str.title, name))
    >>> greet("ada")
    greet('ada')
    """
    if function is not None:
        return Workflow(function)
    return lambda decorated: Workflow(decorated, **options)


def _check_function(function: object) -> None:
    code = getattr(function, "__code__", None)
    shown = repr(function) if code is None else place(code, code.co_firstlineno)
    if isinstance(function, Workflow):
        raise NotAWorkflow(f"{shown} is a workflow already; decorate it once")
    if inspect.isasyncgenfunction(function) or inspect.iscoroutinefunction(function):
        raise NotAWorkflow(
            f"{shown} is async; a workflow is a plain `def` with `yield` (its steps may be async functions)"
        )
    if not inspect.isgeneratorfunction(function):
        raise NotAWorkflow(
            f"{shown} is not a generator function: a workflow is a `def` that yields commands, "
            "such as `result = yield Save(step, argument)`; perhaps the `yield` was forgotten"
        )


def _checked_label(label: object, what: str) -> str:
    if not isinstance(label, str) or not label.isprintable() or not 0 < len(label.encode()) <= 128:
        raise BadValue(f"{what} must be 1 to 128 bytes of printable text, not {label!r}")
    return label


class Registry:
    """The workflows that one engine knows, by name."""

    def __init__(self, workflows: Iterable[Workflow[..., Any]] = ()) -> None:
        self._workflows: dict[str, Workflow[..., Any]] = {}
        if isinstance(workflows, Workflow | str) or not isinstance(workflows, Iterable):
            such = workflows.name if isinstance(workflows, Workflow) else "order"
            raise BadValue(f"workflows must be a list of workflows, such as [{such}], not {workflows!r}")
        for each in workflows:
            self.add(each)

    def add(self, added: object) -> None:
        """Register a workflow. Raises NotAWorkflow, or BadValue for a second one of the same name."""
        if isinstance(added, Invocation):
            raise NotAWorkflow(
                f"{added!r} is not a workflow but a call of one; give the workflow itself: {added.workflow.name}"
            )
        if not isinstance(added, Workflow):
            shown = getattr(added, "__qualname__", repr(added))
            raise NotAWorkflow(f"{shown} is not a workflow; decorate its generator function with @workflow")
        if self._workflows.setdefault(added.name, added) is not added:
            raise BadValue(f"two workflows are called {added.name!r}; give one another name=")

    def get(self, name: str) -> Workflow[..., Any] | None:
        """The workflow of that name, or None."""
        return self._workflows.get(name)

    def __getitem__(self, name: str) -> Workflow[..., Any]:
        try:
            return self._workflows[name]
        except KeyError:
            raise UnknownWorkflow(name, self._workflows) from None

    def __iter__(self) -> Iterator[Workflow[..., Any]]:
        return iter(self._workflows.values())

    def __len__(self) -> int:
        return len(self._workflows)
