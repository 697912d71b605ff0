"""Durable execution in one library and one file.

Workflows are plain generators that yield commands; an engine performs each command, records its
result in a store, and replays the record after a restart. Where things are:

* :mod:`continuum.commands`: what a workflow may yield; :mod:`continuum.steps` and :mod:`continuum.branches` have
  the commands that those are about
* :mod:`continuum.workflow`: the decorator, Invocation, the registry
* :mod:`continuum.dag`: steps with dependencies, on top of these
* :mod:`continuum.limit`: how much of something may be done at a time
* :mod:`continuum.context`: what code can know of the run that it belongs to
* :mod:`continuum.errors`: every error, its tree drawn on top
* :mod:`continuum.blocking`, :mod:`continuum.host`: Engine and AsyncEngine
* :mod:`continuum.client`, :mod:`continuum.runs`: start, send, read
* :mod:`continuum.engine`: the pure machine, the scheduler around it, continuations (how a generator becomes bytes
  in :mod:`continuum.engine.continuation`, when one is kept in :mod:`continuum.engine.keeping`)
* :mod:`continuum.store`: the key-value waist, the ledger on top of it, the backends below
* :mod:`continuum.cli`: the command line

Public are the names listed here, and ``continuum.store``.
"""

from continuum.blocking import Engine, Run
from continuum.commands import (
    All,
    Call,
    Command,
    Compact,
    ContinueUsing,
    Count,
    Ensure,
    Handle,
    Log,
    Map,
    Now,
    Patch,
    Publish,
    Race,
    Random,
    Receive,
    Retry,
    Revert,
    Save,
    Send,
    Sleep,
    Start,
    Uuid4,
    step,
)
from continuum.context import Context, current
from continuum.description import Description, HistoryStep, Kept
from continuum.errors import *  # noqa: F403 - the tree of errors is public as a whole
from continuum.errors import __all__ as _errors
from continuum.host import AsyncEngine
from continuum.limit import Limit
from continuum.runs import AsyncRun
from continuum.workflow import Invocation, Workflow, workflow

__version__ = "0.1.0"

__all__ = [
    "All",
    "AsyncEngine",
    "AsyncRun",
    "Call",
    "Command",
    "Compact",
    "Context",
    "ContinueUsing",
    "Count",
    "Description",
    "Engine",
    "Ensure",
    "Handle",
    "HistoryStep",
    "Invocation",
    "Kept",
    "Limit",
    "Log",
    "Map",
    "Now",
    "Patch",
    "Publish",
    "Race",
    "Random",
    "Receive",
    "Retry",
    "Revert",
    "Run",
    "Save",
    "Send",
    "Sleep",
    "Start",
    "Uuid4",
    "Workflow",
    "__version__",
    "current",
    "step",
    "workflow",
    *_errors,
]
