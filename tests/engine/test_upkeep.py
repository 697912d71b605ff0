"""When another continuation is worth its price."""

from __future__ import annotations

from continuum.engine.keeping.upkeep import BYTES, COST, ENTRIES, LONG, Upkeep
from continuum.store.records import Continuation


def kept(number: int, size: int = 100, cost: int = 0) -> Continuation:
    return Continuation(number, 0, 0, size, number, 60 * number, cost)


def looked(upkeep: Upkeep, size: int) -> Upkeep:
    upkeep.recent = size
    return upkeep


def test_it_is_after_so_many_entries_or_so_many_bytes() -> None:
    assert not looked(Upkeep(0), BYTES - 1).due(ENTRIES - 1)
    assert looked(Upkeep(0), 1).due(ENTRIES)
    assert looked(Upkeep(0), BYTES).due(LONG)
    assert not looked(Upkeep(ENTRIES), 1).due(2 * ENTRIES - 1)


def test_a_run_that_leaves_memory_needs_fewer() -> None:
    upkeep = Upkeep(0)
    upkeep.leaving = True
    assert not upkeep.due(LONG - 1)
    assert upkeep.due(LONG)


def test_a_large_one_waits_until_as_much_has_been_recorded_since() -> None:
    upkeep = Upkeep(ENTRIES, kept(ENTRIES, size=10 * BYTES))
    assert not looked(upkeep, 10 * BYTES - 1).due(10 * ENTRIES)
    assert looked(upkeep, 10 * BYTES).due(10 * ENTRIES)


def test_an_expensive_one_waits_until_as_much_has_been_done_since() -> None:
    upkeep = looked(Upkeep(0, kept(0, cost=COST * 10 * ENTRIES)), BYTES)
    assert not upkeep.due(10 * ENTRIES - 1)
    assert upkeep.due(10 * ENTRIES)


def test_it_is_looked_after_twice_as_many_entries_each_time_up_to_a_limit() -> None:
    upkeep, number, looks = Upkeep(0), LONG, [LONG]
    while len(looks) < 5:
        number = upkeep.next_look(number)
        looks.append(number)
    assert looks == [LONG, 2 * LONG, 4 * LONG, 4 * LONG + ENTRIES, 4 * LONG + 2 * ENTRIES]


def test_what_was_refused_is_tried_again_less_and_less_often() -> None:
    upkeep, number, tries = Upkeep(0), 100, []
    for _ in range(12):
        again = upkeep.refused(number)
        tries.append(again - number)
        number = again
    assert tries == [2, 4, 8, 16, 32, 64, 128, ENTRIES, ENTRIES, ENTRIES, ENTRIES, ENTRIES]
    upkeep.kept(kept(number))
    assert upkeep.refused(number) == number + 2


def test_a_try_that_takes_long_is_not_repeated_soon_and_one_that_is_too_large_when_the_history_has_doubled() -> None:
    assert Upkeep(0).refused(100, cost=COST * 700) == 800
    assert Upkeep(50, kept(50)).refused(100, grow=True) == 200
