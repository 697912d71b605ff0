"""One of several workers on a store, each of whose claims and entries leaves a trace in the store itself.

usage: crew.py STORE LEASE        work until standard input ends

The traces are written in the very batches that they are about: what was refused left none.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from continuum import Engine, Receive, Save, workflow
from continuum.store.codec import Codec
from continuum.store.opening import open_store
from continuum.store.protocol import Batch, Store
from continuum.store.records import RunState, read

CODEC = Codec(1 << 20)

STEPS = 10
WORDS = 2
TRACE = b"~"
CONCURRENCY = 8


def note(effects: str, line: str) -> str:
    """Leave a trace in a file."""
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)
    return line


def note_slowly(effects: str, line: str) -> str:
    """Leave a trace after a while, so that there is always a step in flight."""
    time.sleep(0.05)
    return note(effects, line)


def hold(effects: str, gate: str, line: str) -> str:
    """Leave a trace, then wait until there is a file of that name."""
    note(effects, line)
    while not os.path.exists(gate):
        time.sleep(0.002)
    return str(os.getpid())


def kill(effects: str, gate: str, line: str) -> str:
    """Bring the process down, unless there is a file of that name."""
    note(effects, line)
    if not os.path.exists(gate):
        os._exit(9)
    return line


@workflow
def ten_steps(effects: str, name: str) -> Any:
    done = []
    for number in range(STEPS):
        done.append((yield Save(note_slowly, effects, f"{name} {number}")))
    return done


@workflow
def asks_between_steps(effects: str, name: str) -> Any:
    """The same number of steps, and a word after each of some."""
    done, words = [], []
    for number in range(STEPS):
        done.append((yield Save(note_slowly, effects, f"{name} {number}")))
        if len(words) < WORDS * (number + 1) // STEPS:
            words.append((yield Receive("word")))
    return done, words


@workflow
def holds(effects: str, gate: str, name: str) -> Any:
    yield Save(note, effects, f"{name} begun")
    pid = yield Save(hold, effects, gate, f"{name} holds")
    yield Save(note, effects, f"{name} ended")
    return pid


@workflow
def kills(effects: str, gate: str, name: str) -> Any:
    yield Save(note, effects, f"{name} begun")
    return (yield Save(kill, effects, gate, f"{name} kills"))


@workflow
def spins(effects: str, gate: str, name: str) -> Any:
    note(effects, f"{name} spins")
    while not os.path.exists(gate):
        pass
    return (yield Save(note, effects, f"{name} ended"))


class Traced:
    """A store in which every claim, and every batch under one, leaves a trace of its own."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def commit(self, batches: Sequence[Batch]) -> list[bool]:
        """Commit, with traces."""
        return self.inner.commit([_traced(batch) for batch in batches])


def _traced(batch: Batch) -> Batch:
    claims = [pair for pair in batch.puts if pair[0][:1] == b"c"]
    takes_over = any(key[:1] == b"s" for key, _ in batch.checks)  # and depends on how the run stands
    fences = [check for check in batch.checks if check[0][:1] == b"c" and check[1] is not None and not takes_over]
    traces = [(_trace(b"claimed", run, claim or b""), b"") for run, claim in claims]
    for run, claim in fences:
        traces.append((_trace(b"wrote", run, claim or b""), b""))
        traces += [(_trace(b"entry", key, claim or b""), b"") for key, _ in batch.puts if key[:1] == b"j"]
    tenures = [key[1:] for key, value in batch.checks if key[:1] == b"a" and value is not None and not claims]
    if tenures:  # which is enough of a check
        (token,) = tenures
        runs = {b"c" + key[1:].split(b"\0")[0] for key, _ in batch.puts if key[:1] in (b"j", b"o")}
        traces += [(_trace(b"wrote", run, token), b"") for run in runs]
        traces += [(_trace(b"entry", key, token), b"") for key, _ in batch.puts if key[:1] == b"j"]
    elif any(key[:1] == b"c" for key in batch.deletes):
        (claim,) = (claim for key, claim in batch.checks if key[:1] == b"c")
        counts = ((key, read(CODEC, RunState, key, data).crashes) for key, data in batch.puts if key[:1] == b"s")
        traces += [(_trace(b"counted", key, bytes([count]) + (claim or b"")), b"") for key, count in counts if count]
    return Batch(batch.checks, [*batch.puts, *traces], batch.deletes, batch.notify)


def _trace(what: bytes, key: bytes, claim: bytes) -> bytes:
    return b"/".join((TRACE, what, key[1:].hex().encode(), claim.hex().encode(), str(os.getpid()).encode()))


def work(url: str, lease: float) -> None:
    """Work until standard input ends."""
    store: Any = Traced(open_store(url))
    workflows = [ten_steps, asks_between_steps, holds, kills, spins]
    with Engine(store, workflows=workflows, grace=0.0, lease=lease, concurrency=CONCURRENCY):
        print("ready", flush=True)
        sys.stdin.read()
    store.close()


if __name__ == "__main__":
    work(sys.argv[1], float(sys.argv[2]))
