"""How a run goes on as another workflow, or as the same one anew: under its id, with a history of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from continuum.engine.machine.requests import ContinueRun
from continuum.store.recorder import Successor

if TYPE_CHECKING:
    from continuum.engine.gathering import Gathering

__all__ = ["successor_of"]


def successor_of(active: Gathering, request: ContinueRun, seed: str) -> Successor:
    """As which a run goes on. Raises UnpicklableValue and PayloadTooLarge, where its code is to travel and does not."""
    workflow, record, carried = request.invocation.workflow, active.record, active.carried
    assert request.data is not None, "the machine of a run is given the codec"
    same = workflow.name == record.workflow
    new = replace(
        record,
        workflow=workflow.name,
        version=workflow.version,
        queue=record.queue if same else workflow.queue or record.queue,
        seed=seed,
        generation=record.generation + 1,
        journal_start=active.number,
        compacted=0,
        started_as=record.origin,
        payload=request.data,
    )
    keeps = workflow is carried.workflow if carried else same and workflow.version == record.version
    code = None
    if not keeps:
        new, code = active.laden(replace(new, python="", code_size=0), workflow)
    return Successor(new, request.opening, code, limited=not same and workflow.limit is not None)
