"""A request that waits, for two days unless told otherwise, until somebody decides on it.

Run it: continuum run approval.py
"""

from continuum import Publish, Receive, Save, workflow


def book(item: str) -> str:
    return f"{item} is booked"


@workflow
def approval(item: str, patience: str = "2d"):
    yield Publish(stage="waits for a decision")
    decision = yield Receive("decision", timeout=patience, default=None)
    if decision is None or not decision["granted"]:
        yield Publish(stage="refused")
        return None
    yield Publish(stage="granted", by=decision["by"])
    return (yield Save(book, item))
