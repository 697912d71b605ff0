"""Steps whose results runs share, on the worker's side: one run's part in them, and the asking around.

A step is looked up before its first attempt, by a plan of the committer (:mod:`continuum.store.results`).
Where another run is at work on it, the run waits in line. It is not polled: who is done has the run
looked at, and then it asks again, as it does whenever it is taken up.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from continuum.engine.machine.requests import LookUp, StepDone, StepKnown, StepWanted
from continuum.errors import StepUncertain, UsageError
from continuum.journal import Entry, Failure, Outcome, Position, Value, record
from continuum.store.codec import Codec
from continuum.store.committer import Job, Single
from continuum.store.digest import digest_of_call, digest_of_key
from continuum.store.protocol import Batch
from continuum.store.records import RunRecord, SharedResult
from continuum.store.results import SWEEP, Results, Share

if TYPE_CHECKING:
    from continuum.engine.active import Active
    from continuum.engine.scheduler import Scheduler

__all__ = ["PartOver", "Shares", "Sharing"]


@record
class PartOver:
    """An effect: the run has written down, under `part`, that it is done with a step that is made once."""

    part: bytes


class _Step:
    """A step from when it is to be looked up until its entry is recorded."""

    __slots__ = ("in_line", "place", "request", "share")

    def __init__(self, request: LookUp, generation: int) -> None:
        options, name = request.command.options, request.command.name
        self.request = request
        self.place: Position = (generation, *request.position)  # tells it from those of the run's other histories
        # What is found by its arguments is given a digest when it is looked up.
        self.share = None if options.once is None else Share(digest_of_key(options.once), name, True, options.cache)
        self.in_line = False

    def digested(self) -> Share:
        """What it shares. Raises UnpicklableValue for arguments that cannot be told from others."""
        if self.share is None:
            command = self.request.command
            digest = digest_of_call(command.name, command.fn, command.args)
            self.share = Share(digest, command.name, False, command.options.cache)
        return self.share


class Shares:
    """The shared steps that one run has in hand; what becomes of them goes into the run's batches."""

    def __init__(self, run: RunRecord, results: Results, codec: Codec) -> None:
        self._run = run
        self._results = results
        self._codec = codec
        self._steps: dict[Position, _Step] = {}

    def begin(self, request: LookUp) -> None:
        """A step is to be looked up."""
        self._steps[request.position] = _Step(request, self._run.generation)

    def find(self, position: Position) -> _Step | None:
        """The step at that position, if its entry is still to come."""
        return self._steps.get(position)

    def in_line(self) -> Iterator[bytes]:
        """The digests for which steps are in line."""
        for step in self._steps.values():
            if step.in_line:
                yield step.digested().digest

    def leave_line(self) -> list[LookUp]:
        """What is to be looked up again, now that something has come for the run."""
        called = [step for step in self._steps.values() if step.in_line]
        for step in called:
            step.in_line = False
        return [step.request for step in called]

    def end(self, batch: Batch, entry: Entry) -> list[PartOver]:
        """The entry of a step is recorded: with it goes what others are to know; gives what is to follow."""
        step = self._steps.pop(entry.position, None)
        if step is None or step.share is None or (isinstance(entry.outcome, Value) and not entry.attempts):
            return []  # the result is one that others have made
        share, payload = step.share, self._lasting(step.share, entry.outcome)
        if payload is None:
            return self._give_up(batch, share, step.place)
        failed, expires = isinstance(entry.outcome, Failure), None if share.keep is None else entry.at + share.keep
        result = SharedResult(share.step, self._run.id, list(step.place), "done", failed, expires, payload)
        if share.once:
            return [PartOver(self._results.put_part(batch, share, result))]
        self._results.keep(batch, share, result)
        return []

    def give_up(self, batch: Batch) -> list[PartOver]:
        """The run ends: what it has taken is free for others."""
        steps, self._steps = self._steps, {}
        shares = [(step.place, step.share) for step in steps.values() if step.share is not None]
        return [over for place, share in shares for over in self._give_up(batch, share, place)]

    def _give_up(self, batch: Batch, share: Share, place: Position) -> list[PartOver]:
        part = SharedResult(share.step, self._run.id, list(place), "given up")
        return [PartOver(self._results.put_part(batch, share, part))] if share.once else []

    def _lasting(self, share: Share, outcome: Outcome | None) -> bytes | None:
        """The payload that others are to get, too; of a failure only where the step must not be tried again."""
        if isinstance(outcome, Value):
            return outcome.data or self._codec.encode(outcome.value, share.step)
        if isinstance(outcome, Failure) and share.once and isinstance(outcome.error, StepUncertain):
            return outcome.data or self._codec.encode_error(outcome.error)
        return None


class Sharing:
    """Looks steps up for the runs of a scheduler, and sees to it that who waits is told."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._results = scheduler.ledger.results
        self._concluding = 0
        self._sweeping = False

    @property
    def at_work(self) -> bool:
        """Whether somebody is about to be told, or what has expired is being taken away."""
        return self._concluding > 0 or self._sweeping

    # Looking up

    def look_up(self, active: Active, request: LookUp) -> None:
        """Find out whether the step is to be performed."""
        step = _step_of(active, request.position)
        if step is None:
            return  # called off before
        self._sweep()
        try:
            share = step.digested()
        except UsageError as error:
            self._answer(active, StepKnown(request.position, Failure(error)))
            return
        ask = partial(
            self._results.ask, share=share, run_id=active.id, position=step.place, now=self._scheduler.clock()
        )
        self._scheduler.committer.submit(Single(ask, partial(self._looked_up, active, step)))

    def _looked_up(self, active: Active, step: _Step, job: Single[SharedResult | None]) -> None:
        position = step.request.position
        if active.ended or _step_of(active, position) is not step:
            return  # called off since
        try:
            found = job.result()
        except UsageError as error:
            self._answer(active, StepKnown(position, Failure(error)))
            return
        if found is None:
            self._answer(active, StepWanted(position))
        elif found.state == "done":
            self._found(active, step, found)
        else:
            step.in_line = True
            self._scheduler.await_other(active, position)

    def _found(self, active: Active, step: _Step, found: SharedResult) -> None:
        position, mine = step.request.position, found.run_id == active.id
        try:
            outcome = _load(active.codec, found)
        except Exception as error:  # any code of the user's may run in a pickle
            if not step.digested().once:
                self._answer(active, StepWanted(position))
            else:
                reason = f"the result of step {found.step!r}, made by run {found.run_id!r}, cannot be loaded"
                self._scheduler.block(active, f"{reason}: {type(error).__name__}: {error}")
            return
        mine = mine and found.position == list(step.place)
        self._answer(active, StepDone(position, outcome) if mine else StepKnown(position, outcome))

    def _answer(self, active: Active, event: StepDone | StepKnown | StepWanted) -> None:
        self._scheduler.answer(active, event.position, event)

    # Telling others

    def inherit(self) -> None:
        """Tell those whom a worker that is gone was about to tell."""
        self._scheduler.committer.submit(Single(lambda view: (None, self._results.left(view)), self._inherited))

    def _inherited(self, job: Single[list[bytes]]) -> None:
        for part in job.result():
            self.conclude(part)

    def conclude(self, part: bytes) -> None:
        """A part is over: have all who are concerned know."""
        self._concluding += 1
        plan = partial(self._results.conclude, part_key=part)
        self._scheduler.committer.submit(Single(plan, partial(self._concluded, part)))

    def _concluded(self, part: bytes, job: Single[None]) -> None:
        job.result()
        plan = partial(self._results.call, part_key=part, stamp=self._scheduler.stamps.next())
        self._scheduler.committer.submit(Single(plan, self._called))

    def _called(self, job: Single[None]) -> None:
        job.result()
        self._concluding -= 1
        self._scheduler.look_again()

    # Forgetting

    def _sweep(self) -> None:
        """Take away what has expired, a bounded number at a time, as long as there is more.

        A result is added only after it has been looked up, so what has expired does not pile up.
        """
        if not self._sweeping:
            self._sweeping = True
            plans = partial(self._results.expire, now=self._scheduler.clock())
            self._scheduler.committer.submit(Job(plans, self._swept))

    def _swept(self, job: Job[None]) -> None:
        if job.error is not None:
            raise job.error
        self._sweeping = False
        if len(job.answers) == SWEEP:
            self._sweep()


def _load(codec: Codec, found: SharedResult) -> Outcome:
    if found.failed:
        return Failure(codec.decode_error(found.payload), found.payload)
    return Value(codec.decode(found.payload), found.payload)


def _step_of(active: Active, position: Position) -> _Step | None:
    return None if active.shares is None else active.shares.find(position)
