"""Where runs are kept: an ordered key-value space with atomic, conditional, durable batches.

The protocol is in :mod:`continuum.store.protocol`, what is kept in it in
:mod:`continuum.store.ledger`. These are the names for users, and for whoever writes a backend.
"""

from continuum.store.lmdb import LmdbStore
from continuum.store.memory import MemoryStore
from continuum.store.opening import open_store
from continuum.store.protocol import Batch, Hold, Store, View, Watch

__all__ = ["Batch", "Hold", "LmdbStore", "MemoryStore", "Store", "View", "Watch", "open_store"]
