"""The events of one run: those that nobody has asked for yet, and who waits for which.

Receivers of a name are served in the order in which they asked; a handler takes what no receiver
waits for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from continuum.engine.machine.fibers import Waiting
from continuum.engine.machine.requests import EventArrived
from continuum.engine.machine.teaching import check_done
from continuum.journal import Position

__all__ = ["Handler", "Inbox"]


class Handler:
    """A callback for all events of a name; `taken` counts those that it got."""

    __slots__ = ("callback", "position", "taken")

    def __init__(self, position: Position, callback: Callable[[Any], object]) -> None:
        self.position = position
        self.callback = callback
        self.taken = 0

    def take(self, payload: Any) -> None:
        """Run the callback on one more event. Raises what it raises, and BadCommand if it left something to be done."""
        self.taken += 1
        left = self.callback(payload)
        if left is not None:
            check_done(left, self.callback)

    def next_position(self) -> Position:
        """Where the next event it takes is recorded."""
        return (*self.position, self.taken)


class Inbox:
    """Events in order of arrival, by name; receivers in the order in which they asked, by name."""

    __slots__ = ("_held", "_receivers", "events", "handlers", "ready")

    def __init__(self) -> None:
        self.events: dict[str, deque[EventArrived]] = {}
        self._receivers: dict[str, dict[Position, Waiting]] = {}
        self.ready: dict[str, None] = {}  # names that have an event and someone to take it
        self.handlers: dict[str, Handler] = {}
        self._held = False

    def hold(self, events: Iterable[EventArrived]) -> None:
        """Keep events that no receiver is given before :meth:`release`; new handlers are, as they are set."""
        self._held = True
        for event in events:
            self.arrive(event)

    def release(self) -> None:
        """Give events to who takes them, from now on."""
        self._held = False
        for name in self.events:
            self._look(name)

    def arrive(self, event: EventArrived) -> None:
        """Keep an event until someone takes it."""
        self.events.setdefault(event.name, deque()).append(event)
        self._look(event.name)

    def await_event(self, waiting: Waiting) -> None:
        """Put a receiver in line."""
        self._receivers.setdefault(waiting.name, {})[waiting.position] = waiting
        self._look(waiting.name)

    def forget(self, waiting: Waiting) -> None:
        """Take a receiver out of the line: served, timed out or cancelled."""
        line = self._receivers[waiting.name]
        del line[waiting.position]
        if not line:
            del self._receivers[waiting.name]

    def handle(self, name: str, handler: Handler) -> None:
        """Have a handler take the events of a name from now on."""
        self.handlers[name] = handler
        self._look(name)

    def count(self, name: str) -> int:
        """How many events of that name wait to be taken."""
        return len(self.events.get(name, ()))

    def match(self) -> tuple[EventArrived, Waiting | Handler] | None:
        """An event and who takes it, in no need of anything else; the event is taken out."""
        while self.ready:
            name = next(iter(self.ready))
            taker = self._taker(name)
            if taker is not None and name in self.events:
                return self.take(name), taker
            del self.ready[name]
        return None

    def take(self, name: str) -> EventArrived:
        """Take the first event of that name out."""
        line = self.events[name]
        event = line.popleft()
        if not line:
            del self.events[name]
        return event

    def _taker(self, name: str) -> Waiting | Handler | None:
        receivers = self._receivers.get(name)
        if receivers:
            return next(iter(receivers.values()))
        return self.handlers.get(name)

    def _look(self, name: str) -> None:
        if not self._held and name in self.events and self._taker(name) is not None:
            self.ready[name] = None
