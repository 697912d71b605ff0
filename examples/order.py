"""An order in three steps. The first run of this script is killed in the second step; the next one goes on.

Run it: python order.py
"""

import os
import signal
from pathlib import Path

from continuum import Engine, Save, workflow


def charge(order_id: str, amount: int) -> str:
    print(f"charge {order_id}: {amount}", flush=True)
    return f"receipt of {order_id}"


def pack(order_id: str) -> str:
    print(f"pack {order_id}", flush=True)
    killed = Path("killed-once")
    if not killed.exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGKILL)  # no exception, no cleanup: the process is gone
    return f"parcel of {order_id}"


async def ship(parcel: str) -> str:
    print(f"ship {parcel}", flush=True)
    return f"{parcel}, on its way"


@workflow
def order(order_id: str, amount: int):
    receipt = yield Save(charge, order_id, amount)
    parcel = yield Save(pack, order_id)
    tracking = yield Save(ship, parcel)
    return {"receipt": receipt, "tracking": tracking}


if __name__ == "__main__":
    with Engine("./state", workflows=[order]) as engine:
        run = engine.start(order("ord-1", amount=500), id="ord-1")  # the same id: the same run
        print(run.result(timeout=30))
