"""Engine in a program without a loop: threads that wait, closing, Ctrl-C, a full disk."""

from __future__ import annotations

import gc
import inspect
import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from typing import Any

import pytest
from hosts import TOO_LONG, OpenEngine, eventually, opened

import continuum
from continuum import AsyncEngine, Engine, Receive, Save, blocking, workflow
from continuum.errors import CommitUnknown, ContinuumError, StoreClosed, StoreFull
from continuum.store import LmdbStore, MemoryStore
from continuum.store.postgres import PostgresStore

ROOT = Path(continuum.__file__).parent.parent
INTERRUPTED = Path(__file__).parent / "crash" / "interrupted.py"


@workflow
def waits() -> Any:
    return (yield Receive("event"))


@workflow
def stores(size: int) -> Any:
    return len((yield Save(bytes, size, executor="inline")))


def test_the_two_engines_are_made_alike() -> None:
    assert inspect.signature(Engine) == inspect.signature(AsyncEngine)


def test_where_no_signal_interrupts_a_wait_it_is_one_of_many(
    open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def look(futures: tuple[Future[Any]], seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            run.send("event", "came")
        wait_for(futures, seconds)

    with open_engine(waits) as engine:
        run = engine.start(waits())
        monkeypatch.setattr(blocking, "SLICE", 0.001)
        with pytest.raises(TimeoutError):
            run.result(timeout=0.01)
        looks = 0
        monkeypatch.setattr(blocking, "wait_for", look)
        assert run.result(timeout=TOO_LONG) == "came"


@pytest.mark.parametrize("works", [True, False])
def test_who_waits_in_another_thread_is_told_that_the_engine_closes(open_engine: OpenEngine, works: bool) -> None:
    told: list[BaseException] = []
    engine = open_engine(waits, work=works).open()
    run = engine.start(waits())

    def wait() -> None:
        try:
            run.result()
        except BaseException as error:
            told.append(error)

    threads = [threading.Thread(target=wait, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    if works:
        eventually(lambda: run.status() == "waiting")
    engine.close()
    for thread in threads:
        thread.join(TOO_LONG)
        assert not thread.is_alive(), "it waits for ever"
    assert [type(error) for error in told] == [StoreClosed] * 3


def test_threads_that_use_the_engine_while_it_closes_get_an_answer_or_an_error_of_ours(open_engine: OpenEngine) -> None:
    for _ in range(5):
        engine = open_engine(waits).open()
        unexpected: list[BaseException] = []

        def use(engine: Engine = engine, unexpected: list[BaseException] = unexpected) -> None:
            try:
                while True:
                    engine.start(waits()).status()
            except ContinuumError:
                pass
            except BaseException as error:
                unexpected.append(error)

        threads = [threading.Thread(target=use, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda engine=engine: len(engine.runs()) > 10)
        engine.close()
        for thread in threads:
            thread.join(TOO_LONG)
            assert not thread.is_alive(), "it waits for ever"
        assert unexpected == []


def test_closing_twice_does_nothing_more(open_engine: OpenEngine) -> None:
    engine = open_engine(waits).open()
    engine.close()
    engine.close()
    with pytest.raises(StoreClosed):
        engine.runs()


def test_an_engine_can_be_opened_again(open_engine: OpenEngine) -> None:
    engine = open_engine(waits)
    for number in range(3):
        with engine:
            engine.start(waits(), id=f"r{number}")
    with engine:
        assert len(engine.runs()) == 3


def test_an_error_in_the_block_comes_out_as_it_is(open_engine: OpenEngine) -> None:
    error = LookupError("the program's own")
    with pytest.raises(LookupError) as caught, open_engine(waits) as engine:
        engine.start(waits(), id="r")
        raise error
    assert caught.value is error
    with open_engine(waits) as engine:
        engine.run("r").send("event", 1)
        assert engine.run("r").result(TOO_LONG) == 1


def test_closing_leaves_no_thread_and_no_warning(open_engine: OpenEngine) -> None:
    before = set(threading.enumerate())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with open_engine(waits, stores) as engine:
            engine.start(waits())
            engine.start(stores(10)).result(TOO_LONG)
        gc.collect()
    assert [str(each.message) for each in caught if issubclass(each.category, ResourceWarning)] == []
    eventually(lambda: not [t for t in set(threading.enumerate()) - before if t.name.startswith("continuum")])


def test_all_methods_may_be_called_from_any_thread(open_engine: OpenEngine) -> None:
    results: list[Any] = []
    with open_engine(waits) as engine:

        def use(number: int) -> None:
            run = engine.start(waits(), id=f"r{number}")
            run.send("event", number)
            results.append(run.result(TOO_LONG))

        threads = [threading.Thread(target=use, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TOO_LONG)
    assert sorted(results) == list(range(20))


def test_one_id_started_by_many_threads_is_one_run(open_engine: OpenEngine) -> None:
    with open_engine(waits) as engine:
        barrier = threading.Barrier(8)
        ids: list[str] = []

        def start() -> None:
            barrier.wait()
            ids.append(engine.start(waits(), id="same").id)

        threads = [threading.Thread(target=start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TOO_LONG)
        assert ids == ["same"] * 8
        assert len(engine.runs()) == 1


def test_a_program_interrupted_at_any_moment_ends_and_leaves_a_store_that_resumes(tmp_path: Path, rounds: int) -> None:
    store = str(tmp_path / "store")
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-X", "dev", str(INTERRUPTED), store],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            threading.Event().wait(chance.uniform(0, 0.15))
            process.send_signal(signal.SIGINT)
            try:
                said, complained = process.communicate(timeout=TOO_LONG * 2)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        assert process.returncode in (130, -signal.SIGINT), (said, complained)
        assert "ResourceWarning" not in complained
        assert "never awaited" not in complained
    with opened(store, work=False) as client:
        assert all(run.status() in ("pending", "running", "waiting", "completed") for run in client.runs())
        runs = client.runs(limit=5)
    program = [sys.executable, str(INTERRUPTED), store, *(run.id for run in runs)]
    finished = subprocess.run(program, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=TOO_LONG * 4, check=True)
    assert finished.returncode == 0
    with opened(store, work=False) as client:
        assert [client.run(run.id).status() for run in runs] == ["completed"] * len(runs)


@pytest.mark.parametrize("fails", [False, True])
def test_ctrl_c_that_strikes_before_the_loop_is_told_to_end_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    told = []
    stop = blocking._stop

    def strike(portal: Any, *, cancel: bool) -> None:
        told.append(cancel)
        if len(told) == 1:
            raise KeyboardInterrupt
        stop(portal, cancel=cancel)

    before = set(threading.enumerate())
    monkeypatch.setattr(blocking, "_stop", strike)
    with pytest.raises(KeyboardInterrupt), Engine(tmp_path / "store"):
        if fails:
            raise ValueError
    assert told == [fails, True]
    assert set(threading.enumerate()) <= before


# A process that is forked

FORKING = """
import os, signal, sys
from continuum import Engine, Receive, workflow
from continuum.errors import ForkedStore

@workflow
def waits():
    return (yield Receive("event"))

def child(run):
    signal.alarm(20)  # what hangs dies
    for ask in (run.status, run.result, engine.runs, lambda: engine.start(waits())):
        try:
            ask()
        except ForkedStore:
            print("refused", flush=True)
    engine.close()
    with Engine(sys.argv[1], work=False) as own:
        own.run("r").send("event", "from the child")
    sys.exit(7)  # out of the parent's block

with Engine(sys.argv[1], workflows=[waits]) as engine:
    run = engine.start(waits(), id="r")
    engine.until_idle()
    pid = os.fork()
    if pid == 0:
        child(run)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), run.result(20))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process is forked there")
def test_a_forked_child_is_refused_may_open_its_own_engine_and_leaves_its_parent_alone(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING, str(tmp_path / "store")],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout.splitlines() == ["refused"] * 4 + ["7 from the child"]


# A full disk


def test_a_full_disk_stops_the_engine_cleanly_and_a_restart_with_space_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    small = LmdbStore(path, map_size=512 * 1024)
    sizes = range(1_000, 200_000, 20_000)
    started: list[str] = []
    with pytest.raises(StoreFull), opened(small, waits, stores) as engine:
        started.append(engine.start(waits(), id="patient").id)
        for number, size in enumerate(sizes):
            started.append(engine.start(stores(size), id=f"big-{number}").id)
            engine.run(started[-1]).result(TOO_LONG)
    with opened(path, waits, stores) as engine:
        engine.run("patient").send("event", "still here")
        assert engine.run("patient").result(TOO_LONG) == "still here"
        for number, name in enumerate(started[1:]):
            assert engine.run(name).result(TOO_LONG) == sizes[number]


def test_a_full_disk_is_told_to_who_waits_and_to_who_asks(tmp_path: Path) -> None:
    path = str(tmp_path / "store")
    told: list[BaseException] = []

    def wait(run: Any) -> None:
        try:
            run.result()
        except BaseException as error:
            told.append(error)

    with pytest.raises(StoreFull), opened(LmdbStore(path, map_size=512 * 1024), waits, stores) as engine:
        run = engine.start(waits())
        waiting, late = (threading.Thread(target=wait, args=(run,), daemon=True) for _ in range(2))
        waiting.start()
        big = engine.start(stores(2_000_000))
        with pytest.raises(StoreFull):
            big.result(TOO_LONG)
        with pytest.raises(StoreFull):
            engine.start(waits())
        with pytest.raises(StoreFull):
            engine.until_idle()
        late.start()
        for each in (waiting, late):
            each.join(TOO_LONG)
    assert [type(error) for error in told] == [StoreFull, StoreFull]


def test_an_engine_that_failed_can_be_opened_again(open_engine: OpenEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_off(*_: Any) -> Any:
        raise CommitUnknown("the disk was pulled out")

    engine = open_engine(waits)
    with pytest.raises(CommitUnknown), monkeypatch.context() as patch, engine:
        patch.setattr(LmdbStore, "commit", break_off)
        patch.setattr(MemoryStore, "commit", break_off)
        patch.setattr(PostgresStore, "commit", break_off)
        engine.start(waits(), id="r")
    with engine:
        run = engine.start(waits(), id="r")
        run.send("event", 1)
        assert run.result(TOO_LONG) == 1
