"""The point table against a plain-dict model, and what it must never do."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin import quality
from twin.columns import NEVER
from twin.errors import BadRequest
from twin.feed import Feed
from twin.readings import Readings
from twin.table import PointTable

POINTS = 6
DEADBAND = [0.0, 0.0, 0.5, 0.5, 2.0, 2.0]
TEXTS = [None, "open", "shut"]
reading = st.tuples(
    st.integers(0, POINTS - 1),
    st.sampled_from([0.0, 0.4, 1.0, 2.5, math.nan]),
    st.sampled_from([quality.GOOD, quality.BAD_TIMEOUT]),
    st.integers(0, 8),
    st.sampled_from(TEXTS),
)
batches = st.lists(st.lists(reading, max_size=12), max_size=8)
Row = tuple[int, float, int, int, str | None]


@dataclass
class Held:
    """One point of the model: what the table is to hold."""

    value: float = math.nan
    quality: int = quality.BAD_WAITING_FOR_INITIAL_DATA
    source_time: int = NEVER
    received_time: int = NEVER
    revision: int = 0
    text: str | None = None


@dataclass
class Told:
    """What the model says of one batch."""

    advanced: set[int] = field(default_factory=set)
    changed: set[int] = field(default_factory=set)
    record: list[int] = field(default_factory=list)
    late: int = 0
    duplicates: int = 0
    quiet: int = 0


def take(model: list[Held], rows: list[Row], received: int) -> Told:
    """The rules of the table in plain Python, one reading after the other."""
    told = Told()
    for row, (point, value, code, time, text) in enumerate(rows):
        held = model[point]
        if time < held.source_time:
            told.late += 1
            told.record.append(row)
            continue
        alike = same(value, held.value) or abs(value - held.value) <= DEADBAND[point]
        repeats = alike and code == held.quality and text in (None, held.text)
        if repeats and time == held.source_time:
            told.duplicates += 1
            continue
        held.source_time, held.received_time = time, max(held.received_time, received)
        told.advanced.add(point)
        if repeats:
            told.quiet += not same(value, held.value)
            continue
        held.value, held.quality, held.revision = value, code, held.revision + 1
        held.text = held.text if text is None else text
        told.changed.add(point)
        told.record.append(row)
    return told


def batch_of(rows: list[Row], received: int) -> Readings:
    points, values, codes, times, texts = zip(*rows, strict=True) if rows else ((), (), (), (), ())
    text = {row: t for row, t in enumerate(texts) if t is not None}
    return Readings.of(points, values, received, codes, times, text)


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def assert_holds(table: PointTable, model: list[Held]) -> None:
    columns = table.columns
    for i, held in enumerate(model):
        assert same(columns.value[i], held.value)
        assert (columns.quality[i], columns.source_time[i]) == (held.quality, held.source_time)
        assert (columns.received_time[i], columns.revision[i]) == (held.received_time, held.revision)
        assert columns.text.get(i) == held.text


@given(batches, st.integers(0, 7), batches)
def test_table_feed_and_fork_do_what_a_plain_dict_would(
    deliveries: list[list[Row]], fork_after: int, into_fork: list[list[Row]]
) -> None:
    """Random batches into the table; a fork taken midway goes its own way; every cursor sees what advanced."""
    table, feed = PointTable.sized(POINTS, np.array(DEADBAND)), Feed(POINTS, epoch=1)
    model = [Held() for _ in range(POINTS)]
    advanced_at: list[tuple[int, set[int]]] = []
    snapshot = kept = None
    for received, rows in enumerate(deliveries, 1):
        changes, told = table.apply(batch_of(rows, received)), take(model, rows, received)
        assert changes.advanced.tolist() == sorted(told.advanced)
        assert changes.changed.tolist() == sorted(told.changed)
        assert (changes.late, changes.duplicates, changes.quiet) == (told.late, told.duplicates, told.quiet)
        assert [(p, t) for p, t in zip(changes.record.point, changes.record.source_time, strict=True)] == [
            (rows[r][0], rows[r][3]) for r in told.record
        ]
        advanced_at.append((feed.advance(changes.advanced), told.advanced))
        if received == fork_after:
            snapshot, kept = table.snapshot(1, feed.seq, received), copy.deepcopy(model)
    assert_holds(table, model)
    for cursor in range(feed.seq + 1):
        since = set().union(*(ids for at, ids in advanced_at if at > cursor))
        assert set(feed.points_since(cursor).tolist()) == since
    if snapshot is not None and kept is not None:
        fork = PointTable.fork(snapshot, np.array(DEADBAND))
        untouched = copy.deepcopy(kept)
        for received, rows in enumerate(into_fork, 100):
            fork.apply(batch_of(rows, received))
            take(kept, rows, received)
        assert_holds(fork, kept)
        assert_holds(PointTable(snapshot.columns), untouched)
        assert_holds(table, model)


@given(st.lists(reading, max_size=POINTS, unique_by=lambda r: r[0]), st.lists(st.integers(0, 2), min_size=POINTS))
def test_a_conditional_update_acts_only_on_points_at_the_expected_revision(
    rows: list[Row], expected: list[int]
) -> None:
    table, model = PointTable.sized(POINTS, np.array(DEADBAND)), [Held() for _ in range(POINTS)]
    first: list[Row] = [(p, 9.0, quality.GOOD, 0, None) for p in range(0, POINTS, 2)]
    table.apply(batch_of(first, 1))
    take(model, first, 1)
    wanted = np.array(expected[: len(rows)], np.uint64)
    meets = [model[r[0]].revision == e for r, e in zip(rows, expected, strict=False)]
    changes = table.apply(batch_of(rows, 2), expected=wanted)
    take(model, [r for r, meet in zip(rows, meets, strict=True) if meet], 2)
    assert changes.conflicts.tolist() == [row for row, meet in enumerate(meets) if not meet]
    assert_holds(table, model)


def test_a_conditional_update_that_names_a_point_twice_is_refused_whole() -> None:
    table = PointTable.sized(2)
    with pytest.raises(BadRequest, match="names a point twice"):
        table.apply(Readings.of([1, 1], [1.0, 2.0], 5), expected=np.zeros(2, np.uint64))
    assert table.columns.revision[1] == 0


def test_noise_within_the_dead_band_keeps_the_value_and_renews_its_age() -> None:
    table = PointTable.sized(1, np.array([0.5]))
    table.apply(Readings.of([0], [10.0], 1))
    crept = [table.apply(Readings.of([0], [10.0 + 0.2 * step], 1 + step)) for step in range(1, 5)]
    assert [c.quiet for c in crept] == [1, 1, 0, 1]  # against the value held, so that a slow drift is seen
    assert table.columns.value[0] == pytest.approx(10.6)
    assert (table.columns.received_time[0], table.columns.revision[0]) == (5, 2)


def test_a_fall_in_quality_is_never_lost_in_the_dead_band() -> None:
    table = PointTable.sized(1, np.array([5.0]))
    table.apply(Readings.of([0], [10.0], 1))
    changes = table.apply(Readings.of([0], [10.1], 2, quality=quality.BAD_SENSOR_FAILURE))
    assert changes.changed.tolist() == [0]
    assert table.columns.quality[0] == quality.BAD_SENSOR_FAILURE


def test_a_table_that_grows_keeps_what_it_holds() -> None:
    table = PointTable.sized(2)
    table.apply(Readings.of([1], [math.nan], 1, text={0: "online"}))
    table.grow(4, np.zeros(4))
    table.apply(Readings.of([3], [7.0], 2))
    assert (table.columns.text, table.columns.revision.tolist()) == ({1: "online"}, [0, 1, 0, 1])


def test_a_reading_older_than_the_current_one_goes_to_history_only() -> None:
    table = PointTable.sized(1)
    table.apply(Readings.of([0], [1.0], 10, source_time=10))
    changes = table.apply(Readings.of([0], [9.0], 20, source_time=5))
    assert table.columns.value[0] == 1.0
    assert (changes.late, changes.record.value.tolist(), len(changes.advanced)) == (1, [9.0], 0)


def test_a_repeated_value_with_a_newer_time_is_fresh_but_no_change() -> None:
    table = PointTable.sized(1)
    table.apply(Readings.of([0], [1.0], 10))
    changes = table.apply(Readings.of([0], [1.0], 20))
    assert (changes.advanced.tolist(), changes.changed.tolist(), len(changes.record)) == ([0], [], 0)
    assert table.columns.received_time[0] == 20


def test_a_redelivered_reading_is_counted_and_dropped() -> None:
    table = PointTable.sized(1)
    reading = Readings.of([0], [1.0], 10, source_time=10)
    table.apply(reading)
    changes = table.apply(reading)
    assert (changes.duplicates, len(changes.advanced), len(changes.record)) == (1, 0, 0)


def test_text_changes_are_changes() -> None:
    table = PointTable.sized(2)
    first = table.apply(Readings.of([1], [math.nan], 1, text={0: "online"}))
    again = table.apply(Readings.of([1], [math.nan], 2, text={0: "online"}))
    other = table.apply(Readings.of([1], [math.nan], 3, text={0: "offline"}))
    assert [len(c.changed) for c in (first, again, other)] == [1, 0, 1]
    assert table.columns.text == {1: "offline"}


def test_a_fork_is_writable_and_never_touches_the_live_table() -> None:
    table = PointTable.sized(3)
    table.apply(Readings.of([0, 1], [1.0, 2.0], 5))
    snapshot = table.snapshot(epoch=7, seq=1, taken_at=5)
    fork = PointTable.fork(snapshot)
    fork.apply(Readings.of([0], [99.0], 6))
    assert table.columns.value[0] == 1.0
    assert snapshot.columns.value[0] == 1.0
    table.apply(Readings.of([1], [50.0], 7))
    assert snapshot.columns.value[1] == 2.0
    assert fork.columns.value[:2].tolist() == [99.0, 2.0]


def test_touching_makes_a_value_younger_but_changes_nothing_else() -> None:
    table = PointTable.sized(1)
    table.apply(Readings.of([0], [1.0], 10))
    table.touch(np.array([0], np.int32), 30)
    assert (table.columns.received_time[0], table.columns.source_time[0], table.columns.revision[0]) == (30, 10, 1)
