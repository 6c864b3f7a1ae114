"""Habits with a DuckDB connection: one row, a transaction, Arrow tables by name, a quoted text; must not know our tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

Values = Sequence[Any] | Mapping[str, Any]


def one(con: duckdb.DuckDBPyConnection, sql: str, values: Values = ()) -> tuple[Any, ...] | None:
    """The first row, None when there is none. Unlike `fetchone` it leaves no open result on the connection."""
    rows = con.execute(sql, values or None).fetchall()
    return rows[0] if rows else None


def quoted(text: str) -> str:
    """As a text of SQL."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def registered(con: duckdb.DuckDBPyConnection, **tables: pa.Table) -> Iterator[None]:
    """Arrow tables under names of one connection, for the length of a with-block."""
    for name, table in tables.items():
        con.register(name, table)
    try:
        yield
    finally:
        for name in tables:
            con.unregister(name)


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All or nothing, durable when the block ends."""
    con.execute("BEGIN")
    with rolled_back_on_error(con):
        yield
        con.execute("COMMIT")


@contextmanager
def rolled_back_on_error(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """A block that begins and commits by itself."""
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # none is open when the commit itself failed
            con.execute("ROLLBACK")
        raise
