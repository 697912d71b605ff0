"""What several tests of the engine need."""

from __future__ import annotations

import pytest

from continuum.engine.keeping import changeover, keeper, upkeep


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continuations are made after a few entries."""
    monkeypatch.setattr(upkeep, "LONG", 4)
    monkeypatch.setattr(keeper, "LONG", 4)
    monkeypatch.setattr(upkeep, "ENTRIES", 10)
    monkeypatch.setattr(upkeep, "COST", 1 << 40)
    monkeypatch.setattr(changeover, "REST", 0)
