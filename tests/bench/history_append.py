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
COMMITS = int(os.environ.get("TWINLOOP_BENCH_COMMITS", "150"))
ROUNDS = 3
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


def rate(append: Callable[[int, SeriesRows], object], con: duckdb.DuckDBPyConnection, made: list[SeriesRows]) -> float:
    """Readings a second while `con` asks one query after the other."""
    stop = threading.Event()
    asked = 0

    def ask() -> None:
        nonlocal asked
        while not stop.is_set():
            con.execute(QUERY).fetchall()
            asked += 1

    asking = threading.Thread(target=ask)
    append(0, made[0])
    asking.start()
    begun = time.perf_counter()
    for number, rows in enumerate(made[1:], 1):
        append(number, rows)
    took_s = time.perf_counter() - begun
    stop.set()
    asking.join()
    assert asked, "no query ran"
    return (len(made) - 1) * BATCH / took_s


def ours(folder: Path, made: list[SeriesRows]) -> float:
    with Store(folder / "history.duckdb") as store:
        store.series_of([f"twin_{n}.value" for n in range(POINTS)])
        con = store.cursor()
        found = rate(lambda number, rows: store.append(con, number, rows), store.cursor(), made)
        row = con.execute("SELECT count(*) FROM frames").fetchall()
        assert row[0][0] >= 1 or COMMITS * BATCH < 500_000, "keyframes are part of the price"
        return found


def bare(folder: Path, made: list[SeriesRows]) -> float:
    with duckdb.connect(str(folder / "bare.duckdb"), config=CONFIG) as root:
        root.execute(TABLE)
        con = root.cursor()

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

        return rate(append, root.cursor(), made)


def main() -> None:
    made = batches()
    found: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(ROUNDS):  # in turns, so that a slow moment of the disk hits both
        for name, work in (("bare", bare), ("ours", ours)):
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(work(Path(folder), made))
    ours_s, bare_s = (sorted(found[name])[ROUNDS // 2] for name in ("ours", "bare"))
    detail: dict[str, object] = {"points": POINTS, "batch": BATCH, "commits": COMMITS, "rounds": ROUNDS}
    line("history_append", round(ours_s), "readings/s", round(bare_s), detail)


if __name__ == "__main__":
    main()
