"""Lets go of the generators of every play that a test made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness import discard_all


@pytest.fixture(autouse=True)
def _discard() -> Iterator[None]:
    yield
    discard_all()
