"""A program that is stopped by Ctrl-C, at any moment from its opening to its closing.

usage: interrupted.py STORE [RUN...]

Without runs it starts new ones and works until it is interrupted; with runs it works until they have ended.
"""

from __future__ import annotations

import sys
from typing import Any

import anyio

from continuum import Engine, Map, workflow


def square(number: int) -> int:
    return number * number


async def nap(number: int) -> int:
    await anyio.sleep(0.001)
    return number


@workflow
def works() -> Any:
    squares = yield Map(square, range(20), limit=4)
    return sum(squares) + sum((yield Map(nap, range(20))))


def main(store: str, *runs: str) -> None:
    """Work until interrupted, or until those runs have ended."""
    print("ready", flush=True)
    while True:
        with Engine(store, workflows=[works], grace=0.5) as engine:
            for name in runs:
                engine.run(name).result()
            if runs:
                return
            for _ in range(3):
                run = engine.start(works())
            run.result()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
