"""A thread that sees when a run holds up the worker's loop, and which one it is.

Workflow code runs on the loop, and so do steps with ``executor="inline"`` and async ones. While such code
does not come back the worker can do nothing, not even show that it lives. The others give it up after its
lease; but that the run is to blame for it they can only know from this thread.

It looks now and then what the loop's thread is at work on. If that is always the same run, and the loop does
not come round meanwhile, the run is said to hold it up. Time in which this thread did not run either does not
count: then the whole process stood still, or the machine, and no run is to blame. Nor is one where the
loop is held up by other code of the program, or by native code that lets no other thread run.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from types import CodeType, FrameType, TracebackType
from typing import Any, Final, NamedTuple, Self

from continuum.engine.active import Active
from continuum.engine.intake import Intake
from continuum.engine.steps import Performer
from continuum.errors import ContinuumError
from continuum.journal import RunId
from continuum.store import keys
from continuum.store.committer import Committer, Job
from continuum.store.protocol import Batch, View
from continuum.store.tenure import Tenure, goes_on, held_up

__all__ = ["Busy", "Holdups", "Watchdog", "busy_with"]

logger = logging.getLogger("continuum.engine")

LOOKS: Final = 20
"""How often it looks within a lease."""

HELD: Final = 6
"""After how many of these the loop is said to be held up: well before the others give the worker up."""

STALL: Final = 3
"""When it comes so many looks too late it has not run itself."""

_RUN_IN: Final[dict[CodeType, Callable[[Mapping[str, Any]], object]]] = {
    Active.feed.__code__: lambda names: names["self"],
    Active.step_done.__code__: lambda names: names["self"],
    Intake.begin.__code__: lambda names: names["fresh"].record,
    Intake.take_up.__code__: lambda names: names["taken"].record,
    Intake.deliver.__code__: lambda names: names["active"],
    Performer._run_inline.__code__: lambda names: names["task"].owner,
    Performer._run_on_loop.__code__: lambda names: names["task"].owner,
}
"""Where code of users is called from on the loop, and what tells of which run it is."""


class Busy(NamedTuple):
    """What a thread is at work on: code of that run, at this place."""

    run_id: RunId
    place: str


def busy_with(thread: int) -> Busy | None:
    """Of which run the code is that a thread executes just now."""
    frames: list[FrameType] = []
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code in _RUN_IN:
            run = _RUN_IN[frame.f_code](frame.f_locals)
            return Busy(run.id, _place(frames)) if hasattr(run, "id") else None
        frames.append(frame)
        frame = frame.f_back
    return None


def _place(frames: list[FrameType]) -> str:
    """Where code of users is, the innermost call last."""
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(frames))
    return "".join(summary.format())


class Watchdog:
    """Watches the loop that its block is entered on; a `lease` is in seconds.

    ``held_up(busy)`` is called on its thread as long as a run holds up the loop, at each look, and ``goes_on()`` when
    it does no more. `post` has the loop make a call when it comes round.
    """

    def __init__(
        self,
        lease: float,
        post: Callable[[Callable[[], object]], None],
        held_up: Callable[[Busy], None],
        goes_on: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._period = lease / LOOKS
        self._post = post
        self._held_up = held_up
        self._goes_on = goes_on
        self._monotonic = monotonic
        self._looked = monotonic()
        self._suspect: RunId | None = None
        self._held = 0.0  # seconds that it was seen at work, one look after the other
        self._told = False
        self._came_round = True  # the loop, since it was asked to tell
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        loop = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, args=[loop], name="continuum-watchdog", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self, loop: int) -> None:
        while not self._ended.wait(self._period):
            self.look(busy_with(loop))

    def look(self, busy: Busy | None) -> None:
        """Take note of what the loop is at work on now."""
        now = self._monotonic()
        since, self._looked = now - self._looked, now
        if busy is None or busy.run_id != self._suspect or self._came_round:
            self._begin_with(None if busy is None else busy.run_id)
            return
        if since < STALL * self._period:
            self._held += since
        if self._held >= HELD * self._period:
            self._told = True
            self._held_up(busy)

    def _begin_with(self, suspect: RunId | None) -> None:
        if self._told:
            self._told = False
            self._goes_on()
        self._suspect, self._held = suspect, 0.0
        if suspect is not None:
            self._came_round = False
            self._post(self._comes_round)

    def _comes_round(self) -> None:
        self._came_round = True


class Holdups:
    """Has the store tell by which run a worker is held up, as long as it is. All methods are for any thread.

    ``given_up()`` is called, on the committer's thread, when others have found the worker dead meanwhile.
    """

    def __init__(self, committer: Committer, tenure: Callable[[], Tenure], given_up: Callable[[], object]) -> None:
        self._committer = committer
        self._tenure = tenure
        self._given_up = given_up
        self._held: Tenure | None = None
        self._lost: Tenure | None = None

    def begin(self, busy: Busy) -> None:
        """Take note of a run that holds up the loop, or still does."""
        tenure = self._tenure()
        if self._held is not tenure:
            self._held = tenure
            told = "run %s holds up this worker, which can do nothing else meanwhile, at\n%s"
            logger.warning(told, busy.run_id, busy.place, extra={"run_id": busy.run_id})
        self._submit(lambda view: self._note(view, tenure, busy))

    def end(self) -> None:
        """It does no more."""
        tenure, self._held = self._held, None
        if tenure is not None:
            self._submit(lambda view: goes_on(tenure))

    def _note(self, view: View, tenure: Tenure, busy: Busy) -> Batch | None:
        if view.get(tenure.entry[0]) == tenure.entry[1]:
            known = view.get(keys.held(tenure.token)) is not None
            return None if known else held_up(tenure, busy.run_id)
        if self._lost is not tenure:
            self._lost = tenure
            told = "others go on with what this worker had in hand: run %s holds it up, and it has to be ended"
            logger.error(told, busy.run_id, extra={"run_id": busy.run_id})
            self._given_up()
        return None

    def _submit(self, plan: Callable[[View], Batch | None]) -> None:
        with contextlib.suppress(ContinuumError):  # it is being closed
            self._committer.submit(Job(lambda view: [(plan(view), None)], lambda job: None))
