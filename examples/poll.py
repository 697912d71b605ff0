"""A polling loop that runs for ever in a store of constant size: each look goes on with a new history.

Run it: python poll.py

To have an end, this program stops the loop after some looks.
"""

import contextlib
import time

from continuum import ContinueUsing, Engine, Map, Publish, Receive, RunFinished, Save, workflow

ORDERS = ["book", "lamp", "chair", "table", "vase"]


def fetch(seen: int) -> list[str]:
    """Stands for a request to a shop: what was ordered since then, two orders at most."""
    return ORDERS[seen : seen + 2]


def ship(order: str) -> None:
    print(f"ship the {order}")


@workflow
def watch(seen: int = 0, looks: int = 1):
    orders = yield Save(fetch, seen)
    yield Map(ship, orders, limit=1)
    seen += len(orders)
    yield Publish(shipped=seen, looks=looks)
    if (yield Receive("stop", timeout="0.02s", default=False)):
        return f"{seen} orders shipped"
    yield ContinueUsing(watch(seen, looks + 1))  # what the next look needs is in its arguments


if __name__ == "__main__":
    with Engine("./watch", workflows=[watch]) as engine:
        run = engine.start(watch(), id="watch")
        while run.state().get("looks", 0) < 10:
            time.sleep(0.01)
        with contextlib.suppress(RunFinished):  # when this program is run again
            run.send("stop", True)
        print(run.result(timeout=30))
        print([step.kind for step in run.history()])
