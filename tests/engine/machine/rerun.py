"""Generators that can be pickled, for tests: each is run again with all that it was sent.

    play = Play(order(), adopt=rerun)          # a machine whose generators can be pickled
    data = to_bytes(taken(play.machine))

The functions stand in modules and have no variables of their own but arguments; what those refer to is pickled with
everything else, so it must not be changed by what is run again.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Generator
from io import BytesIO
from operator import attrgetter
from typing import Any

from continuum import Workflow
from continuum.engine.machine.machine import Machine
from continuum.engine.machine.snapshot import Snapshot, take
from continuum.place import place

Body = Generator[Any, Any, Any]


class Rerun:
    """Stands in for a generator. Unpickled, it comes to where it was at the first send."""

    def __init__(self, module: str, name: str, args: tuple[Any, ...]) -> None:
        self.module, self.name, self.args = module, name, args
        self.sent: list[tuple[str, Any]] = []
        self.body: Body | None = self._make()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "body": None}

    def send(self, value: Any) -> Any:
        if self.body is None:
            return self._run_again()
        self.sent.append(("send", value))
        return self.body.send(value)

    def throw(self, error: BaseException) -> Any:
        assert self.body is not None
        self.sent.append(("throw", error))
        return self.body.throw(error)

    def close(self) -> None:
        if self.body is not None:
            self.body.close()

    @property
    def gi_yieldfrom(self) -> Any:
        assert self.body is not None
        return self.body.gi_yieldfrom

    def where(self) -> str:
        assert self.body is not None
        frame = self.body.gi_frame
        return place(self.body.gi_code, frame.f_lineno if frame else 0)

    def _make(self) -> Any:
        function = _named(self.module, self.name)
        return (function.function if isinstance(function, Workflow) else function)(*self.args)

    def _run_again(self) -> Any:
        self.body = self._make()
        for how, what in self.sent:
            yielded = getattr(self.body, how)(what)
        return yielded


def rerun(body: Body) -> Any:
    """What stands in for this generator, that has not begun."""
    frame, code = body.gi_frame, body.gi_code
    assert "<locals>" not in code.co_qualname
    names = code.co_varnames[: code.co_argcount]
    return Rerun(frame.f_globals["__name__"], code.co_qualname, tuple(frame.f_locals[name] for name in names))


def _named(module: str, name: str) -> Any:
    return attrgetter(name)(sys.modules[module])


class _Pickler(pickle.Pickler):
    def reducer_override(self, found: object) -> Any:
        if isinstance(found, Workflow):
            return _named, (found.function.__module__, found.function.__name__)
        return NotImplemented


def taken(machine: Machine) -> Snapshot:
    """The machine's state, which there must be."""
    snapshot = take(machine)
    assert not isinstance(snapshot, str), snapshot
    return snapshot


def to_bytes(snapshot: Snapshot) -> bytes:
    stream = BytesIO()
    _Pickler(stream, 5).dump(snapshot)
    return stream.getvalue()


def from_bytes(data: bytes) -> Snapshot:
    snapshot: Snapshot = pickle.loads(data)
    return snapshot
