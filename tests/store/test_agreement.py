"""All backends do the same: random histories of commits, views and scans, held against a dict."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

import pytest
from hosts import TOO_LONG
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from servers import new_schema, pick

from continuum.errors import BadValue, StoreClosed
from continuum.store import Batch, LmdbStore, MemoryStore, Store, View, open_store
from continuum.store.bounds import LONGEST_KEY, STAMP
from continuum.store.memory import Space
from continuum.store.postgres import PostgresStore

Model = dict[bytes, bytes]

keys = st.one_of(
    st.binary(min_size=1, max_size=2),
    st.lists(st.sampled_from([b"\x00", b"a", b"b", b"\xff"]), min_size=1, max_size=4).map(b"".join),
    st.just(b"\xff" * LONGEST_KEY),
    st.just(STAMP + b"!"),
)
edges = st.one_of(st.none(), keys, st.just(b""), st.just(b"a" * 600))
values = st.binary(max_size=3) | st.sampled_from([b"v" * 5000, b"w" * 300_000])
bad_keys = st.sampled_from([b"", b"k" * (LONGEST_KEY + 1), STAMP])


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    return Batch(
        checks=draw(st.lists(st.tuples(keys, st.none() | values), max_size=2)),
        puts=draw(st.lists(st.tuples(keys, values), max_size=4)),
        deletes=draw(st.lists(keys, max_size=3)),
        notify=draw(st.booleans()),
    )


def apply_to(model: Model, batch: Batch) -> bool:
    if any(model.get(key) != expected for key, expected in batch.checks):
        return False
    for key in batch.deletes:
        model.pop(key, None)
    model.update(batch.puts)
    return True


def scan(
    model: Model, prefix: bytes, start: bytes | None, stop: bytes | None, limit: int | None, reverse: bool
) -> list[tuple[bytes, bytes]]:
    found = [
        (key, model[key])
        for key in sorted(model, reverse=reverse)
        if key.startswith(prefix) and (start is None or key >= start) and (stop is None or key < stop)
    ]
    return found[:limit]


class Agreement(RuleBasedStateMachine):
    """The history; what a backend adds is how it is opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.views: list[tuple[View, Model]] = []
        self.model: Model = {}
        self.store = self.open()
        self.other = self.open()

    def open(self) -> Store:
        raise NotImplementedError

    @rule(commit=st.lists(batches(), max_size=5), by_other=st.booleans())
    def commit(self, commit: list[Batch], by_other: bool) -> None:
        expected = [apply_to(self.model, batch) for batch in commit]
        assert (self.other if by_other else self.store).commit(commit) == expected

    @rule(data=st.data(), value=values)
    def commit_on_what_is_there(self, data: st.DataObject, value: bytes) -> None:
        key = data.draw(st.sampled_from(sorted(self.model)) if self.model else keys)
        swap = Batch(checks=[(key, self.model.get(key))], puts=[(key, value)])
        again = Batch(checks=[(key, value)], deletes=[key])
        assert self.store.commit([swap, again, again]) == [True, True, False]
        self.model.pop(key, None)

    @rule(good=batches(), key=bad_keys, part=st.sampled_from(["checks", "puts", "deletes"]))
    def a_bad_key_spoils_the_whole_commit(self, good: Batch, key: bytes, part: str) -> None:
        bad = {"checks": Batch([(key, None)]), "puts": Batch(puts=[(key, b"")]), "deletes": Batch(deletes=[key])}
        with pytest.raises(BadValue):
            self.store.commit([good, bad[part]])

    @precondition(lambda self: len(self.views) < 3)
    @rule()
    def open_view(self) -> None:
        view = self.stack.enter_context(self.store.view())
        assert view.get(b"a") == self.model.get(b"a")  # the picture is taken by now
        self.views.append((view, dict(self.model)))

    @rule(
        prefix=keys | st.just(b""), start=edges, stop=edges, limit=st.none() | st.integers(0, 4), reverse=st.booleans()
    )
    def scan_in_every_view(self, prefix: bytes, **bounds: Any) -> None:
        with self.store.view() as now:
            for view, model in [*self.views, (now, self.model)]:
                assert list(view.scan(prefix, **bounds)) == scan(model, prefix, **bounds)

    @rule(key=keys)
    def get_in_every_view(self, key: bytes) -> None:
        for view, model in self.views:
            assert view.get(key) == model.get(key)

    @rule()
    def close_views(self) -> None:
        self.stack.close()
        for view, _ in self.views:
            with pytest.raises(StoreClosed):
                view.get(b"a")
            with pytest.raises(StoreClosed):
                next(view.scan(b""))
        self.views.clear()

    @rule()
    def reopen(self) -> None:
        self.close_views()
        for store in (self.store, self.other):
            store.close()
            with pytest.raises(StoreClosed):
                store.commit([])
        self.store, self.other = self.open(), self.open()

    @invariant()
    def holds_what_the_model_holds(self) -> None:
        with self.store.view() as view:
            assert list(view.scan(b"")) == sorted(self.model.items())

    def teardown(self) -> None:
        self.stack.close()
        self.store.close()
        self.other.close()


class MemoryAgreement(Agreement):
    def __init__(self) -> None:
        self.space = Space()
        super().__init__()

    def open(self) -> Store:
        return MemoryStore(self.space)


class LmdbAgreement(Agreement):
    durability: ClassVar = "process"

    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()
        super().__init__()

    def open(self) -> Store:
        return LmdbStore(self.directory.name, durability=self.durability)

    def teardown(self) -> None:
        super().teardown()
        self.directory.cleanup()


class PostgresAgreement(Agreement):
    url: ClassVar[str]

    def __init__(self) -> None:
        self.schema = ExitStack()
        self.name = self.schema.enter_context(new_schema(self.url))
        super().__init__()

    def open(self) -> Store:
        return PostgresStore(pick(self.url, self.name), durability="process")

    def teardown(self) -> None:
        super().teardown()
        self.schema.close()


@pytest.fixture
def in_small_pieces(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read and written has to be put together from several answers and calls."""
    monkeypatch.setattr("continuum.store.postgres.view.ROWS", (2, 3))
    monkeypatch.setattr("continuum.store.postgres.view.BYTES", 6_000)
    monkeypatch.setattr("continuum.store.postgres.waves.LARGEST", 9_000)
    monkeypatch.setattr(PostgresAgreement, "url", postgres_url, raising=False)


HISTORIES = settings(
    max_examples=100,
    stateful_step_count=25,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

TestMemory = MemoryAgreement.TestCase
TestMemory.settings = HISTORIES
TestLmdb = LmdbAgreement.TestCase
TestLmdb.settings = HISTORIES
TestPostgres = pytest.mark.usefixtures("in_small_pieces")(PostgresAgreement.TestCase)
TestPostgres.settings = settings(HISTORIES, max_examples=50)


@pytest.fixture
def store(where: str) -> Iterator[Store]:
    """A store of each kind."""
    made = open_store(where, durability="process")
    yield made
    made.close()


def test_a_prefix_reaches_to_its_last_key_and_no_further(store: Store) -> None:
    inside = [b"a", *(b"a" + b"\xff" * count for count in range(1, 500, 50))]
    store.commit([Batch(puts=[(key, b"") for key in [*inside, b"b", b"Z\xff"]])])
    with store.view() as view:
        assert [key for key, _ in view.scan(b"a")] == inside
        assert [key for key, _ in view.scan(b"a", reverse=True)] == inside[::-1]


def test_a_name_is_held_by_one_handle_until_it_lets_go(where: str) -> None:
    first, second = open_store(where), open_store(where)
    hold = first.hold("a name/ä")
    assert hold is not None
    assert second.hold("a name/ä") is None
    assert first.hold("a name/ä") is None
    assert second.hold("another") is not None
    hold.release()
    hold.release()
    assert second.hold("a name/ä") is not None
    second.close()
    assert first.hold("a name/ä") is not None
    with pytest.raises(BadValue):
        first.hold("")
    first.close()


def test_a_commit_that_says_so_wakes_other_handles(where: str) -> None:
    first, second = open_store(where), open_store(where)
    woken = threading.Event()
    watch = second.watch(woken.set)
    for number in range(3):
        first.commit([Batch(puts=[(b"k", b"%d" % number)], notify=True)])
        assert woken.wait(TOO_LONG)
        woken.clear()
    watch.close()
    watch.close()
    first.close()
    second.close()


@pytest.mark.parametrize("count", [0, 5, 1000])
def test_a_memory_store_keeps_its_keys_in_order_however_many_change_at_once(count: int) -> None:
    store = MemoryStore()
    names = [b"%d" % (number * 7919 % 1000) for number in range(1000)]
    store.commit([Batch(puts=[(name, b"") for name in names])])
    with store.view() as view:
        assert [key for key, _ in view.scan(b"")] == sorted(names)
    store.commit([Batch(deletes=names[:count], puts=[(b"new" + name, b"") for name in names[:count]])])
    with store.view() as view:
        expected = sorted(names[count:] + [b"new" + name for name in names[:count]])
        assert [key for key, _ in view.scan(b"")] == expected
