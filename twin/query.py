"""SQL over the twin: the same SELECT on twins, relationships, points and history; read-only and bounded.

Must not know who asks. Runs in a thread, on a consistent copy of the columns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from twin import quality
from twin.columns import Columns
from twin.errors import BadRequest, LimitExceeded, TwinloopError, Unavailable
from twin.interface import kind_of
from twin.moment import Moment
from twin.plant import Plant
from twin.points import Points
from twin.statement import FORMS, POINT_COLUMNS, Call, calls, check, macros
from twin.store import Store
from twin.tiers import VIEWS

ROWS_MAX = 100_000
ROWS_AT_ONCE = 256
NESTED = ("(", "[")  # in the name of a type: structs, maps, lists and decimals
NESTED_ROWS_AT_ONCE = 64
ANSWER_BYTES_MAX = 16_000_000  # ten times what a person reads, and a fraction of a second to encode
TIMEOUT_S = 20.0
_NAMES = " ".join(f"WHEN {code} THEN '{name}'" for code, name in quality.NAMES.items())
SETUP = f"""
SET python_enable_replacements = false;
CREATE OR REPLACE TEMP MACRO quality_name(code) AS CASE code {_NAMES}
  ELSE CASE code >> 30 WHEN 0 THEN 'Good' WHEN 1 THEN 'Uncertain' ELSE 'Bad' END END;
CREATE OR REPLACE TEMP VIEW history AS
SELECT s.name AS point, CASE WHEN isnan(r.value) THEN NULL ELSE r.value END AS value, r.text, r.quality,
  quality_name(r.quality) AS quality_name, make_timestamp_ns(r.source_time) AS source_time,
  make_timestamp_ns(r.received_time) AS received_time, coalesce(r.noticed, false) AS noticed, r.batch
FROM readings r JOIN series s ON s.id = r.series;
{VIEWS}
{macros()}
"""
TABLES = ("points", "history", "history_1s", "history_1min", "history_1h", "dead_letters")
NO_POINTS = Moment(0, Columns.empty(0)).table(Points.of(()))


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns by name, rows as Python values; `truncated` when there were more rows than asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_ms: float


class PlantTables:
    """The tables of a plant that change only with the plant: `twins`, `relationships`, and reach over them."""

    def __init__(self, plant: Plant) -> None:
        self.graph = plant.graph
        kinds = {i.id: i.kind for i in plant.interfaces.values()}
        interfaces = [t.interface for t in plant.twins]
        self.tables = {
            "twins": pa.table(
                {
                    "id": pa.array([t.id for t in plant.twins], pa.string()),
                    "interface": _words(interfaces),
                    "kind": _words([kinds.get(i) or kind_of(i) for i in interfaces]),
                    "name": pa.array([t.name for t in plant.twins], pa.string()),
                }
            ),
            "relationships": pa.table(
                {
                    "source": pa.array([r.source for r in plant.relationships], pa.string()),
                    "name": _words([r.name for r in plant.relationships]),
                    "target": pa.array([r.target for r in plant.relationships], pa.string()),
                }
            ),
        }

    def reach(self, call: Call) -> pa.Table:
        """(id, hops) of the twins that `upstream_of`, `downstream_of` or `parts_of` names.

        Raises:
            NotFound: there is no such twin.
            BadRequest: hops is no whole number.
        """
        words = call.arguments
        hops = words["hops"]
        if hops and not (hops.isascii() and hops.isdigit()):
            raise BadRequest(f"{call.name}: hops {hops!r}", "give a whole number")
        most = int(hops) if hops else None
        along = words.get("along") or None
        names = None if along is None else [name.strip() for name in along.split(",")]
        match call.name:
            case "parts_of":
                found = self.graph.parts(words["twin"], most)
            case "upstream_of":
                found = self.graph.upstream(words["twin"], names, most)
            case _:
                found = self.graph.downstream(words["twin"], names, most)
        return pa.table({"id": pa.array(found, pa.string()), "hops": pa.array(found.values(), pa.int32())})


def _words(texts: list[str]) -> pa.Array:
    """Few distinct texts, each kept once."""
    return pa.array(texts, pa.string()).dictionary_encode()


class Queries:
    """Runs SELECTs on a store through a few connections that are set up once. `run` may be called from many threads."""

    def __init__(
        self, store: Store, timeout_s: float = TIMEOUT_S, views: str = "", empty: Mapping[str, pa.Table] | None = None
    ) -> None:
        """`views`: more of them, as SQL; `empty`: tables that they read, for as long as `run` is given none of that name."""
        self._views, self._empty = views, {"point_rows": NO_POINTS, **(empty or {})}
        self._store = store
        self._timeout_s = timeout_s
        self._idle: list[duckdb.DuckDBPyConnection] = []
        self._running: set[duckdb.DuckDBPyConnection] = set()
        self._closed = False

    def close(self) -> None:
        """Running statements are stopped, and no other is taken."""
        self._closed = True
        for con in list(self._running):
            con.interrupt()

    def run(
        self,
        tables: Mapping[str, pa.Table],
        sql: str,
        limit: int,
        resolve: Callable[[Call], pa.Table] | None = None,
    ) -> Answer:
        """One SELECT over the given tables, `history` and `dead_letters`.

        Args:
            tables: by name; `point_rows` (Moment.table) is what the view `points` shows.
            resolve: the table that answers a use of `at`, `branch`, `upstream_of` … in the statement; None where
                nothing can.

        Raises:
            BadRequest: it is no single SELECT, or DuckDB cannot make sense of it; the message names the place.
            LimitExceeded: it ran longer than the time limit or needs more memory than the store's limit.
        """
        check(sql)
        limit = max(1, min(limit, ROWS_MAX))
        started = time.perf_counter()
        con = self._idle.pop() if self._idle else self._connect()
        timer = threading.Timer(self._timeout_s, con.interrupt)
        timer.daemon = True
        clean = False
        self._running.add(con)
        try:
            if self._closed:
                raise Unavailable("the server is stopping", "ask again when it is back")
            answers = {call.key: _resolved(call, resolve) for call in calls(con, sql)}
            for name, table in {**tables, **answers}.items():
                con.register(name, table)
            con.execute("BEGIN TRANSACTION READ ONLY")
            timer.start()
            columns, rows = _executed(con, sql, limit + 1)
            timer.cancel()
            con.execute("ROLLBACK")
            for name in (*tables, *answers):
                con.unregister(name)
            for name, table in self._empty.items():
                con.register(name, table)
            clean = time.perf_counter() - started < self._timeout_s  # else an interrupt may still be on its way to it
        except duckdb.Error as error:
            raise self._in_our_words(error, tables) from None
        finally:
            timer.cancel()
            self._running.discard(con)
            self._idle.append(con) if clean else con.close()
        return Answer(columns, rows[:limit], len(rows) > limit, (time.perf_counter() - started) * 1000)

    def _in_our_words(self, error: duckdb.Error, tables: Iterable[str]) -> TwinloopError:
        match error:
            case duckdb.InterruptException() if self._closed:
                return Unavailable("the server is stopping", "ask again when it is back")
            case duckdb.InterruptException():
                return LimitExceeded(f"the query ran longer than {self._timeout_s:g} s", "narrow it by time or point")
            case duckdb.OutOfMemoryException():
                return LimitExceeded(f"the query needs more memory than allowed: {error}", "aggregate or narrow it")
            case _:
                known = [*TABLES, *(n for n in tables if n not in self._empty), *FORMS]
                return BadRequest(str(error).strip(), f"tables: {', '.join(known)}")

    def _connect(self) -> duckdb.DuckDBPyConnection:
        con = self._store.cursor()
        con.execute(SETUP)
        for name, table in self._empty.items():
            con.register(name, table)
        con.execute(f"CREATE OR REPLACE TEMP VIEW points AS SELECT {POINT_COLUMNS} FROM point_rows; {self._views}")
        return con


def _resolved(call: Call, resolve: Callable[[Call], pa.Table] | None) -> pa.Table:
    if resolve is None:
        raise BadRequest(f"{call.name} needs a running server", "start one with `twinloop up`")
    return resolve(call)


def _executed(con: duckdb.DuckDBPyConnection, sql: str, most: int) -> tuple[list[str], list[tuple[Any, ...]]]:
    """(names of the columns, at most `most` rows)."""
    con.execute(sql)
    head = con.description or []
    columns = [d[0] for d in head]
    if any(mark in str(d[1]) for d in head for mark in NESTED):
        con.abort()
        return columns, _fetch_nested(con.sql(sql), most)
    return columns, _fetch(con, most)


def _fetch(con: duckdb.DuckDBPyConnection, most: int) -> list[tuple[Any, ...]]:
    """At most `most` rows and ANSWER_BYTES_MAX of text and blobs."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) < most:
        part = con.fetchmany(min(ROWS_AT_ONCE, most - len(rows)))
        if not part:
            break
        size = _bounded(size + sum(len(cell) for row in part for cell in row if isinstance(cell, str | bytes)))
        rows += part
    return rows


def _fetch_nested(found: duckdb.DuckDBPyRelation, most: int) -> list[tuple[Any, ...]]:
    """The same for lists and structs, whose size is known as Arrow before they become Python objects."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    for part in found.to_arrow_reader(NESTED_ROWS_AT_ONCE):
        size = _bounded(size + part.nbytes)
        cells = zip(*(column.to_pylist() for column in part.columns), strict=True)
        rows += [
            tuple(int(c) if isinstance(c, Decimal) and c == c.to_integral_value() else c for c in r) for r in cells
        ]
        if len(rows) >= most:
            break
    return rows[:most]


def _bounded(size: int) -> int:
    if size > ANSWER_BYTES_MAX:
        raise LimitExceeded(f"the answer is larger than {ANSWER_BYTES_MAX} bytes", "ask for fewer or shorter columns")
    return size
