"""An order as a saga: where a step fails for good, what was done before it is undone, last first.

Run it: python order_saga.py
"""

from continuum import Engine, Retry, RunReverted, Save, step, workflow


def charge(order_id: str, amount: int) -> str:
    print(f"{order_id}: charge {amount}")
    return f"receipt of {order_id}"


@step(retry=Retry(attempts=5, delay=0.01))  # to undo something is worth more than one attempt
def refund(receipt: str) -> None:
    print(f"refund the {receipt}")


def reserve(item: str) -> str:
    print(f"reserve the {item}")
    return item


def release(item: str) -> None:
    print(f"release the {item}")


def ship(item: str) -> str:
    if item == "anvil":
        raise ValueError(f"no carrier takes the {item}")
    return f"the {item} is on its way"


@workflow(compensate_on_failure=True)
def order(order_id: str, item: str, amount: int):
    yield Save(charge, order_id, amount, compensate=refund)
    reserved = yield Save(reserve, item, compensate=release)
    return (yield Save(ship, reserved, retry=Retry(attempts=3, delay=0.01)))


if __name__ == "__main__":
    with Engine("./orders", workflows=[order]) as engine:
        for order_id, item in [("ord-1", "book"), ("ord-2", "anvil")]:
            run = engine.start(order(order_id, item, amount=90), id=order_id)
            try:
                print(run.result(timeout=30))
            except RunReverted as error:
                print(f"{order_id} was undone: {error.__cause__}")
