"""The state of every series at any past instant, fast: keyframes of the whole state, and the rows since the nearest.

Must not know threads or retention. Everything here is SQL over one open history file.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from twin.digest import SeriesRows
from twin.duck import one

SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (
  frame BIGINT NOT NULL, rows INTEGER NOT NULL, max_source BIGINT NOT NULL, max_received BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS keyframes (
  frame BIGINT NOT NULL, series INTEGER NOT NULL, source_time BIGINT NOT NULL, batch BIGINT NOT NULL,
  row INTEGER NOT NULL, value DOUBLE, text VARCHAR, quality UINTEGER NOT NULL, received_time BIGINT NOT NULL,
  noticed BOOLEAN NOT NULL);
"""
NEVER = -(2**62)  # SQL reads the literal -(2**63) as a wider type, and compares slowly
ALWAYS = 2**63 - 1
# The newest reading of a series is the greatest by (source time, batch, row); one struct compares in just that order.
_COLUMNS = "series, source_time, batch, row, value, text, quality, received_time, coalesce(noticed, false) AS noticed"
_NEWEST = (
    "SELECT series, max({'source_time': source_time, 'batch': batch, 'row': row, 'value': value, 'text': text, "
    "'quality': quality, 'received_time': received_time, 'noticed': noticed}) AS n FROM (%s) GROUP BY series"
)
_SPREAD = "series, n.source_time, n.batch, n.row, n.value, n.text, n.quality, n.received_time, n.noticed"
# A fall of quality that the twin noticed itself says nothing about instants before it was noticed.
_KNOWN = (
    "source_time <= $as_of AND received_time <= $known_at AND (received_time <= $as_of OR NOT coalesce(noticed, false))"
)


@dataclass(frozen=True, slots=True)
class Interval:
    """How many rows lie between two keyframes: at least `rows`, and `per_series` times the series."""

    rows: int = 1_000_000  # what a state may have to read besides its keyframe: some 100 ms
    per_series: int = 8  # so keyframes take an eighth of the file at most

    def length(self, series: int) -> int:
        return max(self.rows, self.per_series * series)


@dataclass(frozen=True, slots=True)
class Frame:
    """A keyframe: the newest reading of every series in batches up to `frame`, and the latest times in them."""

    frame: int
    max_source: int
    max_received: int


_NO_FRAME = Frame(NEVER, NEVER, NEVER)


def last_frame(con: duckdb.DuckDBPyConnection) -> Frame:
    return _frame(con, "TRUE", {})


def write_frame(con: duckdb.DuckDBPyConnection, upto: int) -> None:
    """Store the state after batch `upto`; part of the caller's transaction, so it is whole or absent."""
    before = _frame(con, "frame < $upto", {"upto": upto})
    between = {"before": before.frame, "upto": upto}
    con.execute(
        "INSERT INTO frames SELECT $upto, 0, greatest(max(max_source), $source), greatest(max(max_received), $received) "
        "FROM batches WHERE batch > $before AND batch <= $upto",
        {**between, "source": before.max_source, "received": before.max_received},
    )
    rows = (
        f"SELECT {_COLUMNS} FROM keyframes WHERE frame = $before "
        f"UNION ALL SELECT {_COLUMNS} FROM readings WHERE batch > $before AND batch <= $upto"
    )
    con.execute(f"INSERT INTO keyframes SELECT $upto, {_SPREAD} FROM ({_NEWEST % rows})", between)
    con.execute("UPDATE frames SET rows = (SELECT count(*) FROM keyframes WHERE frame = $upto) WHERE frame = $upto",
                {"upto": upto})  # fmt: skip


def next_frame(con: duckdb.DuckDBPyConnection, length: int) -> int | None:
    """The batch after which a keyframe is due but missing, as in a file of an older version."""
    row = one(
        con,
        "SELECT min(batch) FROM (SELECT batch, sum(rows) OVER (ORDER BY batch) AS seen FROM batches "
        "WHERE batch > $after) WHERE seen >= $length",
        {"after": last_frame(con).frame, "length": length},
    )
    return None if row is None or row[0] is None else int(row[0])


def state_at(con: duckdb.DuckDBPyConnection, as_of: int, known_at: int) -> SeriesRows:
    """For every series its newest reading with source time <= `as_of` among those received by `known_at` (ns).

    A keyframe's reading that meets both is the newest of all rows before it, too. One from a clock that ran ahead of
    `as_of` does not: such series are read from an earlier keyframe that knows no later source time. Rows come in order
    of series.
    """
    when = {"as_of": as_of, "known_at": known_at}
    near = _frame(con, "max_received <= least($as_of, $known_at)", when)
    parts = [
        f"SELECT {_COLUMNS} FROM keyframes WHERE frame = {near.frame} AND source_time <= $as_of",
        f"SELECT {_COLUMNS} FROM readings WHERE batch > {near.frame} AND {_KNOWN}",
    ]
    if near.max_source > as_of:
        far = _frame(con, "max_received <= least($as_of, $known_at) AND max_source <= $as_of", when)
        ahead = f"series IN (SELECT series FROM keyframes WHERE frame = {near.frame} AND source_time > $as_of)"
        parts += [
            f"SELECT {_COLUMNS} FROM keyframes WHERE frame = {far.frame} AND {ahead}",
            f"SELECT {_COLUMNS} FROM readings WHERE batch > {far.frame} AND batch <= {near.frame} AND {_KNOWN} AND {ahead}",
        ]
    sql = f"SELECT {_SPREAD} FROM ({_NEWEST % ' UNION ALL '.join(parts)}) ORDER BY series"
    return SeriesRows.of_arrow(con.sql(sql, params=when).to_arrow_table())


def scanned_state_at(con: duckdb.DuckDBPyConnection, as_of: int, known_at: int) -> SeriesRows:
    """The same by the plain rule over all rows: what `state_at` is held against."""
    sql = f"SELECT {_SPREAD} FROM ({_NEWEST % f'SELECT {_COLUMNS} FROM readings WHERE {_KNOWN}'}) ORDER BY series"
    return SeriesRows.of_arrow(con.sql(sql, params={"as_of": as_of, "known_at": known_at}).to_arrow_table())


def _frame(con: duckdb.DuckDBPyConnection, where: str, values: dict[str, int]) -> Frame:
    row = one(
        con, f"SELECT frame, max_source, max_received FROM frames WHERE {where} ORDER BY frame DESC LIMIT 1", values
    )
    return _NO_FRAME if row is None else Frame(*row)
