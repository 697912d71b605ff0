"""The store in PostgreSQL: batches and views in terms of one table and one function of the server.

Needs the extra ``continuum-engine[postgres]``. From a URL to its parts: :mod:`~continuum.store.postgres.address`;
what stands in the database: :mod:`~continuum.store.postgres.schema`; committing, and finding out whether a
commit took place: :mod:`~continuum.store.postgres.writer`. Nothing here knows what keys mean.
"""

from continuum.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
