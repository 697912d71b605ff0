"""Which workers are at work on a store, and which are gone: whose claims count.

A worker has a *tenure*: from when it is enlisted, in the same commit as its first claim, until it has
nothing in hand any more, or others find it dead. A token stands for the tenure and is never used again.
Only who is enlisted may claim a run, and every claim is another value, so what a worker gathered for
a run under an earlier claim can never be applied.

Others find a worker dead by what they see, and never by comparing clocks (:mod:`continuum.engine.lease`
looks for it): the lock of its tenure is free, or its *beat*, a number that it counts up once it was
*asked* for a sign of life, has not changed for too long. One of them then *buries* it, on condition that
it has not shown itself since. What it leaves behind is for whoever comes first. Of a tenure that is over
a note is kept as long as there may be claims of it: it tells whether the worker fell, and may have been
brought down by a run.
"""

from __future__ import annotations

import struct
from itertools import count
from typing import Final, NamedTuple

from continuum.store import keys
from continuum.store.codec import Codec
from continuum.store.leavings import unswept
from continuum.store.protocol import Batch, Hold, View
from continuum.store.records import WorkerRecord, write
from continuum.store.results import Results

__all__ = [
    "TOKEN",
    "Claim",
    "Roll",
    "Tenure",
    "bury",
    "call_roll",
    "enlist",
    "forget",
    "owner_of",
    "resign",
    "show_life",
]

TOKEN: Final = 8
"""How many bytes a token has."""

FELL: Final = b"fell"
LEFT: Final = b"left"

_NUMBER: Final = struct.Struct(">Q")


class Claim(NamedTuple):
    """What a run is claimed with: the claim's value, and the check that its worker is still enlisted."""

    value: bytes
    check: tuple[bytes, bytes | None]


class Tenure:
    """One worker's standing. `token` is made of chance; `enlisted` is for its scheduler to say."""

    def __init__(self, token: bytes, codec: Codec, record: WorkerRecord) -> None:
        assert len(token) == TOKEN, f"a token of {len(token)} bytes"
        self.token = token
        self.entry: tuple[bytes, bytes] = write(codec, keys.worker(token), record)
        self.enlisted = False
        self.hold: Hold | None = None  # the lock of the living, as long as it is enlisted
        self._claims = count()
        self._beats = count()

    @property
    def lock(self) -> str:
        """The name of the lock that is held while the worker lives."""
        return lock_of(self.token)

    def claim(self) -> Claim:
        """A claim that nobody has had before."""
        return Claim(self.token + _NUMBER.pack(next(self._claims)), self.entry)

    def made(self, claim: bytes) -> bool:
        """Whether the claim is of this tenure."""
        return owner_of(claim) == self.token

    def next_beat(self) -> tuple[bytes, bytes]:
        """The pair that shows that the worker lives."""
        return keys.beat(self.token), _NUMBER.pack(next(self._beats))


class Roll(NamedTuple):
    """The workers at work, with their records; who of them is asked for signs of life; and who is gone, and how."""

    workers: dict[bytes, bytes]
    asked: set[bytes]
    gone: dict[bytes, bytes]

    def has(self, tenure: Tenure) -> bool:
        """Whether the tenure goes on."""
        return self.workers.get(tenure.token) == tenure.entry[1]

    def fell(self, token: bytes) -> bool:
        """Whether that worker died at work."""
        return self.gone.get(token) == FELL


def lock_of(token: bytes) -> str:
    """The name of the lock that a worker holds while it lives."""
    return f"worker-{token.hex()}"


def owner_of(claim: bytes) -> bytes:
    """The token of the worker that made a claim."""
    return claim[:TOKEN]


def call_roll(view: View) -> Roll:
    """See who is at work and who is gone."""
    workers = {keys.token_of(key): record for key, record in view.scan(keys.workers())}
    asked = {keys.token_of(key) for key, _ in view.scan(keys.asked_prefix())} if workers else set()
    return Roll(workers, asked, {keys.token_of(key): how for key, how in view.scan(keys.gone_prefix())})


def enlist(tenure: Tenure) -> Batch:
    """Begin a tenure; the others are told."""
    return Batch([(tenure.entry[0], None)], [tenure.entry, tenure.next_beat()], notify=True)


def ask(roll: Roll, token: bytes) -> Batch:
    """Have a worker show that it lives, from now on until it wants to be asked again; it is woken."""
    return Batch([(keys.worker(token), roll.workers[token])], [(keys.asked(token), b"")], notify=True)


def show_life(tenure: Tenure, *, last: bool) -> Batch:
    """Go on with a tenure, if nobody has ended it; after the `last` time the others have to ask again."""
    return Batch([tenure.entry], [tenure.next_beat()], [keys.asked(tenure.token)] if last else [])


def resign(view: View, tenure: Tenure, results: Results) -> Batch:
    """End one's own tenure, and note whether something is left; the others are told to look."""
    batch = Batch([tenure.entry], deletes=_of(tenure.token), notify=True)
    has_claims = any(tenure.made(claim) for _, claim in view.scan(keys.claims()))
    if has_claims or results.left(view) or unswept(view):
        batch.puts.append((keys.gone(tenure.token), LEFT))
    return batch


def bury(view: View, token: bytes) -> Batch:
    """End the tenure of a worker that is found dead, unless it shows life meanwhile; the others are told."""
    seen = [(key, view.get(key)) for key in (keys.worker(token), keys.beat(token))]
    return Batch(seen, [(keys.gone(token), FELL)], _of(token), notify=True)


def forget(roll: Roll, token: bytes) -> Batch:
    """Take away the note of a worker that is gone, of which nothing is left."""
    return Batch([(keys.gone(token), roll.gone[token])], deletes=[keys.gone(token)])


def _of(token: bytes) -> list[bytes]:
    """The keys of a worker at work."""
    return [keys.worker(token), keys.asked(token), keys.beat(token)]
