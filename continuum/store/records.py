"""The records about a run, besides its journal, and their bytes.

A record is a header of plain data, which anyone can read, and where users' values are part of it a
pickled payload behind it, which is not touched by who only wants to look. The header is the list of
the record's other fields in their order: a record may grow at the end of these, with a default. What is at
the end of a header and has its default may be left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, fields
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

from continuum.journal import Position, RunId, Status, record
from continuum.store.codec import Codec, pack_text, seal, unseal

__all__ = [
    "Address",
    "Continuation",
    "Gauge",
    "Message",
    "Move",
    "Refusal",
    "RunEnd",
    "RunRecord",
    "RunState",
    "SharedResult",
    "WorkerRecord",
    "read",
    "write",
]


class Address(NamedTuple):
    """What it takes to have a worker look at a run; `python` is as in its record."""

    run_id: RunId
    queue: str
    priority: int
    workflow: str
    version: str
    python: str = ""

    @property
    def label(self) -> str:
        """What a worker needs to work on the run: its workflow and version, or that version of Python."""
        return _label(self.workflow, self.version, self.python)


def _label(workflow: str, version: str, python: str) -> str:
    return f"{workflow}\0{version}\0{python}" if python else f"{workflow}\0{version}"


@record
class RunRecord:
    """What was started. Times are nanoseconds since the epoch; `payload` holds the arguments.

    `parent_position` is where the parent waits for this run, or None if it does not wait; it belongs
    to the parent's history of `parent_generation`.

    A run that goes on by ContinueUsing gets another record: of its next `generation`, whose journal
    begins with entry `journal_start`; `started_as` is then the workflow that it was started as. Where entries
    of this generation were deleted behind its continuation, `journal_start` has moved by that, and
    `compacted` counts them, those included that stay for their key: without the continuation the run cannot go on
    any more.

    Where the run carries its code, `code_size` is how many bytes that is, and `python` the version that it is
    for; else it is empty.
    """

    id: RunId
    workflow: str
    version: str
    queue: str
    created: int
    seed: str
    priority: int = 0
    deadline: int | None = None
    parent: Address | None = None
    parent_position: list[int] | None = None
    parent_generation: int = 0
    generation: int = 0
    journal_start: int = 0
    started_as: str = ""
    compacted: int = 0
    python: str = ""
    code_size: int = 0
    payload: bytes = b""

    @property
    def first(self) -> int:
        """The number of the first entry of this generation."""
        return self.journal_start - self.compacted

    @property
    def origin(self) -> str:
        """The workflow that the run was started as."""
        return self.started_as or self.workflow

    @property
    def address(self) -> Address:
        """Where the run's worker is found."""
        return Address(self.id, self.queue, self.priority, self.workflow, self.version, self.python)

    @property
    def label(self) -> str:
        """As in its address."""
        return _label(self.workflow, self.version, self.python)


@record
class RunState:
    """How a run stands. `wake` is when a timer of it is due; `failed_at` where it failed.

    `crashes` is how many workers in a row have died while they executed it, and it got nowhere; when the first of
    them had, the store counted so many `mishaps` (:mod:`continuum.store.suspicion`).
    """

    status: Status
    updated: int
    waiting_for: str = ""
    reason: str = ""
    wake: int | None = None
    failed_at: list[int] | None = None
    rewind: bool = False  # take back what was recorded since failed_at before going on
    crashes: int = 0
    mishaps: int = 0

    def failed_position(self) -> Position | None:
        """`failed_at` as a position."""
        return None if self.failed_at is None else tuple(self.failed_at)


@record
class RunEnd:
    """How a run ended: `payload` is its result, or its error where `failed`."""

    status: Status
    failed: bool
    reason: str = ""
    payload: bytes = b""


@record
class Message:
    """A message to a run: an event by its name, a request to end with its reason, or the end of child `name`.

    Who waits for a child is the command at `position` in the run's history of that `generation`.
    """

    kind: Literal["event", "cancel", "child"]
    name: str = ""
    reason: str = ""
    position: list[int] | None = None
    status: str = ""
    failed: bool = False
    generation: int = 0
    payload: bytes = b""


@record
class SharedResult:
    """A result that runs share, or what is known before there is one; `payload` holds it, or an error if `failed`.

    Command `position` of run `run_id` has ``taken`` it upon itself to make it, for the step of that name, or
    has ``given up``, or it is ``done``. It expires at that time, or never. The first number of the position
    is the generation of the run's history.
    """

    step: str
    run_id: str
    position: list[int]
    state: Literal["taken", "given up", "done"]
    failed: bool = False
    expires: int | None = None
    payload: bytes = b""


@record
class Gauge:
    """A limit as who asked last for a slot of it declared it, and how many slots of it were ever given.

    At most `concurrency` at a time, and at most `rate` in `per` nanoseconds; None is no bound.
    """

    name: str
    concurrency: int | None
    rate: int | None
    per: int
    given: int = 0


@record
class Continuation:
    """The run in the middle of its work, in place of the entries before `number` of its history.

    `payload` holds it, pickled; it takes Python `python` where it holds code by value. `where` is the code at
    which it stands, `functions` are the names and the fingerprints of those that it is in the middle
    of. It stands for `entries` entries of `history` bytes, and took `cost` nanoseconds to make. Where it is
    `keyed` there are entries with a key among those that are still there.
    """

    number: int
    at: int
    generation: int
    size: int
    entries: int
    history: int
    cost: int
    python: str = ""
    where: Sequence[str] = ()
    functions: Sequence[Sequence[str]] = ()
    keyed: bool = False
    payload: bytes = b""


@record
class Refusal:
    """Why no continuation was kept when `number` entries of the run's history had been recorded."""

    number: int
    at: int
    reason: str


@record
class Move:
    """What has become of a whole store: it is ``moving`` to that place, was ``moved``, or is ``arriving`` from it.

    One that has ``arrived`` is as any other. `at` is in nanoseconds since the epoch.
    """

    state: Literal["moving", "moved", "arriving", "arrived"]
    place: str
    at: int


@record
class WorkerRecord:
    """A worker at work, for people: which process of which machine it is, since when, and what it takes."""

    host: str
    pid: int
    started: int
    queues: list[str]


Record: TypeAlias = (
    RunRecord | RunState | RunEnd | Message | SharedResult | Move | Gauge | Continuation | Refusal | WorkerRecord
)
R = TypeVar("R", RunRecord, RunState, RunEnd, Message, SharedResult, Move, Gauge, Continuation, Refusal, WorkerRecord)


def write(codec: Codec, key: bytes, record: Record) -> tuple[bytes, bytes]:
    """The pair to put: the key, and the record's bytes under it."""
    kind = type(record)
    payload: bytes = getattr(record, "payload", b"")
    if kind in _BRIEF and (text := _BRIEF[kind](record)) is not None:
        return key, seal(key, pack_text(text, payload))
    return key, seal(key, codec.pack(_FIELDS[kind](record), payload))


def write_plain_state(key: bytes, status: Status, updated: int) -> tuple[bytes, bytes]:
    """As :func:`write`, for the state of a run of which there is nothing else to tell."""
    return key, seal(key, pack_text(f'["{status._value_}",{updated}]'))


def read(codec: Codec, kind: type[R], key: bytes, data: bytes) -> R:
    """The record that was written under that key."""
    header, payload = codec.unpack(unseal(key, data))
    made: Callable[..., R] = kind
    if kind is RunState:
        return made(Status(header[0]), *header[1:])
    if issubclass(kind, _BARE):
        return made(*header)
    if kind is RunEnd:
        return made(Status(header[0]), *header[1:], payload=payload)
    if kind is RunRecord and header[_PARENT] is not None:
        header[_PARENT] = Address(*header[_PARENT])
    return made(*header, payload=payload)


def _names(kind: Any) -> list[str]:
    return [each.name for each in fields(kind) if each.name != "payload"]


def _brief_run(run: RunRecord) -> str | None:
    if _run_extras(run) != _NO_RUN_EXTRAS:
        return None
    return (
        f"[{_quoted(run.id)},{_quoted(run.workflow)},{_quoted(run.version)},{_quoted(run.queue)},{run.created},"
        f"{_quoted(run.seed)},0,null,null]"  # to the parent, at which older versions look
    )


def _brief_state(state: RunState) -> str | None:
    return f'["{state.status._value_}",{state.updated}]' if _state_extras(state) == _NO_STATE_EXTRAS else None


def _brief_end(end: RunEnd) -> str | None:
    return None if end.failed or end.reason else f'["{end.status._value_}",false]'


def _extras(kind: Any) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Any, ...]]:
    """What gives the header's fields that have a default, and the defaults."""
    defaults = {each.name: each.default for each in fields(kind) if each.default is not MISSING}
    defaults.pop("payload", None)
    return attrgetter(*defaults), tuple(defaults.values())


_run_extras, _NO_RUN_EXTRAS = _extras(RunRecord)
_state_extras, _NO_STATE_EXTRAS = _extras(RunState)

_BRIEF: Final[dict[type, Callable[[Any], str | None]]] = {
    RunRecord: _brief_run,
    RunState: _brief_state,
    RunEnd: _brief_end,
}
"""The headers that nearly every run has, in which all that has a default is left out: four of them are written
for each, and this takes a third of the time. None for any other."""

_BARE: Final = (RunState, Refusal, Move, Gauge, WorkerRecord)
"""Those without a payload."""


_FIELDS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    kind: attrgetter(*_names(kind))
    for kind in (RunRecord, RunState, RunEnd, Message, SharedResult, Move, Gauge, Continuation, Refusal, WorkerRecord)
}
_PARENT: Final = _names(RunRecord).index("parent")
