"""A request that waits, for two days at most, until somebody decides on it."""

from continuum import Publish, Receive, Save, workflow


def book(item: str) -> str:
    return f"{item} is booked"


@workflow
def approval(item: str):
    yield Publish(stage="waits for a decision")
    decision = yield Receive("decision", timeout="2d", default=None)
    if decision is None or not decision["granted"]:
        yield Publish(stage="refused")
        return None
    yield Publish(stage="granted", by=decision["by"])
    return (yield Save(book, item))
