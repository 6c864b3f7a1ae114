"""The DuckDB file of history and dead letters: schema, appends, reads; the only twin code that touches a database.

Must not know threads, queues or the plant file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa

from twin.errors import Unavailable
from twin.readings import Readings

SCHEMA = """
CREATE SEQUENCE IF NOT EXISTS series_id;
CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY DEFAULT nextval('series_id'), name VARCHAR UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS batches (batch BIGINT PRIMARY KEY, rows INTEGER NOT NULL, digest VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS readings (
  batch BIGINT NOT NULL, row INTEGER NOT NULL, series INTEGER NOT NULL, value DOUBLE, text VARCHAR,
  quality UINTEGER NOT NULL, source_time BIGINT NOT NULL, received_time BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS dead_letters (
  received_time TIMESTAMP_NS NOT NULL, device VARCHAR, point VARCHAR, address VARCHAR, reason VARCHAR,
  detail VARCHAR, raw BLOB);
"""
# A gigabyte sorts and aggregates tens of millions of readings and leaves the rest of a small machine alone.
CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "1GB",
    "threads": "2",
}
DIGEST_VERSION = 1


@dataclass(frozen=True, slots=True)
class Batch:
    """One durable batch of history; its digest goes into the ledger."""

    batch: int
    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class SeriesRows:
    """Readings of one batch, as columns of shape (N,): history's series ids, not point ids."""

    series: np.ndarray[Any, np.dtype[np.int32]]
    value: np.ndarray[Any, np.dtype[np.float64]]
    quality: np.ndarray[Any, np.dtype[np.uint32]]
    source_time: np.ndarray[Any, np.dtype[np.int64]]
    received_time: np.ndarray[Any, np.dtype[np.int64]]
    text: Sequence[str | None]


def digest(batch: int, rows: SeriesRows, names: Mapping[int, str]) -> str:
    """SHA-256 (hex) of a batch: a JSON head naming its series, then the little-endian columns, then the texts.

    Anyone with the DuckDB file can compute it again; the order of rows is the column `row`.
    """
    used = {int(s): names[int(s)] for s in np.unique(rows.series)}
    head = {
        "v": DIGEST_VERSION,
        "batch": batch,
        "rows": len(rows.series),
        "series": {str(k): used[k] for k in sorted(used)},
    }
    hashed = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for column, kind in (
        (rows.series, "<i4"),
        (rows.value, "<f8"),
        (rows.quality, "<u4"),
        (rows.source_time, "<i8"),
        (rows.received_time, "<i8"),
    ):
        hashed.update(np.ascontiguousarray(column).astype(kind).tobytes())
    hashed.update(json.dumps(list(rows.text), separators=(",", ":")).encode())
    return hashed.hexdigest()


class Store:
    """One open history file. Every method may be called from one thread at a time per `cursor()`."""

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self.path = path
        try:
            self._root = duckdb.connect(str(path), read_only=read_only, config=CONFIG)
        except duckdb.IOException as error:
            raise Unavailable(
                f"history {path} cannot be opened: {str(error).splitlines()[0]}",
                "another process may hold it: stop that server, or ask it with `twinloop query`",
            ) from error
        if not read_only:
            self._root.execute(SCHEMA)

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for another thread."""
        return self._root.cursor()

    def close(self) -> None:
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def series_of(self, names: Sequence[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The series id of every name, shape (len(names),); new names get new ids, for ever."""
        names_table = pa.table({"name": pa.array(names, pa.string())})
        with _registered(self._root, names_table=names_table):
            self._root.execute(
                "INSERT INTO series (name) SELECT DISTINCT name FROM names_table "
                "WHERE name NOT IN (SELECT name FROM series) ORDER BY name"
            )
        known = dict(self._root.execute("SELECT name, id FROM series").fetchall())
        return np.array([known[n] for n in names], np.int32)

    def names(self) -> dict[int, str]:
        return dict(self._root.execute("SELECT id, name FROM series").fetchall())

    def next_batch(self) -> int:
        row = self._root.execute("SELECT coalesce(max(batch), -1) + 1 FROM batches").fetchone()
        return int(row[0]) if row else 0

    def append(self, con: duckdb.DuckDBPyConnection, batch: int, rows: SeriesRows, names: Mapping[int, str]) -> Batch:
        """Commit one batch durably (DuckDB syncs its WAL at commit)."""
        count = len(rows.series)
        table = pa.table(
            {
                "batch": np.full(count, batch, np.int64),
                "row": np.arange(count, dtype=np.int32),
                "series": rows.series,
                "value": pa.array(rows.value),
                "text": pa.array(rows.text, pa.string()),
                "quality": rows.quality,
                "source_time": rows.source_time,
                "received_time": rows.received_time,
            }
        )
        made = Batch(batch, count, digest(batch, rows, names))
        with _registered(con, new_rows=table):
            con.execute("BEGIN")
            con.execute("INSERT INTO readings SELECT * FROM new_rows")
            con.execute("INSERT INTO batches VALUES (?, ?, ?)", [made.batch, made.rows, made.digest])
            con.execute("COMMIT")
        return made

    def append_dead_letters(self, con: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of (received ns, device, point, address, reason, detail, raw)."""
        con.executemany("INSERT INTO dead_letters VALUES (make_timestamp_ns(?), ?, ?, ?, ?, ?, ?)", rows)

    def batches_from(self, first: int) -> list[Batch]:
        rows = self._root.execute("SELECT * FROM batches WHERE batch >= ? ORDER BY batch", [first]).fetchall()
        return [Batch(*r) for r in rows]

    def recompute(self, con: duckdb.DuckDBPyConnection, first: int, last: int) -> dict[int, str]:
        """Batch -> digest of its rows as they stand now, for batches `first` … `last` that have rows."""
        table = con.sql(
            "SELECT batch, series, value, quality, source_time, received_time, text FROM readings "
            "WHERE batch BETWEEN $first AND $last ORDER BY batch, row",
            params={"first": first, "last": last},
        ).to_arrow_table()
        names = self.names()
        batch = table["batch"].to_numpy()
        value = np.asarray(table["value"].fill_null(np.nan).to_numpy(), np.float64)
        whole = [table[name].to_numpy() for name in ("series", "quality", "source_time", "received_time")]
        text = table["text"].to_pylist()
        edges = np.flatnonzero(np.diff(batch)) + 1
        found: dict[int, str] = {}
        for start, end in pairwise([0, *edges.tolist(), len(batch)] if len(batch) else []):
            series, quality, source_time, received_time = (column[start:end] for column in whole)
            rows = SeriesRows(series, value[start:end], quality, source_time, received_time, text[start:end])
            number = int(batch[start])
            found[number] = digest(number, rows, names) if names.keys() >= set(series.tolist()) else "series missing"
        return found

    def trend(self, name: str, start: int, end: int, most: int) -> list[tuple[int, float | None, int]]:
        """(source time, value, quality) of one point in [start, end] ns, oldest first.

        Beyond `most` rows each stretch of time keeps its lowest, highest and worst reading (M4-like decimation).
        """
        con = self.cursor()
        rows = con.execute(
            "WITH r AS (SELECT source_time t, CASE WHEN isnan(value) THEN NULL ELSE value END v, quality q "
            "  FROM readings WHERE series = (SELECT id FROM series WHERE name = $name) AND source_time BETWEEN $start AND $end), "
            "n AS (SELECT count(*) c FROM r), "
            "b AS (SELECT *, (t - $start) * ($most // 3 + 1) // ($end - $start + 1) slot FROM r) "
            "SELECT t, v, q FROM r WHERE (SELECT c FROM n) <= $most "
            "UNION SELECT unnest([arg_min(t, v), arg_max(t, v), arg_max(t, q)]), "
            "  unnest([min(v), max(v), arg_max(v, q)]), unnest([arg_min(q, v), arg_max(q, v), max(q)]) "
            "  FROM b WHERE (SELECT c FROM n) > $most GROUP BY slot ORDER BY 1",
            {"name": name, "start": start, "end": end, "most": most},
        ).fetchall()
        con.close()
        return [(int(t), v, int(q)) for t, v, q in rows if t is not None and q is not None]

    def latest(self, known: Mapping[str, int], received_time: int) -> Readings | None:
        """The newest reading of every known name as point-id readings; None when history is empty."""
        rows = self._root.execute(
            "SELECT s.name, arg_max(value, source_time), arg_max(text, source_time), arg_max(quality, source_time), "
            "max(source_time) FROM readings r JOIN series s ON s.id = r.series GROUP BY s.name ORDER BY s.name"
        ).fetchall()
        rows = [r for r in rows if r[0] in known]
        if not rows:
            return None
        return Readings.of(
            [known[r[0]] for r in rows],
            [np.nan if r[1] is None else r[1] for r in rows],
            received_time,
            quality=[r[3] for r in rows],
            source_time=[r[4] for r in rows],
            text={i: r[2] for i, r in enumerate(rows) if r[2] is not None},
        )


class _registered:
    """Arrow tables under names of one connection, for the length of a with-block."""

    def __init__(self, con: duckdb.DuckDBPyConnection, **tables: pa.Table) -> None:
        self._con = con
        self._tables = tables

    def __enter__(self) -> None:
        for name, table in self._tables.items():
            self._con.register(name, table)

    def __exit__(self, *_: object) -> None:
        for name in self._tables:
            self._con.unregister(name)
