"""Once a second one of several workers is killed, or stands still for a while. Who was killed is replaced."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable

from nursery import Born

PACE = 1.0
"""Seconds from one blow to the next."""

LONG = 2.5
"""Leases that a worker stands still, at the most."""

ENOUGH = 1_000
"""Blows after which something hangs."""


class Storm:
    """Strikes workers at random; `hire` makes another one. `lease` is in seconds."""

    def __init__(
        self,
        hire: Callable[[], Born],
        workers: list[Born],
        lease: float,
        chance: random.Random,
    ) -> None:
        self.blows: Counter[str] = Counter()
        self.long = 0  # how often a worker stood still for longer than its lease
        self._hire = hire
        self._workers = workers
        self._lease = lease
        self._chance = chance
        self._standing: list[threading.Timer] = []

    def rage_until(self, over: Callable[[], bool]) -> None:
        """Strike again and again until it is over; then let everybody go on."""
        pause = threading.Event()
        while not over():
            assert self.blows.total() < ENOUGH, "the work does not come to an end in the storm"
            self._strike()
            pause.wait(PACE)
        for timer in self._standing:
            timer.join()

    def _strike(self) -> None:
        at = self._chance.randrange(len(self._workers))
        worker = self._workers[at]
        if self._chance.random() < 0.5:
            self.blows["SIGKILL"] += 1
            worker.kill()
            worker.wait()
            self._workers[at] = self._hire()
            return
        leases = self._chance.uniform(0, LONG)
        self.blows["SIGSTOP"] += 1
        self.long += leases > 1
        worker.send_signal(signal.SIGSTOP)
        timer = threading.Timer(leases * self._lease, worker.send_signal, [signal.SIGCONT])
        timer.start()
        self._standing.append(timer)
