"""The point table against a plain-dict model, and what it must never do."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twin import quality
from twin.readings import Readings
from twin.table import NEVER, PointTable

POINTS = 6
reading = st.tuples(
    st.integers(0, POINTS - 1),
    st.sampled_from([0.0, 1.0, 2.5, math.nan]),
    st.sampled_from([quality.GOOD, quality.BAD_TIMEOUT]),
    st.integers(0, 8),
)
batches = st.lists(st.lists(reading, max_size=12), max_size=8)


def batch_of(rows: list[tuple[int, float, int, int]], received: int) -> Readings:
    points, values, codes, times = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Readings.of(points, values, received, codes, times)


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


@given(batches)
def test_the_table_holds_what_a_plain_dict_would(deliveries: list[list[tuple[int, float, int, int]]]) -> None:
    table = PointTable.sized(POINTS)
    model: dict[int, tuple[float, int, int]] = {}
    revision = [0] * POINTS
    for received, rows in enumerate(deliveries, 1):
        changes = table.apply(batch_of(rows, received))
        advanced, changed, late = set(), set(), 0
        for point in {r[0] for r in rows}:
            mine = [r for r in rows if r[0] == point]
            newest = max(mine, key=lambda r: r[3])
            newest = [r for r in mine if r[3] == newest[3]][-1]
            late += len(mine) - 1
            held = model.get(point)
            if held is not None and newest[3] < held[2]:
                late += 1
                continue
            differs = held is None or not same(held[0], newest[1]) or held[1] != newest[2]
            if held is not None and held[2] == newest[3] and not differs:
                continue
            model[point] = (newest[1], newest[2], newest[3])
            advanced.add(point)
            if differs and not (
                held is None and math.isnan(newest[1]) and newest[2] == quality.BAD_WAITING_FOR_INITIAL_DATA
            ):
                changed.add(point)
                revision[point] += 1
        assert set(changes.advanced.tolist()) == advanced
        assert set(changes.changed.tolist()) == changed
        assert changes.late == late
        assert len(changes.record) == len(changed) + late
    for point in range(POINTS):
        value, code, time = model.get(point, (math.nan, quality.BAD_WAITING_FOR_INITIAL_DATA, NEVER))
        assert same(table.columns.value[point], value)
        assert (table.columns.quality[point], table.columns.source_time[point]) == (code, time)
        assert table.columns.revision[point] == revision[point]


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
    fork = snapshot.fork()
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
