"""Rivals are judged unit by unit on the same data, pay for silence, and must answer the same question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ml import anomaly, forecast, rul
from ml.contest import judge
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.rivals import alarms, forecasts, lives
from ml.training import Course
from tests.ml import test_edge
from tests.ml.stand_in import a_walk
from twin.errors import BadRequest


def waves(devices: int = 3, rows: int = 700, seed: int = 1) -> DataSet:
    """Two columns that a longer memory forecasts better."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(devices):
        t = np.arange(rows, dtype=float)
        wave = np.stack([np.sin(2 * np.pi * (t + 7 * k) / 24), 50 * np.cos(2 * np.pi * t / 24)], axis=1)
        records.append(Record(f"pump_{k}", t, wave + rng.normal(size=(rows, 2)) * [0.3, 15.0]))
    return DataSet(("flow", "heat"), tuple(records))


def a_forecast(lookback: int, horizon: int = 6, data: DataSet | None = None) -> ModelFile:
    options = forecast.ForecastOptions(lookback=lookback, horizon=horizon, network="none")
    return forecast.train(data or waves(), options, 1, Course())


def values(losses: dict[str, float]) -> np.ndarray:
    return np.array(list(losses.values()))


def test_the_better_forecast_wins_on_held_out_waves_whatever_the_order_of_columns() -> None:
    other = waves().having(("heat", "flow"))
    short, long = forecasts([a_forecast(2), a_forecast(48, data=other)], waves(seed=9))
    assert list(short) == list(long) and len(short) > 20 and "pump_0 block 1" in short
    assert judge(values(dict(short)), values(dict(long))).better
    assert not judge(values(dict(long)), values(dict(short))).better


def test_a_forecast_that_is_silent_pays_as_much_as_the_plainest_guess() -> None:
    held = waves(seed=9)
    for record in held.records:
        record.values[100:300] = np.nan
    model = a_forecast(48)
    (found,) = forecasts([model], held)
    assert np.isfinite(values(dict(found))).sum() >= 20
    quiet = DataSet(
        held.columns,
        tuple(replace(r, values=np.where(np.arange(700)[:, None] % 3, np.nan, r.values)) for r in held.records),
    )
    (found,) = forecasts([model], quiet)  # two of three values missing: nothing is told
    assert np.nanmean(values(dict(found))) == pytest.approx(1.0, abs=0.1)


def test_rivals_with_other_questions_are_refused() -> None:
    with pytest.raises(BadRequest, match="horizons: 6, 12"):
        forecasts([a_forecast(24), a_forecast(24, 12)], waves(seed=9))
    with pytest.raises(BadRequest, match="columns"):
        forecasts([a_forecast(24), a_forecast(24, data=a_walk(2, 400).having(("heat",)))], waves(seed=9))


def test_lives_are_compared_run_by_run_below_the_smaller_cap() -> None:
    options = rul.RulOptions(cap=60.0, model="ridge", windows=(5,), means=(5,), window=0)
    good = rul.train(test_edge.lives(), options, 1, Course())
    other = rul.train(test_edge.lives(), replace(options, cap=30.0, penalty=1e6), 1, Course())
    held = test_edge.lives(12, seed=7)
    first, second = lives([good, other], held)
    assert list(first) == list(held.devices) == list(second)
    assert max(first.values()) <= 30.0**2 and judge(values(dict(second)), values(dict(first))).better


def test_alarms_are_compared_record_by_record_by_what_they_get_wrong() -> None:

    def plant(seed: int) -> DataSet:
        rng = np.random.default_rng(seed)
        records = []
        for k in range(8):
            sound = rng.normal(size=(600, 3))
            label = np.zeros((600, 1))
            sound[450:550, 0] += 6.0
            label[450:550] = 1.0
            records.append(Record(f"pump_{k}", np.arange(600.0), np.hstack([sound, label])))
        return DataSet(("a", "b", "c", "anomaly"), tuple(records))

    data = plant(1)
    options = anomaly.AnomalyOptions(kind="pca", memory=10)
    good = anomaly.train(data, options, 1, Course())
    wild = anomaly.train(data, replace(options, false_alarms=0.5), 1, Course())
    first, second = alarms([wild, good], data, "anomaly")
    assert set(first) == set(data.devices) and judge(values(dict(first)), values(dict(second))).better
    with pytest.raises(BadRequest, match="no column 'lable'"):
        alarms([good], data, "lable")
