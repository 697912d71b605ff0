"""A parent and its children: an order whose parcels are runs of their own, some awaited, one left alone.

Run it: python children.py
"""

from continuum import All, Call, Engine, RunFailed, Save, Start, workflow


def label(parcel: str) -> str:
    if parcel == "aquarium":
        raise ValueError("too fragile to be sent")
    return f"{parcel}, labelled"


def ask(order_id: str) -> str:
    return f"was all well with {order_id}?"


@workflow
def ship(parcel: str):
    return (yield Save(label, parcel))


@workflow
def survey(order_id: str):
    return (yield Save(ask, order_id))


def shipped(order_id: str, parcel: str):
    """A branch: one parcel, and what becomes of the order if it cannot be sent."""
    try:
        return (yield Call(ship(parcel), id=f"{order_id}/{parcel}"))
    except RunFailed as error:
        return f"{parcel}, refunded: {error.__cause__}"


@workflow
def order(order_id: str, parcels: list[str]):
    sent = yield All(*(shipped(order_id, parcel) for parcel in parcels))
    yield Start(survey(order_id), id=f"{order_id}/survey")  # goes on by itself; nobody waits for it
    return sent


if __name__ == "__main__":
    with Engine("./parcels", workflows=[order, ship, survey]) as engine:
        run = engine.start(order("ord-1", ["book", "aquarium"]), id="ord-1")
        print("\n".join(run.result(timeout=30)))
        engine.until_idle()
        for each in sorted(engine.runs(), key=lambda each: each.id):
            print(f"{each.id}: {each.status()}")
