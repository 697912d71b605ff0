"""A trip is booked as a whole or not at all: flight, hotel and car side by side, and one that fails.

Run it: python trip.py
"""

from continuum import All, Engine, Revert, RunReverted, Save, workflow


def book(what: str, place: str) -> str:
    if (what, place) == ("car", "Venice"):
        raise LookupError(f"there are no cars in {place}")
    return f"{what} to {place}" if what == "flight" else f"{what} in {place}"


def cancel(booking: str) -> None:
    print(f"cancel the {booking}")


@workflow
def trip(place: str):
    bookings = yield All(
        *(Save(book, what, place, compensate=cancel) for what in ("flight", "hotel", "car")),
        return_exceptions=True,  # wait for all: one that is half booked when another fails could not be undone
    )
    failures = [booking for booking in bookings if isinstance(booking, Exception)]
    if failures:
        yield Revert(str(failures[0]))
    return bookings


if __name__ == "__main__":
    with Engine("./trips", workflows=[trip]) as engine:
        for place in ("Rome", "Venice"):
            run = engine.start(trip(place), id=f"trip-to-{place}")
            try:
                print(run.result(timeout=30))
            except RunReverted as error:
                print(f"no trip to {place}: {error.reason}")
