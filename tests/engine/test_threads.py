"""The pool of threads by itself: who is woken, and that nobody waits for a step that waits."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from continuum.engine.threads import Threads

MANY = 100


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
    together.wait()
    for _ in range(MANY):
        threads.done()
    for number in range(MANY):
        threads.submit(number)
    over.wait()
    threads.close()
    assert len(set(done)) <= 2, "a hundred are there, and most are let be"


def test_jobs_that_wait_for_each_other_run_side_by_side() -> None:
    together = threading.Barrier(MANY + 1)
    threads: Threads[int] = Threads(lambda number: together.wait() and None, MANY)
    for _ in range(3):
        for number in range(MANY):
            threads.submit(number)
        together.wait()  # would wait for ever for one that nobody runs
        for _ in range(MANY):
            threads.done()
    threads.close()


def test_a_job_goes_on_where_the_thread_before_it_is_stuck() -> None:
    free, went_on = threading.Event(), threading.Event()

    def run(job: threading.Event | None) -> None:
        if job is None:
            free.wait()
        else:
            job.set()

    threads: Threads[threading.Event | None] = Threads(run, 2)
    threads.submit(None)
    threads.abandon()
    threads.submit(None)
    threads.submit(went_on)
    went_on.wait()
    free.set()
    threads.close()
