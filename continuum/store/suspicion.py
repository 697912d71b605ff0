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

A worker can also be silent since a run holds it up. It says so itself if it can, and by which: then that run is
counted, as for a death, and no other.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final

from continuum.store import keys
from continuum.store.ledger import CRASHES, Ledger
from continuum.store.protocol import Batch, View
from continuum.store.records import RunState
from continuum.store.tenure import FELL, HELD, LEFT, TRIED, bury, owner_of

__all__ = ["bury_found", "is_grave", "is_to_blame", "mishaps", "suspected"]

LENIENCE: Final = 3

_NUMBER: Final = struct.Struct(">Q")


def mishaps(view: View) -> int:
    """How many workers have gone down that no grave run explains."""
    data = view.get(keys.mishaps())
    return 0 if data is None else int(_NUMBER.unpack(data)[0])


def bury_found(view: View, ledger: Ledger, token: bytes, *, died: bool) -> Batch:
    """End the tenure of a worker that is found dead, or shows no sign of life, and note what is known of why.

    It does nothing if the worker shows life meanwhile. One that has not `died` may have been stopped.
    """
    held = view.get(keys.held(token))
    if held is not None:
        return bury(view, token, HELD + held)
    if died and _has_grave(view, ledger, token):
        return bury(view, token, TRIED)
    return _with_mishap(bury(view, token, FELL if died else LEFT), view)


def _has_grave(view: View, ledger: Ledger, token: bytes) -> bool:
    count = mishaps(view)
    runs = [keys.run_of_claim(key) for key, claim in view.scan(keys.claims()) if owner_of(claim) == token]
    return any(is_grave(ledger.state(view, run_id), count) for run_id in runs)


def _with_mishap(batch: Batch, view: View) -> Batch:
    """Workers that are found at the same moment are one mishap: nobody has to wait for the other to have counted."""
    batch.puts.append((keys.mishaps(), _NUMBER.pack(mishaps(view) + 1)))
    return batch


def suspected(state: RunState, mishaps: int, how: bytes) -> RunState:
    """How a run stands that may have brought down its worker, of which that note is kept."""
    if not state.crashes:
        return replace(state, crashes=1, mishaps=mishaps)
    return replace(state, crashes=state.crashes + 1, mishaps=state.mishaps + (how == FELL))  # that was not without it


def is_to_blame(state: RunState, mishaps: int) -> bool:
    """Whether the run has been there so often that it is to be laid aside."""
    return state.crashes >= CRASHES + min(max(0, mishaps - state.mishaps), LENIENCE)


def is_grave(state: RunState, mishaps: int) -> bool:
    """Whether it will be when its worker dies the next time."""
    return state.crashes > 0 and is_to_blame(replace(state, crashes=state.crashes + 1), mishaps)
