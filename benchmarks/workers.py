"""How much more do two workers do than one, each a process, where the steps compute?

One interpreter uses one processor. What is timed is from the first start, when all workers are ready, to the
end of the last run. Commits are one after the other whoever makes them, so a step computes for some milliseconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any

from measure import options, show, store

from continuum import Engine, Save, workflow

STEPS = 10
CONCURRENCY = 4


def compute(rounds: int) -> int:
    """Use the processor."""
    total = 0
    for number in range(rounds):
        total += number * number
    return total


@workflow
def computes(rounds: int) -> Generator[Any, Any, int]:
    total = 0
    for _ in range(STEPS):
        total += yield Save(compute, rounds)
    return total


def work(path: str) -> None:
    """Be a worker until standard input ends."""
    with Engine(path, workflows=[computes], concurrency=CONCURRENCY):
        print("ready", flush=True)
        sys.stdin.read()


def steps_a_second(workers: int, runs: int, rounds: int) -> float:
    """What so many workers do."""
    with store() as path, Engine(path, work=False) as client:
        command = [sys.executable, __file__, "--worker", path]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [subprocess.Popen(command, **pipes) for _ in range(workers)]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        began = time.perf_counter()
        handles = [client.start(computes(rounds)) for _ in range(runs)]
        for handle in handles:
            handle.result()
        seconds = time.perf_counter() - began
        for process in processes:
            process.communicate()
    return runs * STEPS / seconds


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=100_000, help="of the loop in each step")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker", metavar="STORE", help="be one of the workers")
    arguments = parser.parse_args()
    if arguments.worker is not None:
        work(arguments.worker)
        return
    one = steps_a_second(1, arguments.runs, arguments.rounds)
    many = steps_a_second(arguments.workers, arguments.runs, arguments.rounds)
    again = steps_a_second(1, arguments.runs, arguments.rounds)
    alone = (one + again) / 2
    results = {
        "one worker, steps a second": alone,
        f"{arguments.workers} workers, steps a second": many,
        "ratio": many / alone,
    }
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
