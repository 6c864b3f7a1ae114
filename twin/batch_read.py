"""One batch of history as it stands in the file, and the batch in which a reading is; must not know ledgers."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from twin.digest import DIGEST_VERSION, SeriesRows
from twin.duck import one
from twin.errors import NotFound


@dataclass(frozen=True, slots=True)
class WholeBatch:
    """All rows of a batch in order, the names of their series by id, and the version of its digest."""

    version: int
    names: dict[int, str]
    rows: SeriesRows


@dataclass(frozen=True, slots=True)
class Place:
    """In which batch a reading is, and its source time in ns."""

    batch: int
    source_time: int


def read_batch(con: duckdb.DuckDBPyConnection, batch: int) -> WholeBatch:
    """
    Raises:
        NotFound: history has no such batch, or does not hold it any more.
    """
    table = con.sql(
        "SELECT series, value, quality, source_time, received_time, noticed, text FROM readings "
        "WHERE batch = $batch ORDER BY row",
        params={"batch": batch},
    ).to_arrow_table()
    if not len(table):
        raise NotFound(f"history has no rows of batch {batch}", "they expired, or there never were any")
    version = one(con, "SELECT version FROM batches WHERE batch = ?", [batch])
    rows = SeriesRows.of_arrow(table)
    used = set(rows.series.tolist())
    named = con.execute("SELECT id, name FROM series").fetchall()
    return WholeBatch(int(version[0]) if version else DIGEST_VERSION, {i: n for i, n in named if i in used}, rows)


def place_of(con: duckdb.DuckDBPyConnection, name: str, as_of: int) -> Place:
    """Where the newest reading of a point by source time `as_of` (ns) is.

    Raises:
        NotFound: there is none.
    """
    found = one(
        con,
        "SELECT batch, source_time FROM readings WHERE series = (SELECT id FROM series WHERE name = ?) "
        "AND source_time <= ? ORDER BY source_time DESC, batch DESC LIMIT 1",
        [name, as_of],
    )
    if found is None:
        raise NotFound(f"history has no reading of {name!r} by that time", "see `twinloop query` for what there is")
    return Place(int(found[0]), int(found[1]))
