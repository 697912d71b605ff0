"""From a run's plain generators to twins: its history is replayed into a machine that adopts them.

That is done on a thread, for it may take long, while the run goes on; what it records meanwhile is replayed
behind. A machine that was fed the same entries and stands at the same commands takes the other one's
place. One that goes another way is dropped, with the reason.

A history can be cut only where the run was settled: where one of its batches was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event
from typing import Final, TypeAlias, overload

from continuum.engine.machine.machine import Machine
from continuum.engine.machine.takeover import rehearse, take_over
from continuum.journal import Entry

__all__ = ["Changeover", "Pairs"]

Pairs: TypeAlias = "list[tuple[bytes, bytes]]"
"""Entries as they are stored, with their keys."""

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
