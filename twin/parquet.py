"""History as Parquet: what an export's columns are, and which rows of a file are news.

Must not know threads, HTTP or who asks. DuckDB reaches no file here; pyarrow does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from twin import upkeep
from twin.digest import SeriesRows
from twin.duck import registered
from twin.errors import BadRequest, LimitExceeded, NotFound
from twin.plant import nearest
from twin.quality import GOOD, good_mask
from twin.schema import CANONICAL_MAX
from twin.tiers import TIER_OF_NAME, windows

ROW_GROUP = 200_000  # rows held in memory while a file is written: some 20 MB
EXPORT_ROWS_MAX = 1_000_000_000  # about 10 GB of Parquet; more is asked for in parts, by time
CHUNK_ROWS_MAX = 50_000  # of an import at once: one batch of history, about 3 MB
TEXT_BYTES_MAX = 128_000_000  # of one column of it
AHEAD_NS = 60 * 1_000_000_000  # what links allow a source's clock, too
NAMED_MAX = 5  # unknown names in one error
RAW = "raw"
TIER_NAMES = (RAW, *TIER_OF_NAME)
TIME = pa.timestamp("ns", tz="UTC")
COLUMNS = pa.schema(
    [
        ("point", pa.string()), ("value", pa.float64()), ("text", pa.string()), ("quality", pa.uint32()),
        ("source_time", TIME), ("received_time", TIME), ("noticed", pa.bool_()),
    ]
)  # fmt: skip
TIER_COLUMNS = pa.schema(
    [
        ("point", pa.string()), ("start", TIME), ("min", pa.float64()), ("max", pa.float64()), ("mean", pa.float64()),
        ("last", pa.float64()), ("last_text", pa.string()), ("quality", pa.uint32()), ("count", pa.int64()),
    ]
)  # fmt: skip
NEEDED = ("point", "value", "source_time", "received_time")
_RAW_SQL = """
SELECT s.name, CASE WHEN isnan(value) THEN NULL ELSE value END, text, quality, source_time, received_time,
  coalesce(noticed, false) FROM readings r JOIN series s ON s.id = r.series WHERE {where}
"""
_TIER_SQL = """
SELECT s.name, start, low, high, CASE WHEN good > 0 THEN total / good END,
  CASE WHEN isnan(newest.value) THEN NULL ELSE newest.value END, newest.text, quality, count
FROM ({windows}) r JOIN series s ON s.id = r.series
"""
_HELD = """
SELECT c.n FROM chunk c WHERE EXISTS (SELECT 1 FROM readings r WHERE r.source_time BETWEEN $first AND $last
  AND r.series = c.series AND r.source_time = c.source_time AND r.received_time = c.received_time
  AND r.quality = c.quality AND r.value IS NOT DISTINCT FROM c.value)
UNION SELECT n FROM (SELECT n, row_number() OVER (
  PARTITION BY series, source_time, received_time, quality, value ORDER BY n) AS again FROM chunk) WHERE again > 1
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """An export: `tier` is raw, 1s, 1min or 1h; source times in [start, end) ns; no points means all."""

    tier: str
    start: int
    end: int
    points: tuple[str, ...]


def export(con: duckdb.DuckDBPyConnection, asked: Asked, sink: IO[bytes]) -> Iterator[int]:
    """Write the rows to `sink`, in the order in which history took them; after each row group, the rows so far.

    Raises:
        BadRequest, NotFound: no such tier or point.
        LimitExceeded: more than EXPORT_ROWS_MAX rows.
    """
    sql, columns = _statement(con, asked)
    reader = con.sql(sql).to_arrow_reader(ROW_GROUP)
    done = 0
    with pq.ParquetWriter(sink, columns, compression="zstd") as writer:
        for part in reader:
            done += len(part)
            if done > EXPORT_ROWS_MAX:
                raise LimitExceeded(f"the export has more than {EXPORT_ROWS_MAX} rows", "export it in parts, by time")
            arrays = [array.cast(kind) for array, kind in zip(part.columns, columns.types, strict=True)]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=columns))
            yield done
    yield done


def _statement(con: duckdb.DuckDBPyConnection, asked: Asked) -> tuple[str, pa.Schema]:
    if asked.tier not in TIER_NAMES:
        raise BadRequest(f"no tier {asked.tier!r}", f"one of {', '.join(TIER_NAMES)}")
    ids = dict(con.execute("SELECT name, id FROM series").fetchall())
    unknown = [p for p in asked.points if p not in ids]
    if unknown:
        raise NotFound(f"history has no point {unknown[0]!r}", nearest(unknown[0], ids))
    series = ", ".join(str(ids[p]) for p in asked.points)
    only = f" AND series IN ({series})" if series else ""
    if asked.tier == RAW:
        return _RAW_SQL.format(where=f"source_time >= {asked.start} AND source_time < {asked.end}{only}"), COLUMNS
    where = f"start >= {asked.start} AND start < {asked.end}{only}"
    return _TIER_SQL.format(windows=windows(TIER_OF_NAME[asked.tier], where)), TIER_COLUMNS


def chunks(path: Path) -> Iterator[pa.Table]:
    """The rows of a file in parts of at most CHUNK_ROWS_MAX, in its order.

    Raises:
        NotFound, BadRequest: there is no such file, it is no Parquet, or its columns are not those of an export.
    """
    file = _opened(path)
    with file:
        check_columns(file.schema_arrow)
        try:
            for part in file.iter_batches(CHUNK_ROWS_MAX):
                yield pa.Table.from_batches([part])
        except (pa.ArrowException, OSError) as error:
            raise BadRequest(f"{path} is damaged: {_first_line(error)}", "export it again") from None


def rows_in(path: Path) -> int:
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def _opened(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}", "name a file of `twinloop history export`") from None
    except (pa.ArrowException, OSError) as error:
        raise BadRequest(f"{path} is no Parquet file: {_first_line(error)}", "export it again") from None


def check_columns(schema: pa.Schema) -> None:
    """
    Raises:
        BadRequest: a needed column is missing, an unknown one is there, or a type cannot become what history keeps.
    """
    fix = f"columns are {', '.join(COLUMNS.names)}; {', '.join(NEEDED)} are needed"
    missing = [name for name in NEEDED if name not in schema.names]
    if missing:
        raise BadRequest(f"there is no column {missing[0]!r}", fix)
    for field in schema:
        if field.name not in COLUMNS.names:
            raise BadRequest(f"unknown column {field.name!r}", fix)
        wanted = COLUMNS.field(field.name).type
        if not _fits(field.type, wanted):
            raise BadRequest(f"column {field.name!r} is {field.type}", f"write it as {wanted}")


def _fits(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_null(found):
        return True
    if pa.types.is_dictionary(found):
        return _fits(found.value_type, wanted)
    if wanted == TIME:
        return bool(pa.types.is_timestamp(found))
    if wanted == pa.string():
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if wanted == pa.bool_():
        return bool(found == wanted)
    return bool(pa.types.is_integer(found) or (wanted == pa.float64() and pa.types.is_floating(found)))


@dataclass(frozen=True, slots=True)
class News:
    """What of a chunk history does not hold yet; the others by why they are left out."""

    rows: SeriesRows
    held: int
    expired: int


def news(con: duckdb.DuckDBPyConnection, table: pa.Table, points: Collection[str], now: int) -> News:
    """The rows of a chunk that history does not hold, as history keeps them.

    Raises:
        BadRequest: a column, a point or a time that cannot be taken; the message names it.
        LimitExceeded: more than CHUNK_ROWS_MAX rows.
    """
    if len(table) > CHUNK_ROWS_MAX:
        raise LimitExceeded(f"{len(table)} rows at once, at most {CHUNK_ROWS_MAX} are taken", "send smaller parts")
    check_columns(table.schema)
    rows = _rows(con, table, points)
    for name, times in (("source_time", rows.source_time), ("received_time", rows.received_time)):
        if len(times) and int(times.max()) > now + AHEAD_NS:
            late = np.datetime64(int(times.max()), "ns")
            raise BadRequest(f"{name} {late}Z lies in the future", "mend the file, or this machine's clock")
    for wrong, what, fix in _impossible(rows):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise BadRequest(f"{table['point'][row]} at {np.datetime64(int(rows.source_time[row]), 'ns')}Z {what}", fix)
    expired = rows.source_time <= upkeep.oldest(con)[0]
    held = _held(con, rows) & ~expired
    keep = np.flatnonzero(~expired & ~held)
    return News(_taken(rows, keep), int(held.sum()), int(expired.sum()))


def _impossible(rows: SeriesRows) -> Iterator[tuple[NDArray[np.bool_], str, str]]:
    """What no device could have made history keep: which rows, what is wrong with them, and the fix."""
    said = np.zeros(len(rows), np.bool_)
    said[list(rows.text)] = True
    long = np.zeros(len(rows), np.bool_)
    long[[row for row, text in rows.text.items() if len(text) > CANONICAL_MAX]] = True
    yield np.isinf(rows.value), "is infinite", "write NULL and a bad quality"
    yield np.isnan(rows.value) & ~said & good_mask(rows.quality), "is good and has no value", "give it a bad quality"
    yield long, "has too long a text", f"at most {CANONICAL_MAX} characters"
    yield rows.source_time > rows.received_time + AHEAD_NS, "was received before it was measured", "mend its times"


def _rows(con: duckdb.DuckDBPyConnection, table: pa.Table, points: Collection[str]) -> SeriesRows:
    ids = {name: number for name, number in con.execute("SELECT name, id FROM series").fetchall() if name in points}
    arrays = {name: _array(table, name) for name in COLUMNS.names}
    names = arrays["point"].dictionary_encode()
    unknown = [n for n in names.dictionary.to_pylist() if n not in ids]
    if unknown:
        more = f" and {len(unknown) - NAMED_MAX} more" if len(unknown) > NAMED_MAX else ""
        shown = ", ".join(map(repr, unknown[:NAMED_MAX]))
        fix = nearest(str(unknown[0]), ids) or "add them to the plant first, or leave them out of the file"
        raise BadRequest(f"unknown points {shown}{more}", fix)
    of_name = np.array([ids[n] for n in names.dictionary.to_pylist()], np.int32)
    table = pa.table({**arrays, "series": of_name[names.indices.to_numpy()]})
    return SeriesRows.of_arrow(
        table.set_column(table.schema.get_field_index("source_time"), "source_time", table["source_time"].cast("int64"))
        .drop_columns(["received_time"]).append_column("received_time", table["received_time"].cast("int64"))
    )  # fmt: skip


def _array(table: pa.Table, name: str) -> pa.Array:
    """One column as history keeps it; left out it is NULL, Good, not noticed."""
    wanted = COLUMNS.field(name).type
    if name not in table.schema.names:
        default: Any = {"quality": GOOD, "noticed": False}.get(name)
        return pa.array([default] * len(table), wanted)
    column = table[name].combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        _check_decoded(column, name)
        column = column.dictionary_decode()
    if column.null_count and name not in ("value", "text"):
        raise BadRequest(
            f"column {name!r} has {column.null_count} rows without a value", "fill them, or leave them out"
        )
    try:
        return column.cast(wanted)
    except pa.ArrowInvalid as error:
        raise BadRequest(f"column {name!r}: {_first_line(error)}", f"write it as {wanted}") from None


def _check_decoded(column: pa.DictionaryArray, name: str) -> None:
    """A long text that stands once may be meant by every row."""
    if pa.types.is_string(column.type.value_type) or pa.types.is_large_string(column.type.value_type):
        size = pc.sum(pc.binary_length(column.dictionary).take(column.indices).cast(pa.int64())).as_py() or 0
        if size > TEXT_BYTES_MAX:
            raise LimitExceeded(f"column {name!r} has {size} bytes of text at once", "send smaller parts")


def _held(con: duckdb.DuckDBPyConnection, rows: SeriesRows) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows history has, or the chunk says a second time, shape (N,)."""
    mask = np.zeros(len(rows), np.bool_)
    if len(rows):
        chunk = pa.table(
            {
                "n": np.arange(len(rows)), "series": rows.series, "value": rows.value, "quality": rows.quality,
                "source_time": rows.source_time, "received_time": rows.received_time,
            }
        )  # fmt: skip
        span = {"first": int(rows.source_time.min()), "last": int(rows.source_time.max())}
        with registered(con, chunk=chunk):
            mask[[n for (n,) in con.execute(_HELD, span).fetchall()]] = True
    return mask


def _taken(rows: SeriesRows, keep: np.ndarray[Any, np.dtype[np.intp]]) -> SeriesRows:
    text = {new: rows.text[int(old)] for new, old in enumerate(keep) if int(old) in rows.text} if rows.text else {}
    return SeriesRows(
        rows.series[keep], rows.value[keep], rows.quality[keep], rows.source_time[keep], rows.received_time[keep],
        rows.noticed[keep], text,
    )  # fmt: skip


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
