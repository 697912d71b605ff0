"""Who may claim a run, and what becomes of the runs of a worker that is gone: the rules, without any process."""

from __future__ import annotations

import pytest
from test_ledger import LEDGER, RECORD

from continuum.journal import Entry, Kind, Status, Value
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch
from continuum.store.tenure import Tenure, bury, call_roll, enlist
from continuum.store.worklist import Look, Taken, Worklist

WORKLIST = Worklist(LEDGER, Stamps(lambda: 1), ["default"], lambda label: True)


class Workers:
    """A store with a run, and what workers do to it."""

    def __init__(self) -> None:
        self.store = MemoryStore(Space())
        with self.store.view() as view:
            batch, _ = LEDGER.start(view, RECORD)
        assert batch is not None
        assert self.store.commit([batch]) == [True]

    def enlist(self, name: bytes) -> Tenure:
        """A worker that is at work."""
        tenure = Tenure(name * 8, name)
        assert self.store.commit([enlist(tenure, (keys.worker(name), b""), (keys.move(), None))]) == [True]
        return tenure

    def look(self, tenure: Tenure, now: int = 1) -> Look:
        """What a look of that worker finds; nothing of it is committed yet."""
        with self.store.view() as view:
            look = Look(tenure, call_roll(view), now, 10, orphans=True)
            WORKLIST.look(view, look)
        return look

    def carry_out(self, look: Look) -> list[bool]:
        """Commit what a look has found."""
        return self.store.commit([batch for batch, _ in look.found if batch is not None])

    def take(self, tenure: Tenure) -> Taken:
        """Claim the run for that worker."""
        look = self.look(tenure)
        assert all(self.carry_out(look))
        (taken,) = (answer for _, answer in look.found if isinstance(answer, Taken))
        return taken

    def bury(self, tenure: Tenure, *, fell: bool) -> None:
        """Have that worker found dead."""
        with self.store.view() as view:
            batch = bury(view, tenure.token, fell=fell)
        assert self.store.commit([batch]) == [True]

    def append(self, taken: Taken, number: int) -> bool:
        """Record an entry under a claim."""
        batch = Batch([(keys.claim("r"), taken.claim)])
        WORKLIST.append(batch, "r", number, Entry((number,), Kind.SAVE, "step", Value(number), 1))
        return self.store.commit([batch]) == [True]

    def crashes(self) -> tuple[str, int]:
        """How the run stands, and how many workers have died of it."""
        with self.store.view() as view:
            state = LEDGER.state(view, "r")
        return state.status, state.crashes


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_what_a_silent_worker_wrote_up_to_the_end_is_seen_by_who_goes_on(workers: Workers) -> None:
    first, second = workers.enlist(b"1"), workers.enlist(b"2")
    taken = workers.take(first)
    workers.bury(first, fell=False)
    look = workers.look(second)
    assert workers.append(taken, 0), "nobody has taken the run from it yet"
    assert workers.carry_out(look) == [True]
    assert not workers.append(taken, 1), "now somebody has"
    assert [number for number, _ in workers.take(second).journal] == [0]


def test_a_worker_that_was_buried_can_claim_nothing(workers: Workers) -> None:
    first = workers.enlist(b"1")
    look = workers.look(first)
    workers.bury(first, fell=False)
    assert workers.carry_out(look) == [False]


def test_a_worker_that_shows_life_meanwhile_is_not_buried(workers: Workers) -> None:
    first = workers.enlist(b"1")
    with workers.store.view() as view:
        burial = bury(view, first.token, fell=False)
    assert workers.store.commit([Batch([first.entry], [first.next_beat()]), burial]) == [True, False]


def test_a_claim_is_never_used_again(workers: Workers) -> None:
    first = workers.enlist(b"1")
    earlier = workers.take(first)
    release = Batch([(keys.claim("r"), earlier.claim)])
    WORKLIST.release(release, RECORD, call=True)
    assert workers.store.commit([release]) == [True]
    later = workers.take(first)
    assert later.claim != earlier.claim
    assert not workers.append(earlier, 0)
    assert workers.append(later, 0)


@pytest.mark.parametrize("fell", [True, False])
def test_only_workers_that_fell_are_counted_and_after_three_the_run_is_laid_aside(workers: Workers, fell: bool) -> None:
    for number, name in enumerate([b"1", b"2", b"3"]):
        worker = workers.enlist(name)
        taken = workers.take(worker)
        assert taken.state.crashes == (number if fell else 0)
        workers.bury(worker, fell=fell)
        assert all(workers.carry_out(workers.look(Tenure(b"visitor1", b"visitor"))))
    assert workers.crashes() == ((Status.BLOCKED, 3) if fell else (Status.WAITING, 0))


def test_workers_begin_with_different_runs(workers: Workers) -> None:
    looks = [workers.look(workers.enlist(name)) for name in (b"1", b"2", b"3")]
    roll = looks[-1].roll
    for look in looks:
        look.roll = roll
    runs = list(range(9))
    assert [look.share_of(runs)[:3] for look in looks] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert [sorted(look.share_of(runs)) for look in looks] == [runs] * 3
