"""What does a twin cost? Microseconds a yield over the plain generator, and those of a capture and a restore.

The body is run by itself, without a machine: the cost of a yield in a loop that does nothing else, and of
one as a delegate's. The goal is at most one microsecond a yield over the plain generator.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Any

from measure import options, show

from continuum.engine.continuation import adopt, dumps, loads

Body = Generator[Any, Any, Any]
ROUNDS = 5


def looping(count: int) -> Body:
    """A loop as most workflows have one: a value is sent in, and used."""
    total = 0
    for number in range(count):
        got = yield number
        if got is not None:
            total += got
    return total


def nested(count: int) -> Body:
    """The same, around errors to be handled and arguments that are yielded."""
    total = 0
    while count:
        try:
            total = max(total, (yield count))
        except ValueError:
            total = 0
        finally:
            count -= 1
    return total


def delegating(count: int) -> Body:
    """The same, by way of another generator."""
    total = yield from looping(count)
    return total


def compared(make: Callable[[int], Body], count: int) -> tuple[float, float]:
    """The times for so many yields, plain and of the twin, the best of some rounds."""
    rounds = [(seconds(make(count), count), seconds(adopt(make(count)), count)) for _ in range(ROUNDS)]
    return min(plain for plain, _ in rounds), min(twin for _, twin in rounds)


def seconds(body: Body, count: int) -> float:
    """The time for so many yields."""
    send = body.send
    began = time.perf_counter()
    send(None)
    for _ in range(count - 1):
        send(1)
    return time.perf_counter() - began


def captured(count: int) -> tuple[float, float, int]:
    """The times of a capture and of a restore, and the bytes."""
    body = adopt(delegating(count))
    next(body)
    began = time.perf_counter()
    for _ in range(count):
        data = dumps(body)
    between = time.perf_counter()
    for _ in range(count):
        loads(data)
    return (between - began) / count, (time.perf_counter() - between) / count, len(data)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--yields", type=int, default=200_000)
    arguments = parser.parse_args()
    count = arguments.yields
    results: dict[str, Any] = {"yields": count}
    for function in (looping, nested, delegating):
        plain, twin = compared(function, count)
        name = function.__name__
        results[f"{name}: ratio of twin to plain"] = twin / plain
        results[f"{name}: plain, microseconds a yield"] = plain / count * 1e6
        results[f"{name}: twin, microseconds a yield over plain"] = (twin - plain) / count * 1e6
    capture, restore, size = captured(1_000)
    results["capture, microseconds"] = capture * 1e6
    results["restore, microseconds"] = restore * 1e6
    results["state of two frames, bytes"] = size
    show(results, as_json=arguments.json)


if __name__ == "__main__":
    main()
