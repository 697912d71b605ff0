"""Which run may have brought its workers down: what the end of a worker tells about the runs that it had.

Whoever kills a worker does not say why. A run that brings its process down does it each time that it is
executed; one that was merely there when somebody killed the worker is unlikely to be there the next time. So
each run that was being executed is *suspected*, and counted is how often in a row that has happened to it. Any
entry that it records, and any wait that it comes to, clears it. After CRASHES times it is to blame.

Unless workers go down without it: then there is something else that brings them down, such as an operator or
a machine that fails. Such *mishaps* are counted for the store. Each since the run was first suspected speaks
for it: it takes one time more to be to blame, up to LENIENCE more, so that a run that is guilty is
found out even then. A worker that goes down with a run in hand that is *grave*, and now to blame, is explained by
that: it is no mishap.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from continuum.store import keys
from continuum.store.ledger import CRASHES, Ledger
from continuum.store.protocol import Batch, View
from continuum.store.records import RunState
from continuum.store.tenure import FELL, LEFT, TRIED, bury, owner_of

__all__ = ["bury_dead", "bury_silent", "is_grave", "is_to_blame", "mishaps", "suspected"]

LENIENCE: Final = 3

_NUMBER: Final = struct.Struct(">Q")


def mishaps(view: View) -> int:
    """How many workers have gone down that no grave run explains."""
    data = view.get(keys.mishaps())
    return 0 if data is None else int(_NUMBER.unpack(data)[0])


def bury_dead(view: View, ledger: Ledger, token: bytes) -> Batch:
    """End the tenure of a worker that has died: what it executed is suspected."""
    count = mishaps(view)
    runs = [keys.run_of_claim(key) for key, claim in view.scan(keys.claims()) if owner_of(claim) == token]
    if any(is_grave(ledger.state(view, run_id), count) for run_id in runs):
        return bury(view, token, TRIED)
    return _with_mishap(bury(view, token, FELL), view)


def bury_silent(view: View, token: bytes) -> Batch:
    """End the tenure of a worker that shows no sign of life, unless it does meanwhile. It may have been stopped."""
    return _with_mishap(bury(view, token, LEFT), view)


def _with_mishap(batch: Batch, view: View) -> Batch:
    """Workers that are found at the same moment are one mishap: nobody has to wait for the other to have counted."""
    batch.puts.append((keys.mishaps(), _NUMBER.pack(mishaps(view) + 1)))
    return batch


def suspected(state: RunState, mishaps: int, how: bytes) -> RunState:
    """How a run stands that was being executed when its worker died, of which that note is kept."""
    if not state.crashes:
        return replace(state, crashes=1, mishaps=mishaps)
    return replace(state, crashes=state.crashes + 1, mishaps=state.mishaps + (how == FELL))  # that was not without it


def is_to_blame(state: RunState, mishaps: int) -> bool:
    """Whether the run has been there so often that it is to be laid aside."""
    return state.crashes >= CRASHES + min(max(0, mishaps - state.mishaps), LENIENCE)


def is_grave(state: RunState, mishaps: int) -> bool:
    """Whether it will be when its worker dies the next time."""
    return state.crashes > 0 and is_to_blame(replace(state, crashes=state.crashes + 1), mishaps)
