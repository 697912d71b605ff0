"""Who may claim a run, and what becomes of the runs of a worker that is gone: the rules, without any process."""

from __future__ import annotations

from dataclasses import replace

import pytest
from test_ledger import LEDGER, RECORD

from continuum.journal import Entry, Kind, RunId, Status, Value
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.look import Look, Taken
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Batch
from continuum.store.recorder import Recorder
from continuum.store.suspicion import bury_found
from continuum.store.tenure import Tenure, call_roll, enlist, goes_on, held_up
from continuum.store.worklist import Worklist

WORKLIST = Worklist(LEDGER, Stamps(lambda: 1), ["default"], lambda label: True)
RECORDER = Recorder(LEDGER, Stamps(lambda: 1))


class Workers:
    """A store with a run, and what workers do to it."""

    def __init__(self) -> None:
        self.store = MemoryStore(Space())
        self.start("r")

    def start(self, run_id: str) -> None:
        """Another run."""
        with self.store.view() as view:
            batch, _ = LEDGER.start(view, replace(RECORD, id=RunId(run_id)))
        assert batch is not None
        assert self.store.commit([batch]) == [True]

    def enlist(self, name: bytes) -> Tenure:
        """A worker that is at work."""
        tenure = Tenure(name * 8, name)
        assert self.store.commit([enlist(tenure, (keys.worker(name), b""), (keys.move(), None))]) == [True]
        return tenure

    def look(self, tenure: Tenure, now: int = 1, *, risks: int = 1, grave_risks: int = 1, room: int = 10) -> Look:
        """What a look of that worker finds; nothing of it is committed yet."""
        with self.store.view() as view:
            look = Look(tenure, call_roll(view), now, room, orphans=True, risks=risks, grave_risks=grave_risks)
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
            batch = bury_found(view, LEDGER, tenure.token, died=fell)
        assert self.store.commit([batch]) == [True]

    def append(self, taken: Taken, number: int) -> bool:
        """Record an entry under a claim."""
        batch = Batch([(keys.claim("r"), taken.claim)])
        RECORDER.append(batch, "r", number, Entry((number,), Kind.SAVE, "step", Value(number), 1))
        return self.store.commit([batch]) == [True]

    def fall(self, name: bytes, *, both: bool = False) -> None:
        """A worker takes the run, or both that there are, and goes down; another one sees to what it left."""
        worker = self.enlist(name)
        look = self.look(worker, risks=1 + both, grave_risks=1)
        assert all(self.carry_out(look))
        self.bury(worker, fell=True)
        assert all(self.carry_out(self.look(Tenure(b"visitor1", b"visitor"), risks=0)))

    def mishap(self, name: bytes) -> None:
        """A worker goes down that had nothing in hand."""
        self.bury(self.enlist(name), fell=True)

    def crashes(self, run_id: str = "r") -> tuple[str, int]:
        """How the run stands, and how many workers have died of it."""
        with self.store.view() as view:
            state = LEDGER.state(view, run_id)
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
        burial = bury_found(view, LEDGER, first.token, died=False)
    assert workers.store.commit([Batch([first.entry], [first.next_beat()]), burial]) == [True, False]


def test_a_claim_is_never_used_again(workers: Workers) -> None:
    first = workers.enlist(b"1")
    earlier = workers.take(first)
    release = Batch([(keys.claim("r"), earlier.claim)])
    RECORDER.release(release, RECORD, call=True)
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


def test_workers_that_go_down_without_a_run_speak_for_it(workers: Workers) -> None:
    workers.fall(b"1")
    workers.mishap(b"2")
    workers.fall(b"3")
    workers.fall(b"4")
    assert workers.crashes() == (Status.WAITING, 3)
    workers.fall(b"5")
    assert workers.crashes() == (Status.BLOCKED, 4)


def test_however_many_workers_go_down_without_it_six_times_are_enough(workers: Workers) -> None:
    for number in range(1, 7):
        assert workers.crashes()[0] != Status.BLOCKED
        workers.fall(b"%d" % number)
        workers.mishap(b"x")
        workers.mishap(b"y")
    assert workers.crashes() == (Status.BLOCKED, 6)


def test_workers_that_went_down_before_a_run_was_suspected_do_not_speak_for_it(workers: Workers) -> None:
    workers.mishap(b"x")
    workers.mishap(b"y")
    for number in range(1, 4):
        workers.fall(b"%d" % number)
    assert workers.crashes() == (Status.BLOCKED, 3)


def test_a_worker_that_goes_down_with_a_run_that_is_to_blame_does_not_speak_for_another(workers: Workers) -> None:
    workers.start("other")
    workers.fall(b"1", both=True)
    workers.fall(b"2", both=True)
    workers.fall(b"3")
    assert {workers.crashes(), workers.crashes("other")} == {(Status.BLOCKED, 3), (Status.WAITING, 2)}
    workers.fall(b"4")
    assert {workers.crashes(), workers.crashes("other")} == {(Status.BLOCKED, 3)}


@pytest.mark.parametrize("died", [True, False])
def test_of_a_worker_that_a_run_held_up_that_run_is_counted_and_no_other(workers: Workers, died: bool) -> None:
    workers.start("other")
    for number in range(3):
        worker = workers.enlist(b"%d" % number)
        assert all(workers.carry_out(workers.look(worker)))
        assert workers.store.commit([held_up(worker, "r")]) == [True]
        workers.bury(worker, fell=died)
        assert all(workers.carry_out(workers.look(Tenure(b"visitor1", b"visitor"), risks=0, room=0)))
    assert (workers.crashes(), workers.crashes("other")) == ((Status.BLOCKED, 3), (Status.WAITING, 0))


def test_a_worker_that_is_held_up_no_more_is_one_that_merely_stood_still(workers: Workers) -> None:
    worker = workers.enlist(b"1")
    workers.take(worker)
    assert workers.store.commit([held_up(worker, "r"), goes_on(worker)]) == [True, True]
    workers.bury(worker, fell=False)
    assert all(workers.carry_out(workers.look(Tenure(b"visitor1", b"visitor"))))
    assert workers.crashes() == (Status.WAITING, 0)


def test_a_worker_that_stands_still_speaks_for_a_run_too(workers: Workers) -> None:
    workers.fall(b"1")
    workers.bury(workers.enlist(b"2"), fell=False)
    workers.fall(b"3")
    workers.fall(b"4")
    assert workers.crashes() == (Status.WAITING, 3)


def test_a_run_that_may_be_laid_aside_waits_for_calm_unless_workers_go_down_without_it(workers: Workers) -> None:
    workers.fall(b"1")
    workers.fall(b"2")
    visitor = workers.enlist(b"3")
    assert workers.look(visitor, grave_risks=0).shied
    assert workers.take(visitor).grave
    workers.bury(visitor, fell=False)  # it merely stood still
    workers.mishap(b"4")
    assert all(workers.carry_out(workers.look(Tenure(b"visitor1", b"visitor"))))
    look = workers.look(workers.enlist(b"5"), grave_risks=0)
    assert [answer.grave for _, answer in look.found if isinstance(answer, Taken)] == [False]


def test_workers_begin_with_different_runs(workers: Workers) -> None:
    looks = [workers.look(workers.enlist(name)) for name in (b"1", b"2", b"3")]
    roll = looks[-1].roll
    for look in looks:
        look.roll = roll
    runs = list(range(9))
    assert [look.share_of(runs)[:3] for look in looks] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert [sorted(look.share_of(runs)) for look in looks] == [runs] * 3
