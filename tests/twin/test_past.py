"""Raw readings come back in order, by pages, forwards and backwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from twin.digest import SeriesRows
from twin.past import Past, Span
from twin.store import Store

SECOND = 10**9


def rows(series: int, times: list[int], received: int, noticed: bool = False) -> SeriesRows:
    count = len(times)
    return SeriesRows(
        np.full(count, series, np.int32), np.arange(count, dtype=np.float64), np.zeros(count, np.uint32),
        np.array(times, np.int64), np.full(count, received, np.int64), np.full(count, noticed), {},
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two batches that overlap in time, and a quality that the twin lowered."""
    made = Store(tmp_path / "history.duckdb")
    level, other = made.series_of(["tank.level", "tank.other"]).tolist()
    con = made.cursor()
    made.append(con, 0, rows(level, [1 * SECOND, 3 * SECOND, 3 * SECOND], 4 * SECOND))
    made.append(con, 1, rows(level, [2 * SECOND], 5 * SECOND))
    made.append(con, 2, rows(other, [2 * SECOND], 5 * SECOND))
    made.append(con, 3, rows(level, [3 * SECOND], 9 * SECOND, noticed=True))
    return made


def seconds(found: list[Past]) -> list[float]:
    return [p.time / SECOND for p in found]


def test_readings_stand_in_order_of_their_time_and_a_noticed_fall_where_it_was_noticed(store: Store) -> None:
    assert seconds(store.past("tank.level", Span(0, 10 * SECOND, 100))) == [1, 2, 3, 3, 9]
    assert seconds(store.past("tank.level", Span(0, 10 * SECOND, 100, newest_first=True))) == [9, 3, 3, 2, 1]
    assert store.past("nobody.knows", Span(0, 10 * SECOND, 100)) == []


def test_the_first_end_belongs_to_a_span_and_the_last_does_not(store: Store) -> None:
    assert seconds(store.past("tank.level", Span(1 * SECOND, 3 * SECOND, 100))) == [1, 2]
    assert seconds(store.past("tank.level", Span(1 * SECOND, 3 * SECOND, 100, newest_first=True))) == [3, 3, 2]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_page_goes_on_after_the_last_one_even_within_one_time(store: Store, backwards: bool) -> None:
    found: list[Past] = []
    while page := store.past("tank.level", Span(-1, 10 * SECOND, 1, backwards, found[-1].place if found else None)):
        found += page
    assert len(found) == len({p.place for p in found}) == 5
    assert found == store.past("tank.level", Span(-1, 10 * SECOND, 100, backwards))
