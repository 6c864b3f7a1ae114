"""History on a real file: what is flushed is there, what is altered is found, what is too much is counted."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from twin import quality
from twin.errors import BadRequest, LimitExceeded, Unavailable
from twin.history import QUEUE_MAX, QUEUE_ROWS_MAX, History
from twin.query import Queries
from twin.readings import Readings
from twin.store import Batch, Store

NAMES = ["a.x", "b.y", "c.t"]


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
    with Store(tmp_path / "history.duckdb") as opened:
        yield opened


def test_flushed_readings_are_answered_by_sql_with_time_and_quality(store: Store) -> None:
    made: list[Batch] = []
    history = History(store, NAMES, made.append)
    history.record(Readings.of([0, 1], [1.5, math.nan], 7_000, [0, quality.BAD_TIMEOUT], [5_000, 6_000]))
    history.record(Readings.of([2], [math.nan], 8_000, text={0: "online"}))
    history.flush().result(10)
    answer = Queries(store).run(
        {}, "SELECT point, value, text, quality_name, epoch_ns(source_time) FROM history ORDER BY 1", 10
    )
    assert answer.rows == [
        ("a.x", 1.5, None, "Good", 5_000),
        ("b.y", None, None, "BadTimeout", 6_000),
        ("c.t", None, "online", "Good", 8_000),
    ]
    assert sum(b.rows for b in made) == 3
    history.close()


def test_every_batch_has_the_digest_that_its_rows_give_again(store: Store) -> None:
    made: list[Batch] = []
    history = History(store, NAMES, made.append)
    for n in range(5):
        history.record(Readings.of([0, 1, 2], [float(n), math.nan, math.nan], n, text={2: f"é{n}"}))
        history.flush().result(10)
    assert store.recompute(store.cursor(), 0, 9) == {b.batch: b.digest for b in made}
    history.close()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE readings SET value = 1.0000001 WHERE batch = 0 AND row = 0",
        "UPDATE readings SET quality = 0 WHERE batch = 0 AND row = 1",
        "UPDATE readings SET source_time = source_time + 1 WHERE batch = 0 AND row = 0",
        "UPDATE readings SET row = 1 - row WHERE batch = 0",
        "DELETE FROM readings WHERE batch = 0 AND row = 1",
        "UPDATE series SET name = 'z.z' WHERE name = 'a.x'",
    ],
)
def test_an_altered_row_changes_its_batch_digest(store: Store, tampering: str) -> None:
    made: list[Batch] = []
    history = History(store, NAMES, made.append)
    history.record(Readings.of([0, 1], [1.0, 2.0], 5, [0, quality.BAD_TIMEOUT]))
    history.close()
    store.cursor().execute(tampering)
    assert store.recompute(store.cursor(), 0, 0).get(0) != made[0].digest


def test_series_keep_their_ids_when_the_plant_changes(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    with Store(path) as store:
        history = History(store, ["a.x", "b.y"], lambda _: None)
        history.record(Readings.of([1], [2.0], 5))
        history.close()
    with Store(path) as store:
        history = History(store, ["new.p", "b.y"], lambda _: None)
        history.record(Readings.of([1], [3.0], 6))
        history.close()
        rows = Queries(store).run({}, "SELECT point, value FROM history ORDER BY source_time", 10).rows
        assert rows == [("b.y", 2.0), ("b.y", 3.0)]
        assert store.latest({"b.y": 1}, 9).value.tolist() == [3.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(("deliveries", "size"), [(QUEUE_MAX * 3, 2), (8, QUEUE_ROWS_MAX // 3)])
def test_a_full_queue_counts_every_reading_it_cannot_take_and_goes_on(store: Store, deliveries: int, size: int) -> None:
    gate = threading.Event()
    history = History(store, NAMES, lambda _: gate.wait(30) and None)
    one = Readings.of(np.zeros(size, np.int32), np.ones(size), 1)
    for _ in range(deliveries):
        history.record(one)
    lost = history.overflow
    assert lost > 0
    assert lost % size == 0
    gate.set()
    history.flush().result(60)
    assert history.failure is None
    kept = store.cursor().execute("SELECT count(*) FROM readings").fetchall()[0][0]
    assert kept + lost == deliveries * size
    history.close()


def test_who_asks_after_the_close_is_answered_and_readings_are_counted(store: Store) -> None:
    history = History(store, NAMES, lambda _: None)
    history.close()
    history.record(Readings.of([0, 1], [1.0, 2.0], 1))
    history.flush().result(10)
    history.close()
    assert history.overflow == 2


def test_work_between_two_batches_sees_everything_given_before_and_its_error_is_its_own(store: Store) -> None:
    history = History(store, NAMES, lambda _: None)
    history.record(Readings.of([0], [1.0], 1))
    assert history.between(store.next_batch).result(10) == 1
    with pytest.raises(ZeroDivisionError):
        history.between(lambda: 1 // 0).result(10)
    history.record(Readings.of([0], [2.0], 2), noticed=True)
    history.flush().result(10)
    rows = Queries(store).run({}, "SELECT value, noticed FROM history ORDER BY batch", 9).rows
    assert rows == [(1.0, False), (2.0, True)]
    history.close()


def test_a_file_held_by_another_process_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "history.duckdb"
    path.write_bytes(b"this is no database, it only looks like one" * 100)
    with pytest.raises((Unavailable, duckdb.Error)):
        Store(path)


def test_a_trend_of_many_readings_keeps_extremes_and_bad_quality(store: Store) -> None:
    history = History(store, NAMES, lambda _: None)
    count = 20_000
    values = np.sin(np.arange(count) / 500)
    values[7_777], values[12_345] = 50.0, -50.0
    codes = np.zeros(count, np.uint32)
    codes[3_210] = quality.BAD_TIMEOUT
    history.record(Readings.of(np.zeros(count, np.int32), values, count, codes, np.arange(count)))
    history.close()
    drawn = store.trend("a.x", 0, count, 600)
    assert (drawn.tier, drawn.whole) == ("raw", False)
    rows = drawn.rows
    assert len(rows) <= 620
    assert {50.0, -50.0} <= {v for _, v, _ in rows}
    assert quality.BAD_TIMEOUT in {q for _, _, q in rows}
    assert [t for t, _, _ in rows] == sorted(t for t, _, _ in rows)
    few = store.trend("a.x", 0, 99, 600)
    assert (len(few.rows), few.whole) == (100, True)


def test_a_trend_has_what_was_in_force_when_it_began(store: Store) -> None:
    history = History(store, NAMES, lambda _: None)
    codes = np.array([0, 0, quality.BAD_TIMEOUT], np.uint32)
    history.record(Readings.of(np.zeros(3, np.int32), np.array([1.0, 2.0, 9.0]), 30, codes, np.array([10, 20, 30])))
    history.close()
    assert store.trend("a.x", 10, 99, 600).held is None, "nothing is older than the first"
    assert store.trend("a.x", 20, 25, 600).held == (10, 1.0, 0)
    between = store.trend("a.x", 21, 25, 600)
    assert (between.rows, between.held) == ([], (20, 2.0, 0)), "nothing changed: it held"
    held = store.trend("a.x", 40, 50, 600).held
    assert held is not None and held[2] == quality.BAD_TIMEOUT


def test_a_trend_of_years_keeps_its_extremes(store: Store) -> None:
    history = History(store, NAMES, lambda _: None)
    hour_ns, count = 3600 * 10**9, 24 * 366 * 3
    values = np.zeros(count)
    values[7_777], values[12_345] = 50.0, -50.0
    times = 1_600_000_000 * 10**9 + np.arange(count) * hour_ns
    history.record(Readings.of(np.zeros(count, np.int32), values, count, 0, times))
    history.close()
    for start, end in ((int(times[0]), int(times[-1])), (0, 9_200_000_000_000_000_000)):
        drawn = store.trend("a.x", start, end, 5_000)
        assert not drawn.whole and 3 <= len(drawn.rows) <= 5_100
        assert {50.0, -50.0} <= {v for _, v, _ in drawn.rows}


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE readings", "UPDATE readings SET value = 1", "INSERT INTO series VALUES (9, 'x')", "SELECT 1; SELECT 2",
        "COPY readings TO 'x.csv'", "ATTACH 'x.db'", "SET memory_limit = '9GB'", "INSTALL httpfs", "PRAGMA version", "",
        "SELECT * FROM read_csv('/etc/passwd')", "SELECT * FROM '/etc/passwd'", "SELECT nextval('series_id')", "selec 1",
        "CREATE TABLE t AS SELECT 1", "SELECT * FROM nowhere", "SELECT * FROM store",
    ],
)  # fmt: skip
def test_a_query_that_is_not_a_plain_select_is_refused_with_its_place(store: Store, sql: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Queries(store).run({}, sql, 10)
    assert caught.value.message
    assert Queries(store).run({}, "SELECT count(*) FROM series", 1).rows == [(0,)]


def test_a_query_that_runs_too_long_is_stopped_and_says_which_limit(store: Store) -> None:
    with pytest.raises(LimitExceeded, match=r"0\.2 s"):
        Queries(store, 0.2).run(
            {}, "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3", 1
        )


def test_more_rows_than_asked_for_are_cut_and_said(store: Store) -> None:
    answer = Queries(store).run({}, "SELECT * FROM range(100)", 7)
    assert (len(answer.rows), answer.truncated) == (7, True)


def test_an_answer_that_is_too_large_is_stopped_and_says_which_limit(store: Store) -> None:
    with pytest.raises(LimitExceeded, match="16000000 bytes"):
        Queries(store).run({}, "SELECT repeat('x', 100000) FROM range(5000)", 5000)


def test_readings_wait_while_a_query_holds_the_memory(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(store, NAMES, lambda _: None)
    append, refusals = store.append, iter([True, True])

    def short_of_memory(*values: Any) -> Batch:
        if next(refusals, False):
            raise duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate")
        return append(*values)

    monkeypatch.setattr(store, "append", short_of_memory)
    history.record(Readings.of([0], [1.0], 1))
    history.flush().result(30)
    assert (history.overflow, history.failure) == (0, None)
    assert Queries(store).run({}, "SELECT value FROM history", 1).rows == [(1.0,)]
    history.close()
