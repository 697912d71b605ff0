"""How much of LMDB's throughput is left on PostgreSQL, when 1,000 runs of 10 async steps go through the engine?

Beside it the time of one durable commit of one small record. Both stores are measured in turn, in the same
run; the server is the tests' own, on this machine and its disk, unless --url or TEST_POSTGRES_URL names
another: then the network is part of the answer.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from measure import options, show, store
from throughput import by_async, work

from continuum.store import Batch, open_store

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from servers import URL_VARIABLE, new_schema, pick, serving  # it stands there


def commit_milliseconds(where: str, commits: int = 200) -> float:
    """The time of one commit, in milliseconds."""
    opened = open_store(where)
    try:
        began = time.perf_counter()
        for number in range(commits):
            opened.commit([Batch(puts=[(b"%08d" % number, b"x" * 60)])])
        return (time.perf_counter() - began) / commits * 1e3
    finally:
        opened.close()


def steps_a_second(where: str, runs: int, steps: int) -> float:
    """Through the whole engine."""
    return runs * steps / anyio.run(partial(work, by_async, runs, steps, where))


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many is told")
    parser.add_argument("--url", default=os.environ.get(URL_VARIABLE), help="a server to be measured")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {"LMDB": [], "PostgreSQL": []}
    times: dict[str, list[float]] = {"LMDB": [], "PostgreSQL": []}
    with ExitStack() as stack:
        url = arguments.url or stack.enter_context(serving(durable=True)).url
        for _ in range(arguments.rounds):
            with store() as path, new_schema(url) as name, new_schema(url) as other:
                for backend, first, second in (
                    ("LMDB", path, f"{path}-2"),
                    ("PostgreSQL", pick(url, name), pick(url, other)),
                ):
                    rates[backend].append(steps_a_second(first, arguments.runs, arguments.steps))
                    times[backend].append(commit_milliseconds(second))
    rate, cost = ({name: statistics.median(each) for name, each in found.items()} for found in (rates, times))
    results: dict[str, Any] = {
        "steps, PostgreSQL to LMDB": rate["PostgreSQL"] / rate["LMDB"],
        "a lone commit, PostgreSQL to LMDB": cost["PostgreSQL"] / cost["LMDB"],
        **{f"{name} steps a second": value for name, value in rate.items()},
        **{f"{name} milliseconds a lone commit": value for name, value in cost.items()},
    }
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
