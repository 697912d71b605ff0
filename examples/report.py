"""A report as a graph of steps: each starts as soon as what it needs is there.

Run it: python report.py
"""

from collections import Counter

from continuum import Engine, Retry, workflow
from continuum.dag import Dag

Orders = list[tuple[str, int]]


def fetch_orders(day: str) -> Orders:
    return [("ada", 30), ("grace", 12), ("ada", 9)]


def fetch_limits(day: str) -> dict[str, int]:
    return {"ada": 35, "grace": 35}


def total(orders: Orders) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for customer, amount in orders:
        totals[customer] += amount
    return dict(totals)


def too_much(totals: dict[str, int], limits: dict[str, int]) -> list[str]:
    return [customer for customer, amount in totals.items() if amount > limits[customer]]


def write(day: str, totals: dict[str, int], warned: list[str]) -> str:
    lines = [f"{customer} {amount}{' (!)' * (customer in warned)}" for customer, amount in totals.items()]
    return "\n".join([day, *lines])


report = Dag()
report.step("orders", fetch_orders, needs=("day",), retry=Retry(attempts=5))
report.step("limits", fetch_limits, needs=("day",), retry=Retry(attempts=5))
report.step("totals", total, needs=("orders",))
report.step("warned", too_much, needs=("totals", "limits"))
report.step("page", write, needs=("day", "totals", "warned"))


@workflow
def daily_report(day: str):
    return (yield from report.run(final="page", inputs={"day": day}))


if __name__ == "__main__":
    with Engine("./reports", workflows=[daily_report]) as engine:
        print(engine.start(daily_report("monday"), id="report-monday").result(timeout=30))
