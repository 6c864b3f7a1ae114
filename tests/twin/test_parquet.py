"""History as Parquet: what goes out comes back the same, twice is once, and what cannot be taken is named."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.twin.test_tiers import NOON, rows
from twin.errors import BadRequest, LimitExceeded, NotFound
from twin.keyframes import ALWAYS
from twin.parquet import CHUNK_ROWS_MAX, COLUMNS, TIER_COLUMNS, Asked, chunks, export, news
from twin.quality import BAD_NO_COMMUNICATION, BAD_TIMEOUT
from twin.store import Store
from twin.tiers import SECOND_NS

NAMES = ("a.x", "b.y")
EVERYTHING = Asked("raw", 0, ALWAYS, ())
NOW = NOON + 10**6 * SECOND_NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "history.duckdb") as opened:
        opened.series_of(NAMES)
        yield opened


def fill(store: Store) -> None:
    con = store.cursor()
    times = [NOON + n * SECOND_NS for n in range(100)]
    made = rows(
        times, [float(n) for n in range(100)], series=[1 + n % 2 for n in range(100)], quality=[0] * 99 + [BAD_TIMEOUT]
    )
    store.append(con, 0, made)
    fallen = rows([NOON], [0.0], quality=[BAD_NO_COMMUNICATION], received=[NOON + 5], noticed=[True])
    store.append(con, 1, fallen)
    text = rows([NOON + 7], [float("nan")], series=[2])
    store.append(con, 2, type(text)(*(getattr(text, n) for n in text.__slots__[:-1]), {0: "running"}))


def exported(store: Store, path: Path, asked: Asked = EVERYTHING) -> pa.Table:
    with path.open("wb") as sink:
        *_, done = export(store.cursor(), asked, sink)
    table = pq.read_table(path)
    assert len(table) == done
    return table


def taken(store: Store, path: Path) -> tuple[int, int]:
    """(new, held) of importing the file."""
    con, new, held = store.cursor(), 0, 0
    for chunk in chunks(path):
        found = news(con, chunk, NAMES, NOW)
        new, held = new + len(found.rows), held + found.held
        if len(found.rows):
            store.append(con, store.next_batch(), found.rows)
    return new, held


def test_what_is_exported_can_be_imported_elsewhere_and_is_the_same(store: Store, tmp_path: Path) -> None:
    fill(store)
    table = exported(store, tmp_path / "x.parquet")
    assert table.schema.remove_metadata() == COLUMNS
    with Store(tmp_path / "other.duckdb") as other:
        other.series_of(("z.z", *NAMES))  # other ids
        assert taken(other, tmp_path / "x.parquet") == (102, 0)
        assert exported(other, tmp_path / "y.parquet").equals(table)
        assert taken(other, tmp_path / "x.parquet") == (0, 102)


def test_an_export_has_the_time_and_points_asked_for(store: Store, tmp_path: Path) -> None:
    fill(store)
    asked = Asked("raw", NOON + 10 * SECOND_NS, NOON + 20 * SECOND_NS, ("b.y",))
    table = exported(store, tmp_path / "x.parquet", asked)
    assert table["value"].to_pylist() == [11.0, 13.0, 15.0, 17.0, 19.0]
    assert set(table["point"].to_pylist()) == {"b.y"}


def test_a_tier_goes_out_as_its_windows_and_does_not_come_in(store: Store, tmp_path: Path) -> None:
    fill(store)
    table = exported(store, tmp_path / "x.parquet", Asked("1min", 0, ALWAYS, ("a.x",)))
    assert table.schema.remove_metadata() == TIER_COLUMNS
    assert sorted(table["count"].to_pylist()) == [20, 30]
    with pytest.raises(BadRequest, match="no column 'value'"):
        list(chunks(tmp_path / "x.parquet"))


def test_an_unknown_tier_or_point_is_named(store: Store) -> None:
    with pytest.raises(BadRequest, match="no tier '5s'"):
        list(export(store.cursor(), Asked("5s", 0, 1, ()), io.BytesIO()))
    with pytest.raises(NotFound, match=r"no point 'a\.y'.*did you mean") as caught:
        list(export(store.cursor(), Asked("raw", 0, 1, ("a.y",)), io.BytesIO()))
    assert caught.value.hint


GOOD = pa.table(
    {
        "point": ["a.x"],
        "value": [1.0],
        "source_time": pa.array([NOON], pa.timestamp("ns", "UTC")),
        "received_time": pa.array([NOON], pa.timestamp("ns", "UTC")),
    }
)


def test_other_writers_types_are_taken_where_nothing_is_lost(store: Store) -> None:
    table = pa.table(
        {
            "point": pa.array(["a.x"]).dictionary_encode(),
            "value": pa.array([5], pa.int16()),
            "source_time": pa.array([NOON // 1000], pa.timestamp("us")),
            "received_time": pa.array([NOON // SECOND_NS], pa.timestamp("s", "Europe/Paris")),
            "quality": pa.array([0], pa.int64()),
        }
    )
    found = news(store.cursor(), table, NAMES, NOW).rows
    assert (found.value[0], found.source_time[0], found.received_time[0]) == (5.0, NOON, NOON)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.append_column("unit", pa.array(["m"])), "unknown column 'unit'"),
        (lambda t: t.drop_columns(["received_time"]), "no column 'received_time'"),
        (lambda t: t.set_column(1, "value", pa.array(["high"])), "column 'value' is string"),
        (lambda t: t.set_column(2, "source_time", pa.array([NOON])), "column 'source_time' is int64"),
        (lambda t: t.set_column(2, "source_time", pa.array([None], pa.timestamp("ns"))), "1 rows without a value"),
        (lambda t: t.set_column(0, "point", pa.array(["a.z"])), "unknown points 'a.z'"),
        (lambda t: t.append_column("quality", pa.array([-1])), "column 'quality'"),
        (lambda t: t.set_column(3, "received_time", pa.array([NOW * 2], pa.timestamp("ns"))), "lies in the future"),
        (lambda t: t.set_column(1, "value", pa.array([float("inf")])), "a.x at .* is infinite"),
        (lambda t: t.set_column(1, "value", pa.array([None], pa.float64())), "is good and has no value"),
        (lambda t: t.append_column("text", pa.array(["x" * 20_000])), "too long a text"),
        (lambda t: t.set_column(3, "received_time", pa.array([NOON - 10**12], pa.timestamp("ns"))), "before it was measured"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named_with_a_fix(store: Store, change: object, said: str) -> None:
    with pytest.raises(BadRequest, match=said) as caught:
        news(store.cursor(), change(GOOD), NAMES, NOW)  # type: ignore[operator]
    assert caught.value.hint


def test_too_many_rows_at_once_are_refused_by_their_limit(store: Store) -> None:
    many = pa.concat_tables([GOOD] * (CHUNK_ROWS_MAX + 1))
    with pytest.raises(LimitExceeded, match="50000"):
        news(store.cursor(), many, NAMES, NOW)


def test_a_long_text_that_every_row_means_is_refused_before_it_is_written_out(store: Store) -> None:
    count = 10_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array(["x" * 20_000]))
    table = pa.concat_tables([GOOD] * count).combine_chunks()
    with pytest.raises(LimitExceeded, match="200000000 bytes of text"):
        news(store.cursor(), table.append_column("text", text), NAMES, NOW)


def test_a_row_said_twice_in_one_part_is_taken_once(store: Store) -> None:
    found = news(store.cursor(), pa.concat_tables([GOOD, GOOD]), NAMES, NOW)
    assert (len(found.rows), found.held) == (1, 1)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n" * 50])
def test_a_file_that_is_no_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match=r"x\.parquet"):
        list(chunks(path))
    with pytest.raises(NotFound):
        list(chunks(tmp_path / "none"))


def test_a_damaged_file_is_named(store: Store, tmp_path: Path) -> None:
    fill(store)
    exported(store, tmp_path / "x.parquet")
    bytes_ = bytearray((tmp_path / "x.parquet").read_bytes())
    bytes_[4:400] = np.random.default_rng(1).bytes(396)
    (tmp_path / "x.parquet").write_bytes(bytes_)
    with pytest.raises(BadRequest, match=r"damaged|is no Parquet"):
        list(chunks(tmp_path / "x.parquet"))
