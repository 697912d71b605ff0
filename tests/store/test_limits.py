"""Limits: never more at a time, never more in a time, in order, and nothing is lost with who dies."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from continuum.journal import RunId, Status
from continuum.limit import Limit
from continuum.store import Batch, MemoryStore, View
from continuum.store import keys as layout
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger
from continuum.store.limits import MOST_LAG, PATIENCE, PATROL, Asker, Bound, Turn, bound_of
from continuum.store.records import RunEnd, RunRecord, RunState, write

SECOND = 1_000_000_000
COUNTS = SECOND + MOST_LAG  # how long one that began counts where so many may in a second
START = 1_700_000_000 * SECOND
COMMAND = layout.command((0, 3))


def bound(limit: Limit) -> Bound:
    return bound_of(limit, "step", "charge")


THREE = bound(Limit(3))
ONE = bound(Limit(1))
TWO_A_SECOND = bound(Limit(rate=2))
DIGEST = THREE.digest


class Shop:
    """A store with runs in it, and a clock."""

    def __init__(self, runs: int, priorities: dict[int, int] | None = None) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(Codec())
        self.limits = self.ledger.limits
        self.now = START
        self.stamps = count(1)
        self.runs = [f"r{number}" for number in range(runs)]
        for number, run_id in enumerate(self.runs):
            priority = (priorities or {}).get(number, 0)
            record = RunRecord(RunId(run_id), "order", "1", "default", number, "", priority)
            self.do(lambda view, record=record: self.ledger.start(view, record))
        self.called()

    def do(self, plan: Callable[[View], tuple[Batch | None, Any]]) -> Any:
        with self.store.view() as view:
            batch, answer = plan(view)
        assert batch is None or self.store.commit([batch]) == [True]
        return answer

    def ask_all(self, bound: Bound, *run_ids: str) -> list[Turn]:
        """What a plan of a worker does for all those of its runs that ask."""
        with self.store.view() as view:
            turns = self.limits.round(view, self.now, lambda: next(self.stamps))
            answers = [turns.ask(bound, self.asker(run_id)) for run_id in run_ids]
        assert all(self.store.commit([batch for batch, _ in answers if batch is not None]))
        return [turn for _, turn in answers]

    def ask(self, bound: Bound, run_id: str) -> bool:
        """Whether the run may begin."""
        (turn,) = self.ask_all(bound, run_id)
        return turn.given

    def asker(self, run_id: str) -> Asker:
        with self.store.view() as view:
            return Asker(run_id, COMMAND, self.ledger.record(view, run_id).priority)

    def over(self, bound: Bound, run_id: str) -> None:
        """What a run gives back, and what follows."""
        self.do(lambda view: self.limits.release(view, self.asker(run_id), bound.digest, next(self.stamps)))
        self.call(bound)

    def call(self, bound: Bound) -> int | None:
        """Call those whose turn it is; when to look again."""
        again: int | None
        _, again = self.do(lambda view: self.limits.call(view, bound.digest, self.now, next(self.stamps)))
        return again

    def called(self) -> list[str]:
        """Who is to be looked at; they are, with that."""
        ready = self.keys(layout.ready_prefix("default"))
        self.store.commit([Batch(deletes=ready)])
        return [layout.run_of_ready("default", key) for key in ready]

    def change(self, run_id: str, status: Status) -> None:
        state = write(self.ledger.codec, layout.state(run_id), RunState(status, self.now))
        end = [write(self.ledger.codec, layout.outcome(run_id), RunEnd(status, True))]
        self.store.commit([Batch(puts=[state, *([] if status is Status.BLOCKED else end)])])

    def keys(self, prefix: bytes) -> list[bytes]:
        with self.store.view() as view:
            return [key for key, _ in view.scan(prefix)]

    def taken(self) -> int:
        return len(self.keys(layout.slots(DIGEST)))

    def in_line(self) -> list[str]:
        return [layout.run_and_command(key)[0] for key in self.keys(layout.line(DIGEST))]


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop(8)
    yield shop
    shop.store.close()


def test_as_many_as_are_allowed_get_slots_and_the_others_wait_in_line(shop: Shop) -> None:
    turns = shop.ask_all(THREE, *shop.runs[:5])
    assert [turn.given for turn in turns] == [True, True, True, False, False]
    assert shop.in_line() == ["r3", "r4"]
    assert shop.taken() == 3


def test_those_who_ask_one_after_the_other_get_the_same(shop: Shop) -> None:
    assert [shop.ask(THREE, run_id) for run_id in shop.runs[:5]] == [True, True, True, False, False]


def test_two_workers_that_ask_at_the_same_moment_cannot_get_the_same_slot(shop: Shop) -> None:
    with shop.store.view() as view:
        batches = [
            shop.limits.round(view, shop.now, lambda: next(shop.stamps)).ask(ONE, shop.asker(run_id))[0]
            for run_id in ("r0", "r1")
        ]
    assert shop.store.commit([batch for batch in batches if batch is not None]) == [True, False]
    assert not shop.ask(ONE, "r1")


def test_nobody_gets_in_line_who_has_not_seen_that_a_slot_was_given_back(shop: Shop) -> None:
    shop.ask(ONE, "r0")
    with shop.store.view() as view:
        batch, turn = shop.limits.round(view, shop.now, lambda: next(shop.stamps)).ask(ONE, shop.asker("r1"))
    assert batch is not None
    assert not turn.given
    shop.over(ONE, "r0")
    assert shop.store.commit([batch]) == [False], "or nobody would ever call it"
    assert shop.ask(ONE, "r1")


def test_nobody_gets_in_line_behind_one_who_was_given_nothing_after_all(shop: Shop) -> None:
    with shop.store.view() as view:
        turns = shop.limits.round(view, shop.now, lambda: next(shop.stamps))
        batches = [turns.ask(ONE, shop.asker(run_id))[0] for run_id in ("r0", "r1")]
    assert batches[0] is not None
    assert batches[1] is not None
    batches[0].checks.append((b"claim", b"of a worker that has lost it"))
    assert shop.store.commit([batches[0], batches[1]]) == [False, False], "or nobody would ever call it"


def test_who_waits_longest_is_called_first_and_nobody_gets_past(shop: Shop) -> None:
    shop.ask_all(ONE, *shop.runs[:4])
    for waits in ("r1", "r2", "r3"):
        shop.over(ONE, shop.runs[int(waits[1]) - 1])
        assert shop.called() == [waits]
        assert not shop.ask(ONE, "r7"), "a place in line is not lost to one who comes later"
        assert shop.ask(ONE, waits)
        shop.over(ONE, "r7")
    assert shop.in_line() == []


def test_a_higher_priority_is_let_in_first() -> None:
    shop = Shop(4, {3: 1})
    shop.ask_all(ONE, *shop.runs)
    assert shop.in_line() == ["r3", "r1", "r2"]
    shop.over(ONE, "r0")
    assert shop.called() == ["r3"]


def test_of_two_slots_that_come_free_each_calls_another_run(shop: Shop) -> None:
    shop.ask_all(THREE, *shop.runs[:6])
    shop.over(THREE, "r0")
    shop.over(THREE, "r1")
    assert shop.called() == ["r3", "r4"]
    assert [turn.given for turn in shop.ask_all(THREE, "r4", "r3", "r5")] == [True, True, False]


def test_a_run_is_called_once(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1")
    shop.over(ONE, "r0")
    assert shop.called() == ["r1"]
    shop.call(ONE)
    assert shop.called() == []


def test_who_does_not_come_loses_the_place_and_may_ask_again(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1", "r2")
    shop.over(ONE, "r0")
    assert shop.called() == ["r1"]
    shop.now += PATIENCE + 1
    again = shop.call(ONE)
    assert shop.called() == ["r2"]
    assert again == shop.now + PATROL
    assert shop.in_line() == ["r2"]
    assert not shop.ask(ONE, "r1")
    assert shop.in_line() == ["r2", "r1"]


def test_a_line_of_many_who_do_not_come_is_soon_passed() -> None:
    shop = Shop(200)
    shop.ask_all(ONE, *shop.runs)
    shop.over(ONE, "r0")
    rounds = 0
    while "r199" not in shop.called():
        shop.now += PATIENCE + 1
        shop.call(ONE)
        rounds += 1
    assert rounds < 10
    shop.now += PATIENCE + 1
    shop.call(ONE)
    assert shop.in_line() == []


def test_a_run_that_was_called_in_vain_is_called_again(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1")
    shop.over(ONE, "r0")
    assert shop.called() == ["r1"]
    higher = Asker("r2", COMMAND, 5)
    with shop.store.view() as view:
        batch, turn = shop.limits.round(view, shop.now, lambda: next(shop.stamps)).ask(ONE, higher)
    assert turn.given
    assert batch is not None
    shop.store.commit([batch])
    assert not shop.ask(ONE, "r1")
    shop.over(ONE, "r2")
    assert shop.called() == ["r1"]


def test_a_run_that_is_taken_over_has_its_slot_still(shop: Shop) -> None:
    assert shop.ask(ONE, "r0")
    assert not shop.ask(ONE, "r1")
    assert shop.ask(ONE, "r0"), "its next worker asks again"
    assert shop.taken() == 1


def test_a_run_that_is_taken_over_has_its_place_in_line_still(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1", "r2")
    assert not shop.ask(ONE, "r1")
    assert shop.in_line() == ["r1", "r2"]


def test_a_place_in_line_can_be_given_back(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1", "r2")
    shop.over(ONE, "r1")
    shop.over(ONE, "r0")
    assert shop.called() == ["r2"]


def test_a_run_that_ends_without_a_worker_gives_all_back(shop: Shop) -> None:
    shop.ask(ONE, "r0")
    other = bound_of(Limit(1), "workflow", "order")
    shop.ask_all(other, "r1", "r0")
    batch = Batch()
    with shop.store.view() as view:
        shop.limits.give_up_all(view, batch, "r0", next(shop.stamps))
    shop.store.commit([batch])
    assert shop.ask(ONE, "r2")
    shop.over(other, "r1")
    assert shop.called() == []
    assert [key for key in shop.keys(b"fr") if b"r0" in key] == []


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.BLOCKED])
def test_slots_that_nobody_gives_back_come_back_when_somebody_waits(shop: Shop, status: Status) -> None:
    shop.ask_all(ONE, "r0", "r1")
    shop.change("r0", status)
    shop.call(ONE)
    assert shop.called() == ["r1"]
    assert shop.ask(ONE, "r1")


def test_a_run_in_line_that_has_ended_is_passed_over(shop: Shop) -> None:
    shop.ask_all(ONE, "r0", "r1", "r2")
    shop.change("r1", Status.FAILED)
    shop.over(ONE, "r0")
    assert shop.called() == ["r2"]


def test_who_was_let_begin_counts_a_little_longer_since_it_begins_later() -> None:
    long, short = (bound(Limit(rate=1, per=per)).per for per in (60, 0.1))
    assert (long, short) == (60 * SECOND + MOST_LAG, SECOND * 11 // 100)


def test_so_many_begin_in_a_time_and_the_next_when_the_first_of_them_is_that_long_ago(shop: Shop) -> None:
    assert shop.ask(TWO_A_SECOND, "r0")
    shop.now += SECOND // 4
    turns = shop.ask_all(TWO_A_SECOND, "r1", "r2", "r3")
    assert [turn.given for turn in turns] == [True, False, False]
    assert turns[1].again == START + COUNTS
    shop.now = START + COUNTS
    assert shop.call(TWO_A_SECOND) == START + SECOND // 4 + COUNTS
    assert shop.called() == ["r2"]
    assert [turn.given for turn in shop.ask_all(TWO_A_SECOND, "r3", "r2")] == [False, True]
    assert shop.call(TWO_A_SECOND) == START + SECOND // 4 + COUNTS
    shop.now = START + SECOND // 4 + COUNTS
    shop.call(TWO_A_SECOND)
    assert shop.called() == ["r3"]
    assert shop.ask(TWO_A_SECOND, "r3")
    assert shop.call(TWO_A_SECOND) is None, "nobody waits any more"


def test_a_run_that_had_a_slot_asks_for_another_one_of_so_many_in_a_time_and_stays_first(shop: Shop) -> None:
    both = bound(Limit(1, rate=1))
    assert shop.ask(both, "r0")
    shop.now += SECOND // 2
    assert not shop.ask(both, "r1")
    assert not shop.ask(both, "r0"), "its worker died: the attempt begins anew, and counts anew"
    assert shop.in_line() == ["r0", "r1"]
    assert shop.taken() == 0
    shop.now = START + COUNTS
    assert not shop.ask(both, "r1")
    assert shop.ask(both, "r0")


@pytest.mark.parametrize("before", [(5, 1), (5, 60), (1, 1)])
def test_another_declaration_holds_from_then_on(shop: Shop, before: tuple[int, int]) -> None:
    old, new = (bound(Limit(rate=rate, per=per)) for rate, per in (before, (3, 1)))
    begun = 0
    for limit in (old, new):
        shop.now += SECOND // 10
        begun = sum(turn.given for turn in shop.ask_all(limit, *shop.runs))
    assert before[0] + begun <= max(before[0], 3)
    shop.now += COUNTS
    for run_id in shop.runs:
        shop.over(new, run_id)
    assert sum(turn.given for turn in shop.ask_all(new, *shop.runs)) == 3


def test_times_that_nobody_asks_for_any_more_are_taken_away(shop: Shop) -> None:
    for number in range(40):
        shop.ask_all(bound(Limit(rate=20 if number < 20 else 2)), "r0")
        shop.now += SECOND
    assert len(shop.keys(layout.times(DIGEST))) == 2
    shop.over(TWO_A_SECOND, "r0")
    assert len(shop.keys(b"f")) <= 4


def test_a_clock_that_is_set_back_far_stops_nobody_for_long(shop: Shop) -> None:
    shop.ask_all(TWO_A_SECOND, "r0", "r1")
    shop.now -= 3600 * SECOND
    assert shop.ask(TWO_A_SECOND, "r2")
    assert shop.ask(TWO_A_SECOND, "r3")
    assert not shop.ask(TWO_A_SECOND, "r4")


def test_limits_of_steps_and_of_workflows_are_apart_and_a_name_is_shared() -> None:
    step, workflow = (bound_of(Limit(1), kind, "charge") for kind in ("step", "workflow"))
    assert step.digest != workflow.digest
    named = [bound_of(Limit(1, name="api"), "step", name) for name in ("a", "b")]
    assert named[0] == named[1] != step


@pytest.mark.parametrize("limit", [Limit(3), Limit(rate=3), Limit(2, rate=3)], ids=str)
def test_whatever_happens_the_limit_holds_and_everybody_gets_a_turn(limit: Limit) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance, shop, what = random.Random(seed), Shop(40), bound(limit)
    waiting, at_work, begun, times = deque(shop.runs), set[str](), set[str](), list[int]()
    while len(begun) < len(shop.runs):
        shop.now += chance.randrange(SECOND // 5)
        askers = [waiting.popleft() for _ in range(min(len(waiting), chance.randrange(5)))]
        askers += shop.called()
        for asker, turn in zip(askers, shop.ask_all(what, *askers), strict=True):
            if turn.given:
                at_work.add(asker)
                begun.add(asker)
                times.append(shop.now)
        assert len(at_work) <= (limit.concurrency or len(shop.runs))
        for run_id in chance.sample(sorted(at_work), chance.randrange(len(at_work) + 1)):
            at_work.remove(run_id)
            shop.over(what, run_id)
        shop.call(what)
    if limit.rate is not None:
        assert all(last - first >= SECOND for first, last in zip(times, times[limit.rate :], strict=False))
    assert shop.in_line() == []
