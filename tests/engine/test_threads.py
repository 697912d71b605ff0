"""The pool of threads by itself: who is woken, and that nobody waits for a step that waits."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from hosts import eventually

from continuum.engine.threads import Threads

MANY = 100
LONG = 3_600.0  # seconds; a test that waited for so long would have hung


@pytest.fixture
def no_forced_switches() -> Iterator[None]:
    """The interpreter changes threads where one waits, and nowhere else."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("no_forced_switches")
def test_a_burst_of_jobs_that_never_wait_is_done_by_one_or_two_threads() -> None:
    together = threading.Barrier(MANY + 1)
    done: list[int] = []
    over = threading.Event()

    def run(job: int | None) -> None:
        if job is None:
            together.wait()
            return
        done.append(threading.get_ident())
        if len(done) == MANY:
            over.set()

    threads = Threads(run, MANY)
    for job in [None] * MANY:
        threads.submit(job)
    threads.begin()
    together.wait()
    eventually(lambda: len(threads._resting) == MANY)  # one that is not yet would look at the line by itself
    for number in range(MANY):
        threads.submit(number)
    threads.begin()
    over.wait()
    threads.close()
    assert len(set(done)) <= 2, "a hundred are there, and most are let be"


def test_jobs_that_wait_for_each_other_run_side_by_side() -> None:
    together = threading.Barrier(MANY + 1)
    threads: Threads[int] = Threads(lambda number: together.wait() and None, MANY)
    for _ in range(3):
        for number in range(MANY):
            threads.submit(number)
        threads.begin()
        together.wait()  # would wait for ever for one that nobody runs
    threads.close()


def test_a_job_goes_on_where_the_thread_before_it_is_stuck() -> None:
    free, went_on = threading.Event(), threading.Event()
    threads: Threads[threading.Event | None] = Threads(
        lambda job: free.wait() and None if job is None else job.set(), 2
    )
    for job in (None, None, went_on):
        threads.submit(job)
        threads.begin()
    went_on.wait()
    free.set()
    threads.close()


def test_who_gives_way_waits_until_all_have_begun_and_no_longer() -> None:
    free, begun = threading.Event(), []

    def run(job: int) -> None:
        begun.append(job)
        free.wait()

    threads = Threads(run, MANY)
    for number in range(MANY):
        threads.submit(number)
    threads.begin(give_way=LONG)
    assert not threads._line
    free.set()
    threads.close()


def test_who_gives_way_to_a_single_job_does_not_wait() -> None:
    free = threading.Event()
    threads: Threads[int] = Threads(lambda job: free.wait() and None, 1)
    threads.submit(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threads, "_call", lambda: None)  # nobody would take it
        threads.begin(give_way=LONG)
    threads.begin()
    free.set()
    threads.close()


def test_only_the_first_job_in_line_asks_for_a_beginning() -> None:
    threads: Threads[int] = Threads(lambda job: None, 1)
    assert [threads.submit(number) for number in range(3)] == [True, False, False]


def test_where_no_more_threads_can_be_had_those_that_are_there_do_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    over = threading.Event()
    start = threading.Thread.start

    def run(job: int) -> None:
        done.append(job)
        if len(done) == MANY:
            over.set()

    def refuse(thread: threading.Thread) -> None:
        if thread.name != "continuum-step-1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads = Threads(run, MANY)
    for number in range(MANY):
        threads.submit(number)
    threads.begin()
    over.wait()
    threads.close()
    assert done == list(range(MANY))


def test_where_no_thread_can_be_had_at_all_the_owner_hears_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    over = threading.Event()
    threads: Threads[int] = Threads(lambda job: over.set(), 1)
    threads.submit(1)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start"):
            threads.begin()
    threads.begin()  # it is still in line
    over.wait()
    threads.close()
