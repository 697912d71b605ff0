"""From a run's plain generators to twins: its history is replayed into a machine that adopts them.

That is done on a thread, for it may take long, while the run goes on; what it records meanwhile is replayed
behind. A machine that was fed the same entries and stands at the same commands takes the other one's
place. One that goes another way is dropped, with the reason.

A history can be cut only where the run was settled: where one of its batches was closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from time import perf_counter
from typing import Final, TypeAlias, overload

from continuum.engine.machine.machine import Machine
from continuum.engine.machine.takeover import rehearse, take_over
from continuum.journal import Entry

__all__ = ["Changeover", "Pairs", "Replays"]

Pairs: TypeAlias = "list[tuple[bytes, bytes]]"
"""Entries as they are stored, with their keys."""

REST: Final = 9
"""So many times as long as it took to replay a run, no other one is, unless somebody waits for it."""

FEW: Final = 100
"""So many entries are replayed without a thread."""


class Abandoned(Exception):
    """The engine ends, or the run is gone: the replay is not wanted any more."""


class Changeover:
    """One run on its way. `make` makes its machine on twins, `decode` an entry of a stored pair.

    `at_work` while a thread replays; then nobody else may touch the machine.
    """

    def __init__(self, make: Callable[[], Machine], decode: Callable[[bytes, bytes], Entry]) -> None:
        self._make = make
        self._decode = decode
        self._segments: list[Pairs] = []  # to be replayed, each up to where the run was settled
        self._abandoned = Event()
        self.at_work = True  # its history is being read
        self.machine: Machine | None = None
        self.reason = ""  # why there will be no twins

    def collect(self, pairs: Pairs) -> None:
        """What the run has recorded since the last time."""
        if pairs:
            self._segments.append(pairs)

    def begin(self, history: Pairs) -> None:
        """What it had recorded before it was collected."""
        self._segments.insert(0, history)

    @property
    def far(self) -> bool:
        """Whether what is left to be replayed is so much that it should be done on a thread."""
        return sum(map(len, self._segments)) > FEW

    def abandon(self) -> None:
        """Have it end soon, without a result."""
        self._abandoned.set()
        if not self.at_work and self.machine is not None:
            self.machine.discard()

    def replay(self, now: int) -> None:
        """Replay all that was collected so far. Raises nothing: see `reason`."""
        try:
            if self.machine is None:
                self.machine = self._make()
            while self._segments and not self.reason:
                entries = _Recorded(self._segments.pop(0), self._decode, self._abandoned)
                self.reason = rehearse(self.machine, entries, now) or ""
        except Exception as error:  # any code of the user's may run
            self.reason = str(error) or repr(error)
        if self.reason and self.machine is not None:
            self.machine.discard()

    def relieve(self, plain: Machine) -> Machine | None:
        """The machine on twins, gone on in place of that one; None where it cannot."""
        if not self.reason and self.machine is not None:
            self.reason = take_over(self.machine, plain) or ""
        if self.machine is None or not self.reason:
            return self.machine
        self.machine.discard()
        return None


class Replays:
    """Replays of what was collected, on a thread, one after the other; `post` takes calls to the loop."""

    def __init__(self, clock: Callable[[], int], post: Callable[[Callable[[], object]], object]) -> None:
        self._clock = clock
        self._post = post
        self._line: deque[tuple[Changeover, Callable[[], object]]] = deque()
        self._thread: Thread | None = None
        self._under_way: Changeover | None = None
        self._rests_until = 0.0

    @property
    def rested(self) -> bool:
        """Whether another one may be begun that nobody waits for: they take a tenth of the time, at the most."""
        return self._under_way is None and perf_counter() >= self._rests_until

    def submit(self, change: Changeover, then: Callable[[], object]) -> None:
        """Put one in line; `then` is called on the loop when it has been replayed."""
        change.at_work = True
        self._line.append((change, then))
        if self._under_way is None:
            self._next()

    def close(self) -> None:
        """End what is under way, as soon as that can be, and begin nothing more."""
        self._line.clear()
        if self._under_way is not None and self._thread is not None:
            self._under_way.abandon()
            self._thread.join()
            self._under_way.at_work = False
            self._under_way.abandon()

    def _next(self) -> None:
        change, then = self._line.popleft()
        self._under_way = change

        def work() -> None:
            began = perf_counter()
            change.replay(self._clock())
            ended = perf_counter()
            self._rests_until = ended + REST * (ended - began)
            self._post(partial(self._replayed, change, then))

        self._thread = Thread(target=work, name="continuum-replay", daemon=True)
        self._thread.start()

    def _replayed(self, change: Changeover, then: Callable[[], object]) -> None:
        self._under_way = None
        change.at_work = False
        then()
        if self._line:
            self._next()


class _Recorded(Sequence[Entry]):
    """Entries that are decoded as they are asked for, so that they need not be in memory all at once."""

    def __init__(self, pairs: Pairs, decode: Callable[[bytes, bytes], Entry], abandoned: Event) -> None:
        self._pairs = pairs
        self._decode = decode
        self._abandoned = abandoned
        self._last: tuple[int, Entry | None] = (-1, None)

    def __len__(self) -> int:
        return len(self._pairs)

    @overload
    def __getitem__(self, index: int) -> Entry: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | Sequence[Entry]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at, entry = self._last
        if at != index or entry is None:
            if self._abandoned.is_set():
                raise Abandoned
            entry = self._decode(*self._pairs[index])
            self._last = index, entry
        return entry
