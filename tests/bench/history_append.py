"""Readings a second made durable, 10,000 a commit, while queries run, against a bare DuckDB insert of the same columns."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from tests.bench import line
from twin.digest import SeriesRows
from twin.store import CONFIG, Store

POINTS, BATCH = 10_000, 10_000
COMMITS = int(os.environ.get("TWINLOOP_BENCH_COMMITS", "400"))
TABLE = (
    "CREATE TABLE readings (batch BIGINT, row INTEGER, series INTEGER, value DOUBLE, text VARCHAR, quality UINTEGER, "
    "source_time BIGINT, received_time BIGINT, noticed BOOLEAN)"
)
QUERY = (
    "SELECT series, avg(value) FROM readings WHERE batch > (SELECT max(batch) - 20 FROM readings) "
    "AND quality >> 30 = 0 GROUP BY series ORDER BY 2 DESC LIMIT 10"
)


def batches() -> list[SeriesRows]:
    chance = np.random.default_rng(1)
    made = []
    for n in range(COMMITS):
        source = np.int64(1_700_000_000_000_000_000 + n * 100_000_000) + chance.integers(0, 100_000_000, BATCH)
        made.append(
            SeriesRows(
                chance.permutation(POINTS).astype(np.int32) + 1,
                chance.random(BATCH),
                np.where(chance.random(BATCH) < 0.01, 0x80310000, 0).astype(np.uint32),
                source,
                np.full(BATCH, 1_700_000_000_200_000_000 + n * 100_000_000, np.int64),
                np.zeros(BATCH, np.bool_),
            )
        )
    return made


Append = Callable[[int, SeriesRows], object]


def rates(
    appends: dict[str, Append], asking: list[duckdb.DuckDBPyConnection], made: list[SeriesRows]
) -> dict[str, float]:
    """Readings a second of each, commit by commit in turns, while another thread asks one query after the other."""
    stop = threading.Event()
    asked = 0

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            asking[asked % len(asking)].execute(QUERY).fetchall()
            asked += 1

    for append in appends.values():
        append(0, made[0])
    thread = threading.Thread(target=ask)
    thread.start()
    took_s = dict.fromkeys(appends, 0.0)
    for number, rows in enumerate(made[1:], 1):
        for name, append in appends.items():
            begun = time.perf_counter()
            append(number, rows)
            took_s[name] += time.perf_counter() - begun
    stop.set()
    thread.join()
    assert asked > len(asking), "no query ran"
    return {name: (len(made) - 1) * BATCH / s for name, s in took_s.items()}


def bare(con: duckdb.DuckDBPyConnection) -> Append:
    con.execute(TABLE)

    def append(number: int, rows: SeriesRows) -> None:
        table = pa.table(
            {
                "batch": np.full(BATCH, number, np.int64),
                "row": np.arange(BATCH, dtype=np.int32),
                "series": rows.series,
                "value": rows.value,
                "text": pa.nulls(BATCH, pa.string()),
                "quality": rows.quality,
                "source_time": rows.source_time,
                "received_time": rows.received_time,
                "noticed": rows.noticed,
            }
        )
        con.register("new_rows", table)
        con.execute("INSERT INTO readings SELECT * FROM new_rows")
        con.unregister("new_rows")

    return append


def main() -> None:
    made = batches()
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder) / "history.duckdb") as store,
        duckdb.connect(str(Path(folder) / "bare.duckdb"), config=CONFIG) as peer,
    ):
        store.series_of([f"twin_{n}.value" for n in range(POINTS)])
        con = store.cursor()
        appends: dict[str, Append] = {
            "bare": bare(peer.cursor()), "ours": lambda number, rows: store.append(con, number, rows)
        }  # fmt: skip
        found = rates(appends, [peer.cursor(), store.cursor()], made)
        frames = con.execute("SELECT count(*) FROM frames").fetchall()[0][0]
        assert frames == COMMITS * BATCH // 1_000_000, "keyframes are part of the price"
    detail: dict[str, object] = {"points": POINTS, "batch": BATCH, "commits": COMMITS, "keyframes": frames}
    line("history_append", round(found["ours"]), "readings/s", round(found["bare"]), detail)


if __name__ == "__main__":
    main()
