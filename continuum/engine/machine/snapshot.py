"""The state of a machine as plain data, and a machine made of it again.

A machine that is made of a snapshot goes on without a replay of what lies before: it is fed
``Started(tail)``, with what was recorded since the snapshot was taken, and from there on nobody can tell
it from one that has replayed the whole journal. Like that one it asks again for all that it waits for.

What a snapshot holds is dicts, lists, tuples, numbers and text, whatever the classes of the machine look
like, and a format number. What belongs to the user stands in it as it is: generators, commands, values,
errors, callbacks. Turning those into bytes is for :mod:`continuum.engine.continuation`. All of it has to
be turned into bytes as one, since the same error or variable may be reached from several places.

Not in it are: what a run is started with (its id, seed, deadline, code), and the events that have come
and that nobody has asked for. Those are in the store's inbox until they are recorded, and are told again.

This module and :mod:`continuum.engine.machine.takeover` alone look into the machine from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import GEN_CREATED, getgeneratorstate
from typing import Any, Final, NotRequired, TypeAlias, TypedDict

from continuum.commands import All, Command, Map, Save
from continuum.context import enter, leave
from continuum.engine.machine.attempts import note_attempt
from continuum.engine.machine.failures import Failures
from continuum.engine.machine.fibers import Fiber, Waiting, is_ours
from continuum.engine.machine.groups import Body, Group
from continuum.engine.machine.inbox import Handler
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.undo import UndoStack
from continuum.journal import Entry, Failure, Kind, Outcome, Position, Value

__all__ = ["FORMAT", "Snapshot", "restore", "take"]

FORMAT: Final = 1
"""To be raised when a snapshot means something else than before. Then :func:`restore` has to learn to read both,
for a run whose history was deleted has nothing else to go on from."""

Told: TypeAlias = tuple[bool, Any]
"""An outcome: whether it is a value, and the value or the error."""


class FiberState(TypedDict):
    """A fiber; the first one is the root, each other one the branch that its path tells."""

    path: Position
    next: int
    body: Body | None
    """None for what the machine makes itself: a lone command as a branch, the undoing."""


class GroupState(TypedDict):
    """Branches side by side, for which the fiber waits that has the position."""

    position: Position
    kind: str
    size: int
    limit: int
    tolerant: bool
    begun: int
    rest: Map | None
    """Gives the branches that have not begun, if there are any."""
    results: list[Any]
    verdict: Told | None


class WaitingState(TypedDict):
    """A command for which the fiber waits that has the position."""

    position: Position
    kind: str
    name: str
    command: Command[Any]
    due: NotRequired[int]
    limit: NotRequired[int]
    begun: NotRequired[bool]
    failed: NotRequired[tuple[int, BaseException]]
    """How many attempts have failed, and the error of the last of them; the next one is `due`."""


class HandlerState(TypedDict):
    """A callback for events, and how many it has taken."""

    position: Position
    name: str
    callback: Callable[[Any], object]
    taken: int


class UndoState(TypedDict):
    """What can be undone, newest last; where the undoing stands, or will, and why, once it is decided."""

    steps: list[tuple[Save[Any], Any]]
    position: Position | None
    cause: Told


class Snapshot(TypedDict):
    """All of it."""

    format: int
    family: str
    """The run, and how often it has gone on as another workflow."""
    fibers: list[FiberState]
    """In the order in which they began."""
    groups: list[GroupState]
    waiting: list[WaitingState]
    """In the order in which they were asked for."""
    handlers: list[HandlerState]
    undo: UndoState
    stopping: tuple[str, str] | None
    """Why the run is to end, if it is: the name of the entry that says so, and the reason."""
    patches: dict[str, bool]
    published: dict[str, Any]
    failures: list[tuple[int, Position, BaseException]]
    """Which command failed with which error, with a running number: those that are still held by something."""


def take(machine: Machine) -> Snapshot | str:
    """The state of a machine that waits, or why there is none to be had.

    The generators and what they hold are not copied: they are to be turned into bytes before the machine is fed again.
    """
    reason = _why_not(machine)
    if reason is not None:
        return reason
    fibers = list(machine.fibers._alive)
    undo = machine.undo
    return {
        "format": FORMAT,
        "family": machine.family,
        "fibers": [_fiber_state(fiber) for fiber in fibers],
        "groups": [_group_state(fiber.waits_for) for fiber in fibers if isinstance(fiber.waits_for, Group)],
        "waiting": [_waiting_state(waiting) for waiting in machine.waiting.values()],
        "handlers": [_handler_state(name, handler) for name, handler in machine.inbox.handlers.items()],
        "undo": {"steps": list(undo.steps), "position": undo.position, "cause": _told(undo.cause)},
        "stopping": None if machine.stopping is None else (machine.stopping, machine.stop_reason or ""),
        "patches": dict(machine.patches),
        "published": dict(machine.state),
        "failures": machine.failures.held(),
    }


def _why_not(machine: Machine) -> str | None:
    if machine.finished:
        return "the run has ended, or its code does not fit its journal"
    if not machine.journal.live or machine.journal.recall is not None:
        return "what is recorded of the run has not been replayed to its end"
    if machine.fibers._line or not all(fiber.started and fiber.waits_for for fiber in machine.fibers._alive):
        return "the code of the run has not come to a place where all of it waits"
    return None


def _told(outcome: Outcome) -> Told:
    return (True, outcome.value) if isinstance(outcome, Value) else (False, outcome.error)


def _outcome(told: Told) -> Outcome:
    return Value(told[1]) if told[0] else Failure(told[1])


def _fiber_state(fiber: Fiber) -> FiberState:
    return {"path": fiber.path, "next": fiber.next, "body": None if is_ours(fiber.body) else fiber.body}


def _group_state(group: Group) -> GroupState:
    return {
        "position": group.position,
        "kind": group.kind.value,
        "size": group.size,
        "limit": group.limit,
        "tolerant": group.tolerant,
        "begun": group.started,
        "rest": group.command if isinstance(group.command, Map) and group.started < group.size else None,
        "results": list(group.results),
        "verdict": None if group.verdict is None else _told(group.verdict),
    }


def _waiting_state(waiting: Waiting) -> WaitingState:
    mark = waiting.mark
    due = waiting.due if mark is None else mark.ref  # the same for an attempt that is under way
    state: WaitingState = {
        "position": waiting.position,
        "kind": waiting.kind.value,
        "name": waiting.name,
        "command": waiting.command,
    }
    if due is not None:
        state["due"] = due
    if waiting.limit is not None:
        state["limit"] = waiting.limit
    if waiting.begun:
        state["begun"] = True
    if mark is not None and isinstance(mark.outcome, Failure):
        state["failed"] = mark.attempts, mark.outcome.error
    return state


def _handler_state(name: str, handler: Handler) -> HandlerState:
    return {"position": handler.position, "name": name, "callback": handler.callback, "taken": handler.taken}


# And back


def restore(snapshot: Snapshot, make: Callable[[Body], Machine]) -> Machine | str:
    """A machine in that state, to be fed ``Started(tail)``, or why it cannot be had.

    `make` makes a fresh machine of the run with that body. The generators of the snapshot go over to it. One
    that stands before its first ``next`` waits where it was left after that; what it yields then is dropped, what
    it raises there is raised here.
    """
    if snapshot["format"] != FORMAT:
        return f"it is of format {snapshot['format']}, and this version reads format {FORMAT} alone"
    undo = UndoStack()
    undo.steps = list(snapshot["undo"]["steps"])
    undo.position, undo.cause = snapshot["undo"]["position"], _outcome(snapshot["undo"]["cause"])
    awaited = {state["position"][:-1]: state["command"] for state in snapshot["waiting"]}
    bodies = [_body(state, awaited, undo) for state in snapshot["fibers"]]
    machine = make(bodies[0])
    if machine.family != snapshot["family"]:
        return f"it is of run {snapshot['family']!r}, and not of {machine.family!r}"
    machine._undo = undo
    _wake(machine, bodies)
    _put_fibers(machine, snapshot, bodies)
    _put_waiting(machine, snapshot["waiting"])
    for each in snapshot["handlers"]:
        machine.inbox.handlers[each["name"]] = handler = Handler(each["position"], each["callback"])
        handler.taken = each["taken"]
    if snapshot["stopping"] is not None:
        machine.stopping, machine.stop_reason = snapshot["stopping"]
    machine.patches = dict(snapshot["patches"])
    machine.state = dict(snapshot["published"])
    machine._failures = Failures(snapshot["failures"])
    return machine


def _wake(machine: Machine, bodies: list[Body]) -> None:
    token = enter(machine.context)
    try:
        for body in bodies:
            if getattr(body, "gi_frame", None) is None or getgeneratorstate(body) == GEN_CREATED:
                body.send(None)
    except BaseException:
        machine.discard()
        raise
    finally:
        leave(token)


def _body(state: FiberState, awaited: dict[Position, Command[Any]], undo: UndoStack) -> Body:
    if state["body"] is not None:
        return state["body"]
    if undo.position is not None and state["path"] == (*undo.position, 0):
        return undo.unwind()
    return iter(awaited.get(state["path"], All()))  # a lone group: which one it was is told by its own state


def _put_fibers(machine: Machine, snapshot: Snapshot, bodies: list[Body]) -> None:
    machine.fibers._line.clear()
    machine.fibers._alive.clear()
    states = {state["position"][:-1]: state for state in snapshot["groups"]}
    groups: dict[Position, Group] = {}
    for state, body in zip(snapshot["fibers"], bodies, strict=True):
        path = state["path"]
        group = groups.get(path[:-1])
        fiber = Fiber(path, body, group, 0 if group is None else path[-1])
        fiber.next = state["next"]
        fiber.started = True
        machine.fibers._alive[fiber] = None
        if group is None:
            machine.root = fiber
        else:
            group.members[fiber.index] = fiber
        if path in states:
            fiber.waits_for = groups[states[path]["position"]] = _group(fiber, states[path])


def _group(fiber: Fiber, state: GroupState) -> Group:
    kind, size = Kind(state["kind"]), state["size"]
    group = Group(fiber, state["position"], kind, state["rest"], size, state["limit"], state["tolerant"])
    group.started = state["begun"]
    group.results = list(state["results"])
    group.verdict = None if state["verdict"] is None else _outcome(state["verdict"])
    return group


def _put_waiting(machine: Machine, states: list[WaitingState]) -> None:
    fibers = {fiber.path: fiber for fiber in machine.fibers._alive}
    for state in states:
        position, kind, name = state["position"], Kind(state["kind"]), state["name"]
        fiber = fibers[position[:-1]]
        fiber.waits_for = waiting = Waiting(fiber, position, kind, name, state["command"])
        waiting.due, waiting.limit = state.get("due"), state.get("limit")
        if "failed" in state:
            attempts, error = state["failed"]
            note_attempt(waiting, Entry(position, Kind.ATTEMPT, name, Failure(error), 0, attempts, state["due"]))
        waiting.begun = "begun" in state
        machine.waiting[position] = waiting
        machine.unasked.append(waiting)
        if kind is Kind.RECEIVE:
            machine.inbox.await_event(waiting)
        elif kind is Kind.ENSURE:
            machine.predicates.add(waiting)
