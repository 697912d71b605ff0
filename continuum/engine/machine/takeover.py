"""A machine goes on in the place of another one of the same run, in the middle of it.

That is how a run changes over to generators of another kind: a second machine, told by `adopt` to run those,
replays what the first one has recorded, and asks the host for nothing. Where it comes to wait for the same, it
takes over what the first one had of the host: what is under way stays under way, and nothing is asked for twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from continuum.context import enter, leave
from continuum.engine.machine.arrivals import load
from continuum.engine.machine.ending import end
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Started
from continuum.engine.machine.snapshot import Snapshot, take
from continuum.errors import ReplayMismatch
from continuum.journal import Entry

__all__ = ["rehearse", "take_over"]


def rehearse(machine: Machine, journal: Sequence[Entry], now: int) -> str | None:
    """Replay these entries and stop there, or say why that cannot be done.

    They are what is recorded of the run, or what came behind the state that the machine was made of, or that
    it was rehearsed to before; up to a point where the run waited. Then the machine can be taken a snapshot
    of, it can take over from another, and fed ``Started(())`` it asks for all that it waits for.
    """
    machine.journal.now = now
    machine.journal.requests = []
    token = enter(machine.context)
    try:
        load(machine, Started(journal))
        _replay(machine)
    except ReplayMismatch as error:
        return str(error)
    finally:
        leave(token)
    if machine.finished:
        return "its code comes to an end where the run goes on"
    return "its code does more than is recorded" if machine.journal.requests else None


def _replay(machine: Machine) -> None:
    """The machine's own cycle, without what comes behind the replay."""
    while not machine.finished:
        machine.fibers.run()
        if machine.fibers.ended is not None:
            outcome, machine.fibers.ended = machine.fibers.ended, None
            end(machine, outcome)
        elif machine.journal.live:
            return
        else:
            machine.replay()


def take_over(machine: Machine, other: Machine) -> str | None:
    """Have a machine that was rehearsed go on in place of the other, or say why it cannot.

    The other one is then to be discarded; or it goes on as before, where this one cannot.
    """
    mine, theirs = take(machine), take(other)
    if isinstance(mine, str):
        return mine
    if isinstance(theirs, str):
        return theirs
    if _outline(mine) != _outline(theirs):
        return "its code does not wait for the same"
    for position, waiting in machine.waiting.items():
        known = other.waiting[position]
        waiting.asked, waiting.due = known.asked, known.due
    machine.unasked.clear()
    machine.dues = other.dues
    machine.inbox.events = other.inbox.events
    return None


def _outline(snapshot: Snapshot) -> tuple[Any, ...]:
    """What can be compared between two machines that run the same code in two ways: all but what is the user's."""
    return (
        [(each["path"], each["next"]) for each in snapshot["fibers"]],
        [(each["position"], each["kind"], each["begun"]) for each in snapshot["groups"]],
        [(each["position"], each["kind"], each["name"], each.get("due")) for each in snapshot["waiting"]],
        [(each["position"], each["name"], each["taken"]) for each in snapshot["handlers"]],
        len(snapshot["undo"]["steps"]),
        snapshot["undo"]["position"],
        snapshot["stopping"],
        snapshot["patches"],
    )
