"""SQL over the twin: the same SELECT on twins, relationships, points and history; read-only and bounded.

Must not know who asks. Runs in a thread, on a consistent copy of the columns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from twin import quality
from twin.errors import BadRequest, LimitExceeded
from twin.plant import Plant
from twin.store import Store
from twin.table import NEVER, Columns
from twin.tiers import VIEWS

ROWS_MAX = 100_000
ROWS_AT_ONCE = 256
ANSWER_BYTES_MAX = 16_000_000  # ten times what a person reads, and a fraction of a second to encode
TIMEOUT_S = 20.0
STATEMENT_MAX = 100_000  # characters
HISTORY_VIEW = """
CREATE OR REPLACE TEMP VIEW history AS
SELECT s.name AS point, CASE WHEN isnan(r.value) THEN NULL ELSE r.value END AS value, r.text, r.quality,
  coalesce(q.name, CASE r.quality >> 30 WHEN 0 THEN 'Good' WHEN 1 THEN 'Uncertain' ELSE 'Bad' END) AS quality_name,
  make_timestamp_ns(r.source_time) AS source_time,
  make_timestamp_ns(r.received_time) AS received_time, r.batch, coalesce(r.noticed, false) AS noticed
FROM readings r JOIN series s ON s.id = r.series LEFT JOIN quality_names q ON q.code = r.quality
"""
QUALITY_NAMES = pa.table({"code": pa.array(quality.NAMES, pa.uint32()), "name": list(quality.NAMES.values())})


@dataclass(frozen=True, slots=True)
class Answer:
    """Columns by name, rows as Python values; `truncated` when there were more rows than asked for."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool
    elapsed_ms: float


class TwinTables:
    """The plant and one moment of its columns as Arrow tables."""

    def __init__(self, plant: Plant) -> None:
        kinds = {i.id: i.kind for i in plant.interfaces.values()}
        self.twins = pa.table(
            {
                "id": [t.id for t in plant.twins],
                "interface": [t.interface for t in plant.twins],
                "kind": [kinds.get(t.interface, "Link") for t in plant.twins],
                "name": [t.name for t in plant.twins],
            }
        )
        self.relationships = pa.table(
            {
                "source": pa.array([r.source for r in plant.relationships], pa.string()),
                "name": pa.array([r.name for r in plant.relationships], pa.string()),
                "target": pa.array([r.target for r in plant.relationships], pa.string()),
            }
        )
        self._fixed = {
            "id": pa.array([p.id for p in plant.points], pa.int32()),
            "name": [p.name for p in plant.points],
            "twin": [p.twin for p in plant.points],
            "property": [p.property for p in plant.points],
            "type": [p.type for p in plant.points],
            "unit": [p.unit for p in plant.points],
            "device": [p.device for p in plant.points],
            "address": [p.address for p in plant.points],
            "writable": [p.writable for p in plant.points],
        }

    def points(self, columns: Columns, desired: Mapping[int, float]) -> pa.Table:
        """One row a point, with reported and desired value; never-read values and times are NULL."""
        count = len(columns)
        unread = columns.source_time == NEVER
        wanted = np.full(count, np.nan)
        for point, value in desired.items():
            wanted[point] = value
        return pa.table(
            {
                **self._fixed,
                "value": pa.array(columns.value, mask=np.isnan(columns.value)),
                "text": pa.array([columns.text.get(i) for i in range(count)], pa.string()),
                "quality": columns.quality,
                "quality_name": [quality.name(int(q)) for q in columns.quality],
                "source_time": pa.array(columns.source_time, pa.timestamp("ns"), mask=unread),
                "received_time": pa.array(columns.received_time, pa.timestamp("ns"), mask=unread),
                "revision": columns.revision,
                "desired": pa.array(wanted, mask=np.isnan(wanted)),
            }
        )


def run(store: Store, tables: Mapping[str, pa.Table], sql: str, limit: int) -> Answer:
    """One SELECT over the given tables, `history` and `dead_letters`.

    Raises:
        BadRequest: it is no single SELECT, or DuckDB cannot make sense of it; the message names the place.
        LimitExceeded: it ran longer than TIMEOUT_S or needs more memory than the store's limit.
    """
    check(sql)
    limit = max(1, min(limit, ROWS_MAX))
    con = store.cursor()
    timer = threading.Timer(TIMEOUT_S, con.interrupt)
    timer.daemon = True
    started = time.perf_counter()
    try:
        con.execute("SET python_enable_replacements = false")
        con.register("quality_names", QUALITY_NAMES)
        con.execute(HISTORY_VIEW)
        con.execute(VIEWS)
        for table_name, table in tables.items():
            con.register(table_name, table)
        con.execute("BEGIN TRANSACTION READ ONLY")
        timer.start()
        con.execute(sql)
        columns = [d[0] for d in con.description or []]
        rows = _fetch(con, limit + 1)
    except duckdb.InterruptException:
        raise LimitExceeded(f"the query ran longer than {TIMEOUT_S:g} s", "narrow it by time or point") from None
    except duckdb.OutOfMemoryException as error:
        raise LimitExceeded(f"the query needs more memory than allowed: {error}", "aggregate or narrow it") from None
    except duckdb.Error as error:
        raise BadRequest(
            str(error).strip(),
            "tables: twins, relationships, points, history, history_1s, history_1min, history_1h, dead_letters, commands",
        ) from None
    finally:
        timer.cancel()
        con.close()
    return Answer(columns, rows[:limit], len(rows) > limit, (time.perf_counter() - started) * 1000)


def _fetch(con: duckdb.DuckDBPyConnection, most: int) -> list[tuple[Any, ...]]:
    """At most `most` rows and ANSWER_BYTES_MAX of text and blobs."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while len(rows) < most:
        part = con.fetchmany(min(ROWS_AT_ONCE, most - len(rows)))
        if not part:
            break
        size += sum(len(cell) for row in part for cell in row if isinstance(cell, str | bytes | list | dict))
        if size > ANSWER_BYTES_MAX:
            raise LimitExceeded(
                f"the answer is larger than {ANSWER_BYTES_MAX} bytes", "ask for fewer or shorter columns"
            )
        rows += part
    return rows


def check(sql: str) -> None:
    """
    Raises:
        BadRequest: anything but one SELECT.
    """
    if len(sql) > STATEMENT_MAX:
        raise BadRequest(f"the statement has {len(sql)} characters", f"at most {STATEMENT_MAX} are taken")
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise BadRequest(str(error).strip(), "write one SELECT") from None
    if len(statements) != 1:
        raise BadRequest(f"{len(statements)} statements", "send exactly one SELECT")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise BadRequest(f"{statements[0].type.name} is not allowed: queries only read", "write one SELECT")
