"""Random workflows in engines that crash at random commits: what is recorded stays, and the end is what it tells.

Steps end in random order, events and cancels come at random moments of virtual time. Both loops are given the
same examples in every run of the tests, and others with CONTINUUM_EXAMPLES=100 in the environment, a hundred
times as many; what fails is printed as an example to be run again. The machine's part of it is tested with
more of them in `machine/test_properties.py`.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import Any

import anyio
import programs
import pytest
from crashing import CrashingStore
from hypothesis import given, note
from hypothesis import strategies as st
from programs import Block, Choices, child, examples, program, uncertain_programs, undoing_program
from virtual import VirtualTime

from continuum import AsyncEngine, AsyncRun
from continuum.engine import lookout
from continuum.engine.keeping import changeover, keeper, upkeep
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.requests import Settle, Started
from continuum.errors import CommitUnknown, RunEnded, RunFinished, StoreClosed, WrongState
from continuum.journal import FINISHED, MARKS, TAKES, Entry, Failure, Kind, Status, Value
from continuum.store import keys, suspicion
from continuum.store.codec import Codec
from continuum.store.ledger import Ledger, RunInfo
from continuum.store.memory import MemoryStore, Space
from continuum.store.protocol import Store

LEDGER = Ledger(Codec())
LONG_AGO = 1_700_000_000
TOO_LONG = 600  # seconds of virtual time

workflows = st.sampled_from([program, undoing_program])
crashes = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=6)
choices = st.binary(min_size=30, max_size=90)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to read of all the crashes, and no run is suspected of them."""
    monkeypatch.setattr("continuum.host.logger.disabled", True)
    monkeypatch.setattr(lookout, "PROBATION", 0)
    monkeypatch.setattr(suspicion, "CRASHES", 1_000_000)


@pytest.fixture
def _kept_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A continuation is made whenever there can be one."""
    monkeypatch.setattr(keeper, "LONG", 1)
    monkeypatch.setattr(upkeep, "LONG", 1)
    monkeypatch.setattr(changeover, "REST", 0)
    monkeypatch.setattr(upkeep.Upkeep, "due", lambda self, number: True)
    monkeypatch.setattr(keeper.Keeper, "_too_large", lambda self, continuation, asked: "")


@pytest.mark.usefixtures("_kept_often")
def test_runs_that_are_kept_often_come_to_the_end_that_their_journal_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    test_what_is_recorded_stays_and_the_end_is_what_it_tells("asyncio", monkeypatch)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_what_is_recorded_stays_and_the_end_is_what_it_tells(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @examples(120)
    @given(uncertain_programs, workflows, st.booleans(), st.integers(0, 2), crashes, choices)
    def crash(
        block: Block, code: Any, reverts: bool, cancels: int, crashes: list[tuple[int, bool]], choices: bytes
    ) -> None:
        note(f"{block}")
        world = World(backend, code, (block, reverts), choices, cancels)
        monkeypatch.setattr(programs, "pace", lambda: world.choose(4))
        world.live_and_die(crashes)
        if world.info.status is Status.FAILED:
            world.retries = 1
            world.live_and_die(crashes)

    crash()


class World:
    """A store, one run in it, and engines that come and go, in virtual time."""

    def __init__(self, backend: str, code: Any, args: tuple[Any, ...], choices: bytes, cancels: int) -> None:
        self.code, self.args, self.cancels = code, args, cancels
        self.choose = Choices(choices)
        self.space = Space()
        self.kept: dict[int, tuple[Any, ...]] = {}  # completions that were seen in the store
        self.seen: set[str] = set()  # keys that there were values of
        self.retries = 0
        self.killed = 0  # how often it was cancelled
        self.time = VirtualTime(backend)
        programs.calls.clear()

    # Lives

    def live_and_die(self, crashes: list[tuple[int, bool]]) -> None:
        """One life after another, each with a crash but the last."""
        self.kept.clear()
        for commits, applied in crashes:
            self._live(CrashingStore(self.space, commits, applied=applied))
            self._check_kept()
        assert self._live(MemoryStore(self.space)), "the engine has stopped"
        self._check_kept()
        self._check_end()

    def _live(self, store: Store) -> bool:
        """Let an engine live until nothing is left to do; False if it crashed before."""

        async def life() -> bool:
            crashed = False
            try:
                async with AsyncEngine(store, workflows=[self.code, child], clock=self._now, grace=0.0) as engine:
                    await self._life(engine)
            except* (CommitUnknown, StoreClosed):
                crashed = True
            return not crashed

        return self.time.run(life)

    def _now(self) -> int:
        """The engines' clock."""
        return round((LONG_AGO + self.time.now()) * 1e9)

    async def _life(self, engine: AsyncEngine) -> None:
        run = await engine.start(self.code(*self.args), id="run")
        if self.retries and (await run.status()) == Status.FAILED:
            with suppress(WrongState):  # what led to the failure was deleted
                await run.retry()
            self.retries -= 1
        async with anyio.create_task_group() as group:
            group.start_soon(self._let_time_pass, engine)
            group.start_soon(self._disturb, run)
            with suppress(RunEnded):
                await run.result(timeout=TOO_LONG)
            await anyio.sleep(10)  # until the children have ended, too
            group.cancel_scope.cancel()
        await engine.until_idle()

    async def _let_time_pass(self, engine: AsyncEngine) -> None:
        """Time goes on whenever nothing can be done before."""
        while True:
            await engine.until_idle()
            self.time.jump(0.25)
            await anyio.lowlevel.checkpoint()

    async def _disturb(self, run: AsyncRun[Any]) -> None:
        with suppress(RunFinished):
            for number in range(200):
                await anyio.sleep(self.choose(4) / 2 + 0.1)
                if self.killed < self.cancels and not self.choose(3):
                    self.killed += 1
                    await run.cancel("enough")
                else:
                    await run.send("ab"[(number + self.choose(2)) % 2], number)

    # What there is in the store

    @property
    def info(self) -> RunInfo:
        with MemoryStore(self.space).view() as view:
            return LEDGER.info(view, "run")

    @property
    def journal(self) -> list[Entry]:
        return [entry for _, entry in self._entries()]

    def _entries(self) -> list[tuple[int, Entry]]:
        with MemoryStore(self.space).view() as view:
            return list(LEDGER.entries(view, "run")) if view.get(keys.run("run")) is not None else []

    def _check_kept(self) -> None:
        """What was recorded is recorded still, each position once."""
        completions = {number: short(entry) for number, entry in self._entries() if entry.kind not in MARKS}
        positions = [position for position, *_ in completions.values() if position]
        assert len(set(positions)) == len(positions)
        events = [entry.ref for entry in self.journal if entry.kind in TAKES and entry.ref]
        assert len(set(events)) == len(events)
        start = self.info.record.journal_start if completions else 0
        kept = {number: entry for number, entry in self.kept.items() if number >= start}  # Compact deletes the others
        assert kept.items() <= completions.items()
        self._check_last_values()
        retries = self.retries or (completions and self.info.state.rewind)
        self.kept = {} if retries else completions  # it takes some of them back

    def _check_last_values(self) -> None:
        """Of what was deleted there is one entry for each key, and none is ever without one again."""
        with MemoryStore(self.space).view() as view:
            if view.get(keys.run("run")) is None:
                return
            history = LEDGER.history(view, "run")
            start = LEDGER.record(view, "run").journal_start
            swept = not list(view.scan(keys.unswept_prefix()))
        left = [row.number for row in history if row.number < start]
        told = {row.number: row.key for row in history if row.key}
        assert len({told[number] for number in left}) == len(left), "each is the last of its key"
        if swept:
            assert left == [number for number, _ in self._entries() if number < start], "all else is gone"
        seen = set(told.values())
        assert self.seen <= seen
        self.seen = set() if self.info.status is Status.FAILED else seen  # a retry may take them back

    def _check_end(self) -> None:
        """The journal leads to this end, and nothing is left that anybody would wait for."""
        assert self.info.status in FINISHED, self.info.state.reason
        if not self.info.record.compacted:
            self._check_undone()
            if self.killed < 2:
                self._check_replay()
        with MemoryStore(self.space).view() as view:
            kinds = {key[:1] for key, _ in view.scan(b"")}
            assert not kinds & {b"q", b"c", b"t", b"d"}, kinds
            slots = list(view.scan(b"fs"))
            assert not slots, slots
            for run in LEDGER.runs(view):
                if run.status not in (Status.FAILED, Status.CANCELLED):
                    assert not list(view.scan(keys.inbox_prefix(run.id)))

    def _check_undone(self) -> None:
        """Each step was undone once at most, the last first; calls have each a result of their own."""
        saved = [entry for entry in self.journal if entry.kind is Kind.SAVE and entry.attempts]  # by this run itself
        values = [(entry.name, entry.outcome.value) for entry in saved if isinstance(entry.outcome, Value)]
        undone = [value for name, value in values if name.startswith("undo")]
        assert max(Counter(undone).values(), default=0) <= 1
        order = [value for name, value in values if not name.startswith("undo")]
        assert undone == [value for value in reversed(order) if value in undone]

    def _check_replay(self) -> None:
        """A machine that is given the journal does nothing anew, and comes to the same end."""
        machine = Machine(
            "run",
            self.code.function(*self.args),
            seed=bytes.fromhex(self.info.record.seed),
            compensate_on_failure=self.code.compensate_on_failure,
        )
        requests = machine.feed(Started(self.journal), 0)
        machine.discard()
        assert not [request for request in requests if isinstance(request, Entry)]
        (settle,) = requests
        assert isinstance(settle, Settle), settle
        assert settle.status is self.info.status


def short(entry: Entry) -> tuple[Any, ...]:
    outcome = entry.outcome
    told = repr(outcome.error if isinstance(outcome, Failure) else outcome and outcome.value)
    return entry.position, entry.kind, entry.name, told, entry.at, entry.ref
