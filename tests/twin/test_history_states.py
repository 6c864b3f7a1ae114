"""The state of every series at a past instant, as known at another, against the rule written in plain Python."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin import history_schema
from twin.digest import SeriesRows
from twin.errors import Unavailable
from twin.keyframes import ALWAYS, Interval
from twin.store import Store

SERIES = ("a", "b", "c")


@dataclass(frozen=True)
class Row:
    series: int
    value: float
    source_time: int
    received_time: int
    noticed: bool


rows = st.builds(
    Row,
    st.integers(1, len(SERIES)),
    st.floats(-9, 9) | st.just(float("nan")),
    st.integers(0, 30),
    st.integers(0, 30),
    st.booleans(),
)
batches = st.lists(st.lists(rows, min_size=1, max_size=6), min_size=1, max_size=12)


def columns(batch: list[Row]) -> SeriesRows:
    return SeriesRows(
        np.array([r.series for r in batch], np.int32),
        np.array([r.value for r in batch]),
        np.arange(len(batch), dtype=np.uint32),
        np.array([r.source_time for r in batch], np.int64),
        np.array([r.received_time for r in batch], np.int64),
        np.array([r.noticed for r in batch]),
        {n: f"text {n}" for n, r in enumerate(batch) if r.series == 3},
    )


def model(made: list[list[Row]], as_of: int, known_at: int) -> dict[int, tuple[object, ...]]:
    """Newest by source time, then order of arrival; a noticed fall counts from when it was noticed. -0.0 is 0.0."""
    found: dict[int, tuple[object, ...]] = {}
    newest: dict[int, int] = {}
    for batch in made:
        for n, row in enumerate(batch):
            known = row.received_time <= (min(as_of, known_at) if row.noticed else known_at)
            if known and row.source_time <= as_of and row.source_time >= newest.get(row.series, -1):
                newest[row.series] = row.source_time
                text = f"text {n}" if row.series == 3 else None
                found[row.series] = (str(row.value + 0.0), n, row.source_time, row.received_time, row.noticed, text)
    return found


def as_dict(state: SeriesRows) -> dict[int, tuple[object, ...]]:
    return {
        int(s): (
            str(float(state.value[i]) + 0.0), int(state.quality[i]), int(state.source_time[i]), int(state.received_time[i]),
            bool(state.noticed[i]), state.text.get(i),
        )
        for i, s in enumerate(state.series)
    }  # fmt: skip


@given(
    batches, st.integers(1, 12), st.lists(st.tuples(st.integers(-1, 31), st.integers(-1, 31)), min_size=8, max_size=8)
)
@settings(max_examples=80, deadline=None)
def test_the_state_at_any_instant_is_the_one_the_rule_gives(
    made: list[list[Row]], interval: int, asked: list[tuple[int, int]]
) -> None:
    """Late, repeated, noticed readings and clocks that run ahead; keyframes every few rows."""
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "h", interval=Interval(interval, 0)) as store:
        store.series_of(SERIES)
        con = store.cursor()
        for number, batch in enumerate(made):
            store.append(con, number, columns(batch))
        for as_of, known_at in [*asked, (ALWAYS, ALWAYS)]:
            assert as_dict(store.state_at(con, as_of, known_at)) == model(made, as_of, known_at)
        found = store.latest({name: n for n, name in enumerate(SERIES)}, 0)
        assert found is not None
        expected = {s - 1: row[2] for s, row in model(made, ALWAYS, ALWAYS).items()}
        assert dict(zip(found.point.tolist(), found.source_time.tolist(), strict=True)) == expected


def test_keyframes_are_there_and_are_used(tmp_path: Path) -> None:
    with Store(tmp_path / "h", interval=Interval(10, 0)) as store:
        store.series_of(SERIES)
        con = store.cursor()
        for number in range(10):
            store.append(con, number, columns([Row(1 + n % 3, float(n), number, number, False) for n in range(5)]))
        assert con.execute("SELECT frame, rows FROM frames ORDER BY frame").fetchall() == [
            (n, 3) for n in (1, 3, 5, 7, 9)
        ]
        con.execute("DELETE FROM readings WHERE batch <= 7")  # what a keyframe stands for is not read again
        assert store.state_at(con, 8, 8).source_time.tolist() == [8, 8, 8]
        assert store.state_at(con, 7, 7).source_time.tolist() == [7, 7, 7]
        assert len(store.state_at(con, 6, 6)) == 3


OLD_TABLES = """
CREATE SEQUENCE series_id;
CREATE TABLE series (id INTEGER PRIMARY KEY DEFAULT nextval('series_id'), name VARCHAR UNIQUE NOT NULL);
CREATE TABLE batches (batch BIGINT PRIMARY KEY, rows INTEGER NOT NULL, digest VARCHAR NOT NULL);
CREATE TABLE readings (
  batch BIGINT NOT NULL, row INTEGER NOT NULL, series INTEGER NOT NULL, value DOUBLE, text VARCHAR,
  quality UINTEGER NOT NULL, source_time BIGINT NOT NULL, received_time BIGINT NOT NULL);
CREATE TABLE dead_letters (
  received_time TIMESTAMP_NS NOT NULL, device VARCHAR, point VARCHAR, address VARCHAR, reason VARCHAR,
  detail VARCHAR, raw BLOB);
INSERT INTO series (name) VALUES ('a'), ('b');
INSERT INTO batches VALUES (0, 2, 'y'), (1, 1, 'x');
INSERT INTO readings VALUES (0, 0, 1, 1.5, NULL, 0, 10, 11), (0, 1, 2, 'nan', 'é', 0, 12, 13), (1, 0, 1, 2.5, NULL, 0, 20, 21);
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_of_the_first_format_is_brought_up_and_its_digests_hold(tmp_path: Path, read_only: bool) -> None:
    path = tmp_path / "h"
    with duckdb.connect(str(path)) as old:
        old.execute(OLD_TABLES)
    with Store(path, read_only, Interval(2, 0)) as store:
        con = store.cursor()
        assert store.recompute(con, 0, 0) == {0: FIRST_FORMAT_DIGEST}
        assert store.state_at(con, 15, 15).source_time.tolist() == [10, 12]
        if not read_only:
            assert store.frame_missing(con)
            assert not store.frame_missing(con)
            assert store.state_at(con, 20, 30).source_time.tolist() == [20, 12]
            assert store.append(con, store.next_batch(), columns([Row(1, 3.0, 30, 30, False)])).batch == 2


def first_format_digest() -> str:
    """As the first format's guide wrote it."""
    import hashlib
    import json

    head = {"v": 1, "batch": 0, "rows": 2, "series": {"1": "a", "2": "b"}}
    hashed = hashlib.sha256(json.dumps(head, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for values, kind in (
        ([1, 2], "<i4"),
        ([1.5, np.nan], "<f8"),
        ([0, 0], "<u4"),
        ([10, 12], "<i8"),
        ([11, 13], "<i8"),
    ):
        hashed.update(np.array(values, kind).tobytes())
    hashed.update(json.dumps([None, "é"], separators=(",", ":")).encode())
    return hashed.hexdigest()


FIRST_FORMAT_DIGEST = first_format_digest()


def test_a_file_of_a_newer_twinloop_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "h"
    with Store(path) as store:
        history_schema.set_mark(store.cursor(), "schema", history_schema.SCHEMA_VERSION + 1)
    for read_only in (False, True):
        with pytest.raises(Unavailable, match="has format 3, this Twinloop knows up to 2"):
            Store(path, read_only)


def test_a_file_of_history_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    with Store(tmp_path / "h"):
        assert (tmp_path / "h").stat().st_mode & 0o777 == 0o600
