"""Shared results: one at a time is at work on a key, everybody in line is called, what has expired goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from continuum.errors import BadValue
from continuum.journal import RunId, Status
from continuum.store import Batch, MemoryStore, View
from continuum.store import keys as layout
from continuum.store.codec import Codec
from continuum.store.digest import digest_of_key
from continuum.store.ledger import Ledger
from continuum.store.records import RunEnd, RunRecord, RunState, SharedResult, write
from continuum.store.results import SWEEP, Share

ONCE = Share(digest_of_key("k"), "charge", True, None)
POSITION = (3, 1, 0)
NOW = 1_000


class Shop:
    """A store with runs in it."""

    def __init__(self, *runs: str) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(Codec())
        self.results = self.ledger.results
        for number, run_id in enumerate(runs):
            record = RunRecord(RunId(run_id), "order", "1", "default", number, "")
            with self.store.view() as view:
                batch, _ = self.ledger.start(view, record)
            assert batch is not None
            self.store.commit([Batch(puts=[pair for pair in batch.puts if pair[0][:1] != b"q"])])

    def do(self, plan: Callable[[View], tuple[Batch | None, Any]]) -> Any:
        with self.store.view() as view:
            batch, answer = plan(view)
        assert batch is None or self.store.commit([batch]) == [True]
        return answer

    def ask(self, run_id: str, share: Share = ONCE, now: int = NOW, position: Any = POSITION) -> SharedResult | None:
        found: SharedResult | None = self.do(lambda view: self.results.ask(view, share, run_id, position, now))
        return found

    def over(self, run_id: str, payload: bytes | None, share: Share = ONCE, expires: int | None = None) -> None:
        """What a worker does with the step's entry, and what follows."""
        state: Any = "given up" if payload is None else "done"
        part = SharedResult(share.step, run_id, list(POSITION), state, False, expires, payload or b"")
        batch = Batch()
        key = self.results.put_part(batch, share, part)
        self.store.commit([batch])
        self.do(lambda view: self.results.conclude(view, key))
        self.do(lambda view: self.results.call(view, key, 1))

    def end(self, run_id: str, status: Status = Status.CANCELLED) -> None:
        end, state = RunEnd(status, True), RunState(status, NOW)
        ended = [
            write(self.ledger.codec, layout.outcome(run_id), end),
            write(self.ledger.codec, layout.state(run_id), state),
        ]
        self.store.commit([Batch(puts=ended)])

    def called(self) -> list[str]:
        """Who is to be looked at; they are, with that."""
        with self.store.view() as view:
            ready = [key for key, _ in view.scan(layout.ready_prefix("default"))]
        self.store.commit([Batch(deletes=ready)])
        return [layout.run_of_ready("default", key) for key in ready]

    def left(self, letters: str) -> list[bytes]:
        """What the store holds of these kinds."""
        with self.store.view() as view:
            return [key for letter in letters for key, _ in view.scan(letter.encode())]


@pytest.fixture
def shop() -> Iterator[Shop]:
    shop = Shop("a", "b", "c")
    yield shop
    shop.store.close()


def test_the_first_who_asks_takes_it_and_the_others_wait_in_line(shop: Shop) -> None:
    assert shop.ask("a") is None
    for other in ("b", "c"):
        found = shop.ask(other)
        assert found is not None
        assert (found.run_id, found.state) == ("a", "taken")
    assert shop.ask("a") is None, "who has it still has it after a restart"


def test_all_in_line_are_called_when_there_is_a_result(shop: Shop) -> None:
    for run_id in ("a", "b", "c", "b"):
        shop.ask(run_id)
    shop.over("a", b"42")
    assert sorted(shop.called()) == ["b", "c"]
    for run_id in ("a", "b", "c"):
        found = shop.ask(run_id)
        assert found is not None
        assert (found.state, found.payload, found.run_id) == ("done", b"42", "a")
    assert len(shop.left("mehw")) == 1, "nothing but the result is kept"


def test_whoever_comes_first_takes_what_was_given_up(shop: Shop) -> None:
    for run_id in ("a", "b", "c"):
        shop.ask(run_id)
    shop.over("a", None)
    assert sorted(shop.called()) == ["b", "c"]
    assert shop.ask("c") is None
    found = shop.ask("b")
    assert found is not None
    assert found.run_id == "c"
    shop.over("c", None)
    shop.called()
    assert shop.ask("b") is None
    shop.over("b", None)
    assert shop.left("mehw") == []


def test_who_saw_it_free_does_not_take_what_the_same_run_has_taken_again(shop: Shop) -> None:
    shop.ask("a")
    batch = Batch()
    key = shop.results.put_part(batch, ONCE, SharedResult("charge", "a", list(POSITION), "given up"))
    shop.store.commit([batch])
    with shop.store.view() as view:
        late, found = shop.results.ask(view, ONCE, "b", POSITION, NOW)
    assert late is not None
    assert found is None
    shop.do(lambda view: shop.results.conclude(view, key))
    assert shop.ask("a") is None
    assert shop.store.commit([late]) == [False]


def test_who_leaves_the_line_is_not_called_and_calls_nobody(shop: Shop) -> None:
    for run_id in ("a", "b", "c"):
        shop.ask(run_id)
    shop.over("b", None)
    assert shop.called() == []
    shop.over("a", b"42")
    assert shop.called() == ["c"]


def test_what_is_written_down_as_done_counts_at_once(shop: Shop) -> None:
    shop.ask("a")
    batch = Batch()
    shop.results.put_part(batch, ONCE, SharedResult("charge", "a", list(POSITION), "done", False, None, b"42"))
    shop.store.commit([batch])
    shop.end("a", Status.COMPLETED)
    found = shop.ask("b")
    assert found is not None
    assert found.payload == b"42"


def test_a_run_that_has_ended_holds_nothing(shop: Shop) -> None:
    shop.ask("a")
    shop.end("a")
    assert shop.ask("b") is None
    shop.over("b", b"42")


def test_a_worker_finds_what_the_last_one_has_left_undone(shop: Shop) -> None:
    shop.ask("a")
    shop.ask("b")
    batch = Batch()
    part = shop.results.put_part(batch, ONCE, SharedResult("charge", "a", list(POSITION), "given up"))
    with shop.store.view() as view:
        assert shop.results.left(view) == []
    shop.store.commit([batch])
    with shop.store.view() as view:
        assert shop.results.left(view) == shop.results.left(view, "a") == [part]
        assert shop.results.left(view, "b") == []


def test_all_that_a_run_has_taken_can_be_given_up_for_it(shop: Shop) -> None:
    other = Share(digest_of_key("l"), "charge", True, None)
    for share in (ONCE, other):
        shop.ask("a", share)
        shop.ask("b", share)
    batch = Batch()
    with shop.store.view() as view:
        shop.results.give_up_all(view, batch, "a")
        shop.results.give_up_all(view, batch, "b")
    shop.store.commit([batch])
    with shop.store.view() as view:
        assert len(shop.results.left(view)) == 2
    assert shop.ask("c") is None


def test_a_key_belongs_to_one_step(shop: Shop) -> None:
    shop.ask("a")
    with pytest.raises(BadValue, match="of step 'email': the key belongs to step 'charge', see run 'a'"):
        shop.ask("b", Share(ONCE.digest, "email", True, None))
    shop.over("a", None)
    assert shop.ask("b", Share(ONCE.digest, "email", True, None)) is None, "as long as it has something of it"


def test_a_failure_that_was_kept_is_given_to_all_but_to_who_made_it(shop: Shop) -> None:
    shop.ask("a")
    batch = Batch()
    part = SharedResult("charge", "a", list(POSITION), "done", True, None, b"error")
    key = shop.results.put_part(batch, ONCE, part)
    shop.store.commit([batch])
    shop.do(lambda view: shop.results.conclude(view, key))
    found = shop.ask("b")
    assert found is not None
    assert found.failed
    assert shop.ask("a") is None, "its retry by hand is the way out"


# Kept for a while


def kept(number: int) -> Share:
    return Share(digest_of_key(str(number)), "look", False, 100)


def keep(shop: Shop, number: int, expires: int) -> None:
    batch = Batch()
    shop.results.keep(batch, kept(number), SharedResult("look", "a", [0], "done", False, expires, b"42"))
    shop.store.commit([batch])


def sweep(shop: Shop, now: int) -> int:
    with shop.store.view() as view:
        batches = [batch for batch, _ in shop.results.expire(view, now)]
    shop.store.commit(batches)
    return len(batches)


def test_a_kept_result_is_found_until_it_expires(shop: Shop) -> None:
    assert shop.ask("b", kept(1)) is None
    keep(shop, 1, NOW + 100)
    for now, there in ((NOW + 99, True), (NOW + 100, False)):
        assert (shop.ask("b", kept(1), now) is not None) is there


def test_nobody_waits_for_what_is_only_kept(shop: Shop) -> None:
    assert shop.ask("a", kept(1)) is None
    assert shop.ask("b", kept(1)) is None
    assert shop.left("mehw") == []


def test_what_has_expired_is_taken_away_a_bounded_number_at_a_time(shop: Shop) -> None:
    for number in range(SWEEP + 5):
        keep(shop, number, NOW + number)
    assert sweep(shop, NOW - 1) == 0
    assert sweep(shop, NOW + 2) == 3
    assert sweep(shop, NOW + 1_000) == SWEEP
    assert sweep(shop, NOW + 1_000) == 2
    assert shop.left("me") == []


def test_a_result_that_was_made_anew_outlives_the_old_one(shop: Shop) -> None:
    keep(shop, 1, NOW)
    keep(shop, 1, NOW + 100)
    assert sweep(shop, NOW + 50) == 1
    assert shop.ask("b", kept(1), NOW + 50) is not None
    assert sweep(shop, NOW + 100) == 1
    assert shop.left("me") == []


def test_a_key_is_free_again_when_its_result_has_expired(shop: Shop) -> None:
    shop.ask("a")
    shop.over("a", b"42", expires=NOW + 100)
    assert shop.ask("b", now=NOW + 99) is not None
    assert shop.ask("b", now=NOW + 100) is None
    assert sweep(shop, NOW + 100) == 1
    found = shop.ask("c", now=NOW + 100)
    assert found is not None
    assert found.run_id == "b", "what was taken again is not swept away"


# In any order


Planning = Callable[[View], tuple[Batch | None, Any]]


class Crowd(RuleBasedStateMachine):
    """Runs that ask for one key, and workers that are slow: any time may pass between a look and its commit.

    What one run plans is carried out in the order in which it was planned.
    """

    RUNS = ("a", "b", "c", "d")
    runs = st.sampled_from(RUNS)

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop(*self.RUNS)
        self.planned: dict[str, list[tuple[Planning, Batch | None, Any, Callable[[Any], None]]]] = {}
        self.state = dict.fromkeys(self.RUNS, "idle")
        self.made: list[bytes] = []

    def teardown(self) -> None:
        self.settle()
        self.shop.store.close()

    def plan(self, run_id: str, plan: Planning, then: Callable[[Any], None]) -> None:
        with self.shop.store.view() as view:
            self.planned.setdefault(run_id, []).append((plan, *plan(view), then))

    @rule(run_id=runs)
    def commit(self, run_id: str) -> None:
        """The first batch that a run has planned is committed, or planned anew if a check failed."""
        if not self.planned.get(run_id):
            return
        plan, batch, answer, then = self.planned[run_id].pop(0)
        if batch is None or self.shop.store.commit([batch]) == [True]:
            then(answer)
        else:
            rest, self.planned[run_id] = self.planned[run_id], []
            self.plan(run_id, plan, then)
            self.planned[run_id] += rest

    @rule(run_id=runs)
    def ask(self, run_id: str) -> None:
        if self.state[run_id] in ("idle", "in line"):
            self.state[run_id] = "asking"
            ask = partial(self.shop.results.ask, share=ONCE, run_id=run_id, position=POSITION, now=NOW)
            self.plan(run_id, ask, partial(self.asked, run_id))

    def asked(self, run_id: str, found: SharedResult | None) -> None:
        if self.state[run_id] != "asking":
            return  # it was called off
        if found is not None and found.state == "done":
            assert found.payload in self.made
        self.state[run_id] = "at work" if found is None else "given" if found.state == "done" else "in line"

    @rule(run_id=runs, succeeds=st.booleans())
    def end(self, run_id: str, succeeds: bool) -> None:
        """A step ends, or somebody is called off who only waits."""
        if self.state[run_id] not in ("at work", "asking", "in line"):
            return
        payload = run_id.encode() if succeeds and self.state[run_id] == "at work" else b""
        self.state[run_id] = "ending"
        part = SharedResult("charge", run_id, list(POSITION), "done" if payload else "given up", payload=payload)
        batch = Batch()
        key = self.shop.results.put_part(batch, ONCE, part)
        self.plan(run_id, lambda view: (batch, None), lambda _: self.ended(run_id, key, payload))

    def ended(self, run_id: str, key: bytes, payload: bytes) -> None:
        self.state[run_id] = "given" if payload else "idle"
        self.made += [payload] if payload else []
        self.follow(run_id, key)

    def follow(self, run_id: str, key: bytes) -> None:
        call = partial(self.shop.results.call, part_key=key, stamp=1)
        conclude = partial(self.shop.results.conclude, part_key=key)
        self.plan(run_id, conclude, lambda _: self.plan(run_id, call, lambda _: None))

    @rule()
    def wake(self) -> None:
        for run_id in self.shop.called():
            if self.state[run_id] == "in line":
                self.ask(run_id)

    @rule()
    def crash(self) -> None:
        """Whatever was not committed is forgotten; a new worker goes on."""
        self.planned.clear()
        with self.shop.store.view() as view:
            left = self.shop.results.left(view)
        for key in left:
            self.follow(key[1:2].decode(), key)
        for run_id in self.RUNS:
            if self.state[run_id] in ("at work", "asking", "in line", "ending"):
                self.state[run_id] = "idle"
                self.ask(run_id)

    @invariant()
    def one_at_a_time(self) -> None:
        assert [*self.state.values()].count("at work") <= 1

    @invariant()
    def one_result(self) -> None:
        assert len(self.made) <= 1

    def settle(self) -> None:
        """In the end everybody who waits has an answer."""
        for _ in range(50):
            for run_id in self.RUNS:
                while self.planned.get(run_id):
                    self.commit(run_id)
            self.wake()
            for run_id in self.RUNS:
                if self.state[run_id] == "at work":
                    self.end(run_id, succeeds=run_id == "d")
        assert set(self.state.values()) <= {"idle", "given"}, self.state
        assert self.shop.left("hw") == []


TestCrowd = Crowd.TestCase
TestCrowd.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
