"""Which workers are at work on a store, and which are gone: whose claims count.

A worker is registered under its id as long as it lives, and holds the lock of that name. It has a
*tenure* while it is at work: from when it is enlisted, in the same commit as its first claim, until it has
nothing in hand any more, or others find it dead. A token stands for the tenure and is never used again.
Only who is enlisted may claim a run, and every claim is another value, so what a worker gathered for
a run under an earlier claim can never be applied. Nobody takes a run from a worker whose tenure goes on: what
only adds to the journals of its runs, or ends one and concerns no other, checks that and not each claim.

Others find a worker dead by what they see, and never by comparing clocks (:mod:`continuum.engine.lease`
looks for it): its lock is free, or its *beat*, a number that it counts up once it was
*asked* for a sign of life, has not changed for too long. One of them then *buries* it, on condition that
it has not shown itself since. What it leaves behind is for whoever comes first. Of a tenure that is over
a note is kept as long as there may be claims of it: it tells whether the worker fell, and may have been
brought down by a run, or was held up by one.
"""

from __future__ import annotations

import struct
from itertools import count
from typing import Final, NamedTuple

from continuum.store import keys
from continuum.store.leavings import unswept
from continuum.store.limits import Limits
from continuum.store.protocol import Batch, View
from continuum.store.results import Results

__all__ = [
    "FELL",
    "HELD",
    "LEFT",
    "TOKEN",
    "TRIED",
    "Roll",
    "Tenure",
    "ask",
    "bury",
    "call_roll",
    "dismiss",
    "enlist",
    "forget",
    "goes_on",
    "held_up",
    "lock_of",
    "owner_of",
    "registered",
    "resign",
    "show_life",
    "strike_off",
]

TOKEN: Final = 8
"""How many bytes a token has."""

FELL: Final = b"fell"
TRIED: Final = b"tried"
LEFT: Final = b"left"
HELD: Final = b"held"
"""How a worker has gone: it died; it died with a run in hand that is to blame; it ended, or was silent; or a run
held it up, whose id follows."""

_NUMBER: Final = struct.Struct(">Q")


class Tenure:
    """A time at work of one worker. Its token is made of chance; `enlisted` is for its scheduler to say.

    `entry` is what stands in the store as long as it goes on; who claims a run checks it.
    """

    def __init__(self, token: bytes, worker: bytes) -> None:
        assert len(token) == TOKEN, f"a token of {len(token)} bytes"
        self.token = token
        self.entry: tuple[bytes, bytes] = keys.tenure(token), worker
        self.enlisted = False
        self._claims = count()
        self._beats = count()

    def claim(self) -> bytes:
        """A claim that nobody has had before. May be called from any thread."""
        return self.token + _NUMBER.pack(next(self._claims))

    def made(self, claim: bytes) -> bool:
        """Whether the claim is of this tenure."""
        return owner_of(claim) == self.token

    def next_beat(self) -> tuple[bytes, bytes]:
        """The pair that shows that the worker lives."""
        return keys.beat(self.token), _NUMBER.pack(next(self._beats))


class Roll(NamedTuple):
    """By token: which workers are at work; who of them is asked for signs of life; and who is gone, and how."""

    workers: dict[bytes, bytes]
    asked: set[bytes]
    gone: dict[bytes, bytes]

    def has(self, tenure: Tenure) -> bool:
        """Whether the tenure goes on."""
        return self.workers.get(tenure.token) == tenure.entry[1]

    def was_held_up(self, token: bytes, run_id: str) -> bool:
        """Whether that run is known to have held up that worker."""
        return self.gone.get(token) == HELD + run_id.encode()

    def fell(self, token: bytes) -> bool:
        """Whether that worker died at work."""
        return self.gone.get(token) in (FELL, TRIED)


def lock_of(worker: bytes) -> str:
    """The name of the lock that a worker holds while it lives."""
    return f"worker-{worker.hex()}"


def owner_of(claim: bytes) -> bytes:
    """The token of the worker that made a claim."""
    return claim[:TOKEN]


def call_roll(view: View) -> Roll:
    """See who is at work and who is gone."""
    workers = {keys.token_of(key): worker for key, worker in view.scan(keys.tenures())}
    asked = {keys.token_of(key) for key, _ in view.scan(keys.asked_prefix())} if workers else set()
    return Roll(workers, asked, {keys.token_of(key): how for key, how in view.scan(keys.gone_prefix())})


def enlist(tenure: Tenure, registration: tuple[bytes, bytes], here: tuple[bytes, bytes | None]) -> Batch:
    """Begin a tenure, if the check `here` holds that the store's runs go on in it; the others are told."""
    return Batch([(tenure.entry[0], None), here], [tenure.entry, tenure.next_beat(), registration], notify=True)


def ask(roll: Roll, token: bytes) -> Batch:
    """Have a worker show that it lives, from now on until it wants to be asked again; it is woken."""
    return Batch([(keys.tenure(token), roll.workers[token])], [(keys.asked(token), b"")], notify=True)


def show_life(tenure: Tenure, *, last: bool) -> Batch:
    """Go on with a tenure, if nobody has ended it; after the `last` time the others have to ask again."""
    return Batch([tenure.entry], [tenure.next_beat()], [keys.asked(tenure.token)] if last else [])


def held_up(tenure: Tenure, run_id: str) -> Batch:
    """Note that a run keeps the worker from everything else, also from showing that it lives."""
    return Batch([tenure.entry], [(keys.held(tenure.token), run_id.encode())])


def goes_on(tenure: Tenure) -> Batch:
    """Note that no run does any more."""
    return Batch([tenure.entry], deletes=[keys.held(tenure.token)])


def resign(view: View, tenure: Tenure, results: Results, limits: Limits) -> Batch:
    """End one's own tenure, and note whether something is left; the others are told to look."""
    batch = Batch([tenure.entry], deletes=_of(tenure.token), notify=True)
    has_claims = any(tenure.made(claim) for _, claim in view.scan(keys.claims()))
    if has_claims or results.left(view) or limits.lines(view) or unswept(view):
        batch.puts.append((keys.gone(tenure.token), LEFT))
    return batch


def bury(view: View, token: bytes, how: bytes) -> Batch:
    """End the tenure of a worker that is found dead, unless it shows life meanwhile; the others are told.

    That it fell is known where its lock is free. One that is merely silent may have been stopped.
    """
    seen = [(key, view.get(key)) for key in (keys.tenure(token), keys.beat(token))]
    worker = seen[0][1] or b""
    return Batch(seen, [(keys.gone(token), how)], [*_of(token), keys.worker(worker)], notify=True)


def registered(view: View) -> list[bytes]:
    """The ids of all workers that are there, at work or not, and of those that died while they had nothing in hand."""
    return [keys.id_of_worker(key) for key, _ in view.scan(keys.workers())]


def strike_off(worker: bytes) -> Batch:
    """Forget a worker that is gone and had nothing in hand."""
    return Batch(deletes=[keys.worker(worker)])


def dismiss(view: View) -> Batch:
    """End the tenures of all workers: what they have is to be taken from them."""
    roll = call_roll(view)
    workers = [keys.worker(worker) for worker in registered(view)]
    return Batch(deletes=[*workers, *(key for token in roll.workers for key in _of(token))])


def forget(roll: Roll, token: bytes) -> Batch:
    """Take away the note of a worker that is gone, of which nothing is left."""
    return Batch([(keys.gone(token), roll.gone[token])], deletes=[keys.gone(token)])


def _of(token: bytes) -> list[bytes]:
    """The keys of a worker at work."""
    return [keys.tenure(token), keys.asked(token), keys.beat(token), keys.held(token)]
