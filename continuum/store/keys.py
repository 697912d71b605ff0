"""The key layout: the only place that builds or parses a key.

One letter or two say what a record is. Numbers are big-endian, so that keys sort as they count; text ends
with a NUL where something follows it, and neither run ids nor queue names can hold one.

=======  ==========================================  ====================================
letters  the rest of the key                         the record
=======  ==========================================  ====================================
``r``    run                                         what was started (:class:`RunRecord`)
``s``    run                                         its state (:class:`RunState`)
``o``    run                                         how it ended; absent until then
``p``    run                                         what it published
``y``    worker                                      a worker that is there (:class:`WorkerRecord`)
``a``    token                                       which worker is at work under that token
``b``    token                                       how often it has shown that it lives
``l``    token                                       that others want to see whether it lives
``L``    token                                       which run holds it up
``g``    token                                       a worker that is gone, and may have left something
``z``    nothing                                     how many went down for no reason that is known
``C``    run                                         the code that it carries
``c``    run                                         the claim of the worker that has it
``j``    run NUL number                              an entry of its journal
``i``    run NUL stamp                               a message to it
``d``    run NUL message id                          that a message was delivered already
``x``    status, created, run                        index of runs by status
``q``    queue NUL priority, stamp, run              a worker has to look at the run
``t``    due, run                                    a worker has to look at it by then
``m``    digest                                      a result that runs share (:class:`SharedResult`)
``e``    expiry, digest                              that a shared result expires
``h``    run NUL digest, command                     what a run's command has to do with one
``w``    digest, command, run                        that a run waits for one
``v``    nothing                                     that the store was moved, or is being moved (:class:`Move`)
``u``    run NUL number                              up to which entries, from that on, are to be deleted
``fg``   limit                                       a limit as it stands (:class:`Gauge`)
``ff``   limit                                       changed when a slot is given back or the line left
``fs``   limit, command, run                         that a run has a slot of it
``ft``   limit, number                               when the slot of that number was given
``fw``   limit, priority, stamp, command, run        that a run waits for a slot, and since when it is called
``fr``   run NUL limit, command                      that a run has a slot, or waits for one
``J``    run NUL generation, digest                  which entry is the last of a key, of what was deleted
``k``    run                                         its continuation (:class:`Continuation`)
``n``    run                                         why no continuation was kept (:class:`Refusal`)
=======  ==========================================  ====================================
"""

from __future__ import annotations

import hashlib
import struct
from functools import lru_cache
from typing import Final

from continuum.journal import Position, RunId, Status, position_text

__all__ = [
    "asked",
    "asked_prefix",
    "beat",
    "claim",
    "claims",
    "code",
    "command",
    "continuation",
    "delivered",
    "digest_of_expiry",
    "digest_of_part",
    "due_of_timer",
    "expiries",
    "expiries_until",
    "expiry",
    "expiry_of",
    "freed",
    "gauge",
    "gauges",
    "gone",
    "gone_prefix",
    "held",
    "inbox",
    "inbox_prefix",
    "inboxes",
    "index",
    "index_prefix",
    "is_run",
    "journal",
    "journal_prefix",
    "last",
    "lasts",
    "limit_and_command",
    "limit_of",
    "limit_of_gauge",
    "line",
    "mishaps",
    "move",
    "number_of",
    "outcome",
    "part",
    "part_prefix",
    "parts",
    "place_in_line",
    "published",
    "ready",
    "ready_prefix",
    "refusal",
    "run",
    "run_and_command",
    "run_of_claim",
    "run_of_inbox",
    "run_of_index",
    "run_of_ready",
    "run_of_timer",
    "run_of_unswept",
    "run_of_waiter",
    "shared",
    "slot",
    "slots",
    "stake",
    "stake_prefix",
    "state",
    "tenure",
    "tenures",
    "time_of_slot",
    "timer",
    "timers",
    "timers_until",
    "times",
    "token_of",
    "unswept",
    "unswept_of",
    "unswept_prefix",
    "waiter",
    "waiters",
    "worker",
    "workers",
]

_NUMBER: Final = struct.Struct(">Q")
_number: Final = _NUMBER.pack
_PRIORITY: Final = struct.Struct(">I")
# By value: the hash of an enum member is computed in Python, that of its value is not.
_STATUSES: Final = {str(status): bytes([number]) for number, status in enumerate(Status)}
_MIDDLE: Final = 1 << 31
_DIGEST: Final = 32
_COMMAND: Final = 8
_LIMIT: Final = 16
_KEY: Final = 16


def run(run_id: str) -> bytes:
    return b"r" + run_id.encode()


def is_run(key: bytes) -> bool:
    return key[:1] == b"r"


def move() -> bytes:
    return b"v"


def state(run_id: str) -> bytes:
    return b"s" + run_id.encode()


def outcome(run_id: str) -> bytes:
    return b"o" + run_id.encode()


def published(run_id: str) -> bytes:
    return b"p" + run_id.encode()


def code(run_id: str) -> bytes:
    return b"C" + run_id.encode()


def worker(worker_id: bytes) -> bytes:
    return b"y" + worker_id


def workers() -> bytes:
    return b"y"


def id_of_worker(key: bytes) -> bytes:
    return key[1:]


def tenure(token: bytes) -> bytes:
    return b"a" + token


def tenures() -> bytes:
    return b"a"


def beat(token: bytes) -> bytes:
    return b"b" + token


def asked(token: bytes) -> bytes:
    return b"l" + token


def asked_prefix() -> bytes:
    return b"l"


def held(token: bytes) -> bytes:
    return b"L" + token


def gone(token: bytes) -> bytes:
    return b"g" + token


def gone_prefix() -> bytes:
    return b"g"


def mishaps() -> bytes:
    return b"z"


def token_of(key: bytes) -> bytes:
    """The token of the worker that the key is about."""
    return key[1:]


def claim(run_id: str) -> bytes:
    return b"c" + run_id.encode()


def claims() -> bytes:
    return b"c"


def run_of_claim(key: bytes) -> RunId:
    return RunId(key[1:].decode())


@lru_cache(maxsize=4_096)
def journal_prefix(run_id: str) -> bytes:
    return b"j" + run_id.encode() + b"\0"


def journal(run_id: str, number: int) -> bytes:
    return f"j{run_id}\0".encode() + _number(number)


def inboxes() -> bytes:
    return b"i"


def inbox_prefix(run_id: str) -> bytes:
    return b"i" + run_id.encode() + b"\0"


def inbox(run_id: str, stamp: int) -> bytes:
    return inbox_prefix(run_id) + _NUMBER.pack(stamp)


def run_of_inbox(key: bytes) -> RunId:
    return RunId(key[1:-9].decode())


def number_of(key: bytes) -> int:
    """The number at the end of the key of a journal, an inbox, or of what is to be deleted."""
    number: int = _NUMBER.unpack(key[-8:])[0]
    return number


def delivered(run_id: str, message_id: str) -> bytes:
    return b"d" + run_id.encode() + b"\0" + message_id.encode()


def index_prefix(status: Status) -> bytes:
    return b"x" + _STATUSES[status._value_]


_INDEXES: Final = {status: index_prefix(Status(status)) for status in _STATUSES}


def index(status: Status, created: int, run_id: str) -> bytes:
    return _INDEXES[status._value_] + _number(created) + run_id.encode()


def run_of_index(key: bytes) -> RunId:
    return RunId(key[10:].decode())


def ready_prefix(queue: str) -> bytes:
    return b"q" + queue.encode() + b"\0"


def ready(queue: str, priority: int, stamp: int, run_id: str) -> bytes:
    """Higher priorities sort first."""
    return ready_prefix(queue) + _urgency(priority) + _NUMBER.pack(stamp) + run_id.encode()


def _urgency(priority: int) -> bytes:
    return _PRIORITY.pack(max(0, min(_MIDDLE - priority, 2 * _MIDDLE - 1)))


def run_of_ready(queue: str, key: bytes) -> RunId:
    return RunId(key[len(ready_prefix(queue)) + 12 :].decode())


def timers() -> bytes:
    return b"t"


def timer(due: int, run_id: str) -> bytes:
    return b"t" + _NUMBER.pack(due) + run_id.encode()


def timers_until(now: int) -> bytes:
    """The end of the timers that are due at `now`."""
    return b"t" + _NUMBER.pack(now + 1)


def run_of_timer(key: bytes) -> RunId:
    return RunId(key[9:].decode())


def due_of_timer(key: bytes) -> int:
    due: int = _NUMBER.unpack(key[1:9])[0]
    return due


def shared(digest: bytes) -> bytes:
    return b"m" + digest


def expiry(moment: int, digest: bytes) -> bytes:
    return b"e" + _NUMBER.pack(moment) + digest


def expiries() -> bytes:
    return b"e"


def expiries_until(now: int) -> bytes:
    """The end of what has expired at `now`."""
    return b"e" + _NUMBER.pack(now + 1)


def expiry_of(key: bytes) -> int:
    moment: int = _NUMBER.unpack(key[1:9])[0]
    return moment


def digest_of_expiry(key: bytes) -> bytes:
    return key[9:]


def parts() -> bytes:
    return b"h"


def part_prefix(run_id: str) -> bytes:
    return b"h" + run_id.encode() + b"\0"


def part(run_id: str, digest: bytes, position: Position) -> bytes:
    return part_prefix(run_id) + digest + command(position)


def digest_of_part(key: bytes) -> bytes:
    return key[-_DIGEST - _COMMAND : -_COMMAND]


def waiters(digest: bytes) -> bytes:
    return b"w" + digest


def waiter(digest: bytes, run_id: str, position: Position) -> bytes:
    return waiters(digest) + command(position) + run_id.encode()


def run_of_waiter(key: bytes) -> RunId:
    return RunId(key[1 + _DIGEST + _COMMAND :].decode())


def command(position: Position) -> bytes:
    """A position in few bytes, however deep it lies."""
    return hashlib.blake2b(position_text(position).encode(), digest_size=_COMMAND).digest()


def unswept_prefix() -> bytes:
    return b"u"


def unswept(run_id: str, start: int) -> bytes:
    return unswept_of(run_id) + _NUMBER.pack(start)


def unswept_of(run_id: str) -> bytes:
    return b"u" + run_id.encode() + b"\0"


def run_of_unswept(key: bytes) -> RunId:
    return RunId(key[1:-9].decode())


def lasts(run_id: str, generation: int | None = None) -> bytes:
    """The prefix of those of a run, or of one generation of its history; generations sort as they count."""
    return b"J" + run_id.encode() + b"\0" + (b"" if generation is None else _NUMBER.pack(generation))


def last(run_id: str, generation: int, key: str) -> bytes:
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_KEY).digest()
    return lasts(run_id, generation) + digest


def limit_of(kind: str, name: str) -> bytes:
    """What stands for a limit: those of steps and those of workflows are apart."""
    return hashlib.blake2b(f"{kind}\0{name}".encode(), digest_size=_LIMIT).digest()


def gauges() -> bytes:
    return b"fg"


def gauge(limit: bytes) -> bytes:
    return b"fg" + limit


def limit_of_gauge(key: bytes) -> bytes:
    return key[2:]


def freed(limit: bytes) -> bytes:
    return b"ff" + limit


def slots(limit: bytes) -> bytes:
    return b"fs" + limit


def slot(limit: bytes, run_id: str, command: bytes) -> bytes:
    return slots(limit) + command + run_id.encode()


def times(limit: bytes) -> bytes:
    return b"ft" + limit


def time_of_slot(limit: bytes, number: int) -> bytes:
    return times(limit) + _NUMBER.pack(number)


def line(limit: bytes) -> bytes:
    return b"fw" + limit


def place_in_line(limit: bytes, priority: int, stamp: int, run_id: str, command: bytes) -> bytes:
    """Higher priorities come first."""
    return line(limit) + _urgency(priority) + _NUMBER.pack(stamp) + command + run_id.encode()


def run_and_command(key: bytes) -> tuple[RunId, bytes]:
    """Whose slot, or place in line, that is."""
    start = 2 + _LIMIT + (0 if key[:2] == b"fs" else 12)
    return RunId(key[start + _COMMAND :].decode()), key[start : start + _COMMAND]


def stake_prefix(run_id: str) -> bytes:
    return b"fr" + run_id.encode() + b"\0"


def stake(run_id: str, limit: bytes, command: bytes) -> bytes:
    return stake_prefix(run_id) + limit + command


def limit_and_command(key: bytes) -> tuple[bytes, bytes]:
    """What a stake is about."""
    return key[-_LIMIT - _COMMAND : -_COMMAND], key[-_COMMAND:]


def continuation(run_id: str) -> bytes:
    return b"k" + run_id.encode()


def refusal(run_id: str) -> bytes:
    return b"n" + run_id.encode()
