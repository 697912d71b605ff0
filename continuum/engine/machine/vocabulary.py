"""What each command does when it is reached, and what the host is asked for if it has to wait.

One function a command, and two tables. A command that can be answered at once meets the journal and
gives its outcome; one that has to wait is put among the machine's waiting ones and gives None, and
once all fibers wait its row in :data:`ASK` turns it into a request. The rest of the machine knows
commands by these tables only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from continuum.commands import (
    All,
    Call,
    Command,
    Compact,
    ContinueUsing,
    Count,
    Ensure,
    Handle,
    Log,
    Map,
    Now,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Revert,
    Save,
    Send,
    Sleep,
    Start,
    Uuid4,
)
from continuum.durations import datetime_of
from continuum.engine.machine.attempts import ask_step
from continuum.engine.machine.ending import revert
from continuum.engine.machine.fibers import Fiber, Waiting
from continuum.engine.machine.groups import Group
from continuum.engine.machine.inbox import Handler
from continuum.engine.machine.outcome import NOTHING
from continuum.engine.machine.recording import recorded, recorded_for
from continuum.engine.machine.requests import (
    ContinueRun,
    DropHistory,
    EmitLog,
    EventArrived,
    PublishState,
    SendEvent,
    StartChild,
)
from continuum.engine.machine.undo import REVERTS
from continuum.errors import BadCommand, BadValue, Cancelled
from continuum.journal import Entry, Failure, Kind, Outcome, Value, position_text

if TYPE_CHECKING:
    from continuum.engine.machine.machine import Machine

__all__ = ["ASK", "BEGIN", "child_id"]

Begin: TypeAlias = "Callable[[Machine, Fiber, Any], Outcome | None]"
Ask: TypeAlias = "Callable[[Machine, Waiting], None]"

_SAVE: Final = Kind.SAVE  # an enum looks its members up in Python, which is felt at every step

# A command is reached


def _begin_save(machine: Machine, fiber: Fiber, command: Save[Any]) -> None:
    machine.wait(fiber, _SAVE, command.name, command)


def _begin_sleep(machine: Machine, fiber: Fiber, command: Sleep) -> None:
    machine.wait(fiber, Kind.SLEEP, command.name, command)


def _begin_receive(machine: Machine, fiber: Fiber, command: Receive) -> None:
    machine.inbox.await_event(machine.wait(fiber, Kind.RECEIVE, command.name, command))


def _begin_ensure(machine: Machine, fiber: Fiber, command: Ensure) -> None:
    machine.predicates.add(machine.wait(fiber, Kind.ENSURE, "", command))


def _begin_call(machine: Machine, fiber: Fiber, command: Call[Any]) -> None:
    machine.wait(fiber, Kind.CALL, command.invocation.workflow.name, command)


def _begin_start(machine: Machine, fiber: Fiber, command: Start) -> None:
    machine.wait(fiber, Kind.START, command.invocation.workflow.name, command)


def _begin_send(machine: Machine, fiber: Fiber, command: Send) -> None:
    machine.wait(fiber, Kind.SEND, command.name, command)


def _begin_now(machine: Machine, fiber: Fiber, command: Now) -> Outcome | None:
    return machine.answer(fiber, Kind.NOW, "", Value(datetime_of(machine.journal.now))).outcome


def _begin_random(machine: Machine, fiber: Fiber, command: Random) -> Outcome | None:
    number = machine.chance(*fiber.path, fiber.next)
    return machine.answer(fiber, Kind.RANDOM, "", Value(number)).outcome


def _begin_uuid4(machine: Machine, fiber: Fiber, command: Uuid4) -> Outcome | None:
    made = UUID(bytes=machine.draw(16, *fiber.path, fiber.next), version=4)
    return machine.answer(fiber, Kind.UUID4, "", Value(made)).outcome


def _begin_log(machine: Machine, fiber: Fiber, command: Log) -> Outcome:
    known = _known(machine, fiber)
    what = {"message": command.message, "fields": dict(command.fields)}
    live = machine.journal.live
    entry = machine.answer(fiber, Kind.LOG, "", recorded(machine, fiber, what, "what Log says") if live else NOTHING)
    if isinstance(entry.outcome, Failure):
        return entry.outcome
    if live and (known is None or known.kind is not Kind.LOG):
        machine.journal.requests.append(EmitLog(entry))
    return NOTHING


def _begin_publish(machine: Machine, fiber: Fiber, command: Publish) -> Outcome:
    live = machine.journal.live
    try:
        state = {name: _counted(machine, name, value) for name, value in command.state.items()}
    except BadValue as error:
        return Failure(error)
    outcome: Outcome = NOTHING
    if live:
        outcome = shown = recorded(machine, fiber, {**machine.state, **state}, "what Publish shows")
        if isinstance(shown, Value):
            outcome = Value({name: shown.value[name] for name in state})
    entry = machine.answer(fiber, Kind.PUBLISH, "", outcome)
    if isinstance(entry.outcome, Failure):
        return entry.outcome
    assert entry.outcome is not None, "it is recorded with what it published"
    machine.state = {**machine.state, **entry.outcome.value}
    if live:
        assert isinstance(shown, Value), "else it is recorded as a failure"
        machine.journal.requests.append(PublishState(shown.value, shown.data))
    return NOTHING


def _counted(machine: Machine, name: str, value: Any) -> Any:
    if not isinstance(value, Count):
        return value
    before = machine.state.get(name, 0)
    if not isinstance(before, int | float):
        raise BadValue(f"Publish({name}={value!r}): {name!r} holds {before!r}, to which nothing can be added")
    return before + value.amount


def _begin_patch(machine: Machine, fiber: Fiber, command: Patch) -> Outcome:
    if command.name not in machine.patches:
        entry = _known(machine, fiber)
        recorded = entry is not None and entry.kind is Kind.PATCH and entry.name == command.name
        machine.patches[command.name] = new = entry is None or recorded
        if new:
            machine.answer(fiber, Kind.PATCH, command.name, Value(True))
    return Value(machine.patches[command.name])


def _begin_handle(machine: Machine, fiber: Fiber, command: Handle) -> Outcome | None:
    _bring_back(machine, fiber, command.name)
    come = machine.inbox.count(command.name)
    entry = machine.answer(fiber, Kind.HANDLE, command.name, NOTHING, ref=come)
    handler = Handler(entry.position, command.callback)
    machine.inbox.handle(command.name, handler)
    for _ in range(entry.ref):  # what has come already is handled before the workflow goes on
        if machine.journal.live and not machine.inbox.count(command.name):
            break
        if not machine.handled(_next_handled(machine, command.name, handler)):
            return None if machine.finished else _told_of_revert(fiber)
    return NOTHING


def _bring_back(machine: Machine, fiber: Fiber, name: str) -> None:
    """In a retry have the events there that the handler was given at once."""
    known = _known(machine, fiber) if machine.journal.live else None
    for number in range(known.ref if known is not None and known.kind is Kind.HANDLE else 0):
        event = machine.journal.known((*fiber.path, fiber.next, number))
        if event is not None and isinstance(event.outcome, Value):
            machine.inbox.arrive(EventArrived(event.ref, name, event.outcome))


def _next_handled(machine: Machine, name: str, handler: Handler) -> Entry:
    if not machine.journal.live:
        return machine.journal.take()
    event = machine.inbox.take(name)
    return machine.record(handler.next_position(), Kind.EVENT, name, event.payload, ref=event.ref)


def _begin_all(machine: Machine, fiber: Fiber, command: All) -> None:
    size, tolerant = len(command.branches), command.return_exceptions
    machine.fibers.branch_out(Group(fiber, fiber.position(), Kind.ALL, command, size, tolerant=tolerant))


def _begin_race(machine: Machine, fiber: Fiber, command: Race) -> None:
    machine.fibers.branch_out(Group(fiber, fiber.position(), Kind.RACE, command, len(command.branches)))


def _begin_map(machine: Machine, fiber: Fiber, command: Map) -> None:
    size, tolerant = len(command.items), command.return_exceptions
    machine.fibers.branch_out(Group(fiber, fiber.position(), Kind.MAP, command, size, command.limit, tolerant))


def _begin_revert(machine: Machine, fiber: Fiber, command: Revert) -> Outcome:
    entry = machine.answer(fiber, Kind.REVERT, "", Value(command.reason))
    revert(machine, entry.position, Value(command.reason))
    return _told_of_revert(fiber)


def _told_of_revert(fiber: Fiber) -> Failure:
    """For the fiber that runs, what all others are told at their yields."""
    fiber.cancelled = None
    return Failure(Cancelled(REVERTS))


def _begin_continue(machine: Machine, fiber: Fiber, command: ContinueUsing) -> Outcome | None:
    name = command.invocation.workflow.name
    if fiber.group is not None:
        return Failure(
            BadCommand(
                f"{fiber.where()} yielded ContinueUsing({name}(...)) in a branch; only the workflow itself can go on "
                "as another: let the branch return, and yield it behind the All, Race or Map"
            )
        )
    if machine.ends_for is not None:  # or a run could not be cancelled that always goes on in its cleanup
        stopped = Failure(Cancelled(machine.ends_for))
        return machine.answer(fiber, Kind.CONTINUE, name, stopped).outcome
    machine.wait(fiber, Kind.CONTINUE, name, command)
    return None


def _begin_compact(machine: Machine, fiber: Fiber, command: Compact) -> None:
    machine.wait(fiber, Kind.COMPACT, "", command)


def _known(machine: Machine, fiber: Fiber) -> Entry | None:
    """What is recorded of the command that the fiber has come to."""
    return machine.journal.known((*fiber.path, fiber.next))


# A command has to wait


def _ask_timer(machine: Machine, waiting: Waiting) -> None:
    if waiting.due is None:
        due = _due_of(machine, waiting.command)
        if due is None:
            return
        waiting.due = due
        machine.record(waiting.position, Kind.ARMED, waiting.name, None, ref=due)
    machine.wake_at(waiting.position, waiting.due)


def _due_of(machine: Machine, command: Command[Any]) -> int | None:
    match command:
        case Sleep(duration=None, until=int(until)):
            return until
        case Sleep(duration=int(length)) | Receive(timeout=int(length)) | Ensure(timeout=int(length)):
            return machine.journal.now + length
        case _:
            return None


def _ask_child(machine: Machine, waiting: Waiting) -> None:
    command = waiting.command
    assert isinstance(command, Call | Start)
    arguments = _arguments(machine, waiting, command)
    if arguments is not None:
        child, awaited = child_id(machine.family, waiting), isinstance(command, Call)
        machine.journal.requests.append(
            StartChild(
                waiting.position,
                child,
                command.invocation,
                awaited,
                command.queue,
                command.timeout,
                arguments.data,
            )
        )


def _arguments(machine: Machine, waiting: Waiting, command: Call[Any] | Start | ContinueUsing) -> Value | None:
    invocation, kind = command.invocation, type(command).__name__
    arguments = (invocation.args, dict(invocation.kwargs))
    return recorded_for(machine, waiting, arguments, f"{kind}: the arguments of {invocation.workflow.name}")


def child_id(family: str, waiting: Waiting) -> str:
    """The id of the child run of a Call or Start: chosen by the workflow, or made from the position."""
    command = waiting.command
    assert isinstance(command, Call | Start)
    if command.id is not None:
        return command.id
    child = f"{family}/{position_text(waiting.position)}"
    if len(child.encode()) <= 128:
        return child
    return hashlib.blake2b(child.encode(), digest_size=32).hexdigest()


def _ask_send(machine: Machine, waiting: Waiting) -> None:
    command = waiting.command
    assert isinstance(command, Send)
    payload = recorded_for(machine, waiting, command.payload, f"the payload of Send {command.name!r}")
    if payload is not None:
        machine.journal.requests.append(
            SendEvent(waiting.position, command.run_id, command.name, payload.value, payload.data)
        )


def _ask_compact(machine: Machine, waiting: Waiting) -> None:
    machine.journal.requests.append(DropHistory(waiting.position))


def _ask_continue(machine: Machine, waiting: Waiting) -> None:
    command = waiting.command
    assert isinstance(command, ContinueUsing)
    arguments = _arguments(machine, waiting, command)
    if arguments is not None:
        opening = [Entry((), Kind.PUBLISH, "", Value(machine.state), machine.journal.now)] if machine.state else []
        machine.journal.requests.append(ContinueRun(command.invocation, opening, arguments.data))


BEGIN: Final[dict[type[Command[Any]], Begin]] = {
    Save: _begin_save,
    Sleep: _begin_sleep,
    Receive: _begin_receive,
    Handle: _begin_handle,
    Ensure: _begin_ensure,
    Now: _begin_now,
    Random: _begin_random,
    Uuid4: _begin_uuid4,
    Log: _begin_log,
    Publish: _begin_publish,
    Patch: _begin_patch,
    All: _begin_all,
    Race: _begin_race,
    Map: _begin_map,
    Call: _begin_call,
    Start: _begin_start,
    Send: _begin_send,
    Revert: _begin_revert,
    ContinueUsing: _begin_continue,
    Compact: _begin_compact,
}
"""A row for every command: what happens when it is reached."""

ASK: Final[dict[Kind, Ask]] = {
    Kind.SAVE: ask_step,
    Kind.SLEEP: _ask_timer,
    Kind.RECEIVE: _ask_timer,
    Kind.ENSURE: _ask_timer,
    Kind.CALL: _ask_child,
    Kind.START: _ask_child,
    Kind.SEND: _ask_send,
    Kind.COMPACT: _ask_compact,
    Kind.CONTINUE: _ask_continue,
}
"""A row for every kind that may have to wait: what the host is asked for."""
