"""The DuckDB file of history and dead letters: opens it, appends to it, reads from it.

Must not know threads, queues or the plant file.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from twin import history_schema, keyframes, past, trend, upkeep
from twin.digest import DIGEST_VERSION, SeriesNames, SeriesRows, digest
from twin.duck import one, quoted, registered, rolled_back_on_error, transaction
from twin.errors import NotFound, Unavailable
from twin.keyframes import ALWAYS, Interval
from twin.readings import Readings

# What does not fit in memory goes to disk, up to 2 GB: a query must not fill the disk that history needs.
# A gigabyte sorts and aggregates tens of millions of readings and leaves the rest of a small machine alone.
CONFIG = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "memory_limit": "1GB",
    "max_temp_directory_size": "2GB",
    "threads": "2",
}


@dataclass(frozen=True, slots=True)
class Batch:
    """One durable batch of history; its digest goes into the ledger."""

    batch: int
    rows: int
    digest: str


class Store:
    """One open history file. Every method may be called from one thread at a time per `cursor()`."""

    def __init__(
        self, path: Path, read_only: bool = False, interval: Interval | None = None, beside: Path | None = None
    ) -> None:
        """
        Args:
            beside: a folder with a database that may be attached; no other file can be read or written.

        Raises:
            Unavailable: another process holds the file, it is no history, or a newer Twinloop wrote it.
        """
        self.path = path
        self._interval = interval or Interval()
        self._root = _open(path, read_only)
        if beside is not None:
            self._root.execute(f"SET allowed_directories = [{quoted(f'{beside.resolve()}/')}]")
        self._root.execute("SET enable_external_access = false")
        self._names = SeriesNames(dict(self._root.execute("SELECT id, name FROM series").fetchall()))
        self._since_frame = self._rows_since_frame()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of its own for another thread."""
        return self._root.cursor()

    def close(self) -> None:
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- series ------------------------------------------------------------------------------------------------------

    def series_of(self, names: Sequence[str]) -> NDArray[np.int32]:
        """The series id of every name, shape (len(names),); new names get new ids, for ever."""
        names_table = pa.table({"name": pa.array(names, pa.string())})
        with registered(self._root, names_table=names_table):
            self._root.execute(
                "INSERT INTO series (name) SELECT DISTINCT name FROM names_table "
                "WHERE name NOT IN (SELECT name FROM series) ORDER BY name"
            )
        self._names.add(dict(self._root.execute("SELECT id, name FROM series").fetchall()))
        ids = {name: number for number, name in self._names.names.items()}
        return np.array([ids[n] for n in names], np.int32)

    def names(self) -> dict[int, str]:
        return dict(self._names.names)

    # --- batches -----------------------------------------------------------------------------------------------------

    def next_batch(self) -> int:
        """Numbers of dropped batches are not given again."""
        row = one(self._root, "SELECT coalesce(max(batch), -1) + 1 FROM batches")
        return max(int(row[0]) if row else 0, history_schema.mark(self._root, upkeep.DROPPED, -1) + 1)

    def append(self, con: duckdb.DuckDBPyConnection, batch: int, rows: SeriesRows) -> Batch:
        """Commit one batch durably (DuckDB syncs its WAL at commit), with a keyframe when one is due."""
        count = len(rows)
        made = Batch(batch, count, digest(batch, rows, self._names))
        bounds = [int(rows.source_time.max()), int(rows.received_time.max())]
        since = self._since_frame + count
        length = self._interval.length(len(self._names.names))
        framed = self._since_frame < length <= since  # beyond it earlier ones are missing: `frame_missing` writes them
        # One call: between two of them the interpreter may be away in other threads.
        sql = (
            "BEGIN; INSERT INTO readings SELECT * FROM new_rows; INSERT INTO batches VALUES "
            f"({batch}, {count}, '{made.digest}', {DIGEST_VERSION}, {bounds[0]}, {bounds[1]})"
        )
        with registered(con, new_rows=_arrow(batch, rows)), rolled_back_on_error(con):
            if framed:
                con.execute(sql)
                keyframes.write_frame(con, batch)
                con.execute("COMMIT")
            else:
                con.execute(f"{sql}; COMMIT")
        self._since_frame = 0 if framed else since
        return made

    def append_dead_letters(self, con: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows of (received ns, device, point, address, reason, detail, raw)."""
        con.executemany("INSERT INTO dead_letters VALUES (make_timestamp_ns(?), ?, ?, ?, ?, ?, ?)", rows)

    def batches_from(self, first: int) -> list[Batch]:
        rows = self._root.execute(
            "SELECT batch, rows, digest FROM batches WHERE batch >= ? ORDER BY batch", [first]
        ).fetchall()
        return [Batch(*r) for r in rows]

    def recompute(self, con: duckdb.DuckDBPyConnection, first: int, last: int) -> dict[int, str]:
        """Batch -> digest of its rows as they stand now, for batches `first` … `last` that have rows."""
        between = {"first": first, "last": last}
        table = con.sql(
            "SELECT batch, series, value, quality, source_time, received_time, noticed, text FROM readings "
            "WHERE batch BETWEEN $first AND $last ORDER BY batch, row",
            params=between,
        ).to_arrow_table()
        versions = dict(
            con.execute("SELECT batch, version FROM batches WHERE batch BETWEEN $first AND $last", between).fetchall()
        )
        names = SeriesNames(dict(con.execute("SELECT id, name FROM series").fetchall()))
        batch, rows = table["batch"].to_numpy(), SeriesRows.of_arrow(table)
        edges = np.flatnonzero(np.diff(batch)) + 1
        found: dict[int, str] = {}
        for start, end in pairwise([0, *edges.tolist(), len(batch)] if len(batch) else []):
            number = int(batch[start])
            try:
                found[number] = digest(number, rows.slice(start, end), names, versions.get(number, DIGEST_VERSION))
            except KeyError:
                found[number] = "series or version missing"
        return found

    # --- states ------------------------------------------------------------------------------------------------------

    def frame_missing(self, con: duckdb.DuckDBPyConnection) -> bool:
        """Write one keyframe that a file of an older version lacks; False when none is missing."""
        length = self._interval.length(len(self._names.names))
        frame = keyframes.next_frame(con, length) if self._since_frame >= length else None
        if frame is None:
            return False
        with transaction(con):
            keyframes.write_frame(con, frame)
        self._since_frame = self._rows_since_frame()
        return True

    def state_at(self, con: duckdb.DuckDBPyConnection, as_of: int, known_at: int) -> SeriesRows:
        """The newest reading of every series by source time `as_of`, as known at `known_at` (ns since 1970 UTC).

        One row a series that had been read by then. A fall of quality that the twin noticed itself counts from when
        it was noticed.

        Raises:
            NotFound: raw history of that time has been dropped; the message names the oldest instant kept.
        """
        oldest_as_of, oldest_known_at = upkeep.oldest(con)
        for what, asked, oldest in (("as of", as_of, oldest_as_of), ("known at", known_at, oldest_known_at)):
            if asked < oldest:
                raise NotFound(
                    f"no state {what} {_instant(asked)}: raw history is kept from {_instant(oldest)} on",
                    "ask for a later instant, or history_1h for how values went before",
                )
        return keyframes.state_at(con, as_of, known_at)

    def last_received(self) -> int | None:
        """The latest time of receipt, ns since 1970 UTC; None when there are no batches."""
        con = self.cursor()
        try:
            row = one(con, "SELECT max(max_received) FROM batches")
        finally:
            con.close()
        return None if row is None or row[0] is None else int(row[0])

    def latest(self, known: Mapping[str, int], received_time: int) -> Readings | None:
        """The newest reading of every known name as point-id readings; None when history is empty."""
        con = self.cursor()
        rows = keyframes.state_at(con, ALWAYS, ALWAYS)
        con.close()
        of_series = np.array([known.get(self._names.names[s], -1) for s in rows.series.tolist()], np.int32)
        keep = np.flatnonzero(of_series >= 0)
        if not len(keep):
            return None
        keep = keep[np.argsort(of_series[keep])]
        text = {i: rows.text[int(r)] for i, r in enumerate(keep) if int(r) in rows.text}
        return Readings.of(
            of_series[keep], rows.value[keep], received_time, rows.quality[keep], rows.source_time[keep], text
        )

    def trend(self, name: str, start: int, end: int, most: int) -> trend.Drawn:
        """One point in [start, end] ns; see twin/trend.py."""
        con = self.cursor()
        try:
            return trend.read(con, name, start, end, most)
        finally:
            con.close()

    def past(self, name: str, span: past.Span) -> list[past.Past]:
        """Raw readings of one point, a page of them; see twin/past.py."""
        con = self.cursor()
        try:
            return past.read(con, name, span)
        finally:
            con.close()

    def _rows_since_frame(self) -> int:
        row = one(
            self._root,
            "SELECT coalesce(sum(rows), 0) FROM batches WHERE batch > ?",
            [keyframes.last_frame(self._root).frame],
        )
        return int(row[0]) if row else 0


def _open(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    """The file with today's tables; one of an older version is brought up to it first."""
    try:
        con = duckdb.connect(str(path), read_only=read_only, config=CONFIG)
    except duckdb.IOException as error:
        raise Unavailable(
            f"history {path} cannot be opened: {str(error).splitlines()[0]}",
            "another process may hold it: stop that server, or ask it with `twinloop query`",
        ) from error
    try:
        if not read_only:
            shutil.rmtree(
                f"{path}.tmp", ignore_errors=True
            )  # what queries of a killed process left: the file is ours now
            history_schema.bring_up(con, str(path))
        elif history_schema.require_known(con, str(path)) < history_schema.SCHEMA_VERSION:
            con.close()
            _open(path, read_only=False).close()
            return _open(path, read_only=True)
    except BaseException:
        con.close()
        raise
    if not read_only:
        path.chmod(0o600)
    return con


def _instant(time_ns: int) -> str:
    """UTC, to the nanosecond."""
    return f"{np.datetime64(time_ns, 'ns')}Z" if abs(time_ns) < ALWAYS else "the end of time"


def _arrow(batch: int, rows: SeriesRows) -> pa.Table:
    count = len(rows)
    if rows.text:
        said: list[str | None] = [None] * count
        for row, words in rows.text.items():
            said[row] = words
        text = pa.array(said, pa.string())
    else:
        text = pa.nulls(count, pa.string())
    return pa.table(
        {
            "batch": np.full(count, batch, np.int64),
            "row": np.arange(count, dtype=np.int32),
            "series": rows.series,
            "value": pa.array(rows.value),
            "text": text,
            "quality": rows.quality,
            "source_time": rows.source_time,
            "received_time": rows.received_time,
            "noticed": pa.array(rows.noticed),
        }
    )
