"""Steps: the command that runs one, how it is to be run, and what may be one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from types import FunctionType
from typing import Any, Final, Literal, TypeAlias, TypeVar, overload

from continuum.checks import check_positive, check_text, check_yielded
from continuum.command import Command, fill
from continuum.durations import Duration
from continuum.errors import BadArguments, BadValue
from continuum.limit import Limit
from continuum.retry import Retry
from continuum.workflow import Invocation, Workflow

__all__ = ["Executor", "Save", "StepOptions", "check_step", "step", "step_name"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])

Executor: TypeAlias = Literal["thread", "inline", "process"]
_EXECUTORS: Final = ("thread", "inline", "process")

_GENERATOR_FLAGS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


@dataclass(frozen=True, slots=True)
class StepOptions:
    """How a step is to be run. `timeout` and `cache` are nanoseconds; `executor` None lets the function decide."""

    retry: Retry = Retry.none
    timeout: int | None = None
    compensate: Callable[[Any], Any] | None = None
    key: str | None = None
    executor: Executor | None = None
    at_most_once: bool = False
    cache: int | None = None
    once: str | None = None
    limit: Limit | None = None
    plain: bool = field(init=False, repr=False, compare=False)
    """Whether each attempt at it can begin at once: nothing is to be asked or recorded before."""

    def __post_init__(self) -> None:
        asks = self.cache is not None or self.once is not None or self.limit is not None
        fill(self, "plain", not (asks or self.at_most_once or self.retry.max_elapsed is not None))

    def merged(
        self,
        *,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        compensate: Callable[[Any], Any] | None = None,
        key: str | None = None,
        executor: Executor | None = None,
        at_most_once: bool | None = None,
        cache: Duration | None = None,
        once: str | None = None,
        limit: Limit | None = None,
    ) -> StepOptions:
        """These options with every one replaced that is given. Raises BadValue for a bad one."""
        if retry is not None and not isinstance(retry, Retry):
            raise BadValue(f"retry must be a Retry, such as Retry(attempts=5), not {retry!r}")
        if executor is not None and executor not in _EXECUTORS:
            raise BadValue(f"executor must be one of {', '.join(_EXECUTORS)}, not {executor!r}")
        if compensate is not None:
            check_step(compensate)
        if limit is not None and not isinstance(limit, Limit):
            raise BadValue(f"limit must be a Limit, such as Limit(concurrency=3), not {limit!r}")
        return StepOptions(
            retry=self.retry if retry is None else retry,
            timeout=self.timeout if timeout is None else check_positive(timeout, "timeout"),
            compensate=self.compensate if compensate is None else compensate,
            key=self.key if key is None else _check_key(key),
            executor=self.executor if executor is None else executor,
            at_most_once=self.at_most_once if at_most_once is None else bool(at_most_once),
            cache=self.cache if cache is None else check_positive(cache, "cache"),
            once=self.once if once is None else check_text(once, "once"),
            limit=self.limit if limit is None else limit,
        )


_DEFAULTS: Final = StepOptions()
_OPTIONS: Final = tuple(each.name for each in fields(StepOptions) if each.init)
_ATTACHED: Final = "__continuum_step__"


@dataclass(frozen=True, slots=True, init=False)
class Save(Command[T_co]):
    """Run a step, ``fn(*args)``, and remember its result: a recorded step never runs again.

    `fn` is an ordinary function, sync or async; for keyword arguments use functools.partial. Sync
    functions run in a thread, async ones on the host's loop; `executor` chooses ``"thread"``,
    ``"inline"`` (on the loop: for what returns at once) or ``"process"`` (a worker process: for what
    needs a core, or must be killable). `retry` is a :class:`Retry` (default: one attempt), `timeout` a
    duration for each attempt, after which :exc:`StepTimeout` is raised. ``compensate(result)`` undoes
    the step when the run reverts. With `at_most_once` the start is recorded first, and after a crash
    :exc:`StepUncertain` is raised in place of a second run. `name` is what the history shows
    (default: the function's name).

    Results can be shared between runs. `cache` is a duration for which a result is given to every step of
    the same name, function and arguments. `once` is a key: of all steps with that key one is performed, the
    others wait for its result; if it fails for good, the next one is performed. With both, the key is free
    again after that time. A shared result is undone by the run that made it.

    `limit`, a :class:`Limit`, bounds how many attempts at steps of that name are under way at a time, and how
    many begin in a time, in all runs and workers of the store; the others wait for their turn.

    `key` is for runs whose history is deleted, by Compact: of the steps of a run with that key the last one that gave
    a value stays in its history, for whoever reads it from outside.

    Gives back what `fn` returned; raises what it raised. Raises BadValue for bad options, BadArguments for
    those that there are not.

    >>> Save(max, 3, 5).name
    'max'
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    name: str
    options: StepOptions

    @overload
    def __init__(
        self: Save[T],
        fn: Callable[..., Coroutine[Any, Any, T]],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        compensate: Callable[[Any], Any] | None = None,
        key: str | None = None,
        executor: Executor | None = None,
        at_most_once: bool | None = None,
        cache: Duration | None = None,
        once: str | None = None,
        limit: Limit | None = None,
    ) -> None: ...

    @overload
    def __init__(
        self: Save[T],
        fn: Callable[..., T],
        *args: Any,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: Duration | None = None,
        compensate: Callable[[Any], Any] | None = None,
        key: str | None = None,
        executor: Executor | None = None,
        at_most_once: bool | None = None,
        cache: Duration | None = None,
        once: str | None = None,
        limit: Limit | None = None,
    ) -> None: ...

    def __init__(self, fn: Callable[..., Any], *args: Any, name: str | None = None, **given: Any) -> None:
        plain = type(fn) is FunctionType and not fn.__code__.co_flags & _GENERATOR_FLAGS  # what most steps are
        if not plain:
            check_step(fn)
        if name is not None:
            check_text(name, "name")
        else:
            name = fn.__name__ if plain else step_name(fn)
        for argument in args:
            if isinstance(argument, Command):
                check_yielded(args, f"an argument of Save {name!r}")
        options = getattr(fn, _ATTACHED, _DEFAULTS) if plain else _attached(fn)
        if given:
            options = _with_options(options, given, fn, name)
        _set_fn(self, fn)
        _set_args(self, args)
        _set_name(self, name)
        _set_options(self, options)


_LONGEST_KEY: Final = 1_000

# One is made for every step: filled through its slots it takes a third less time than by `fill`.
_set_fn, _set_args, _set_name, _set_options = (
    Save.__dict__[slot].__set__ for slot in ("fn", "args", "name", "options")
)


@overload
def step(fn: F, /) -> F: ...


@overload
def step(
    *,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    compensate: Callable[[Any], Any] | None = None,
    key: str | None = None,
    executor: Executor | None = None,
    at_most_once: bool | None = None,
    cache: Duration | None = None,
    once: str | None = None,
    limit: Limit | None = None,
) -> Callable[[F], F]: ...


def step(
    fn: Any = None,
    /,
    *,
    retry: Retry | None = None,
    timeout: Duration | None = None,
    compensate: Callable[[Any], Any] | None = None,
    key: str | None = None,
    executor: Executor | None = None,
    at_most_once: bool | None = None,
    cache: Duration | None = None,
    once: str | None = None,
    limit: Limit | None = None,
) -> Any:
    """Attach defaults for Save to a function, which stays an ordinary function. Bare, it attaches none.

    A functools.partial of it has them, too.

    >>> @step(retry=Retry(attempts=5))
    ... def charge(order_id): ...
    >>> Save(charge, "ord-1").options.retry.attempts
    5
    """
    options = _DEFAULTS.merged(
        retry=retry,
        timeout=timeout,
        compensate=compensate,
        key=key,
        executor=executor,
        at_most_once=at_most_once,
        cache=cache,
        once=once,
        limit=limit,
    )

    def attach(fn: F) -> F:
        function: Any = fn.__func__ if isinstance(fn, staticmethod | classmethod) else fn
        check_step(function)
        if options.cache is not None:
            _check_findable(step_name(function))
        if options.executor is not None:
            _check_executor(function, options.executor)
        try:
            setattr(function, _ATTACHED, options)
        except AttributeError:
            raise BadValue(
                f"nothing can be attached to {function!r}: define a function that calls it, or give the options to Save"
            ) from None
        return fn

    return attach if fn is None else attach(fn)


def step_name(fn: Callable[..., Any]) -> str:
    """The name under which a function's results are recorded unless another is given."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__name__", None) or type(fn).__name__


def _attached(fn: Callable[..., Any]) -> StepOptions:
    """What was attached to a function, or to the one that it is a partial of."""
    while isinstance(fn, functools.partial) and not hasattr(fn, _ATTACHED):
        fn = fn.func
    options: StepOptions = getattr(fn, _ATTACHED, _DEFAULTS)
    return options


def _with_options(options: StepOptions, given: dict[str, Any], fn: Callable[..., Any], name: str) -> StepOptions:
    """The options that a function has, and those that are given to Save for it. Raises BadArguments and BadValue."""
    for keyword in given:
        if keyword not in _OPTIONS:
            raise BadArguments(_explain_keyword(keyword, step_name(fn)))
    options = options.merged(**given)
    if given.get("cache") is not None:
        _check_findable(name)
    if given.get("executor") is not None:
        _check_executor(fn, given["executor"])
    return options


def check_step(fn: object) -> None:
    """Raise BadValue unless it can be a step."""
    if isinstance(fn, Workflow):
        raise BadValue(f"{fn.name!r} is a workflow: use Call({fn.name}(...)) to run it as a child")
    if not callable(fn):
        raise BadValue(f"a step must be a function, not {_explain_value(fn)}")
    code = getattr(fn, "__code__", None)
    if code is None or not code.co_flags & _GENERATOR_FLAGS:
        return
    name = step_name(fn)
    if code.co_flags & inspect.CO_ASYNC_GENERATOR:
        raise BadValue(f"{name} is an async generator function: save an async function that collects what it gives")
    raise BadValue(
        f"{name} is a generator function: use `yield from {name}(...)` to inline it, or a plain function as the step"
    )


def _explain_value(value: object) -> str:
    """What stands where a function belongs, and what to write instead."""
    match value:
        case Invocation():
            name = value.workflow.name
            return f"the invocation {value!r}: use `yield Call({name}(...))`, or `yield from {name}(...)` to inline it"
        case Command():
            kind = type(value).__name__
            return f"the command {kind}(...), which is yielded by itself: `yield {kind}(...)`"
        case Generator():
            return "a generator: use `yield from` to inline it"
        case AsyncGenerator():
            return "an async generator: save an async function that collects what it gives"
        case _:
            if isinstance(value, Coroutine):
                value.close()
            kind = type(value).__name__
            return f"{kind}: give the function and its arguments, not a call of it: Save(fn, 1) and not Save(fn(1))"


def _explain_keyword(keyword: str, function: str) -> str:
    """What to do about a keyword argument that Save does not know."""
    near = get_close_matches(keyword, ("name", *_OPTIONS), n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return (
        f"Save got an unexpected keyword argument {keyword!r}; {meant}"
        f"An argument of the step itself goes by functools.partial: Save(partial({function}, {keyword}=...))"
    )


def _check_executor(fn: Callable[..., Any], executor: str) -> None:
    if executor != "inline" and inspect.iscoroutinefunction(fn):
        raise BadValue(
            f"{step_name(fn)} is an async function, which runs on the loop: leave out executor={executor!r}, or save a "
            "plain function"
        )


def _check_key(key: object) -> str:
    text = check_text(key, "key")
    if len(text) > _LONGEST_KEY:
        raise BadValue(f"key must be {_LONGEST_KEY:,} characters at the most, not {len(text):,}")
    return text


def _check_findable(name: str) -> None:
    if name == "<lambda>":
        raise BadValue("cache= of a lambda: results are found again by the function's name; give name=, or use def")
