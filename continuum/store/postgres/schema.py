"""What stands in the database: tables, a function, and the stamp that tells a store from anything else.

A store is a schema, which is made and upgraded under a lock by whoever opens it first. `STEPS[n]` leads
from format n to format n + 1. A schema that another program uses is refused, and so is a newer format.
"""

from __future__ import annotations

from typing import Any, Final, LiteralString

from psycopg import Connection, sql

from continuum.errors import StoreError, UnsupportedStore
from continuum.store.postgres.address import Address

__all__ = ["GIVEN_UP", "STEPS", "prepare"]

PROGRAM: Final = "continuum"

GIVEN_UP: Final = "CN001"
"""The SQLSTATE with which a commit over a connection is refused whose place another one has taken."""

TABLES: Final = """
CREATE TABLE {schema}.pairs (
    key bytea PRIMARY KEY,
    value bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);

-- One row for each open store: its connection, and what became of the last commit of it.
CREATE TABLE {schema}.writers (
    id uuid PRIMARY KEY,
    link bigint NOT NULL,
    turn bigint NOT NULL,
    applied boolean[] NOT NULL DEFAULT '{{}}',
    at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

CREATE TABLE {schema}.stamp (program text NOT NULL, format int NOT NULL);
INSERT INTO {schema}.stamp VALUES ('continuum', 0);
"""

APPLY: Final = """
CREATE FUNCTION {schema}.apply(
    writer uuid, over bigint, turn bigint, space int, stripes int[], alone boolean[], channel text, size int,
    checked bytea[], expected bytea[], checked_by int[],
    absent bytea[], absent_by int[],
    deleted bytea[], deleted_by int[],
    put bytea[], given bytea[], put_by int[],
    telling int[]
) RETURNS boolean[] LANGUAGE plpgsql AS $$
DECLARE
    done boolean[] := array_fill(true, ARRAY[size]);
    failed int;
BEGIN
    -- Whoever finds out whether this took place takes `link` away first, and so waits for it or stops it.
    PERFORM FROM {schema}.writers AS w WHERE w.id = writer AND w.link = over FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'another connection has taken this one''s place' USING ERRCODE = 'CN001';
    END IF;
    -- Keys share these locks by their hash, absent keys too. Always in one order: nobody waits in a ring.
    PERFORM CASE WHEN l.alone THEN pg_advisory_xact_lock(space, l.stripe)
                 ELSE pg_advisory_xact_lock_shared(space, l.stripe) END
        FROM unnest(stripes, alone) AS l(stripe, alone);
    -- Every statement from here on sees all that was committed by those who had the locks before.
    FOR failed IN
        SELECT c.batch FROM unnest(checked, expected, checked_by) AS c(key, value, batch)
            LEFT JOIN {schema}.pairs AS p ON p.key = c.key WHERE p.value IS DISTINCT FROM c.value
        UNION ALL
        SELECT c.batch FROM unnest(absent, absent_by) AS c(key, batch) JOIN {schema}.pairs AS p ON p.key = c.key
    LOOP
        done[failed] := false;
    END LOOP;
    DELETE FROM {schema}.pairs AS p USING unnest(deleted, deleted_by) AS d(key, batch)
        WHERE p.key = d.key AND done[d.batch];
    INSERT INTO {schema}.pairs SELECT n.key, n.value FROM unnest(put, given, put_by) AS n(key, value, batch)
        WHERE done[n.batch] ON CONFLICT (key) DO UPDATE SET value = excluded.value;
    UPDATE {schema}.writers AS w SET turn = apply.turn, at = now(),
        applied = CASE WHEN w.turn = apply.turn THEN w.applied || done ELSE done END WHERE w.id = writer;
    IF EXISTS (SELECT FROM unnest(telling) AS t(batch) WHERE done[t.batch]) THEN
        PERFORM pg_notify(channel, writer::text);
    END IF;
    RETURN done;
END
$$;
"""

STEPS: list[LiteralString] = [TABLES + APPLY]


def prepare(connection: Connection[Any], address: Address, *, create: bool) -> None:
    """Make sure that the schema holds a store of this format. Raises UnsupportedStore, or psycopg's errors."""
    found = _format(connection, address)
    if found == len(STEPS):
        return
    if found is None and not create:
        raise UnsupportedStore(f"there is no store at {address.location}")
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [address.number("schema", 8)])
        found = _format(connection, address)  # somebody else may have been at work
        if found is None:
            _make_schema(connection, address)
        for step in STEPS[found or 0 :]:
            connection.execute(_in(step, address), prepare=False)
        connection.execute(_in("UPDATE {schema}.stamp SET format = %s", address), [len(STEPS)])


def _in(statement: LiteralString, address: Address) -> sql.Composed:
    return sql.SQL(statement).format(schema=sql.Identifier(address.schema))


def _format(connection: Connection[Any], address: Address) -> int | None:
    """The format of the store in the schema; None where there is nothing."""
    names = [row[0] for row in connection.execute(NAMES, [address.schema])]
    if not names:
        return None
    if not {"pairs", "writers", "stamp"} <= set(names):
        raise UnsupportedStore(
            f"the schema {address.schema!r} of {address.location} belongs to another program: "
            f"it holds {', '.join(names[:3])}; name another one by schema= in the URL"
        )
    stamp = connection.execute(_in("SELECT to_jsonb(s) FROM {schema}.stamp AS s", address)).fetchall()
    told = stamp[0][0] if len(stamp) == 1 else {}
    if told.get("program") != PROGRAM or not isinstance(told.get("format"), int):
        raise UnsupportedStore(f"the schema {address.schema!r} of {address.location} is no store of continuum")
    number: int = told["format"]
    if number > len(STEPS):
        raise UnsupportedStore(
            f"the store at {address.location} has format {number}, this version of continuum knows formats "
            f"up to {len(STEPS)}: it was written by a newer version, use that one or a later one"
        )
    return number


NAMES: Final = """
SELECT c.relname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ORDER BY c.relname
"""


def _make_schema(connection: Connection[Any], address: Address) -> None:
    # Not by IF NOT EXISTS, which needs the right to make schemas even where there is nothing to make.
    if connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [address.schema]).fetchone() is None:
        connection.execute(_in("CREATE SCHEMA {schema}", address))


def check(connection: Connection[Any], address: Address) -> None:
    """Raise unless the store is still there as it was when it was opened."""
    if _format(connection, address) != len(STEPS):
        raise StoreError(f"the store at {address.location} was removed or upgraded while it was open; open it again")
