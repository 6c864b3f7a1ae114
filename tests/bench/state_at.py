"""The state of 100,000 points at a past instant out of 50 million readings, against the plain statement over all rows."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb
import numpy as np

from tests.bench import line
from twin.digest import SeriesRows
from twin.keyframes import scanned_state_at
from twin.store import Store, transaction

POINTS, BATCH = 100_000, 10_000
ROWS = int(os.environ.get("TWINLOOP_BENCH_ROWS", "50000000"))
START, STEP_NS = 1_700_000_000_000_000_000, 100_000  # 10,000 readings a second: every point each 10 s
INSTANTS = 9
# One reading in fifty comes up to a minute late; one in a thousand is a fall of quality that the twin noticed.
ROWS_SQL = f"""
SELECT i // {BATCH}, i % {BATCH}, 1 + (i * 7919) % {POINTS}, (hash(i) % 100000) / 100.0, NULL,
  CASE WHEN i % 1000 = 7 THEN 2150694912 ELSE 0 END,
  {START} + i * {STEP_NS} - CASE WHEN i % 50 = 0 THEN (hash(i) % 60000000000)::BIGINT ELSE 0 END,
  {START} + (i // {BATCH} + 1) * {BATCH * STEP_NS}, i % 1000 = 7
FROM range($first, $last) r(i)
"""
INSERT_ROWS = 5_000_000  # at once: fits the store's memory limit


def build(store: Store, con: duckdb.DuckDBPyConnection) -> None:
    """The rows by SQL; keyframes are missing, as in a file of an older version."""
    store.series_of([f"twin_{n}.value" for n in range(POINTS)])
    for first in range(0, ROWS, INSERT_ROWS):
        span = {"first": first, "last": min(first + INSERT_ROWS, ROWS)}
        with transaction(con):
            con.execute(f"INSERT INTO readings {ROWS_SQL}", span)
            con.execute(
                "INSERT INTO batches SELECT batch, count(*), '', 2, max(source_time), max(received_time) FROM readings "
                f"WHERE batch >= $first // {BATCH} GROUP BY batch",
                {"first": first},
            )


def same(found: SeriesRows, expected: SeriesRows) -> bool:
    order, wanted = np.argsort(found.series), np.argsort(expected.series)
    names = ("series", "value", "quality", "source_time", "received_time", "noticed")
    return all(np.array_equal(getattr(found, n)[order], getattr(expected, n)[wanted]) for n in names)


def main() -> None:
    chance = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        with Store(Path(folder) / "history.duckdb") as store:
            build(store, store.cursor())
        ask(Path(folder), chance, begun)


def ask(folder: Path, chance: np.random.Generator, begun: float) -> None:
    with Store(folder / "history.duckdb") as store:
        con = store.cursor()
        frames = 0
        while store.frame_missing(con):
            frames += 1
        con.execute("CHECKPOINT")
        built_s = time.perf_counter() - begun
        size = (folder / "history.duckdb").stat().st_size
        took_s, plain_s = [], []
        for n, share in enumerate(chance.uniform(0.05, 1.0, INSTANTS)):
            as_of = START + int(share * ROWS) * STEP_NS
            known_at = as_of if n % 2 else START + 2 * ROWS * STEP_NS
            begun = time.perf_counter()
            found = store.state_at(con, as_of, known_at)
            took_s.append(time.perf_counter() - begun)
            if n < 4:
                begun = time.perf_counter()
                expected = scanned_state_at(con, as_of, known_at)
                plain_s.append(time.perf_counter() - begun)
                assert same(found, expected), f"another state as of {as_of}, known at {known_at}"
    detail: dict[str, object] = {
        "points": POINTS, "rows": ROWS, "file_mb": round(size / 1e6), "keyframes": frames, "build_s": round(built_s, 1),
        "worst_ms": round(max(took_s) * 1000, 1), "instants": INSTANTS,
    }  # fmt: skip
    line("state_at", round(median(took_s) * 1000, 1), "ms", round(median(plain_s) * 1000, 1), detail)


if __name__ == "__main__":
    main()
