"""What a worker reads of a queue that is long, and how it finds what calls for it behind all that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest
from test_ledger import LEDGER, RECORD

from continuum.journal import RunId
from continuum.limit import Limit
from continuum.stamps import Stamps
from continuum.store import keys
from continuum.store.calls import InHand, calls
from continuum.store.limits import MISSES, Asker, bound_of
from continuum.store.look import Look, Nudge, Taken
from continuum.store.opening import open_store
from continuum.store.protocol import Batch, Store, View
from continuum.store.records import Message, RunRecord
from continuum.store.results import Share
from continuum.store.tenure import Roll, Tenure, call_roll, enlist
from continuum.store.worklist import Worklist

NOW = 1_000_000
WORKLIST = Worklist(LEDGER, Stamps(lambda: NOW), ["default"], lambda label: label.startswith("first"))


class CountingView:
    """A view that counts the pairs that are read from it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.read = 0

    def get(self, key: bytes) -> bytes | None:
        self.read += 1
        return self._view.get(key)

    def scan(self, prefix: bytes, **options: Any) -> Iterator[tuple[bytes, bytes]]:
        self.read += 1
        for pair in self._view.scan(prefix, **options):
            self.read += 1
            yield pair


class Shop:
    """A store, and workers who look into it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.read = 0  # by the last look

    def start(self, runs: Sequence[RunRecord], wake: int | None = None) -> None:
        """Have these runs wait in the store."""
        with self.store.view() as view:
            batches = [LEDGER.start(view, run, wake)[0] for run in runs]
        assert all(self.store.commit([batch for batch in batches if batch is not None]))

    def send(self, run_id: str, stamp: int) -> None:
        with self.store.view() as view:
            batch, _ = LEDGER.send(view, run_id, Message("event", "word"), stamp)
        assert batch is not None
        assert self.store.commit([batch]) == [True]

    def enlist(self, name: bytes) -> Tenure:
        tenure = Tenure(name * 8, name)
        assert self.store.commit([enlist(tenure, (keys.worker(name), b""), (keys.move(), None))]) == [True]
        return tenure

    def look(self, tenure: Tenure, room: int, hand: InHand | None = None) -> Look:
        """What a look finds; it is not committed yet."""
        with self.store.view() as view:
            counting = CountingView(view)
            look = Look(tenure, call_roll(view), NOW, room, hand=hand)
            WORKLIST.look(counting, look)  # type: ignore[arg-type]
        self.read = counting.read
        return look

    def take(self, tenure: Tenure, room: int) -> list[Taken]:
        """The runs that a worker takes up."""
        look = self.look(tenure, room)
        assert all(self.store.commit([batch for batch, _ in look.found if batch is not None]))
        return taken(look)

    @contextmanager
    def batch(self) -> Iterator[tuple[View, Batch]]:
        batch = Batch()
        with self.store.view() as view:
            yield view, batch
        assert self.store.commit([batch]) == [True]

    def ready(self) -> list[str]:
        """The runs in the queue, a run once for each key."""
        with self.store.view() as view:
            return [keys.run_of_ready("default", key) for key, _ in view.scan(keys.ready_prefix("default"))]


@pytest.fixture
def shop(where: str) -> Iterator[Shop]:
    store = open_store(where, durability="process")
    yield Shop(store)
    store.close()


def runs(count: int, name: str = "run", **changes: Any) -> list[RunRecord]:
    """So many runs, in the order of their start."""
    return [replace(RECORD, id=RunId(f"{name} {n:06}"), created=1 + n, **changes) for n in range(count)]


def taken(look: Look) -> list[Taken]:
    return [answer for _, answer in look.found if isinstance(answer, Taken)]


def names(taken: list[Taken]) -> list[str]:
    return [each.record.id for each in taken]


def nudges(look: Look) -> dict[str, Nudge]:
    return {answer.run_id: answer for _, answer in look.found if isinstance(answer, Nudge)}


def hand_of(taken: Sequence[Taken]) -> InHand:
    return InHand({each.record.id: each for each in taken})


def test_what_a_look_reads_does_not_grow_with_the_queue(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(1_000))
    assert len(taken(shop.look(worker, 20))) == 20
    small = shop.read
    shop.start(runs(10_000, "later", priority=-1))
    look = shop.look(worker, 20)
    assert names(taken(look)) == [run.id for run in runs(20)]
    assert look.more
    assert shop.read == small


def test_a_worker_that_has_no_room_learns_that_there_is_something_and_reads_little(shop: Shop) -> None:
    shop.start(runs(1_000))
    look = shop.look(shop.enlist(b"1"), 0)
    assert look.more
    assert look.found == []
    assert shop.read < 50


def test_the_most_urgent_runs_go_first_however_many_came_before(shop: Shop) -> None:
    shop.start(runs(1_000))
    shop.start(runs(3, "urgent", priority=1))
    assert names(shop.take(shop.enlist(b"1"), 5)) == [
        *(run.id for run in runs(3, "urgent")), *(run.id for run in runs(2)),
    ]  # fmt: skip


def test_runs_that_are_due_and_those_in_the_queue_take_turns(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(1_000))
    shop.start(runs(1_000, "due"), wake=NOW)
    look = shop.look(worker, 100)
    due = [name for name in names(taken(look)) if name.startswith("due")]
    assert (len(taken(look)), len(due)) == (100, 50)
    assert shop.read < 2_000


def test_queues_take_turns(shop: Shop) -> None:
    shop.start(runs(1_000))
    shop.start(runs(3, "other", queue="other"))
    with shop.store.view() as view:
        first = [run_id for run_id, _ in islice(calls(view, ["default", "other"], lambda label: True, NOW), 8)]
    assert [run_id.partition(" ")[0] for run_id in first] == ["run", "other"] * 3 + ["run"] * 2


def test_a_run_that_is_called_twice_is_claimed_once(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(100))
    for number in range(100):
        shop.send("run 000000", NOW + number)
    look = shop.look(worker, 1_000)
    assert len(taken(look)) == 100
    assert len({each.record.id for each in taken(look)}) == 100
    assert not look.more


def test_workers_take_different_runs_of_a_long_queue(shop: Shop) -> None:
    workers = [shop.enlist(name) for name in (b"1", b"2")]
    shop.start(runs(1_000))
    looks = [shop.look(worker, 16) for worker in workers]
    assert [len(taken(look)) for look in looks] == [16, 16]
    both = {each.record.id for look in looks for each in taken(look)}
    assert both == {run.id for run in runs(32)}


def test_what_is_left_of_a_short_queue_is_shared(shop: Shop) -> None:
    workers = [shop.enlist(name) for name in (b"1", b"2")]
    shop.start(runs(5))
    assert [len(taken(shop.look(worker, 16))) for worker in workers] == [3, 3]


def test_runs_of_workflows_that_a_worker_does_not_have_stop_nobody(shop: Shop) -> None:
    shop.start(runs(1_000, "strange", workflow="second", priority=1))
    shop.start(runs(10))
    assert names(shop.take(shop.enlist(b"1"), 5)) == [run.id for run in runs(5)]


def test_whether_a_workflow_is_known_is_asked_once(shop: Shop) -> None:
    asked: list[str] = []
    worklist = Worklist(LEDGER, Stamps(lambda: NOW), ["default"], lambda label: bool(asked.append(label)))
    shop.start(runs(100))
    with shop.store.view() as view:
        worklist.look(view, Look(Tenure(b"sometime", b"somebody"), Roll({}, set(), {}), NOW, 5))
    assert len(asked) == 1


def test_runs_of_others_are_passed_over_until_there_are_enough_that_are_free(shop: Shop) -> None:
    first = shop.enlist(b"1")
    shop.start(runs(200))
    held = shop.take(first, 100)
    for each in held:
        shop.send(each.record.id, NOW)
    with shop.batch() as (_, batch):  # as urgent as can be
        batch.puts = [(keys.ready("default", 9, 1, each.record.id), b"first\x001") for each in held]
        batch.deletes = [first.entry[0]]
    assert len(shop.take(shop.enlist(b"2"), 100)) == 100


# What came for runs in memory


def test_what_came_for_a_run_in_memory_is_found_behind_a_long_queue(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(100))
    held = shop.take(worker, 100)
    shop.start(runs(1_000, "later"))
    shop.send("run 000050", NOW)
    assert nudges(shop.look(worker, 5)) == {}
    without = shop.read
    look = shop.look(worker, 5, hand_of(held))
    (nudge,) = nudges(look).values()
    assert (nudge.run_id, [number for number, _ in nudge.messages]) == ("run 000050", [NOW])
    assert nudge.ready == [keys.ready("default", 0, NOW, "run 000050")]
    assert shop.read - without < 10, "empty inboxes are not looked into"
    with shop.batch() as (_, batch):
        batch.deletes = nudge.ready
    assert "run 000050" not in shop.ready()


def test_a_message_that_is_known_calls_nobody(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(3))
    held = shop.take(worker, 3)
    shop.start(runs(100, "later"))
    for number in range(3):
        shop.send(f"run {number:06}", NOW + number)
    held[1].messages.append((NOW + 1, Message("event", "word")))
    assert set(nudges(shop.look(worker, 1, hand_of(held)))) == {"run 000000", "run 000002"}


def test_messages_to_runs_that_others_have_are_passed_over(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(200))
    held = shop.take(worker, 200)
    shop.start(runs(100, "later"))
    for number in range(0, 200, 10):
        shop.send(f"run {number:06}", NOW)
    mine = [each for each in held if each.record.id in ("run 000005", "run 000110", "run 000199")]
    assert set(nudges(shop.look(worker, 1, hand_of(mine)))) == {"run 000110"}


def test_who_reads_to_the_end_finds_all_in_the_queue_and_looks_nowhere_else(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(3))
    held = shop.take(worker, 3)
    shop.send("run 000001", NOW)
    look = shop.look(worker, 5, hand_of(held))
    assert not look.more
    assert {name: nudge.ready for name, nudge in nudges(look).items()} == {
        "run 000001": [keys.ready("default", 0, NOW, "run 000001")]
    }


def test_with_a_run_goes_what_called_for_it_far_behind(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(1_000))
    shop.send("run 000000", NOW)
    assert names(shop.take(worker, 1)) == ["run 000000"]
    assert "run 000000" not in shop.ready()


def test_who_waits_for_a_shared_result_is_called_when_nobody_is_at_it_any_more(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(3))
    held = shop.take(worker, 3)
    shop.start(runs(100, "later"))
    share = Share(b"d" * 32, "step", True, None)
    for number, run in enumerate(runs(3)):
        with shop.store.view() as view:
            batch, _ = LEDGER.results.ask(view, share, run.id, (0, number), NOW)
        assert batch is not None
        assert shop.store.commit([batch]) == [True]
    hand = hand_of(held)
    hand.results[share.digest] = [run.id for run in runs(3)[1:]]
    assert nudges(shop.look(worker, 1, hand)) == {}
    with shop.batch() as (_, batch):
        batch.deletes.append(keys.shared(share.digest))
    assert set(nudges(shop.look(worker, 1, hand))) == {"run 000001", "run 000002"}


def test_who_is_called_in_a_line_is_found_and_the_line_is_not_read_to_its_end(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(100))
    held = shop.take(worker, 100)
    shop.start(runs(100, "later"))
    bound = bound_of(Limit(1), "step", "step")
    askers = [Asker(run.id, b"command ", 0) for run in runs(100)]
    with shop.store.view() as view:
        turns = LEDGER.limits.round(view, NOW, Stamps(lambda: NOW).next)
        asked = [turns.ask(bound, asker) for asker in askers]
    assert all(shop.store.commit([batch for batch, _ in asked if batch is not None]))
    hand = hand_of(held)
    places = {turn.place: asker.run_id for (_, turn), asker in zip(asked, askers, strict=True) if turn.place}
    hand.places[bound.digest] = {place: RunId(run_id) for place, run_id in places.items() if run_id != "run 000000"}
    assert nudges(shop.look(worker, 1, hand)) == {}
    with shop.store.view() as view:
        counting = CountingView(view)
        assert list(LEDGER.limits.called(counting, sorted(hand.places[bound.digest]))) == []  # type: ignore[arg-type]
        assert counting.read == MISSES
    with shop.batch() as (_, batch):
        LEDGER.limits.give_slot_back(batch, askers[0], bound.digest, NOW)
    with shop.store.view() as view:
        call, (called, _) = LEDGER.limits.call(view, bound.digest, NOW, NOW)
    assert called
    assert call is not None
    assert shop.store.commit([call]) == [True]
    assert set(nudges(shop.look(worker, 1, hand))) == {"run 000001"}


def test_a_run_that_lost_its_place_in_line_is_told(shop: Shop) -> None:
    worker = shop.enlist(b"1")
    shop.start(runs(1))
    hand = hand_of(shop.take(worker, 1))
    shop.start(runs(100, "later"))
    hand.places[b"l" * 16] = {keys.place_in_line(b"l" * 16, 0, 1, "run 000000", b"command "): RunId("run 000000")}
    assert set(nudges(shop.look(worker, 1, hand))) == {"run 000000"}
