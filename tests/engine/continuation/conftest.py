"""One other process for all tests that go on with a generator elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from elsewhere import Elsewhere


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Elsewhere]:
    process = Elsewhere()
    yield process
    process.end()
