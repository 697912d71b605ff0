"""Retry: how often, when, for which errors; and that a restart neither forgets nor forgives attempts."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest
from harness import START, Play, do
from hypothesis import given
from hypothesis import strategies as st

from continuum import Permanent, Retry, StepTimeout, StepUncertain, permanent, workflow
from continuum.durations import NANOSECONDS
from continuum.engine.machine.requests import TimerFired, WakeAt
from continuum.engine.machine.retry import next_delay
from continuum.journal import Entry, Kind, Status


@workflow
def charge(retry: Retry) -> Generator[Any, Any, Any]:
    return (yield do("charge", retry=retry))


def delays(policy: Retry, chance: float = 0.5) -> list[float]:
    """The delays in seconds, for the middle of the jitter unless told."""
    made = (next_delay(policy, attempts, ValueError(), chance) for attempts in range(1, policy.attempts + 1))
    return [delay / NANOSECONDS for delay in made if isinstance(delay, int)]


def test_delays_grow_by_the_factor_up_to_the_longest() -> None:
    assert delays(Retry(6, delay=1, factor=3, max_delay=20)) == [1, 3, 9, 20, 20]


def test_linear_delays_grow_by_the_delay() -> None:
    assert delays(Retry(5, delay=2, backoff="linear", max_delay=5)) == [2, 4, 5, 5]


def test_delays_beyond_all_numbers_are_the_longest() -> None:
    assert next_delay(Retry(10_000, jitter=0, max_delay=9), 9_000, ValueError(), 0.0) == 9 * NANOSECONDS


def test_delays_are_durations_of_any_form() -> None:
    assert delays(Retry(3, delay="1m", max_delay=timedelta(seconds=90))) == [60, 90]


def test_there_is_one_delay_fewer_than_attempts() -> None:
    assert [len(delays(Retry(n))) for n in (1, 2, 5)] == [0, 1, 4]


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.integers(1, 4))
def test_jitter_keeps_to_its_part_of_the_delay(chance: float, jitter: float, attempts: int) -> None:
    delay = next_delay(Retry(5, delay=10, factor=1, jitter=jitter), attempts, ValueError(), chance)
    assert isinstance(delay, int)
    assert 10 * (1 - jitter) - 1e-6 <= delay / NANOSECONDS <= 10 * (1 + jitter) + 1e-6


def test_the_longest_delay_varies_too() -> None:
    policy = Retry(2, delay=100, max_delay=10, jitter=0.1)
    assert delays(policy, chance=0.0) == [9]
    assert delays(policy, chance=0.999999)[0] > 10.9


def test_jitter_varies_both_ways() -> None:
    policy = Retry(2, delay=10, jitter=0.1)
    assert delays(policy, chance=0.0) == [9]
    assert delays(policy, chance=0.999999)[0] > 10.9


@pytest.mark.parametrize(
    ("on", "again"),
    [
        (ValueError, True),
        (KeyError, False),
        ((KeyError, ValueError), True),
        (lambda error: "busy" in str(error), True),
        (lambda error: None, False),
    ],
)
def test_only_the_errors_chosen_are_tried_again(on: Any, again: bool) -> None:
    play = Play(charge(Retry(2, on=on)))
    play.fails("charge", ValueError("busy"))
    assert (play.status is None) is again


def test_an_attempt_that_took_too_long_has_failed_like_any_other() -> None:
    @workflow
    def slow() -> Generator[Any, Any, Any]:
        return (yield do("charge", timeout="10s", retry=Retry(2, on=TimeoutError)))

    play = Play(slow())
    (request,) = play.requests
    assert request.command.options.timeout == 10 * NANOSECONDS  # type: ignore[union-attr]
    play.fails("charge", StepTimeout("too long"))
    play.tick(60)
    play.fails("charge", StepTimeout("too long"))
    assert isinstance(play.error, StepTimeout)
    assert play.recorded() == ["0 attempt charge", "0 save charge"]


def test_a_predicate_that_fails_leaves_the_error_of_the_step() -> None:
    play = Play(charge(Retry(2, on=lambda error: 1 / 0)))
    play.fails("charge", ValueError("busy"))
    assert isinstance(play.error, ValueError)


def test_exactly_so_many_attempts_are_made() -> None:
    play = Play(charge(Retry(3, jitter=0)))
    for _ in range(3):
        play.fails("charge", ValueError())
        play.tick(60)
    assert play.ran == ["charge"] * 3
    assert play.status is Status.FAILED
    assert [entry.attempts for entry in play.journal] == [1, 2, 3]


def test_a_later_attempt_may_succeed() -> None:
    play = Play(charge(Retry(3)))
    play.fails("charge", ValueError())
    play.tick(60)
    play.done("charge", 7)
    assert play.result == play.replay().result == 7
    assert play.recorded() == ["0 attempt charge", "0 save charge"]


def test_a_failed_attempt_is_recorded_with_the_time_of_the_next() -> None:
    play = Play(charge(Retry(3, delay=5, jitter=0)))
    recorded, wake = play.fails("charge", ValueError("busy"))
    due = START + 5 * NANOSECONDS
    assert isinstance(recorded, Entry)
    assert (recorded.kind, recorded.attempts, recorded.ref) == (Kind.ATTEMPT, 1, due)
    assert wake == WakeAt((0,), due)


def test_the_next_attempt_waits_for_its_time() -> None:
    play = Play(charge(Retry(3, delay=5, jitter=0)))
    play.fails("charge", ValueError())
    play.tick(4.9)
    assert play.ran == ["charge"]
    play.tick(0.1)
    assert play.ran == ["charge"] * 2


def test_a_restart_neither_forgets_attempts_nor_moves_the_next() -> None:
    play = Play(charge(Retry(2, delay=5, jitter=0)))
    play.fails("charge", ValueError())
    play.tick(3)
    again = play.replay()
    assert again.ran == []
    assert again.timers == {(0,): START + 5 * NANOSECONDS}
    again.tick(2)
    again.fails("charge", ValueError())
    assert again.status is Status.FAILED


def test_a_restart_in_the_second_attempt_begins_the_second_again() -> None:
    play = Play(charge(Retry(3, delay=5, jitter=0)))
    play.fails("charge", ValueError())
    play.tick(5)
    again = play.replay()
    again.tick(0)
    (request,) = again.requests
    assert request.attempt == 2  # type: ignore[union-attr]


def test_a_timer_that_is_early_is_set_again() -> None:
    play = Play(charge(Retry(2, delay=5, jitter=0)))
    play.fails("charge", ValueError())
    assert play.feed(TimerFired((0,))) == [WakeAt((0,), START + 5 * NANOSECONDS)]


def test_the_jitter_of_a_run_is_the_same_on_replay() -> None:
    play = Play(charge(Retry(2, jitter=1)))
    again = play.replay()
    play.fails("charge", ValueError())
    again.fails("charge", ValueError())
    assert play.timers == again.timers


def test_cancelling_between_attempts_ends_the_step() -> None:
    play = Play(charge(Retry(5)))
    play.fails("charge", ValueError())
    play.cancel()
    assert play.status is Status.CANCELLED
    assert play.ran == ["charge"]
    assert play.replay().status is Status.CANCELLED


# Giving up


class Declined(Permanent):
    pass


@pytest.mark.parametrize("error", [Declined("stolen"), permanent(ValueError("stolen"))], ids=repr)
def test_a_permanent_error_is_recorded_at_once(error: Exception) -> None:
    play = Play(charge(Retry(5, on=lambda error: True)))
    play.fails("charge", error)
    assert (play.status, play.error) == (Status.FAILED, error)
    assert play.recorded() == ["0 save charge"]
    assert play.replay().ran == []


@pytest.mark.parametrize(
    ("policy", "error", "note"),
    [
        (Retry(2, delay=1), ValueError(), "after attempt 2 of 2: it was the last"),
        (Retry(5), Declined(), "after attempt 1 of 5: the error is permanent"),
        (Retry(5, on=KeyError), ValueError(), "after attempt 1 of 5: Retry(on=) does not cover the error"),
        (Retry(5, on=lambda e: e.x), ValueError(), "after attempt 1 of 5: Retry(on=) itself failed: AttributeError"),
        (Retry(5, delay=1, max_elapsed=2, jitter=0), ValueError(), "after attempt 2 of 5: another would begin later"),
    ],
)
def test_the_error_tells_after_how_many_attempts_the_step_was_given_up(policy: Retry, error: Any, note: str) -> None:
    play = Play(charge(policy))
    while play.status is None:
        play.fails("charge", type(error)())
        play.tick(10)
    assert [f"step 'charge' was given up {note}" in each for each in play.error.__notes__] == [True]
    assert play.journal[-1].outcome.error is play.error  # type: ignore[union-attr]
    assert play.journal[-1].outcome.data is None  # type: ignore[union-attr]


def test_a_single_attempt_gives_no_reason_for_a_note() -> None:
    play = Play(charge(Retry.none))
    play.fails("charge", ValueError())
    assert not hasattr(play.error, "__notes__")


def test_an_error_that_refuses_a_note_is_recorded_all_the_same() -> None:
    class Sealed(Permanent):
        def add_note(self, note: str) -> None:
            raise TypeError("sealed")

    play = Play(charge(Retry(3)))
    play.fails("charge", Sealed())
    assert isinstance(play.error, Sealed)


# All attempts together


HURRIED = Retry(100, delay=10, factor=1, jitter=0, max_elapsed="25s")


def test_no_attempt_begins_after_the_time_for_all_of_them() -> None:
    play = Play(charge(HURRIED))
    for _ in range(2):
        play.fails("charge", ValueError())
        play.tick(10)
    assert play.status is None
    play.fails("charge", ValueError())  # the next would be due at 30
    assert play.status is Status.FAILED
    assert play.ran == ["charge"] * 3
    assert play.journal[-1].attempts == 3


def test_an_attempt_that_is_under_way_may_take_longer() -> None:
    play = Play(charge(HURRIED))
    play.tick(1_000)
    play.done("charge", 7)
    assert play.result == 7


def test_a_restart_does_not_give_more_time() -> None:
    play = Play(charge(HURRIED))
    play.tick(20)
    again = play.replay()
    again.fails("charge", ValueError())
    assert again.status is Status.FAILED
    assert again.recorded() == ["0 armed charge", "0 save charge"]


def test_time_in_which_nobody_was_there_counts() -> None:
    play = Play(charge(HURRIED))
    play.fails("charge", ValueError("first"))
    play.now += 60 * NANOSECONDS
    again = play.replay()
    again.tick(0)
    assert again.ran == []
    assert str(again.error) == "first"
    assert again.journal[-1].attempts == 1
    assert str(again.replay().error) == "first"


def test_a_first_attempt_that_a_crash_cut_off_is_made_again_whatever_the_time() -> None:
    play = Play(charge(HURRIED))
    play.now += 60 * NANOSECONDS
    assert play.replay().ran == ["charge"]


def test_without_a_limit_nothing_is_recorded_before_the_first_attempt() -> None:
    assert Play(charge(Retry(100))).journal == []


# With at_most_once


@workflow
def pay() -> Generator[Any, Any, Any]:
    return (yield do("pay", at_most_once=True, retry=Retry(3, delay=5, jitter=0)))


def test_after_a_failed_attempt_nothing_is_uncertain() -> None:
    play = Play(pay())
    play.fails("pay", ValueError())
    again = play.replay()
    again.tick(5)
    assert again.ran == ["pay"]


def test_the_second_attempt_is_uncertain_again() -> None:
    play = Play(pay())
    play.fails("pay", ValueError())
    play.tick(5)
    again = play.replay()
    assert again.ran == []
    assert isinstance(again.error, StepUncertain)
