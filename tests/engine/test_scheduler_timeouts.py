"""Steps that take too long, as workflows see it: cancelled on the loop, abandoned on a thread, killed in a process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from crashing import Crashes, crash_everywhere
from hosts import TOO_LONG, OpenEngine, eventually, is_gone

from continuum import Engine, Receive, Retry, Save, StepTimeout, workflow
from continuum.errors import RunFailed

SHORT = 0.01
LIVES = pytest.mark.parametrize("lives", [1, 2])

Prepared = tuple[Crashes, Callable[[Any], None]]


def test_an_async_step_is_cancelled_and_cleans_up(open_engine: OpenEngine) -> None:
    seen: list[str] = []

    async def hang() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            seen.append("cleaned up")

    @workflow
    def gives_up() -> Any:
        try:
            yield Save(hang, timeout=SHORT)
        except StepTimeout as error:
            assert isinstance(error, TimeoutError)
            return str(error)

    with open_engine(gives_up) as engine:
        said = engine.start(gives_up()).result(TOO_LONG)
    assert said == "step 'hang' took longer than 0.01 seconds"
    assert seen == ["cleaned up"]


def test_a_thread_is_left_alone_and_its_late_result_dropped(open_engine: OpenEngine) -> None:
    released, ended = threading.Event(), threading.Event()
    names: list[str] = []

    def hang() -> str:
        names.append(threading.current_thread().name)
        released.wait(TOO_LONG)
        ended.set()
        return "too late"

    def next_step() -> str:
        names.append(threading.current_thread().name)
        return "in time"

    @workflow
    def gives_up() -> Any:
        while not names:  # on a busy machine its time may be over before its thread is there
            with suppress(StepTimeout):
                yield Save(hang, timeout=SHORT)
        first = yield Save(next_step)
        yield Receive("go on")
        return first

    with open_engine(gives_up, concurrency=1) as engine:
        run = engine.start(gives_up(), id="r")
        eventually(lambda: run.status() == "waiting")
        assert names[-1] not in names[:-1], "the place of the abandoned thread is taken by another"
        released.set()
        assert ended.wait(TOO_LONG)
        engine.until_idle()
        run.send("go on")
        assert run.result(TOO_LONG) == "in time"
        *_, error, value, _ = run.history()
    assert (error.attempts, error.value, value.value) == (1, None, "in time")
    assert "took longer than" in str(error.error)


def hang_in_process(told: str) -> None:
    with open(told, "a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(3600)


def pids(told: Path) -> list[int]:
    return [int(line) for line in told.read_text().splitlines()] if told.exists() else []


def test_a_process_is_killed(open_engine: OpenEngine, tmp_path: Path) -> None:
    told = tmp_path / "told"

    @workflow
    def gives_up() -> Any:
        yield Save(abs, -1, executor="process")  # so that a process is there
        try:
            yield Save(hang_in_process, str(told), executor="process", timeout=0.5)
        except StepTimeout:
            return (yield Save(os.getpid, executor="process"))

    with open_engine(gives_up) as engine:
        other = engine.start(gives_up()).result(TOO_LONG)
        (pid,) = pids(told)
        assert pid != other
        eventually(lambda: is_gone(pid))


def test_a_process_is_killed_with_its_engine_and_its_time_begins_anew(open_engine: OpenEngine, tmp_path: Path) -> None:
    told = tmp_path / "told"

    @workflow
    def gives_up(timeout: float) -> Any:
        yield Save(abs, -1, executor="process")
        try:
            yield Save(hang_in_process, str(told), executor="process", timeout=timeout)
        except StepTimeout as error:
            return str(error)

    with open_engine(gives_up) as engine:
        engine.start(gives_up(timeout=0.5), id="r")
        eventually(lambda: pids(told))
    eventually(lambda: is_gone(pids(told)[0]))
    with open_engine(gives_up) as engine:
        assert "took longer than 0.5 seconds" in engine.run("r").result(TOO_LONG)
        eventually(lambda: all(map(is_gone, pids(told))))


def test_each_attempt_has_its_own_time(open_engine: OpenEngine) -> None:
    calls: list[int] = []

    async def hang_twice() -> int:
        calls.append(1)
        if len(calls) < 3:
            await anyio.sleep_forever()
        return len(calls)

    @workflow
    def persists() -> Any:
        return (yield Save(hang_twice, timeout=SHORT, retry=Retry(3, delay=0.001)))

    with open_engine(persists) as engine:
        run = engine.start(persists())
        assert run.result(TOO_LONG) == 3
        assert [entry.attempts for entry in run.history()] == [3]


@LIVES
@pytest.mark.parametrize("on", ["loop", "thread"])
def test_attempts_that_take_too_long_are_counted_over_crashes(lives: int, on: str) -> None:
    calls: list[int] = []
    released = threading.Event()

    async def hang_on_loop() -> None:
        calls.append(1)
        await anyio.sleep_forever()

    def hang_on_thread() -> None:
        calls.append(1)
        released.wait(TOO_LONG)

    hang: Callable[[], Any] = hang_on_loop if on == "loop" else hang_on_thread

    @workflow
    def persists() -> Any:
        yield Save(hang, timeout=0.005, retry=Retry(2, delay=0.001))

    def scenario(engine: Engine) -> Any:
        run = engine.start(persists(), id="r")
        with pytest.raises(RunFailed) as caught:
            run.result(TOO_LONG)
        return caught.value.__cause__, [entry.attempts for entry in run.history()]

    def prepare() -> Prepared:
        calls.clear()
        crashes = Crashes(persists)

        def check(outcome: Any) -> None:
            error, attempts = outcome
            assert isinstance(error, StepTimeout)
            assert attempts == [2]
            assert len(calls) <= 2 + crashes.count  # one may be over before its thread was there

        return crashes, check

    crash_everywhere(prepare, scenario, lives)
    released.set()
