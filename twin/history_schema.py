"""The tables of the history file, their version, and how an older file becomes one of today; must not know readings."""

from __future__ import annotations

import duckdb

from twin import keyframes, tiers
from twin.duck import one, transaction
from twin.errors import Unavailable

SCHEMA_VERSION = 2
SCHEMA = f"""
CREATE SEQUENCE IF NOT EXISTS series_id;
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY DEFAULT nextval('series_id'), name VARCHAR UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
  batch BIGINT PRIMARY KEY, rows INTEGER NOT NULL, digest VARCHAR NOT NULL, version INTEGER DEFAULT 1,
  max_source BIGINT, max_received BIGINT);
CREATE TABLE IF NOT EXISTS readings (
  batch BIGINT NOT NULL, row INTEGER NOT NULL, series INTEGER NOT NULL, value DOUBLE, text VARCHAR,
  quality UINTEGER NOT NULL, source_time BIGINT NOT NULL, received_time BIGINT NOT NULL, noticed BOOLEAN DEFAULT false);
CREATE TABLE IF NOT EXISTS dead_letters (
  received_time TIMESTAMP_NS NOT NULL, device VARCHAR, point VARCHAR, address VARCHAR, reason VARCHAR,
  detail VARCHAR, raw BLOB);
CREATE TABLE IF NOT EXISTS marks (name VARCHAR NOT NULL, value BIGINT NOT NULL);
{keyframes.SCHEMA}
{tiers.SCHEMA}
"""
_FROM_1 = """
ALTER TABLE readings ADD COLUMN noticed BOOLEAN DEFAULT false;
ALTER TABLE batches ADD COLUMN version INTEGER DEFAULT 1;
ALTER TABLE batches ADD COLUMN max_source BIGINT;
ALTER TABLE batches ADD COLUMN max_received BIGINT;
UPDATE batches SET max_source = b.source, max_received = b.received FROM (
  SELECT batch, max(source_time) AS source, max(received_time) AS received FROM readings GROUP BY batch) b
  WHERE b.batch = batches.batch;
"""


def version(con: duckdb.DuckDBPyConnection) -> int:
    """The version of an open file's tables; 0 when it has none yet."""
    names = {row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
    if "marks" in names:
        return mark(con, "schema", 0)
    return 1 if "readings" in names else 0


def require_known(con: duckdb.DuckDBPyConnection, place: str) -> int:
    """
    Raises:
        Unavailable: a newer Twinloop wrote the file.
    """
    found = version(con)
    if found > SCHEMA_VERSION:
        raise Unavailable(
            f"history {place} has format {found}, this Twinloop knows up to {SCHEMA_VERSION}",
            "open it with the Twinloop that wrote it, or a newer one",
        )
    return found


def bring_up(con: duckdb.DuckDBPyConnection, place: str) -> None:
    """Make the tables, or bring those of an older file to today's form, in one transaction."""
    found = require_known(con, place)
    if found == SCHEMA_VERSION:
        return
    with transaction(con):
        if found == 1:
            con.execute(_FROM_1)
        con.execute(SCHEMA)
        set_mark(con, "schema", SCHEMA_VERSION)


def mark(con: duckdb.DuckDBPyConnection, name: str, default: int) -> int:
    """A number that the file remembers."""
    row = one(con, "SELECT value FROM marks WHERE name = ?", [name])
    return default if row is None else int(row[0])


def set_mark(con: duckdb.DuckDBPyConnection, name: str, value: int) -> None:
    """Part of the caller's transaction."""
    con.execute("DELETE FROM marks WHERE name = ?", [name])
    con.execute("INSERT INTO marks VALUES (?, ?)", [name, value])
