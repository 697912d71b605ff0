"""The store in PostgreSQL when things go wrong: answers and servers lost, locks lost, schemas of others."""

from __future__ import annotations

import logging
import os
import random
import selectors
import signal
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hosts import TOO_LONG, eventually
from proxy import Proxy, proxy_to
from servers import Server, new_schema, pick

from continuum.errors import (
    BadValue,
    CommitUnknown,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreFull,
    UnsupportedStore,
    ViewLost,
)
from continuum.store import Batch, notify, open_store
from continuum.store.postgres import PostgresStore, schema, writer
from continuum.store.postgres.waves import STRIPES, locks, waves

SAFETY = 60  # seconds after which something hangs: a server that crashed reads its log first

Open = Callable[..., PostgresStore]
Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def name(postgres_url: str) -> Iterator[str]:
    """A schema that nobody else uses."""
    with new_schema(postgres_url) as name:
        yield name


@pytest.fixture
def store_url(postgres_url: str, name: str) -> str:
    """The URL of a store in it, whose sessions have its name."""
    return pick(postgres_url, name, application_name=name)


@pytest.fixture
def open_it(store_url: str, stack: ExitStack) -> Open:
    """Open one more handle on the store; all are closed at the end."""

    def open_it(url: str = store_url, **options: Any) -> PostgresStore:
        store = PostgresStore(url, **options)
        stack.callback(store.close)
        return store

    return open_it


@pytest.fixture
def store(open_it: Open) -> PostgresStore:
    return open_it()


@pytest.fixture
def ask(postgres_url: str, name: str) -> Callable[..., Any]:
    """Say something to the server, in place of an administrator; {} is the schema."""

    def ask(statement: str, *parameters: Any) -> Any:
        with psycopg.connect(postgres_url, autocommit=True) as link:
            cursor = link.execute(statement.replace("{}", name).encode(), parameters)
            return cursor.fetchall() if cursor.description else None

    return ask


def put(key: bytes, value: bytes = b"", **more: Any) -> Batch:
    return Batch(puts=[(key, value)], **more)


def new(key: bytes, value: bytes = b"") -> Batch:
    """A batch that can be applied once."""
    return Batch(checks=[(key, None)], puts=[(key, value)])


def pairs_in(store: PostgresStore) -> list[tuple[bytes, bytes]]:
    with store.view() as view:
        return list(view.scan(b""))


def got(store: PostgresStore, key: bytes) -> bytes | None:
    """The value at a key; it is asked for until there is an answer."""
    while True:
        with suppress(ViewLost), store.view() as view:
            return view.get(key)


def end_sessions(ask: Callable[..., Any]) -> None:
    """Have the server end the connections of all stores, as a restart does."""
    ask("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = '{}'")


# Several who commit


@pytest.mark.parametrize("kind", ["absent", "present", "crosswise"])
def test_of_batches_with_one_check_one_passes_whoever_commits_them(open_it: Open, kind: str) -> None:
    stores = [open_it(durability="process") for _ in range(4)]
    rounds, start = 60, threading.Barrier(4)
    stores[0].commit([put(b"turn", b"-1")])

    def batch(number: int, turn: int) -> Batch:
        match kind:
            case "absent":
                return new(b"claim%d" % turn)
            case "present":
                return Batch(checks=[(b"turn", b"%d" % (turn - 1))], puts=[(b"turn", b"%d" % turn)])
            case _:  # each looks at what the others write, and writes what they look at
                checks = [(b"%d-%d" % (turn, other), None) for other in range(4) if other != number]
                return Batch(checks=[*checks], puts=[(b"%d-%d" % (turn, number), b"")])

    def commit(number: int) -> list[bool]:
        found = []
        for turn in range(rounds):
            start.wait(TOO_LONG)
            found += stores[number].commit([batch(number, turn)])
        return found

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(commit, range(4)))
    assert [sum(passed) for passed in zip(*found, strict=True)] == [1] * rounds


def test_two_processes_count_together(store: PostgresStore, store_url: str, output: Callable[..., str]) -> None:
    counting = """
    from continuum.store import open_store
    store, done = open_store(path), 0
    while done < 50:
        with store.view() as view:
            value = view.get(b"count")
        done += store.commit([Batch(checks=[(b"count", value)], puts=[(b"count", b"%d" % (int(value) + 1))])])[0]
    store.close()
    """
    store.commit([put(b"count", b"0")])
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda _: output(counting, store_url), range(3)))
    assert pairs_in(store) == [(b"count", b"150")]


def test_commits_that_meet_at_many_keys_wait_for_each_other_in_one_order(open_it: Open, ask: Any) -> None:
    stores = [open_it(durability="process") for _ in range(4)]
    (before,) = ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    names = [b"%d" % number for number in range(100)]

    def commit(store: PostgresStore) -> None:
        chance = random.Random(id(store))
        for _ in range(25):
            chance.shuffle(names)
            batches = [Batch(deletes=names[:20], puts=[(name, b"") for name in names[20:60]]) for _ in range(2)]
            assert store.commit(batches) == [True, True]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit, stores))
    assert ask("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [before]


def test_a_commit_is_one_wave_unless_its_batches_meet() -> None:
    assert len(waves([Batch(checks=[(b"a", None)], puts=[(b"%d" % number, b"")]) for number in range(50)])) == 1
    assert len(waves([new(b"a"), new(b"a")])) == 2
    assert len(waves([put(b"a"), Batch(deletes=[b"a"])])) == 2
    assert len(waves([put(b"a"), Batch(checks=[(b"a", b"")])])) == 2
    stripes, alone = locks(waves([Batch(checks=[(b"%d" % number, None)]) for number in range(5_000)]))
    assert (stripes, any(alone)) == (list(range(STRIPES)), False)


# A lost answer


@pytest.fixture
def proxy(postgres_server: Server) -> Iterator[Proxy]:
    with proxy_to(postgres_server.socket) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: Proxy, postgres_server: Server, stack: ExitStack) -> Iterator[Open]:
    """Open a handle on a store that is reached through the proxy."""
    with new_schema(postgres_server.url) as name:

        def open_it(**parameters: Any) -> PostgresStore:
            store = PostgresStore(pick(proxy.url, name, **parameters))
            stack.callback(store.close)
            return store

        yield open_it
        stack.close()
        proxy.forget()


def test_a_commit_whose_answer_was_lost_is_found_out_and_not_repeated(proxy: Proxy, far: Open) -> None:
    store = far()
    for number in range(5):
        name = b"%d" % number
        store.commit([put(b"before" + name)])
        proxy.lose_answer = True
        missing = Batch(checks=[(b"missing", b"")], puts=[(b"never", b"")])
        assert store.commit([new(name), missing, put(b"after" + name)]) == [True, False, True]
        eventually(lambda number=number: proxy.cuts == number + 1)
    assert len(pairs_in(store)) == 15


@pytest.mark.parametrize("lost", range(5))
def test_a_commit_in_several_calls_is_found_out_as_a_whole_whichever_answer_was_lost(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    store, calls = far(), iter(range(100))
    store.commit([put(b"k", b"0")])
    apply = store._writer._apply

    def losing(*arguments: Any) -> list[bool]:
        call = next(calls)
        proxy.lose_answer = call == lost
        applied = apply(*arguments)
        proxy.lose_answer = call == lost - 1 == 3  # that to COMMIT
        return applied

    monkeypatch.setattr(store._writer, "_apply", losing)
    batches = [Batch(checks=[(b"k", b"%d" % number)], puts=[(b"k", b"%d" % (number + 1))]) for number in range(3)]
    assert store.commit([*batches, new(b"k")]) == [True, True, True, False]
    assert proxy.cuts == 1
    assert pairs_in(store) == [(b"k", b"3")]


def test_a_commit_that_never_arrived_is_made(proxy: Proxy, far: Open) -> None:
    store = far()
    store.commit([put(b"a")])
    proxy.lose_request = True
    assert store.commit([new(b"b")]) == [True]
    assert proxy.cuts == 1
    assert pairs_in(store) == [(b"a", b""), (b"b", b"")]


@pytest.mark.parametrize("may_stop", [True, False])
def test_a_commit_that_arrives_late_does_nothing_any_more(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch, may_stop: bool
) -> None:
    if not may_stop:
        monkeypatch.setattr(writer, "STOP", "SELECT %s, %s")
    store = far()
    store.commit([put(b"a", b"1")])
    proxy.keep_request = True
    assert store.commit([put(b"a", b"2")]) == [True]
    assert store.commit([put(b"a", b"3")]) == [True]
    proxy.let_go()
    refusal = b"terminating connection" if may_stop else b"CN001"
    eventually(lambda: refusal in proxy.unheard)
    assert pairs_in(store) == [(b"a", b"3")]


@pytest.mark.parametrize("may_stop", [True, False])
def test_a_commit_that_was_under_way_when_it_was_lost_takes_place_once(
    proxy: Proxy, far: Open, postgres_server: Server, monkeypatch: pytest.MonkeyPatch, may_stop: bool
) -> None:
    if not may_stop:
        monkeypatch.setattr(writer, "STOP", "SELECT %s, %s")
    store = far()
    store.commit([put(b"a")])
    (stripe,), _ = locks(waves([new(b"b")]))
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(postgres_server.url, autocommit=True) as other, ThreadPoolExecutor(1) as pool:
        other.execute("SELECT pg_advisory_lock(%s, %s)", [store._writer._space, stripe])
        result = pool.submit(store.commit, [new(b"b")])
        eventually(lambda: other.execute(waiting).fetchone() == (1,))
        proxy.cut()
        # The next connection waits for it, or has stopped it and waits in its place.
        eventually(lambda: other.execute(waiting).fetchone() == (1 if may_stop else 2,))
        other.execute("SELECT pg_advisory_unlock_all()")
        assert result.result(TOO_LONG) == [True]
    assert pairs_in(store) == [(b"a", b""), (b"b", b"")]


def test_an_outcome_that_nobody_can_tell_stops_the_store(proxy: Proxy, far: Open) -> None:
    store = far(reconnect_timeout=0.05)
    store.commit([put(b"a")])
    proxy.lose_answer = True
    proxy.target = "/nowhere"
    for _ in range(2):
        with pytest.raises(CommitUnknown, match="whether it took place is not known"):
            store.commit([new(b"b")])


def test_a_record_that_was_deleted_leaves_the_outcome_unknown(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = far()
    store.commit([put(b"a")])
    proxy.lose_answer = True
    monkeypatch.setattr(store._writer, "id", uuid4())
    with pytest.raises(CommitUnknown, match="does not know of commits"):
        store.commit([new(b"b")])


def test_what_is_known_to_have_taken_place_is_told_though_there_is_no_connection_any_more(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(link: object) -> None:
        raise psycopg.OperationalError("it broke again")

    store = far(reconnect_timeout=0.05)
    store.commit([put(b"a")])
    proxy.lose_answer = True
    monkeypatch.setattr(store._writer, "_take_again", fail)
    assert store.commit([new(b"b")]) == [True]
    with pytest.raises(StoreError, match="could not be reached"):
        store.commit([new(b"c")])
    monkeypatch.undo()
    assert pairs_in(store) == [(b"a", b""), (b"b", b"")]


def test_a_commit_that_the_network_holds_up_goes_on_when_that_does(proxy: Proxy, far: Open) -> None:
    store = far()
    store.commit([put(b"a")])
    proxy.flowing.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.commit, [new(b"b")])
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        proxy.flowing.set()
        assert waiting.result(TOO_LONG) == [True]
    assert proxy.cuts == 0


def test_whatever_the_network_does_each_commit_is_made_once(proxy: Proxy, far: Open) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    store = far()
    for count in range(150):
        failure = chance.choice(["lose_answer", "lose_request", "keep_request", "cut", "nothing"])
        if failure == "cut":
            threading.Timer(chance.uniform(0, 0.003), proxy.cut).start()
        elif failure != "nothing":
            setattr(proxy, failure, True)
        before, after = None if count == 0 else b"%d" % count, b"%d" % (count + 1)
        step = Batch(checks=[(b"count", before)], puts=[(b"count", after)])
        many = [put(b"%d" % chance.randrange(9), b"%d" % count) for _ in range(chance.randrange(4))]
        assert store.commit([step, *many, step]) == [True] * (1 + len(many)) + [False]
        if chance.random() < 0.3:
            proxy.let_go()
        assert got(store, b"count") == after
    assert proxy.cuts > 50


def test_a_server_that_has_lost_commits_is_found_out(store: PostgresStore, ask: Any) -> None:
    for number in range(3):
        store.commit([new(b"%d" % number)])
    ask("DELETE FROM {}.pairs WHERE key = '2'")  # as where a standby takes over that did not hear of it
    ask("UPDATE {}.writers SET turn = turn - 1")
    end_sessions(ask)
    for _ in range(2):
        with pytest.raises(CommitUnknown, match="does not know of commits that it had acknowledged"):
            store.commit([new(b"3")])
    assert ask("SELECT count(*) FROM {}.pairs") == [(2,)]


def test_a_server_that_stays_away_fails_the_call_and_the_next_one_may_succeed(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "IDLE", 0.0)
    store = far(reconnect_timeout=0.05)
    store.commit([put(b"a")])
    target, proxy.target = proxy.target, "/nowhere"
    proxy.cut()
    with pytest.raises(StoreError, match=r"could not be reached for 0\.05 seconds"), store.view() as view:
        view.get(b"a")
    with pytest.raises(StoreError, match="could not be reached"):
        store.commit([new(b"b")])  # nothing was sent, so nothing is unknown
    proxy.target = target
    assert store.commit([new(b"b")]) == [True]
    assert len(pairs_in(store)) == 2


# A server that restarts


def test_no_acknowledged_commit_is_lost_and_none_is_made_twice_while_the_server_crashes_again_and_again(
    postgres_server: Server, stack: ExitStack
) -> None:
    name = stack.enter_context(new_schema(postgres_server.url))
    stop, done = threading.Event(), [0] * 3

    def work(number: int) -> None:
        with closing(PostgresStore(pick(postgres_server.url, name))) as store:
            while not stop.is_set():
                key = b"%d-%06d" % (number, done[number])
                assert store.commit([new(key), put(b"last%d" % number, key), new(key)]) == [True, True, False]
                assert got(store, key) == b""
                done[number] += 1

    with ThreadPoolExecutor(3) as pool:
        workers = [pool.submit(work, number) for number in range(3)]
        try:
            for _ in range(4):
                before = list(done)
                eventually(lambda before=before: all(map(int.__gt__, done, before)) or _ended(workers), SAFETY)
                postgres_server.restart()
        finally:
            stop.set()
        for worker in workers:
            worker.result(SAFETY)
    store = PostgresStore(pick(postgres_server.url, name))
    assert len(pairs_in(store)) == sum(done) + 3
    assert got(store, b"last0") == b"0-%06d" % (done[0] - 1)
    store.close()


def _ended(workers: list[Future[None]]) -> None:
    for worker in workers:
        if worker.done():
            worker.result()


def test_a_view_that_was_lost_says_so_also_to_who_did_not_want_to_know(store: PostgresStore, ask: Any) -> None:
    store.commit([put(b"a")])
    with pytest.raises(ViewLost), store.view() as view:
        assert view.get(b"a") == b""
        end_sessions(ask)
        for _ in range(2):
            with pytest.raises(ViewLost):
                view.get(b"a")
        with pytest.raises(ViewLost):
            list(view.scan(b""))
    assert pairs_in(store) == [(b"a", b"")]


def test_a_view_that_read_nothing_more_does_not_mind(store: PostgresStore, ask: Any) -> None:
    store.commit([put(b"a")])
    with store.view() as view:
        assert view.get(b"a") == b""
        end_sessions(ask)
    assert pairs_in(store) == [(b"a", b"")]


@pytest.mark.parametrize("code", ["40001", "40P01", "57014"])
def test_what_may_pass_is_tried_again(store: PostgresStore, ask: Any, code: str) -> None:
    failing(ask, f"IF nextval('{{}}.failures') < 4 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '{code}'; END IF;")
    assert store.commit([new(b"a")]) == [True]
    assert pairs_in(store) == [(b"a", b"")]


def test_a_full_disk_is_told_as_such(store: PostgresStore, ask: Any) -> None:
    failing(ask, "RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100';")
    with pytest.raises(StoreFull, match="nothing was recorded"):
        store.commit([put(b"a")])
    assert pairs_in(store) == []


def test_another_error_is_told_at_once_and_nothing_was_changed(store: PostgresStore, ask: Any) -> None:
    failing(ask, "RAISE EXCEPTION 'out of luck';")
    with pytest.raises(StoreError, match="out of luck"):
        store.commit([put(b"a")])
    assert store.commit([Batch(deletes=[b"a"])]) == [True]
    assert pairs_in(store) == []


def failing(ask: Callable[..., Any], statement: str) -> None:
    """Have every change of a pair carry out that statement first."""
    ask("CREATE SEQUENCE {}.failures")
    ask(f"CREATE FUNCTION {{}}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement} RETURN NEW; END $$")
    ask("CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {}.pairs FOR EACH ROW EXECUTE FUNCTION {}.fail()")


# Locks


def test_a_lock_is_had_by_one_and_free_when_he_is_killed(store: PostgresStore, store_url: str, script: Script) -> None:
    holding = script(
        """
        from continuum.store import open_store
        store = open_store(path)
        say(store.hold("worker") is not None)
        sys.stdin.read()
        """,
        store_url,
    )
    assert holding.stdout is not None
    assert holding.stdout.readline() == "True\n"
    assert store.hold("worker") is None
    holding.send_signal(signal.SIGKILL)
    eventually(lambda: store.hold("worker"))  # its session ends when the server notices


def test_a_lock_that_somebody_has_is_no_error_to_the_server(postgres_server: Server, stack: ExitStack) -> None:
    name = stack.enter_context(new_schema(postgres_server.url))
    url = pick(postgres_server.url, name, options="-c log_min_messages=error")
    one, two = (stack.enter_context(closing(PostgresStore(url))) for _ in range(2))
    log = postgres_server.directory / "log"
    before = log.stat().st_size
    hold = one.hold("worker")
    assert hold is not None
    assert two.hold("worker") is None
    hold.release()
    assert two.hold("worker") is not None
    assert log.read_bytes()[before:] == b""


def test_a_lock_is_had_again_when_the_connection_is(open_it: Open, ask: Any) -> None:
    holder, other = open_it(), open_it()
    hold = holder.hold("worker")
    assert hold is not None
    end_sessions(ask)
    assert holder.commit([put(b"a")]) == [True]
    assert other.hold("worker") is None
    hold.release()
    assert other.hold("worker") is not None


def test_a_listener_gets_the_lock_back_though_nobody_commits(open_it: Open, ask: Any) -> None:
    holder = open_it()
    assert holder.hold("worker") is not None
    woken = threading.Event()
    holder.watch(woken.set)
    assert woken.wait(TOO_LONG)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND granted"
    (before,) = ask(held)
    end_sessions(ask)
    eventually(lambda: ask(held) == [before])


def test_who_lost_the_lock_to_another_commits_nothing_more(
    open_it: Open, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HOLD_WAIT_AGAIN", "10ms")
    holder, other = open_it(), open_it()
    assert holder.hold("worker") is not None
    end_sessions(ask)
    assert other.hold("worker") is not None
    for _ in range(2):
        with pytest.raises(StoreBusy, match="somebody else had the lock 'worker'"):
            holder.commit([put(b"a")])
    assert pairs_in(other) == []


def test_one_that_is_cut_off_while_the_server_thinks_it_there_gets_its_lock_back(proxy: Proxy, far: Open) -> None:
    store = far()
    assert store.hold("worker") is not None
    proxy.cut()
    assert store.commit([put(b"a")]) == [True]
    assert far().hold("worker") is None


# Wake-ups


@pytest.fixture
def only_notified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself whether there is something new."""
    monkeypatch.setattr(notify, "HEARTBEAT", 3600.0)


class Bell:
    """Counts how often it rang, after the one time when the listening began."""

    def __init__(self, store: PostgresStore) -> None:
        self.count = -1
        self.watch = store.watch(self.ring)
        eventually(lambda: self.count == 0)

    def ring(self) -> None:
        self.count += 1


@pytest.mark.usefixtures("only_notified")
def test_others_are_woken_and_who_commits_is_not(open_it: Open) -> None:
    stores = [open_it() for _ in range(3)]
    bells = [Bell(store) for store in stores]
    stores[0].commit([put(b"a")])
    stores[0].commit([Batch(checks=[(b"b", b"")], notify=True)])
    stores[0].commit([put(b"a", notify=True)])
    eventually(lambda: [bell.count for bell in bells[1:]] == [1, 1])
    bells[1].watch.close()
    stores[0].commit([put(b"a", notify=True)])
    eventually(lambda: bells[2].count == 2)
    assert [bell.count for bell in bells] == [0, 1, 2]


@pytest.mark.usefixtures("only_notified")
def test_after_a_restart_all_are_woken_and_hear_of_commits_again(open_it: Open, ask: Any) -> None:
    bell, other = Bell(open_it()), open_it()
    end_sessions(ask)
    eventually(lambda: bell.count >= 1)
    count = bell.count
    other.commit([put(b"a", notify=True)])
    eventually(lambda: bell.count > count)


def test_where_nothing_is_told_it_is_found_by_looking(open_it: Open, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "HEARTBEAT", 0.01)
    monkeypatch.setattr("continuum.store.postgres.listener.channel", lambda address: "nothing is said here")
    bell, other = Bell(open_it()), open_it()
    other.commit([put(b"a", notify=True)])
    eventually(lambda: bell.count >= 1)


def test_who_cannot_listen_any_more_says_so_once_tries_again_now_and_then_and_ends_when_closed(
    store: PostgresStore, ask: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []

    class Selector(selectors.DefaultSelector):
        def select(self, timeout: float | None = None) -> Any:
            pauses.append(timeout or 0.0)
            return super().select(timeout)

    monkeypatch.setattr(selectors, "DefaultSelector", Selector)
    others = set(threading.enumerate())
    Bell(store)
    (listener,) = set(threading.enumerate()) - others
    ask("DROP SCHEMA {} CASCADE")
    end_sessions(ask)
    eventually(lambda: 0.16 in pauses)
    assert pauses[pauses.index(0.02) :][:4] == [0.02, 0.04, 0.08, 0.16]
    assert caplog.text.count("nobody tells of commits") == 1
    store.close()
    listener.join(TOO_LONG)
    assert not listener.is_alive()


# What stands in the database


def test_several_may_make_the_store_at_the_same_moment(open_it: Open) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: open_it(), range(6)))
    for number, store in enumerate(stores):
        assert store.commit([new(b"%d" % number)]) == [True]
    assert len(pairs_in(stores[0])) == 6


def test_a_store_that_is_not_there_is_not_made(store_url: str, ask: Any) -> None:
    with pytest.raises(UnsupportedStore, match="there is no store at"):
        PostgresStore(store_url, create=False)
    assert ask("SELECT 1 FROM pg_namespace WHERE nspname = '{}'") == []
    PostgresStore(store_url).close()
    PostgresStore(store_url, create=False).close()


def test_an_empty_schema_that_was_made_for_it_is_used(store_url: str, ask: Any) -> None:
    ask("CREATE SCHEMA {}")
    PostgresStore(store_url).close()


def test_a_schema_of_another_program_is_left_alone(store_url: str, ask: Any) -> None:
    ask("CREATE SCHEMA {}")
    ask("CREATE TABLE {}.orders ()")
    with pytest.raises(UnsupportedStore, match="belongs to another program: it holds orders; name another one"):
        PostgresStore(store_url)
    ask("CREATE TABLE {}.pairs ()")
    ask("CREATE TABLE {}.writers ()")
    ask("CREATE TABLE {}.stamp (program int)")
    with pytest.raises(UnsupportedStore, match="is no store of continuum"):
        PostgresStore(store_url)
    found = "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind = 'r' ORDER BY 1"
    assert ask(found) == [("orders",), ("pairs",), ("stamp",), ("writers",)]


def test_a_newer_format_is_refused(store: PostgresStore, store_url: str, ask: Any) -> None:
    ask("UPDATE {}.stamp SET format = format + 1")
    with pytest.raises(UnsupportedStore, match=r"has format 2, this version of continuum knows formats up to 1"):
        PostgresStore(store_url)
    end_sessions(ask)
    with pytest.raises(UnsupportedStore, match="format 2"):
        store.commit([put(b"a")])


def test_an_older_format_is_upgraded_once(
    store: PostgresStore, open_it: Open, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit([put(b"a")])
    monkeypatch.setattr(schema, "STEPS", [*schema.STEPS, "CREATE TABLE {schema}.more ()"])
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: open_it(), range(4)))
    assert ask("SELECT format FROM {}.stamp") == [(2,)]
    assert pairs_in(stores[3]) == [(b"a", b"")]


def test_a_store_that_vanished_while_it_was_open_is_told_of(store: PostgresStore, ask: Any) -> None:
    ask("DROP SCHEMA {} CASCADE")
    with pytest.raises(StoreError, match="does not exist"):
        store.commit([put(b"a")])
    end_sessions(ask)
    with pytest.raises(StoreError, match="was removed or upgraded while it was open"):
        store.commit([put(b"a")])


def test_schemas_of_one_database_are_stores_of_their_own(postgres_url: str, open_it: Open, stack: ExitStack) -> None:
    names = [stack.enter_context(new_schema(postgres_url)) for _ in range(2)]
    first, second = (open_it(pick(postgres_url, name)) for name in names)
    bell = Bell(second)
    assert first.hold("worker") is not None
    assert second.hold("worker") is not None
    first.commit([put(b"a", notify=True)])
    assert pairs_in(second) == []
    second.commit([put(b"b")])
    assert bell.count == 0


def test_nothing_is_left_of_a_handle_that_was_closed_and_little_of_others(
    open_it: Open, store_url: str, ask: Any
) -> None:
    writers = "SELECT count(*) FROM {}.writers"
    stores = [open_it() for _ in range(3)]
    for store in stores:
        store.commit([put(b"a")])
    ask("UPDATE {}.writers SET at = now() - interval '31 days' WHERE id = %s", stores[0]._writer.id)
    last = open_it()
    last.commit([put(b"a")])
    assert ask(writers) == [(3,)]
    for store in [*stores, last]:
        store.close()
    assert ask(writers) == [(0,)]


# Size


def test_a_large_value_and_many_of_them_go_through_in_bounded_memory(store: PostgresStore) -> None:
    large = os.urandom(1 << 20) * 20
    store.commit([put(b"large", large)])
    store.commit([put(b"many%03d" % number, large[: 1 << 20]) for number in range(40)])
    with store.view() as view:
        assert view.get(b"large") == large
        tracemalloc.start()
        assert sum(len(value) for _, value in view.scan(b"many")) == 40 << 20
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 12 << 20


# Addresses and secrets


@pytest.mark.parametrize(
    ("parameters", "setting", "value"),
    [
        ({}, "statement_timeout", "1min"),
        ({"statement_timeout": "5s"}, "statement_timeout", "5s"),
        ({"statement_timeout": "1500"}, "statement_timeout", "1500ms"),
        ({}, "synchronous_commit", "on"),
        ({"options": "-c synchronous_commit=local"}, "synchronous_commit", "local"),
        ({}, "application_name", "continuum"),
        ({"application_name": "shop"}, "application_name", "shop"),
        ({}, "default_transaction_isolation", "read committed"),
    ],
)
def test_a_session_is_set_up_as_the_url_says(
    postgres_url: str, name: str, open_it: Open, parameters: dict[str, str], setting: str, value: str
) -> None:
    store = open_it(pick(postgres_url, name, **parameters))
    shown = store._writer._linked().execute(f"SHOW {setting}".encode()).fetchone()
    assert shown == (value,)


def test_a_commit_that_need_not_survive_a_power_cut_is_not_waited_for(open_it: Open) -> None:
    store = open_it(durability="process")
    assert store._writer._linked().execute("SHOW synchronous_commit").fetchone() == ("off",)


def test_a_server_that_cannot_keep_its_word_is_told_of(
    postgres_server: Server, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    url = pick(postgres_server.url, stack.enter_context(new_schema(postgres_server.url)))
    PostgresStore(url, durability="process").close()
    assert caplog.messages == []
    PostgresStore(url).close()
    (message,) = caplog.messages
    assert "runs with fsync=off" in message


def test_a_cut_network_is_noticed_by_default_and_the_url_may_say_when(proxy: Proxy, far: Open) -> None:
    link = far(tcp_user_timeout=1234, keepalives_idle=7)._writer._linked()
    told = link.info.get_parameters()
    assert (told["tcp_user_timeout"], told["keepalives_idle"]) == ("1234", "7")
    assert {told[name] for name in ("connect_timeout", "keepalives", "keepalives_count")} == {"10", "1", "3"}


def test_tls_is_asked_for_in_the_url(proxy: Proxy, far: Open) -> None:
    with pytest.raises(StoreError, match="does not support SSL"):
        far(sslmode="require")


def test_a_parameter_that_is_there_twice_is_refused(store_url: str) -> None:
    with pytest.raises(BadValue, match="has the parameter schema twice"):
        open_store(f"{store_url}&schema=another")


def test_a_role_without_the_right_to_make_the_schema_is_told_how_to_get_one(postgres_server: Server, name: str) -> None:
    url = pick(postgres_server.url.replace("postgres@", f"{name}@"), name)
    with psycopg.connect(postgres_server.url, autocommit=True) as administrator:
        administrator.execute(f"CREATE ROLE {name} LOGIN".encode())
        with pytest.raises(StoreError) as refused:
            open_store(url)
        _, _, remedy = str(refused.value).rpartition(": ")
        assert remedy == f"CREATE SCHEMA {name} AUTHORIZATION {name}"
        administrator.execute(remedy.encode())
        with closing(open_store(url)) as store:
            assert store.commit([put(b"a")]) == [True]
        administrator.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


SECRET = "canary/7:@b?d"
QUOTED = "canary%2F7%3A%40b%3Fd"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db",
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db?nonsense=1",
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db?schema=public%22;--",
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db?schema=pg_catalog",
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db?statement_timeout=soon",
        f"postgresql://user:{QUOTED}@127.0.0.1:1/db?reconnect_timeout=-1",
        f"postgresql://user@127.0.0.1:1/db?password={QUOTED}",
        f"postgresql://user:{SECRET}@127.0.0.1:1/db",
        "postgresql://user:canary/7@127.0.0.1:1/db",
        "postgresql://user:canary%ZZ@127.0.0.1:1/db",
        "postgresql://user:x?canary=1@127.0.0.1:1/db",
        "postgresql://user:x?y&canary@127.0.0.1:1/db",
    ],
)
def test_no_error_tells_a_password(url: str) -> None:
    with pytest.raises((BadValue, StoreError)) as caught:
        open_store(url)
    error: BaseException | None = caught.value
    while error is not None:
        assert "canary" not in str(error)
        assert "canary" not in repr(error)
        error = error.__cause__ or error.__context__


def test_a_wrong_password_and_a_lost_server_tell_no_password(
    postgres_server: Server, ask: Any, stack: ExitStack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = stack.enter_context(new_schema(postgres_server.url))
    with psycopg.connect(postgres_server.url, autocommit=True) as link:
        link.execute(f"CREATE ROLE guarded LOGIN PASSWORD '{SECRET}'")
        link.execute("GRANT CREATE ON DATABASE postgres TO guarded")
        stack.callback(_drop_role, postgres_server.url)
    url = pick(postgres_server.url.replace("postgres@", f"guarded:{QUOTED}@"), name, reconnect_timeout=0.01)
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        open_store(url.replace("canary", "canary-not"))
    store = PostgresStore(url)
    store.commit([put(b"a")])
    postgres_server.stop()
    try:
        with pytest.raises(StoreError) as lost, store.view() as view:
            view.get(b"a")
    finally:
        postgres_server.start()
    store.close()
    for text in (str(caught.value), str(lost.value), repr(store), repr(store._address), store.location, caplog.text):
        assert "canary" not in text
        assert "password=" not in text
    assert store.location.startswith("postgresql://guarded@")


def _drop_role(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as link:
        link.execute("DROP OWNED BY guarded CASCADE")
        link.execute("DROP ROLE guarded")


# Processes that are forked


def test_a_forked_child_is_refused_and_leaves_its_parent_alone(store_url: str, output: Callable[..., str]) -> None:
    forking = """
    from continuum.store import open_store
    store = open_store(path)
    assert store.hold("worker") is not None
    store.commit([Batch(puts=[(b"a", b"1")])])
    view = store.view().__enter__()
    child = os.fork()
    if child == 0:
        for call in (lambda: store.commit([]), store.view, lambda: store.hold("x"), lambda: view.get(b"a")):
            try:
                call()
            except ForkedStore:
                say("refused")
        view.__exit__(None, None, None)
        store.close()
        again = open_store(path)
        assert again.hold("worker") is None
        again.close()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert view.get(b"a") == b"1"
    view.__exit__(None, None, None)
    say(store.commit([Batch(checks=[(b"a", b"1")], puts=[(b"a", b"2")])]))
    store.close()
    """
    assert output(forking, store_url).splitlines() == ["refused"] * 4 + ["[True]"]


def test_a_child_that_lives_on_keeps_no_lock_of_a_parent_that_died(
    store: PostgresStore, store_url: str, script: Script
) -> None:
    parent = script(
        """
        from continuum.store import open_store
        store = open_store(path)
        assert store.hold("worker") is not None
        if os.fork() == 0:
            say("forked")
            sys.stdin.read()
            os._exit(0)
        os.wait()
        """,
        store_url,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "forked\n"
    assert store.hold("worker") is None
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert store.hold("worker") is not None


# The end


def test_a_closed_store_refuses_and_closing_ends_who_waits_for_a_server(
    proxy: Proxy, far: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = far()
    store.commit([put(b"a")])
    proxy.target = "/nowhere"
    proxy.cut()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.view().__enter__().get, b"a")
        eventually(lambda: store._readers.attempts._count > 2)
        store.close()
        with pytest.raises(StoreClosed):
            waiting.result(TOO_LONG)
    for call in (store.view, lambda: store.commit([]), lambda: store.hold("x"), lambda: store.watch(print)):
        with pytest.raises(StoreClosed):
            call()
    store.close()
