"""Numbers that order what a process does: each is later than the one before, whatever the clock does."""

from __future__ import annotations

import time
from itertools import pairwise
from uuid import RFC_4122, UUID

from continuum.stamps import Stamps


def test_run_ids_are_in_the_order_of_their_making_within_a_millisecond_too() -> None:
    stamps = Stamps(time.time_ns)
    ids = [stamps.run_id() for _ in range(20_000)]
    assert all(earlier < later for earlier, later in pairwise(ids))


def test_run_ids_stay_in_order_when_the_clock_is_set_back() -> None:
    now = 1_700_000_000_000_000_000
    stamps = Stamps(lambda: now)
    before = stamps.run_id()
    now -= 3_600_000_000_000
    assert before < stamps.run_id()


def test_a_run_id_is_a_uuid_of_version_7() -> None:
    moment = 1_700_000_000_123_456_789
    made = UUID(Stamps(lambda: moment).run_id())
    assert (made.version, made.variant) == (7, RFC_4122)
    assert made.int >> 80 == moment // 1_000_000


def test_run_ids_of_two_processes_differ_though_they_are_made_at_one_time() -> None:
    assert Stamps(lambda: 1).run_id() != Stamps(lambda: 1).run_id()
