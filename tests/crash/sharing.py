"""Processes that share one store: workers, and those who start, send and wait.

usage: sharing.py STORE work                 work until standard input ends
       sharing.py STORE use NAME COUNT       start runs, answer each, print what they lead to
       sharing.py STORE wait NAME            start a run, print what it leads to when somebody has answered

Steps leave their traces in the file that $EFFECTS names.

Nobody looks into the store now and then by himself here: without wake-ups between processes nothing goes on.
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from at_once import take_over_at_once

from continuum import Engine, Receive, Save, workflow
from continuum.store import notify


def note(effects: str, line: str) -> str:
    """Leave a trace."""
    file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)
    return line


def hold(effects: str, gate: str) -> None:
    """Wait until there is a file of that name."""
    note(effects, "holding")
    while not os.path.exists(gate):
        time.sleep(0.002)


@workflow
def asks(effects: str, name: str) -> Any:
    yield Save(note, effects, f"asked {name}")
    answer = yield Receive("answer")
    yield Save(note, effects, f"answered {name}")
    return f"{name}: {answer}"


@workflow
def holds(effects: str, gate: str) -> Any:
    yield Save(note, effects, "begun")
    yield Save(hold, effects, gate)
    return (yield Save(note, effects, "ended"))


def hold_key(effects: str, gate: str, name: str) -> str:
    """Say who holds it until there is a file of that name."""
    note(effects, f"{name} holds the key")
    hold(effects, gate)
    return f"made by {name}"


@workflow
def shares(effects: str, gate: str, name: str) -> Any:
    return (yield Save(hold_key, effects, gate, name, once="key"))


def work(store: str) -> None:
    """Work until standard input ends."""
    take_over_at_once(store)
    with Engine(store, workflows=[asks, holds, shares], grace=0.0) as engine:
        print("ready", flush=True)
        sys.stdin.read()
        engine.until_idle()


def use(store: str, name: str, count: str) -> None:
    """Start runs and answer each, one after the other."""
    with Engine(store, work=False) as client:
        for number in range(int(count)):
            run = client.start(asks(effects_of(), f"{name}-{number}"), id=f"{name}-{number}")
            run.send("answer", number)
            print(run.result(), flush=True)


def wait(store: str, name: str) -> None:
    """Start a run that somebody else answers."""
    with Engine(store, work=False) as client:
        run = client.start(asks(effects_of(), name), id=name)
        print("waiting", flush=True)
        print(run.result(), flush=True)


def effects_of() -> str:
    """The file in which steps leave their traces."""
    return os.environ["EFFECTS"]


if __name__ == "__main__":
    notify.HEARTBEAT = 3600.0  # type: ignore[misc]
    {"work": work, "use": use, "wait": wait}[sys.argv[2]](sys.argv[1], *sys.argv[3:])
