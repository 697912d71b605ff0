"""The code that a run carries, where its workflow cannot be imported: making it, and loading it.

A workflow of a main program, of a notebook or of another function is known by no name to a worker in
another process. So a client stores it with the run, by value: the function, its steps, and whatever else these
refer to and cannot be imported. Such code is for one minor version of Python, and is never loaded by another.

Values of the run may refer to classes of the program that it comes from. With code that the run carries they
mean what came with the code, not what the worker's own main program has under that name.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import replace
from typing import Any, NamedTuple

from continuum.errors import UnsupportedRecord
from continuum.store.codec import Codec
from continuum.store.payload import split, this_python
from continuum.store.pickling import main_names
from continuum.store.records import RunRecord
from continuum.workflow import Workflow

__all__ = ["Carried", "pack", "unpack"]


class Carried(NamedTuple):
    """Code that came with a run: its workflow, and the codec that loads the run's values."""

    workflow: Workflow[..., Any]
    codec: Codec


def pack(codec: Codec, record: RunRecord, workflow: Workflow[..., Any]) -> tuple[RunRecord, bytes]:
    """The record of a run of that workflow that carries its code, and the code.

    With it goes what the run's arguments refer to in the main program. Raises UnpicklableValue, which
    names the part that does not travel, and PayloadTooLarge.
    """
    main = vars(sys.modules["__main__"])
    used = {name: main[name] for name in main_names(bytes(split(record.payload).pickle)) if name in main}
    code = codec.encode_code((workflow, used), f"the code of workflow {workflow.name!r}", workflow.function)
    return replace(record, python=this_python(), code_size=len(code)), code


def unpack(codec: Codec, payload: bytes) -> Carried:
    """The code; raises UnsupportedRecord if it is for another Python, and what loading it raises."""
    python = ".".join(map(str, split(payload).python or ()))
    if python != this_python():
        raise UnsupportedRecord(
            f"the code that it carries is for Python {python}, and this worker's is Python {this_python()}; "
            f"start a worker under Python {python}, or one that has the workflow itself"
        )
    workflow, used = codec.decode_code(payload)
    function = inspect.unwrap(workflow.function)
    main = getattr(function, "__globals__", {}) if function.__module__ == "__main__" else {}
    return Carried(workflow, codec.within({**main, **used}))
