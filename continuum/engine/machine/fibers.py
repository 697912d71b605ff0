"""The generators of one run: the root and its branches, and how they wait on each other.

A fiber is one generator with its own count of commands. It waits for a command (:class:`Waiting`),
or for a :class:`Group` of branches, or it stands in line to be run. Fibers run one at a time until
all of them wait: the order depends on nothing but the journal, so a replay runs them in the same one.

What commands mean is not known here; see :mod:`continuum.engine.machine.machine`.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import GEN_CREATED, getgeneratorstate
from types import FrameType, GeneratorType
from typing import Any, Final, Protocol

from continuum.commands import Command
from continuum.engine.machine.groups import Body, Group, body_of, branch_of, raising, summary
from continuum.engine.machine.outcome import NOTHING, discard
from continuum.engine.machine.replay import Journal, described
from continuum.engine.machine.teaching import explain_mapped, explain_unyielded, unyielded
from continuum.engine.machine.undo import UndoStack
from continuum.errors import BadCommand, Cancelled
from continuum.journal import Entry, Failure, Kind, Outcome, Position, Value
from continuum.place import place
from continuum.workflow import Invocation

__all__ = ["ENDED", "Fiber", "Fibers", "Waiting", "is_ours"]

ENDED: Final = object()
"""In place of a command: there is none any more."""

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_COMMAND_CODE: Final = Command.__iter__.__code__
_OUR_CODE: Final = frozenset({_COMMAND_CODE, raising.__code__, UndoStack.unwind.__code__})


class Fiber:
    """One generator of a run, its frame, and its count of commands."""

    __slots__ = ("body", "cancelled", "frame", "group", "index", "line", "lone", "next", "path", "started",
                 "waits_for")  # fmt: skip

    def __init__(self, path: Position, body: Body, group: Group | None = None, index: int = 0) -> None:
        self.path = path
        self.body = body
        self.lone = _is_lone(body)
        self.frame: FrameType | None = getattr(body, "gi_frame", None)
        self.line: int | None = None  # at which it ended
        self.group = group
        self.index = index
        self.next = 0
        self.started = False
        self.waits_for: Waiting | Group | None = None
        self.cancelled: Cancelled | None = None  # to be raised at the next command

    def position(self) -> Position:
        """Take the next position."""
        number = self.next
        self.next = number + 1
        return self.path + (number,)  # noqa: RUF005  # which takes half as long as to unpack it

    def where(self) -> str:
        """The line at which the fiber stands, in the innermost generator."""
        fiber: Fiber = self
        while fiber.lone and fiber.group is not None:
            fiber = fiber.group.fiber
        body: Any = fiber.body
        if type(body) is not GeneratorType:
            return str(body.where())
        while isinstance(body.gi_yieldfrom, GeneratorType) and not _is_lone(body.gi_yieldfrom):
            body = body.gi_yieldfrom
        frame = fiber.frame if body is fiber.body else body.gi_frame
        line = fiber.line or body.gi_code.co_firstlineno if frame is None else frame.f_lineno
        return place(body.gi_code, line)

    def end(self) -> None:
        """Remember where it ended, and let go of its frame, which keeps those that ran it in memory."""
        if self.frame is not None:
            self.line, self.frame = self.frame.f_lineno, None

    def delegate(self) -> object | None:
        """What the fiber delegates to by ``yield from`` though no result can be sent into it, such as a list."""
        body: Any = self.body
        while (body := body.gi_yieldfrom) is not None:
            if type(body) is not GeneratorType:
                return None if hasattr(body, "send") else body
        return None


class Waiting:
    """A command that has been issued and waits to be completed."""

    __slots__ = ("asked", "attempts", "begun", "command", "due", "fiber", "kind", "limit", "mark", "name",
                 "position")  # fmt: skip

    def __init__(self, fiber: Fiber, position: Position, kind: Kind, name: str, command: Command[Any]) -> None:
        self.fiber = fiber
        self.position = position
        self.kind = kind
        self.name = name
        self.command = command
        self.attempts = 0  # that have failed so far
        self.due: int | None = None  # of its timer, or of the next attempt
        self.mark: Entry | None = None  # of the last of them
        self.limit: int | None = None  # after which no attempt is to begin
        self.begun = False  # an at-most-once step's start is recorded
        self.asked = False  # the host is at work on it


class Owner(Protocol):
    """Who carries out what fibers ask for."""

    def issue(self, fiber: Fiber, command: Any) -> Outcome | None:
        """Carry a command out: its outcome, or None where the fiber has to wait."""

    def withdraw(self, waiting: Waiting, error: Cancelled) -> None:
        """A fiber was cancelled while it waits for a command."""

    def branch_failed(self, fiber: Fiber, failure: Failure) -> None:
        """A branch has ended with an error that its group goes by."""


class Fibers:
    """All fibers of a run, and the line of those that can go on."""

    __slots__ = ("_adopt", "_alive", "_journal", "_line", "_owner", "ended")

    def __init__(
        self,
        journal: Journal,
        owner: Owner,
        adopt: Callable[[Body], Body] | None = None,
    ) -> None:
        self._journal = journal
        self._owner: Owner = owner
        self._adopt = adopt  # gives what is run in place of a generator of the user's
        self._line: list[tuple[Fiber, Outcome]] = []
        self._alive: dict[Fiber, None] = {}  # in the order in which they came
        self.ended: Outcome | None = None  # of the fiber without a group

    def spawn(self, path: Position, body: Body, group: Group | None = None, index: int = 0) -> Fiber:
        """Put a new generator in line."""
        fiber = Fiber(path, body, group, index)
        self._alive[fiber] = None
        self._line.append((fiber, NOTHING))
        return fiber

    def begin(self, fiber: Fiber) -> Any:
        """Let the code of a new fiber, which is alone, run up to its first command, and give that; or ENDED."""
        self._line.clear()
        return self.step(fiber, NOTHING) if self._start(fiber) else ENDED

    def resume(self, fiber: Fiber, outcome: Outcome) -> None:
        """Put a fiber in line whose wait is over."""
        fiber.waits_for = None
        self._line.append((fiber, outcome))

    def run(self) -> bool:
        """Let every fiber in line go on until all of them wait or have ended; whether code of the workflow ran."""
        line, ran = self._line, False
        for fiber, outcome in line:  # which others may join meanwhile
            ran = ran or not fiber.lone
            self._advance(fiber, outcome)
        line.clear()
        return ran

    def cancel(self, fiber: Fiber, error: Cancelled) -> None:
        """Raise Cancelled at the fiber's yield; in a group, at the yields of its branches first."""
        doomed = [fiber]
        while doomed:
            each = doomed.pop()
            match each.waits_for:
                case Waiting() as waiting:
                    self._owner.withdraw(waiting, Cancelled(error.reason))
                case Group() as group:
                    if group.verdict is None:
                        doomed.extend(reversed(group.members.values()))
                    group.verdict = Failure(Cancelled(error.reason))
                case None:
                    each.cancelled = Cancelled(error.reason)

    def standing(self, root: Fiber, position: Position) -> tuple[Fiber, Position, str]:
        """Where the code stands instead of at `position`: the fiber, its position, what it does there."""
        fiber, index = _nearest(root, position)
        match fiber.waits_for:
            case None:
                return fiber, (), "nothing"
            case Waiting() as waiting:
                return fiber, waiting.position, described(waiting.kind, waiting.name)
            case Group() as group if index is None:
                return fiber, group.position, described(group.kind, "")
            case Group():
                return fiber, position, "nothing: the branch has ended, or there is none"

    def reach(self, root: Fiber, position: Position) -> bool:
        """Start the branch of `position` if it only waits for a slot.

        A journal that a retry has shortened may hold entries of branches that took the slot of one that
        had failed, and is now to be carried out again.
        """
        fiber, index = _nearest(root, position)
        group = fiber.waits_for
        if not isinstance(group, Group) or index is None or group.verdict is not None:
            return False
        if not group.started <= index < group.size:
            return False
        while group.started <= index:
            self._start_next(group)
        return True

    def discard(self) -> None:
        """Let go of every generator."""
        self._line.clear()
        for fiber in self._alive:
            discard(fiber.body)
            fiber.waits_for = fiber.frame = None  # nothing keeps it in memory
        self._alive.clear()

    def close(self) -> None:
        """Let go of the machine too, which would stay in memory otherwise until the collector comes round."""
        if self._owner is not _NOBODY:
            self.discard()
            self._owner = _NOBODY

    # A fiber goes on

    def _advance(self, fiber: Fiber, outcome: Outcome) -> None:
        if fiber.started or self._start(fiber):
            command = self.step(fiber, outcome)
            if command is not ENDED:
                self.take(fiber, command)

    def step(self, fiber: Fiber, outcome: Outcome) -> Any:
        """Let the code of a fiber run up to its next command, and give that; ENDED where there is none."""
        try:
            if isinstance(outcome, Value):
                return fiber.body.send(outcome.value)
            return fiber.body.throw(outcome.error)
        except StopIteration as stop:
            self._ended(fiber, _result(fiber, stop.value))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and not _is_of(outcome, error):
                raise  # meant for the host: the run goes on when the host does
            self._ended(fiber, Failure(error))
        return ENDED

    def take(self, fiber: Fiber, command: Any) -> None:
        """Carry out a fiber's command, and those after it, up to one for which it has to wait."""
        while command is not ENDED:
            answer: Outcome | None
            if fiber.cancelled is not None:
                answer, fiber.cancelled = Failure(fiber.cancelled), None
            else:
                answer = self._owner.issue(fiber, command)
            if answer is None:
                return
            command = self.step(fiber, answer)

    def _start(self, fiber: Fiber) -> bool:
        """Take up the generator of a new fiber; False where it has ended with that."""
        if fiber.cancelled is not None:
            discard(fiber.body)
            self._ended(fiber, Failure(fiber.cancelled))
            return False
        if _was_run(fiber.body):
            self._ended(fiber, Failure(_run_before(fiber)))
            return False
        fiber.started = True
        if self._adopt is not None and not is_ours(fiber.body):
            adopted = self._adopt(fiber.body)
            if adopted is not fiber.body:
                fiber.body.close()  # nobody is to run it as well
                fiber.body, fiber.frame = adopted, getattr(adopted, "gi_frame", None)
        return True

    def _ended(self, fiber: Fiber, outcome: Outcome) -> None:
        self._alive.pop(fiber, None)
        fiber.end()
        if fiber.group is None:
            self.ended = outcome
        else:
            self._member_ended(fiber.group, fiber, outcome)

    # Groups

    def branch_out(self, group: Group) -> None:
        """Start the branches of a new group, as many as may run at once; its fiber waits for it."""
        group.fiber.waits_for = group
        while group.started < group.limit:
            self._start_next(group)
        if not group.size:
            self._close(group)

    def _start_next(self, group: Group) -> None:
        index = group.started
        group.started += 1
        try:
            body = body_of(branch_of(group, index))
        except Exception as error:  # such as a function of a Map that does not take the item
            body = raising(error)
        group.members[index] = self.spawn((*group.position, index), body, group, index)
        if group.started == group.size:
            group.command = None  # which holds the branches, and each what it was given

    def _member_ended(self, group: Group, fiber: Fiber, outcome: Outcome) -> None:
        del group.members[fiber.index]
        if group.verdict is None:
            if isinstance(outcome, Failure):
                self._owner.branch_failed(fiber, outcome)
            self._count(group, fiber.index, outcome)
        if not group.members:
            self._close(group)

    def _count(self, group: Group, index: int, outcome: Outcome) -> None:
        match outcome:
            case Value(value) if group.kind is Kind.RACE:
                self._decide(group, Value((index, value)))
            case Value(value):
                group.results[index] = value
            case Failure(error) if group.tolerant and isinstance(error, Exception):
                group.results[index] = error
            case Failure():
                self._decide(group, outcome)
        if group.verdict is None and group.started < group.size:
            self._start_next(group)

    def _decide(self, group: Group, verdict: Outcome) -> None:
        group.verdict = verdict
        reason = "another branch won the race" if isinstance(verdict, Value) else "another branch failed"
        for member in list(group.members.values()):
            self.cancel(member, Cancelled(reason))

    def _close(self, group: Group) -> None:
        verdict = Value(group.results) if group.verdict is None else group.verdict
        self._journal.meet(group.position, group.kind, "", summary(group, verdict), group.fiber)
        self.resume(group.fiber, verdict)


class _Nobody:
    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the fibers of a machine that was discarded do nothing any more")


_NOBODY: Final[Any] = _Nobody()


def is_ours(body: Body) -> bool:
    """Whether it is no generator of the user's, but one that is made here."""
    return getattr(body, "gi_code", None) in _OUR_CODE


def _is_lone(body: Body) -> bool:
    """Whether it is a lone command as a branch."""
    return getattr(body, "gi_code", None) is _COMMAND_CODE


def _was_run(body: Body) -> bool:
    return isinstance(body, GeneratorType) and getgeneratorstate(body) != GEN_CREATED


def _run_before(fiber: Fiber) -> BadCommand:
    around = fiber.where() if fiber.group is None else fiber.group.fiber.where()
    return BadCommand(f"{around} has a branch that was run before; make a new generator of it")


def _result(fiber: Fiber, value: Any) -> Outcome:
    """What a generator gave back, unless that is something it should have yielded."""
    if type(value) in _PLAIN:
        return Value(value)
    if fiber.lone:  # a step may make a command for others to yield, but not one for each item
        mapped = isinstance(value, Command | Invocation) and fiber.group is not None and fiber.group.kind is Kind.MAP
        return Failure(explain_mapped(value, fiber.where())) if mapped else Value(value)
    left = unyielded(value)
    return Value(value) if left is None else Failure(explain_unyielded(left, value, fiber.where()))


def _is_of(outcome: Outcome, error: BaseException) -> bool:
    return isinstance(outcome, Failure) and outcome.error is error


def _nearest(root: Fiber, position: Position) -> tuple[Fiber, int | None]:
    """The fiber that stands nearest to a position, and the number of the branch of its that is missing."""
    fiber = root
    while isinstance(group := fiber.waits_for, Group):
        length = len(group.position)
        if len(position) <= length or position[:length] != group.position:
            return fiber, None
        if position[length] not in group.members:
            return fiber, position[length]
        fiber = group.members[position[length]]
    return fiber, None
