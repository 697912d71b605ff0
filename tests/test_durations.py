"""Lengths of time as people write them."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuum.durations import NANOSECONDS, datetime_of, nanoseconds, timestamp_of
from continuum.errors import BadValue


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (0, 0),
        (5, 5),
        (0.25, 0.25),
        (1e-9, 1e-9),
        (timedelta(hours=1), 3_600),
        (timedelta(microseconds=1), 1e-6),
        ("10s", 10),
        ("0.5s", 0.5),
        ("5m", 300),
        ("1h30m", 5_400),
        ("2d8h", 201_600),
        ("1w", 604_800),
        ("1w1d1h1m1s", 694_861),
    ],
)
def test_a_duration_is_a_number_of_nanoseconds(written: float | timedelta | str, seconds: float) -> None:
    assert nanoseconds(written, "it") == round(seconds * NANOSECONDS)


@pytest.mark.parametrize(
    "written",
    ["", "10", "5m x", " 5m", "5m ", "5M", "m", "30m1h", "1.5h", "-5s", "5 m", "1h\n", "٣s", "5m5m", "1e3s", "s5"],
)
def test_text_that_is_no_duration_is_refused(written: str) -> None:
    with pytest.raises(BadValue, match="it"):
        nanoseconds(written, "it")


@pytest.mark.parametrize(
    "written", [-1, -0.1, math.nan, math.inf, -math.inf, 1e300, 10**400, timedelta(-1), "9999999w", "9" * 400 + "s"]
)
def test_lengths_that_make_no_sense_are_refused(written: float | timedelta | str) -> None:
    with pytest.raises(BadValue):
        nanoseconds(written, "it")


@pytest.mark.parametrize("written", [None, True, False, b"5s", [5], object(), 5j])
def test_what_is_no_length_of_time_is_refused(written: object) -> None:
    with pytest.raises(BadValue, match="Sleep"):
        nanoseconds(written, "Sleep")  # type: ignore[arg-type]


@given(st.datetimes(datetime(1970, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)))
def test_a_moment_survives_the_way_there_and_back(moment: datetime) -> None:
    assert datetime_of(timestamp_of(moment, "it")) == moment


def test_a_moment_means_the_same_in_every_zone() -> None:
    there = datetime(2024, 5, 6, 12, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp_of(there, "it") == timestamp_of(datetime(2024, 5, 6, 10, tzinfo=UTC), "it")
    assert datetime_of(timestamp_of(there, "it")).tzinfo is UTC


def test_a_moment_before_the_epoch_is_the_epoch() -> None:
    assert timestamp_of(datetime(1950, 1, 1, tzinfo=UTC), "it") == 0


@pytest.mark.parametrize("moment", [datetime(2024, 5, 6), "2024-05-06", None, datetime(3000, 1, 1, tzinfo=UTC)])
def test_a_moment_without_a_zone_or_out_of_reach_is_refused(moment: datetime) -> None:
    with pytest.raises(BadValue, match="it"):
        timestamp_of(moment, "it")
