"""Results that reach beyond their run: kept for a while for the same call, or made once for a key.

Both lie under a digest (:mod:`continuum.store.digest`). A result that is kept for a while may be made by
several runs at a time; the last one counts. One that is made once begins as the note that a command of
some run has *taken* it. Others who ask are put in line, and are called when that is over.

That it is over is written down in three goes, so that nobody in line is forgotten:

1. With the entry of the step, in the same batch, the run writes into its *part* how it went.
2. :meth:`Results.conclude` makes that the result, or gives the digest free. Who asks after this sees it,
   and who got in line before is seen by the next go.
3. :meth:`Results.call` has all in line looked at, and takes the part away.

A worker that dies in between leaves the part behind; the next one goes on from it (:meth:`Results.left`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from continuum.errors import BadValue
from continuum.journal import FINISHED, Position
from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.protocol import Batch, View
from continuum.store.records import Address, RunRecord, RunState, SharedResult, read, write

__all__ = ["SWEEP", "Results", "Share"]

SWEEP: Final = 32
"""How many expired results are taken away in one go."""


class Share(NamedTuple):
    """What a step shares: its result is found under `digest`, and kept for `keep` nanoseconds, or for ever."""

    digest: bytes
    step: str
    once: bool
    keep: int | None


class Results:
    """The rules of shared results. `put_ready` has a worker look at a run."""

    def __init__(self, codec: Codec, put_ready: Callable[[Batch, Address, int], None]) -> None:
        self._codec = codec
        self._put_ready = put_ready

    # Asking

    def ask(
        self, view: View, share: Share, run_id: str, position: Position, now: int
    ) -> tuple[Batch | None, SharedResult | None]:
        """What a step that is about to be performed finds: a result that is done, or by whom it is taken.

        None means that it is to be performed here. For a step that is made once it is taken with that;
        where another has taken it, the run is put in line. Raises BadValue if it is another step's.
        """
        key = keys.shared(share.digest)
        data = view.get(key)
        found, checks = None, [(key, data)]
        if data is not None:
            found, others = self._standing(view, share, read(self._codec, SharedResult, key, data), now)
            checks += others
        if found is not None and found.step != share.step:
            raise BadValue(
                f"once= of step {share.step!r}: the key belongs to step {found.step!r}, see run {found.run_id!r}; "
                f"use another key, or name={found.step!r} if it is the same step"
            )
        mine = found is not None and _is_of(found, run_id, position)
        if mine and found is not None and found.failed:
            found = None  # a retry by hand is the way out of it
        if not share.once or (found is not None and found.state == "done"):
            return None, found
        part = keys.part(run_id, share.digest, position)
        if found is None:
            taken = SharedResult(share.step, run_id, list(position), "taken")
            return Batch(checks, [write(self._codec, key, taken), write(self._codec, part, taken)]), None
        if mine:
            return None, None
        # A part from before a retry is for who has it now to see to: whoever is in line is called after that.
        return Batch(checks, [(keys.waiter(share.digest, run_id, position), b"")], [part]), found

    def _standing(
        self, view: View, share: Share, found: SharedResult, now: int
    ) -> tuple[SharedResult | None, list[tuple[bytes, bytes | None]]]:
        """What is there, as it stands by now: expired, done, given up, or at work; with the checks that it still is.

        A run that has given up may take the same again, and what stands under the digest is the same then.
        """
        if found.state == "done":
            return None if found.expires is not None and found.expires <= now else found, []
        part, _, ((part_key, part_data), _) = self._part_and_result(
            view, keys.part(found.run_id, share.digest, tuple(found.position))
        )
        outcome = keys.outcome(found.run_id)
        ended = view.get(outcome)
        checks = [(part_key, part_data), (outcome, ended)]
        if part is not None:
            return part if part.state == "done" else None, checks
        return found if ended is None else None, checks

    def is_taken(self, view: View, digest: bytes) -> bool:
        """Whether some run has taken what has that digest; when it has not any more, those in line are called."""
        key = keys.shared(digest)
        data = view.get(key)
        return data is not None and read(self._codec, SharedResult, key, data).state == "taken"

    # Writing down

    def keep(self, batch: Batch, share: Share, result: SharedResult) -> None:
        """Have a result found under the digest from now on."""
        self._put(batch, share.digest, result)

    def put_part(self, batch: Batch, share: Share, part: SharedResult) -> bytes:
        """Write down that the part of a run is over, and how; gives the part's key, for what has to follow."""
        key = keys.part(part.run_id, share.digest, tuple(part.position))
        batch.puts.append(write(self._codec, key, part))
        return key

    def give_up_all(self, view: View, batch: Batch, run_id: str) -> None:
        """Write down that a run which ends here has given up what it has taken."""
        for key, part in self._parts(view, keys.part_prefix(run_id)):
            if part.state == "taken":
                batch.puts.append(write(self._codec, key, SharedResult(part.step, run_id, part.position, "given up")))

    # What follows

    def left(self, view: View, run_id: str | None = None) -> list[bytes]:
        """The keys of all parts that are over and not yet concluded; of that run, if it is named."""
        prefix = keys.parts() if run_id is None else keys.part_prefix(run_id)
        return [key for key, part in self._parts(view, prefix) if part.state != "taken"]

    def conclude(self, view: View, part_key: bytes) -> tuple[Batch | None, None]:
        """Make what a part holds the result, or let others take it, if it is for that part to say."""
        part, found, checks = self._part_and_result(view, part_key)
        if part is None or found is None or not _holds(found, part):
            return None, None
        digest, batch = keys.digest_of_part(part_key), Batch(checks)
        if part.state == "done":
            self._put(batch, digest, part)
        else:
            batch.deletes.append(keys.shared(digest))
        return batch, None

    def call(self, view: View, part_key: bytes, stamp: int) -> tuple[Batch | None, None]:
        """Have those in line looked at, unless it is taken again; the part is no longer needed."""
        part, found, checks = self._part_and_result(view, part_key)
        if part is None or (found is not None and _holds(found, part)):
            return None, None  # or it is another part by now, which has not been concluded
        digest, batch = keys.digest_of_part(part_key), Batch(checks, notify=True)
        batch.deletes += [part_key, keys.waiter(digest, part.run_id, tuple(part.position))]
        if found is None or found.state == "done":
            for waiter, _ in view.scan(keys.waiters(digest)):
                batch.deletes.append(waiter)
                self._wake(view, batch, keys.run_of_waiter(waiter), stamp)
        return batch, None

    def expire(self, view: View, now: int) -> list[tuple[Batch, None]]:
        """Take some of the results away that have expired; one batch each, since others may be at them."""
        plans: list[tuple[Batch, None]] = []
        for key, _ in view.scan(keys.expiries(), stop=keys.expiries_until(now), limit=SWEEP):
            batch = Batch(deletes=[key])
            shared = keys.shared(keys.digest_of_expiry(key))
            data = view.get(shared)
            if data is not None and read(self._codec, SharedResult, shared, data).expires == keys.expiry_of(key):
                batch.checks.append((shared, data))
                batch.deletes.append(shared)
            plans.append((batch, None))
        return plans

    # Pieces

    def _put(self, batch: Batch, digest: bytes, result: SharedResult) -> None:
        batch.puts.append(write(self._codec, keys.shared(digest), result))
        if result.expires is not None:
            batch.puts.append((keys.expiry(result.expires, digest), b""))

    def _part_and_result(
        self, view: View, part_key: bytes
    ) -> tuple[SharedResult | None, SharedResult | None, list[tuple[bytes, bytes | None]]]:
        """A part, if it is there and over, and what stands under its digest; with the checks that this is so still."""
        key = keys.shared(keys.digest_of_part(part_key))
        (_, part_data), (_, data) = checks = [(part_key, view.get(part_key)), (key, view.get(key))]
        part = None if part_data is None else read(self._codec, SharedResult, part_key, part_data)
        found = None if data is None else read(self._codec, SharedResult, key, data)
        return None if part is None or part.state == "taken" else part, found, checks

    def _parts(self, view: View, prefix: bytes) -> Iterator[tuple[bytes, SharedResult]]:
        return ((key, read(self._codec, SharedResult, key, data)) for key, data in view.scan(prefix))

    def _wake(self, view: View, batch: Batch, run_id: str, stamp: int) -> None:
        data, state = view.get(keys.run(run_id)), view.get(keys.state(run_id))
        if data is None or state is None or read(self._codec, RunState, keys.state(run_id), state).status in FINISHED:
            return
        self._put_ready(batch, read(self._codec, RunRecord, keys.run(run_id), data).address, stamp)


def _holds(found: SharedResult, part: SharedResult) -> bool:
    """Whether the result is still the part's to make."""
    return found.state == "taken" and _is_of(found, part.run_id, tuple(part.position))


def _is_of(found: SharedResult, run_id: str, position: Position) -> bool:
    return found.run_id == run_id and found.position == list(position)
