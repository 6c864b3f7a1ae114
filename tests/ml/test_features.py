"""Features: the same bits from a whole record and sample by sample, each against its definition."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.features import FAR, LENGTHS, STEPS, Feature, FeatureSet, rows
from ml.records import DataSet, Record
from ml.scaling import fit_scaler
from twin.errors import BadRequest

COLUMNS = ("load", "heat", "flow")
CALENDAR = (Feature("hour"), Feature("weekday"))


def a_fleet(devices: int, rows: int, seed: int, missing: float, silence: float = 0.0) -> DataSet:
    """Two operating conditions told by `load`; some samples are missing, and now and then a device is silent."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(devices):
        load = rng.integers(0, 2, rows) * 100.0
        heat = 20 + load + rng.normal(0, 1 + load / 100) * np.ones(rows) + rng.normal(0, 2, rows)
        values = np.column_stack([load, heat, rng.standard_cauchy(rows)])
        values[rng.random(values.shape) < missing] = np.nan
        gaps = np.where(rng.random(rows) < silence, 500.0, rng.uniform(0.5, 2.0, rows))
        records.append(Record(f"pump_{k}", 1.7e9 + np.cumsum(gaps), values))
    return DataSet(COLUMNS, tuple(records))


def a_set(data: DataSet, chosen: tuple[Feature, ...], gap_s: float = math.inf) -> FeatureSet:
    return FeatureSet(COLUMNS, chosen, fit_scaler(data, ("load",), 2), 3600.0, gap_s)


def stepped(features: FeatureSet, data: DataSet, seed: int) -> list[np.ndarray]:
    """All records sample by sample; which devices have a sample at a time is left to chance."""
    rng = np.random.default_rng(seed)
    state, place = features.start(len(data.records)), np.zeros(len(data.records), np.intp)
    out: list[list[np.ndarray]] = [[] for _ in data.records]
    ends = np.array([len(r) for r in data.records])
    while (place < ends).any():
        at = rng.permutation(np.flatnonzero((place < ends) & (rng.random(len(ends)) < 0.7)))
        time_s = np.array([data.records[k].time_s[place[k]] for k in at])
        values = np.array([data.records[k].values[place[k]] for k in at]).reshape(-1, len(COLUMNS))
        for k, row in zip(at, state.step(time_s, values, at), strict=True):
            out[k].append(row)
        place[at] += 1
    return [np.array(each) for each in out]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=3, unique=True),
    missing=st.sampled_from([0.0, 0.1, 0.6, 1.0]),
    gap_s=st.sampled_from([math.inf, 60.0]),
)
def test_sample_by_sample_gives_the_bits_of_the_whole_record(
    seed: int, lengths: list[int], missing: float, gap_s: float
) -> None:
    known = a_fleet(4, 60, seed, 0.0)
    data = a_fleet(4, 60, seed, missing, silence=0.05)
    chosen = (*rows(LENGTHS, COLUMNS, lengths), Feature("since", "heat"), *CALENDAR)
    features = a_set(known, chosen, gap_s)
    for record, live in zip(data.records, stepped(features, data, seed), strict=True):
        whole = features.of(record)
        assert whole.tobytes() == live.tobytes() or np.array_equal(whole, live, equal_nan=True)


def test_each_kind_is_what_it_says() -> None:
    data = a_fleet(1, 50, 3, 0.3)
    chosen = (*rows(LENGTHS, ("heat",), (7,)), Feature("since", "heat"))
    features = a_set(a_fleet(4, 400, 3, 0.0), chosen)
    record = data.records[0]
    x = np.clip(features.scaler.scaled(record.values)[:, 1], -FAR, FAR)
    told = dict(zip(features.names, features.of(record).T, strict=True))
    for t in range(len(record)):
        window, age = x[max(0, t - 6) : t + 1], np.arange(min(t, 6), -1, -1.0)
        known = np.isfinite(window)
        good = window[known]
        expected = {
            "lag": x[t - 7] if t >= 7 else np.nan, "mean": good.mean() if known.any() else np.nan,
            "sd": good.std() if known.any() else np.nan, "min": good.min(initial=np.inf) if known.any() else np.nan,
            "max": good.max(initial=-np.inf) if known.any() else np.nan, "missing": 1 - known.mean(),
            "slope": np.polyfit(-age[known], good, 1)[0] if known.sum() > 3 else np.nan,
        }  # fmt: skip
        for kind, value in expected.items():
            assert told[f"heat.{kind}.7"][t] == pytest.approx(value, abs=30 / STEPS, nan_ok=True), (kind, t)
        weights = (6 / 7) ** np.arange(t, -1, -1.0) * np.isfinite(x[: t + 1])
        if weights.sum() > 0.1:
            mean = np.nansum(weights * x[: t + 1]) / weights.sum()
            assert told["heat.ewm.7"][t] == pytest.approx(mean, abs=10 / STEPS)
        last = np.flatnonzero(np.isfinite(x[: t + 1]))
        good_s = record.time_s[last[-1]] if len(last) else record.time_s[0]
        assert told["heat.since"][t] == pytest.approx(record.time_s[t] - good_s)


def test_the_clock_of_the_plant_turns_once_a_day_and_once_a_week() -> None:
    noon = datetime(2026, 11, 18, 11, tzinfo=UTC).timestamp()  # 12 o'clock an hour east of UTC
    features = a_set(a_fleet(1, 20, 0, 0.0), CALENDAR)
    times = noon + np.array([0.0, 6 * 3600, 7 * 86_400])
    told = features.of(Record("pump", times, np.ones((3, 3))))
    assert told[0, :2] == pytest.approx([0.0, -1.0], abs=1e-9) and told[1, :2] == pytest.approx([-1.0, 0.0], abs=1e-9)
    assert told[2] == pytest.approx(told[0], abs=1e-9) and np.hypot(told[:, 2], told[:, 3]) == pytest.approx(1.0)


def test_a_row_whose_operating_condition_is_unknown_is_unknown() -> None:
    features = a_set(a_fleet(2, 50, 1, 0.0), rows(("lag",), COLUMNS, (0,)))
    told = features.of(Record("pump", np.arange(2.0), np.array([[np.nan, 20.0, 1.0], [0.0, 20.0, 1.0]])))
    assert np.isnan(told[0]).all() and np.isfinite(told[1]).all()


def test_the_hash_knows_rows_and_scaler() -> None:
    data = a_fleet(2, 50, 1, 0.0)
    one = a_set(data, rows(("mean",), COLUMNS, (5,)))
    other = replace(one, scaler=replace(one.scaler, mean=np.nextafter(one.scaler.mean, 9.0)))
    assert len({one.hash(), other.hash(), a_set(data, rows(("mean",), COLUMNS, (6,))).hash()}) == 3
    back = FeatureSet.from_plain(one.to_plain(), one.scaler)
    assert back == one and back.hash() == one.hash()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Feature("mena", "heat", 5), "mena.*mean"),
        (Feature("mean", "haet", 5), "haet.*heat"),
        (Feature("mean", "heat", 0), "heat.mean.0: 0 samples.*1 … 1024"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(row: Feature, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        a_set(a_fleet(1, 20, 0, 0.0), (row,))


def test_a_time_that_does_not_rise_is_refused_and_nothing_is_taken() -> None:
    features = a_set(a_fleet(2, 50, 1, 0.0), rows(("mean",), COLUMNS, (3,)))
    state, values = features.start(2), np.ones((2, 3))
    state.step(np.array([1.0, 5.0]), values)
    with pytest.raises(BadRequest, match=r"device 1: 5\.0 s"):
        state.step(np.array([2.0, 5.0]), values)
    assert state.count.tolist() == [1, 1]
