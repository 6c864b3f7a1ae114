"""Tiers and retention: what is rolled up is what the raw readings say, and what is dropped is dropped whole."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from twin import upkeep
from twin.digest import SeriesRows
from twin.errors import NotFound
from twin.history import History
from twin.keyframes import ALWAYS, Interval, scanned_state_at
from twin.quality import BAD_NO_COMMUNICATION, BAD_TIMEOUT, UNCERTAIN
from twin.query import Queries
from twin.readings import Readings
from twin.retention import HOUR_NS, Expiry, Retention
from twin.store import Store
from twin.tiers import SECOND_NS, TIERS
from twin.upkeep import Behind, Upkeep, due

DAY_NS = 24 * HOUR_NS
NOON = 1_700_000_000 // 86_400 * DAY_NS + 12 * HOUR_NS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "history.duckdb", interval=Interval(200, 0)) as opened:
        opened.series_of(["a.x", "b.y"])
        yield opened


def rows(times: list[int], values: list[float], **more: list[int] | list[bool]) -> SeriesRows:
    count = len(times)
    return SeriesRows(
        np.array(more.get("series", [1] * count), np.int32),
        np.array(values),
        np.array(more.get("quality", [0] * count), np.uint32),
        np.array(times, np.int64),
        np.array(more.get("received", times), np.int64),
        np.array(more.get("noticed", [False] * count), np.bool_),
    )


def ask(store: Store, sql: str) -> list[tuple[object, ...]]:
    return Queries(store).run({}, sql, 10_000).rows


WINDOW = (
    'SELECT min, max, mean, last, quality_name, count, epoch_ns("start") FROM {} WHERE point = \'a.x\' ORDER BY "start"'
)


def test_a_window_says_the_extremes_and_mean_of_good_values_the_last_and_the_worst(store: Store) -> None:
    t = NOON
    store.append(
        store.cursor(),
        0,
        rows(
            [t + 1, t + 4, t + 2, t + 3, t + 3, t + SECOND_NS],
            [1.0, 5.0, 900.0, 3.0, math.nan, 7.0],
            quality=[0, 0, BAD_TIMEOUT, 0, UNCERTAIN, UNCERTAIN],
        ),
    )
    assert ask(store, WINDOW.format("history_1s")) == [
        (1.0, 5.0, 3.0, 5.0, "BadTimeout", 5, t),
        (None, None, None, 7.0, "Uncertain", 1, t + SECOND_NS),
    ]
    assert ask(store, WINDOW.format("history_1h")) == [(1.0, 5.0, 3.0, 7.0, "BadTimeout", 6, t)]


def test_a_fall_of_quality_that_the_twin_noticed_lowers_the_window_in_which_it_was_noticed(store: Store) -> None:
    noticed = NOON + 5 * SECOND_NS
    store.append(store.cursor(), 0, rows([NOON], [1.0]))
    fallen = rows([NOON], [1.0], quality=[BAD_NO_COMMUNICATION], received=[noticed], noticed=[True])
    store.append(store.cursor(), 1, fallen)
    assert ask(store, WINDOW.format("history_1s")) == [
        (1.0, 1.0, 1.0, 1.0, "Good", 1, NOON),
        (None, None, None, None, "BadNoCommunication", 0, noticed),
    ]


@dataclass
class Time:
    now: int = NOON
    agreed: list[Expiry] = field(default_factory=list)
    agrees: bool = True

    def clock(self) -> int:
        return self.now

    def may_drop(self, expiry: Expiry) -> bool:
        self.agreed.append(expiry)
        return self.agrees


def keep(time: Time, **kept: int | None) -> Upkeep:
    return Upkeep(Retention(**kept), time.clock, time.may_drop)


def fill(store: Store, batches: int, chance: np.random.Generator, step_ns: int = 10 * SECOND_NS) -> None:
    """Batches of 20 readings of two points, some late, from NOON on."""
    con = store.cursor()
    for _ in range(batches):
        number = store.next_batch()
        times = NOON + number * step_ns + chance.integers(0, step_ns, 20) - chance.choice([0, 0, 0, 40 * SECOND_NS], 20)
        quality = chance.choice([0, 0, 0, int(UNCERTAIN)], 20).tolist()
        made = rows(
            times.tolist(), chance.normal(5, 2, 20).tolist(), quality=quality, series=chance.integers(1, 3, 20).tolist()
        )
        store.append(con, number, made)


EVERYTHING = 'SELECT point, "start", min, max, round(mean, 9), last, quality, count FROM {} ORDER BY ALL'


def test_rolling_up_in_any_order_changes_no_answer(store: Store) -> None:
    chance = np.random.default_rng(4)
    time = Time()
    work = keep(time)
    con = store.cursor()
    for _ in range(6):
        fill(store, 10, chance)
        before = [ask(store, EVERYTHING.format(f"history_{t.name}")) for t in TIERS]
        time.now += int(chance.choice([1, 15 * SECOND_NS, 700 * SECOND_NS]))
        while work.step(con):
            pass
        assert [ask(store, EVERYTHING.format(f"history_{t.name}")) for t in TIERS] == before
    assert partial_rows(store) > 0
    time.now = NOON + 400 * DAY_NS
    while work.step(con):
        pass
    assert [ask(store, EVERYTHING.format(f"history_{t.name}")) for t in TIERS] == before
    assert partial_rows(store) == 0


def partial_rows(store: Store) -> int:
    """Windows that lie in several rows."""
    sql = "SELECT count(*) FROM (SELECT series, start FROM {} GROUP BY ALL HAVING count(*) > 1)"
    return sum(store.cursor().execute(sql.format(t.table)).fetchall()[0][0] for t in TIERS)


def test_expired_batches_leave_whole_and_everything_kept_is_answered_as_before(store: Store) -> None:
    chance = np.random.default_rng(5)
    fill(store, 400, chance)
    con, time = store.cursor(), Time(NOON + HOUR_NS + 2000 * SECOND_NS)
    hourly = ask(store, EVERYTHING.format("history_1h"))
    plain = {
        t: scanned_state_at(con, t, ALWAYS) for t in range(NOON + 2100 * SECOND_NS, NOON + HOUR_NS, 97 * SECOND_NS)
    }
    expiry = keep(time, raw=HOUR_NS).drop(con)
    assert expiry is not None
    assert time.agreed == [expiry]
    assert (expiry.first, expiry.batches, expiry.rows) == (0, expiry.last + 1, 20 * (expiry.last + 1))
    assert con.execute("SELECT min(batch), count(DISTINCT batch) FROM readings").fetchall() == [
        (expiry.last + 1, 399 - expiry.last)
    ]
    assert ask(store, EVERYTHING.format("history_1h")) == hourly
    for as_of, expected in plain.items():
        found = store.state_at(con, as_of, ALWAYS)
        assert sorted(zip(found.series, found.value, strict=True)) == sorted(
            zip(expected.series, expected.value, strict=True)
        )
    with pytest.raises(NotFound, match=r"raw history is kept from 2023-11-14T12:3"):
        store.state_at(con, expiry.oldest_as_of - 1, ALWAYS)
    assert store.next_batch() == 400


def test_nothing_is_dropped_without_consent_or_when_kept_for_ever(store: Store) -> None:
    fill(store, 20, np.random.default_rng(6))
    con, time = store.cursor(), Time(NOON + 900 * DAY_NS, agrees=False)
    assert keep(time, raw=DAY_NS).drop(con) is None
    assert len(time.agreed) == 1
    assert keep(time).drop(con) is None
    assert con.execute("SELECT count(*) FROM readings").fetchall() == [(400,)]


def test_numbers_of_dropped_batches_are_not_given_again(store: Store) -> None:
    fill(store, 5, np.random.default_rng(6))
    time = Time(NOON + 900 * DAY_NS)
    assert keep(time, raw=DAY_NS).drop(store.cursor()) is not None
    assert (store.batches_from(0), store.next_batch()) == ([], 5)
    assert len(store.latest({"a.x": 0, "b.y": 1}, 0) or []) == 2


def test_each_tier_goes_at_its_own_age(store: Store) -> None:
    fill(store, 30, np.random.default_rng(7), step_ns=HOUR_NS)
    con, time = store.cursor(), Time(NOON + 30 * HOUR_NS)
    keep(time, raw=10 * HOUR_NS, second=15 * HOUR_NS, minute=20 * HOUR_NS).drop(con)
    oldest = [con.execute(f"SELECT min(start) FROM {t.table}").fetchall()[0][0] for t in TIERS]
    assert oldest[0] >= NOON + 15 * HOUR_NS
    assert NOON + 10 * HOUR_NS <= oldest[1] < oldest[0]
    assert oldest[2] <= NOON
    assert ask(store, "SELECT sum(count) FROM history_1h") == [(600,)]


def test_a_trend_reaches_back_beyond_raw_history_and_keeps_its_extremes(store: Store) -> None:
    con, times = store.cursor(), [NOON + n * SECOND_NS for n in range(0, 7200, 5)]
    values = [float(n % 7) for n in range(len(times))]
    values[100] = 99.0
    for start in range(0, len(times), 100):
        store.append(con, store.next_batch(), rows(times[start : start + 100], values[start : start + 100]))
    keep(Time(NOON + 7200 * SECOND_NS), raw=HOUR_NS).drop(con)
    drawn = store.trend("a.x", NOON, NOON + 7200 * SECOND_NS, 300)
    assert not drawn.whole
    assert drawn.tier != "raw"
    found = drawn.rows
    assert len(found) <= 320
    assert max(v for _, v, _ in found if v is not None) == 99.0
    assert found[0][0] < NOON + 60 * SECOND_NS
    assert found[-1][0] > NOON + 7100 * SECOND_NS


@pytest.mark.parametrize(
    ("tier", "behind", "since_s", "expected"),
    [
        (0, Behind(0, 5, 10), 1, False), (0, Behind(0, 5, 10), 11, True), (0, Behind(0, 5, upkeep.ROLL_ROWS), 0, True),
        (0, Behind(5, 5, 0), 999, False), (1, Behind(0, 5, 10**9), 11, False), (1, Behind(0, 5, 0), 601, True),
        (2, Behind(0, 5, 0), 3601, False), (2, Behind(0, 5, 0), 5 * 3600, True),
    ],
)  # fmt: skip
def test_a_tier_is_rolled_up_when_enough_waits_or_time_has_passed(
    tier: int, behind: Behind, since_s: int, expected: bool
) -> None:
    assert due(TIERS[tier], behind, since_s * SECOND_NS) is expected


def test_the_history_thread_rolls_up_by_itself(store: Store) -> None:
    time = Time(NOON)
    work = keep(time)
    time.now += 20 * SECOND_NS
    history = History(store, ["a.x"], lambda _: None, work)
    history.record(Readings.of([0], [1.0], NOON))
    con = store.cursor()
    while not con.execute("SELECT count(*) FROM tier_1s").fetchall()[0][0]:
        history.flush().result(10)
    history.close()
