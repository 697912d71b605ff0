"""What programs that are killed here do without: a wait until it is known what somebody died of. The test knows."""

from __future__ import annotations

from continuum.engine import lease, lookout
from continuum.store import suspicion

__all__ = ["take_over_at_once"]


def take_over_at_once(store: str) -> None:
    """Go on with what the dead have left, however often they were at it, and also where their locks are a server's."""
    lookout.PROBATION, lease.CALM = 0, 0.0  # type: ignore[misc]
    suspicion.CRASHES = 1_000_000  # type: ignore[misc]
    if store.startswith("postgresql:"):
        from continuum.store.postgres.writer import PostgresHold  # to import it takes a while

        PostgresHold.lapse = 0.0
