"""What a workflow may yield: frozen values, checked when they are made, without behaviour.

What a command means is told here; how it is carried out is the business of
:mod:`continuum.engine.machine`. Every command works by ``x = yield command`` and by
``x = yield from command``; the second form is typed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import FunctionType, GeneratorType
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar, overload
from uuid import UUID

from continuum.durations import Duration, nanoseconds, timestamp_of
from continuum.errors import BadValue, InvalidId, NotAWorkflow
from continuum.retry import Retry
from continuum.workflow import Invocation, Workflow

__all__ = [
    "All",
    "Call",
    "Command",
    "Count",
    "Ensure",
    "Handle",
    "Log",
    "Map",
    "Now",
    "Patch",
    "Publish",
    "Race",
    "Random",
    "Receive",
    "Retry",
    "Revert",
    "Save",
    "Send",
    "Sleep",
    "Start",
    "StepOptions",
    "Uuid4",
    "step",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])

Executor: TypeAlias = Literal["thread", "inline", "process"]
_EXECUTORS: Final = ("thread", "inline", "process")


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()

_set = object.__setattr__  # how a frozen value fills its own fields


class Command(Generic[T_co]):
    """The root of all commands; `T_co` is what the workflow gets back."""

    __slots__ = ()

    def __iter__(self) -> Generator[Command[Any], Any, T_co]:
        result: T_co = yield self
        return result


Branch: TypeAlias = Command[Any] | Generator[Any, Any, Any] | Invocation[Any]


# Steps


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

    def merged(
        self,
        retry: Retry | None,
        timeout: Duration | None,
        compensate: Callable[[Any], Any] | None,
        key: str | None,
        executor: Executor | None,
        at_most_once: bool | None,
        cache: Duration | None,
        once: str | None,
    ) -> StepOptions:
        """These options with every one replaced that is given. Raises BadValue for a bad one."""
        if retry is not None and not isinstance(retry, Retry):
            raise BadValue(f"retry must be a Retry, such as Retry(attempts=5), not {retry!r}")
        if executor is not None and executor not in _EXECUTORS:
            raise BadValue(f"executor must be one of {', '.join(_EXECUTORS)}, not {executor!r}")
        if compensate is not None:
            _check_step(compensate)
        limit = self.timeout if timeout is None else _positive(timeout, "timeout")
        return StepOptions(
            retry=self.retry if retry is None else retry,
            timeout=limit,
            compensate=self.compensate if compensate is None else compensate,
            key=self.key if key is None else _text(key, "key"),
            executor=self.executor if executor is None else executor,
            at_most_once=self.at_most_once if at_most_once is None else bool(at_most_once),
            cache=self.cache if cache is None else _positive(cache, "cache"),
            once=self.once if once is None else _text(once, "once"),
        )


_DEFAULTS: Final = StepOptions()
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

    Gives back what `fn` returned; raises what it raised. Raises BadValue for bad options.

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
    ) -> None: ...

    def __init__(
        self,
        fn: Callable[..., Any],
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
    ) -> None:
        plain = type(fn) is FunctionType and not fn.__code__.co_flags & _GENERATOR_FLAGS  # what most steps are
        if not plain:
            _check_step(fn)
        if name is None:
            name = fn.__name__ if plain else step_name(fn)
        options = getattr(fn, _ATTACHED, _DEFAULTS)
        given = (retry, timeout, compensate, key, executor, at_most_once, cache, once)
        if given != _NOTHING_GIVEN:
            options = options.merged(*given)
            if cache is not None:
                _check_findable(name)
        _set(self, "fn", fn)
        _set(self, "args", args)
        _set(self, "name", _text(name, "name"))
        _set(self, "options", options)


_NOTHING_GIVEN: Final = (None,) * 8


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
) -> Callable[[F], F]:
    """Attach defaults for Save to a function, which stays an ordinary function.

    >>> @step(retry=Retry(attempts=5))
    ... def charge(order_id): ...
    >>> Save(charge, "ord-1").options.retry.attempts
    5
    """
    options = _DEFAULTS.merged(retry, timeout, compensate, key, executor, at_most_once, cache, once)

    def attach(fn: F) -> F:
        _check_step(fn)
        if options.cache is not None:
            _check_findable(step_name(fn))
        setattr(fn, _ATTACHED, options)
        return fn

    return attach


def step_name(fn: Callable[..., Any]) -> str:
    """The name under which a function's results are recorded unless another is given."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    return getattr(fn, "__name__", None) or type(fn).__name__


# Waiting


@dataclass(frozen=True, slots=True, init=False)
class Sleep(Command[None]):
    """A durable timer: for a duration (seconds, timedelta or text), or `until` an aware datetime.

    The due time is recorded when the timer starts, so a restart neither shortens nor prolongs it.
    Raises BadValue unless exactly one of the two is given and makes sense.

    >>> Sleep("1h30m") == Sleep(5400)
    True
    """

    duration: int | None
    until: int | None

    def __init__(self, duration: Duration | None = None, *, until: datetime | None = None) -> None:
        if (duration is None) == (until is None):
            raise BadValue("Sleep takes either a duration or until=, one of them")
        _set(self, "duration", None if duration is None else nanoseconds(duration, "Sleep"))
        _set(self, "until", None if until is None else timestamp_of(until, "Sleep(until=)"))


@dataclass(frozen=True, slots=True, init=False)
class Receive(Command[Any]):
    """Wait for the next event of that name, first in, first out; events sent before are kept.

    With `timeout` it gives back `default` when none comes in time, or raises :exc:`ReceiveTimeout`
    where there is no default.

    >>> Receive("approved", timeout="2d", default=None).name
    'approved'
    """

    name: str
    timeout: int | None
    default: Any

    def __init__(self, name: str, timeout: Duration | None = None, default: Any = MISSING) -> None:
        _set(self, "name", _text(name, "the name of an event"))
        _set(self, "timeout", None if timeout is None else nanoseconds(timeout, "Receive(timeout=)"))
        _set(self, "default", default)


@dataclass(frozen=True, slots=True, init=False)
class Handle(Command[None]):
    """From now on call ``callback(payload)`` for each event of that name, in order of arrival.

    Callbacks run whenever a command is reached. They change the workflow's own state and do no
    work of their own: they run again on replay.
    """

    name: str
    callback: Callable[[Any], object]

    def __init__(self, name: str, callback: Callable[[Any], object]) -> None:
        _check_callable(callback, "the callback of Handle")
        _set(self, "name", _text(name, "the name of an event"))
        _set(self, "callback", callback)


@dataclass(frozen=True, slots=True, init=False)
class Ensure(Command[bool]):
    """Wait until ``predicate()`` holds; it is looked at again after each handled event.

    Raises :exc:`EnsureTimeout` when `timeout` passes first.
    """

    predicate: Callable[[], object]
    timeout: int | None

    def __init__(self, predicate: Callable[[], object], timeout: Duration | None = None) -> None:
        _check_callable(predicate, "the predicate of Ensure")
        _set(self, "predicate", predicate)
        _set(self, "timeout", None if timeout is None else nanoseconds(timeout, "Ensure(timeout=)"))


# What replay must see again


@dataclass(frozen=True, slots=True)
class Now(Command[datetime]):
    """The time at which it is reached first, as an aware datetime in UTC."""


@dataclass(frozen=True, slots=True)
class Random(Command[float]):
    """A random number, 0.0 <= x < 1.0."""


@dataclass(frozen=True, slots=True)
class Uuid4(Command[UUID]):
    """A random UUID."""


@dataclass(frozen=True, slots=True, init=False)
class Log(Command[None]):
    """Emit a message to the logger ``continuum.workflow``, with `fields` beside it, once: not on replay.

    It is recorded first; ``continuum logs`` shows what was, also if the worker died before it was emitted.
    """

    message: str
    fields: Mapping[str, Any]

    def __init__(self, message: str, /, **fields: Any) -> None:
        _set(self, "message", _text(message, "the message of Log", empty=True))
        _set(self, "fields", fields)


@dataclass(frozen=True, slots=True)
class Count:
    """In a :class:`Publish`: not a value but what is to be added to the one that is there, which begins at 0.

    Raises BadValue unless `amount` is an int or a float.

    >>> Publish(done=Count(), bytes=Count(4_096))
    Publish(state={'done': Count(amount=1), 'bytes': Count(amount=4096)})
    """

    amount: float = 1

    def __post_init__(self) -> None:
        if not isinstance(self.amount, int | float):
            raise BadValue(f"Count takes a number, not {self.amount!r}")


@dataclass(frozen=True, slots=True, init=False)
class Publish(Command[None]):
    """Set values that anyone can read with ``run.state()``; names not mentioned keep theirs.

    A :class:`Count` is added to what is there. Raises BadValue at the yield where that is no number.
    """

    state: Mapping[str, Any]

    def __init__(self, **state: Any) -> None:
        if not state:
            raise BadValue("Publish needs at least one name, such as Publish(progress=0.5)")
        _set(self, "state", state)


@dataclass(frozen=True, slots=True, init=False)
class Patch(Command[bool]):
    """True for runs that reach it first on new code, False for runs recorded without it."""

    name: str

    def __init__(self, name: str) -> None:
        _set(self, "name", _text(name, "the name of a patch"))


# Branches


@dataclass(frozen=True, slots=True, init=False)
class All(Command[list[Any]]):
    """Run branches side by side and give the list of their results, in the branches' order.

    A branch is a command, a generator or an Invocation. The first failure cancels the others and is
    raised; with `return_exceptions` the list holds the errors instead.
    """

    branches: tuple[Branch, ...]
    return_exceptions: bool

    def __init__(self, *branches: Branch, return_exceptions: bool = False) -> None:
        for branch in branches:
            _check_branch(branch, "All")
        _set(self, "branches", branches)
        _set(self, "return_exceptions", return_exceptions)


@dataclass(frozen=True, slots=True, init=False)
class Race(Command[tuple[int, Any]]):
    """Run branches side by side until one ends, and give (its index, its result).

    The others are cancelled. If the first to end raised, its error is raised.
    """

    branches: tuple[Branch, ...]

    def __init__(self, *branches: Branch) -> None:
        if not branches:
            raise BadValue("Race needs at least one branch: an empty one would never end")
        for branch in branches:
            _check_branch(branch, "Race")
        _set(self, "branches", branches)


@dataclass(frozen=True, slots=True, init=False)
class Map(Command[list[Any]]):
    """Apply `fn` to each item side by side, at most `limit` at a time; results in the items' order.

    A plain or async function is one step per item; a generator function or a workflow is one branch
    per item. Failures are treated as in :class:`All`.

    >>> Map(len, ["a", "bb"], limit=1).limit
    1
    """

    fn: Callable[[Any], Any]
    items: tuple[Any, ...]
    limit: int | None
    return_exceptions: bool

    def __init__(
        self,
        fn: Callable[[Any], Any],
        items: Iterable[Any],
        limit: int | None = None,
        *,
        return_exceptions: bool = False,
    ) -> None:
        if not makes_branch(fn):
            _check_step(fn)
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise BadValue(f"Map(limit=) must be 1 or more, not {limit!r}")
        _set(self, "fn", fn)
        _set(self, "items", tuple(items))
        _set(self, "limit", limit)
        _set(self, "return_exceptions", return_exceptions)

    def branch(self, index: int) -> Branch:
        """The branch for the item at `index`."""
        item = self.items[index]
        if makes_branch(self.fn):
            made: Branch = self.fn(item)
            return made
        return Save(self.fn, item)


def makes_branch(fn: object) -> bool:
    """Whether a call of it makes a branch: of a generator function or a workflow; else it is a step."""
    return isinstance(fn, Workflow) or inspect.isgeneratorfunction(fn)


# Other runs


@dataclass(frozen=True, slots=True, init=False)
class Call(Command[T_co]):
    """Run an Invocation as a child run and wait for its result; its failure is raised as RunFailed.

    The child's id is made from the parent's and the position, or is `id`. It waits in `queue` (default:
    its workflow's, else the parent's), and has `timeout` from its start to its end (seconds, a timedelta
    or text; default: its workflow's); one that is late raises :exc:`RunTimedOut`. Raises BadValue, InvalidId.
    """

    invocation: Invocation[Any]
    id: str | None
    queue: str | None
    timeout: int | None

    def __init__(
        self: Call[T],
        invocation: Invocation[T],
        id: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        _set(self, "invocation", _check_invocation(invocation, "Call"))
        _set(self, "id", None if id is None else check_id(id))
        _set(self, "queue", None if queue is None else check_queue(queue))
        _set(self, "timeout", None if timeout is None else _positive(timeout, "Call(timeout=)"))


@dataclass(frozen=True, slots=True, init=False)
class Start(Command[str]):
    """Start an Invocation as a run of its own and give back its id; nobody waits for it.

    `id`, `queue` and `timeout` are as in :class:`Call`.
    """

    invocation: Invocation[Any]
    id: str | None
    queue: str | None
    timeout: int | None

    def __init__(
        self,
        invocation: Invocation[Any],
        id: str | None = None,
        queue: str | None = None,
        timeout: Duration | None = None,
    ) -> None:
        _set(self, "invocation", _check_invocation(invocation, "Start"))
        _set(self, "id", None if id is None else check_id(id))
        _set(self, "queue", None if queue is None else check_queue(queue))
        _set(self, "timeout", None if timeout is None else _positive(timeout, "Start(timeout=)"))


@dataclass(frozen=True, slots=True, init=False)
class Send(Command[None]):
    """Send an event to another run, exactly once. Raises RunNotFound or RunFinished at the yield."""

    run_id: str
    name: str
    payload: Any

    def __init__(self, run_id: str, name: str, payload: Any = None) -> None:
        _set(self, "run_id", check_id(run_id))
        _set(self, "name", _text(name, "the name of an event"))
        _set(self, "payload", payload)


# Ends


@dataclass(frozen=True, slots=True, init=False)
class Revert(Command[Any]):
    """Run the compensations of the saved steps, last first, then end the run as reverted."""

    reason: str

    def __init__(self, reason: str = "") -> None:
        _set(self, "reason", _text(reason, "the reason of Revert", empty=True))


# Checks


_DIRECTION_MARKS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def check_id(run_id: object) -> str:
    """The run id itself, if it is one. Raises InvalidId."""
    if not isinstance(run_id, str):
        raise InvalidId(f"a run id is text, not {type(run_id).__name__}")
    try:
        length = len(run_id.encode())
    except UnicodeEncodeError:
        raise InvalidId(f"a run id must be encodable as UTF-8: {run_id!r}") from None
    if not 0 < length <= 128:
        raise InvalidId(f"a run id has 1 to 128 bytes of UTF-8; this one has {length}")
    if not run_id.isprintable() or not _DIRECTION_MARKS.isdisjoint(run_id):
        raise InvalidId(f"a run id holds printable characters only: {run_id!r}")
    return run_id


def check_queue(queue: object) -> str:
    """The queue's name itself, if it is one. Raises BadValue."""
    if not isinstance(queue, str) or not queue.isprintable() or not 0 < len(queue.encode()) <= 128:
        raise BadValue(f"a queue's name must be 1 to 128 bytes of printable text, not {queue!r}")
    return queue


def _text(text: object, what: str, *, empty: bool = False) -> str:
    if not isinstance(text, str) or (not text and not empty):
        raise BadValue(f"{what} must be text{'' if empty else ' and not empty'}, not {text!r}")
    return text


def _positive(duration: Duration, what: str) -> int:
    length = nanoseconds(duration, what)
    if not length:
        raise BadValue(f"{what} must be more than nothing")
    return length


def _check_callable(fn: object, what: str) -> None:
    if not callable(fn):
        raise BadValue(f"{what} must be a function, not {fn!r}")


def _check_step(fn: object) -> None:
    if not callable(fn):
        hint = " (give the function and its arguments, not a call of it)" if isinstance(fn, Awaitable) else ""
        raise BadValue(f"a step must be a function, not {type(fn).__name__}{hint}")
    code = getattr(fn, "__code__", None)
    if code is not None and code.co_flags & _GENERATOR_FLAGS:
        raise BadValue(
            f"{step_name(fn)} is a generator function: use `yield from {step_name(fn)}(...)` to inline it, "
            "or a plain function as the step"
        )
    if isinstance(fn, Workflow):
        raise BadValue(f"{fn.name!r} is a workflow: use Call({fn.name}(...)) to run it as a child")


def _check_findable(name: str) -> None:
    if name == "<lambda>":
        raise BadValue("cache= of a lambda: results are found again by the function's name; give name=, or use def")


_GENERATOR_FLAGS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR


def _check_branch(branch: object, what: str) -> None:
    if isinstance(branch, Command | GeneratorType | Invocation):
        return
    if isinstance(branch, Workflow) or inspect.isgeneratorfunction(branch):
        raise BadValue(f"a branch of {what} must be called: {step_name(branch)}(...)")
    hint = f"; wrap it: Save({step_name(branch)})" if callable(branch) else ""
    raise BadValue(f"a branch of {what} is a command, a generator or an Invocation, not {branch!r}{hint}")


def _check_invocation(invocation: object, what: str) -> Invocation[Any]:
    if not isinstance(invocation, Invocation):
        hint = f"; call it: {invocation.name}(...)" if isinstance(invocation, Workflow) else ""
        raise NotAWorkflow(f"{what} takes a called workflow, not {invocation!r}{hint}")
    return invocation
