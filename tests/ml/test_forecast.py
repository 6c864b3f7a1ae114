"""Forecasts: the ridge finds what is linear, the network what is not, intervals hold, and what cannot be is refused."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml import forecaster, ridge
from ml.forecast import ForecastOptions, evaluate, train
from ml.forecast_model import Forecast, model_of
from ml.model_file import read, write
from ml.records import DataSet, Record
from ml.ridge import Ridge, Sums
from ml.scores import coverage
from ml.tables import Roles
from ml.tables import read as read_table
from ml.training import Course
from ml.windows import filled, windows
from twin.errors import BadRequest

PLAIN = ForecastOptions(lookback=24, horizon=6, network="none")


def waves(rows: int = 1200, devices: int = 2, noise: float = 0.05, seed: int = 1) -> DataSet:
    """Two columns with a day of 24 rows; the second follows the first, three times as large."""
    rng, records = np.random.default_rng(seed), []
    for k in range(devices):
        t = np.arange(rows)
        wave = np.sin(2 * np.pi * (t + 5 * k) / 24) + 0.3 * np.sin(2 * np.pi * t / 12)
        values = np.column_stack([wave, 3 * wave + 10]) + rng.normal(0, noise, (rows, 2))
        records.append(Record(f"d{k}", t.astype(float), values))
    return DataSet(("flow", "power"), tuple(records))


def test_windows_see_what_was_and_tell_what_came() -> None:
    values = np.arange(20.0).reshape(10, 2)
    found = windows(values, 3, 2)
    assert found.seen.shape == (6, 3, 2) and found.ahead.shape == (6, 2, 2)
    assert found.seen[0, :, 0].tolist() == [0, 2, 4] and found.ahead[0, :, 0].tolist() == [6, 8]
    assert windows(values, 3, 2, first=5).ahead[0, 0, 0] == 10 and len(windows(values, 8, 3).seen) == 0


def test_a_gap_holds_the_value_before_it_and_nothing_comes_of_nothing() -> None:
    seen = np.array([[[np.nan, np.nan], [1.0, np.nan], [np.nan, np.nan], [4.0, np.nan]]])
    assert np.array_equal(filled(seen)[0, :, 0], [1, 1, 1, 4])
    assert np.isnan(filled(seen)[0, :, 1]).all()


def test_the_ridge_is_the_least_squares_of_its_windows_and_adds_up_over_records() -> None:
    data = waves(300)
    parts = [windows(r.values, 8, 3) for r in data.records]
    made = Sums.of(parts, 2, 8, 3).ridge(5.0, np.inf)
    x = np.concatenate([p.seen - p.seen[:, -1:] for p in parts]).transpose(2, 0, 1).reshape(-1, 8)
    y = np.concatenate([p.ahead - p.seen[:, -1:] for p in parts]).transpose(2, 0, 1).reshape(-1, 3)
    x1 = np.column_stack([x, np.ones(len(x))])
    assert np.allclose(made.weights[0], np.linalg.solve(x1.T @ x1 + 5 * np.eye(9), x1.T @ y))


def test_columns_of_their_own_leave_the_shared_weights_only_where_it_pays() -> None:
    rng = np.random.default_rng(0)
    same = rng.normal(size=(2000, 2)).cumsum(axis=0)
    t = np.arange(2000)
    unlike = np.column_stack([np.sin(t / 3), np.where(t % 17 < 8, 1.0, -1.0)]) + rng.normal(0, 0.05, (2000, 2))
    pulls = []
    for values in (same, unlike):
        learnt, held = windows(values[:1200], 24, 4), windows(values[1200:], 24, 4)
        pulls.append(ridge.fit(Sums.of([learnt], 2, 24, 4), [held])[1]["pull"])
    assert pulls[1] < pulls[0]


def test_intervals_hold_what_they_promise_and_the_model_lives_in_its_file(tmp_path: Path) -> None:
    data, course = waves(), Course()
    file = train(data, PLAIN, 1, course)
    write(tmp_path / "m.safetensors", file)
    model = model_of(read(tmp_path / "m.safetensors"))
    fresh = waves(seed=9).records[0]
    found = windows(fresh.values, 24, 6)
    told = model.forecast(found.seen)
    assert coverage(told.quantiles[..., 0], told.quantiles[..., -1], found.ahead) == pytest.approx(0.9, abs=0.03)
    assert np.abs(told.mean - found.ahead).mean(axis=(0, 1)) == pytest.approx([0.045, 0.05], abs=0.02)
    assert (np.diff(told.quantiles, axis=-1) >= 0).all()
    assert file.manifest.kind == "ridge" and file.manifest.data_hash == data.hash()
    again = train(data, PLAIN, 1, course)
    assert again.hash == file.hash


def test_nothing_good_comes_of_windows_with_little_in_them() -> None:
    model = model_of(train(waves(), PLAIN, 1, Course()))
    seen = windows(waves().records[0].values, 24, 6).seen[:3].copy()
    seen[0, ::3, 0] = np.nan  # a third is missing: told
    seen[1, :, 0] = np.nan  # all is missing: not told, and its neighbour is
    seen[2, 1:, 1] = np.nan
    told: Forecast = model.forecast(seen)
    assert told.known.tolist() == [[True, True], [False, True], [True, False]]
    assert np.isnan(told.mean[1, :, 0]).all() and np.isnan(told.quantiles[2, :, 1]).all()
    assert np.isfinite(told.mean[[0, 1], :, 1]).all() and np.isfinite(told.mean[0, :, 0]).all()


def bent(rows: int = 1500) -> DataSet:
    """What comes next is a parabola of what is: no linear form tells it."""
    rng, x = np.random.default_rng(3), np.zeros(rows)
    for t in range(1, rows):
        x[t] = 1 - 1.7 * x[t - 1] ** 2 + rng.normal(0, 0.01)
    return DataSet(("x",), (Record("d", np.arange(rows, dtype=float), x[:, None]),))


def test_a_network_goes_live_only_where_it_beats_the_ridge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecaster, "BATCH", 64)
    monkeypatch.setattr(forecaster, "EPOCHS", 4)
    options = ForecastOptions(lookback=8, horizon=1)
    won = train(bent(), options, 2, Course())
    assert won.manifest.kind == "forecaster" and "beats the champion" in won.manifest.metrics["contest"]
    told = model_of(won).forecast(windows(bent().records[0].values, 8, 1).seen[:50])
    assert (np.diff(told.quantiles, axis=-1) >= 0).all() and np.isfinite(told.mean).all()
    monkeypatch.setattr(forecaster, "EPOCHS", 1)
    monkeypatch.setattr(forecaster, "EPOCH_WINDOWS", 64)
    lost = train(waves(900), replace(PLAIN, network="window"), 2, Course())
    assert lost.manifest.kind == "ridge" and "does not beat" in lost.manifest.metrics["contest"]


def test_an_untrained_network_is_the_ridge() -> None:
    weights = np.random.default_rng(1).normal(size=(2, 9, 3))
    net = forecaster.Forecaster(torch.from_numpy(weights.astype(np.float32)))
    seen = windows(waves(60).records[0].values, 8, 3).seen
    assert np.allclose(net.forecast(seen)[0], Ridge(weights).forecast(seen), atol=1e-3)


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        (waves(100), PLAIN, "windows of 24 \\+ 6 rows"),
        (replace(waves(), columns=("flow",), records=tuple(replace(r, values=r.values[:, :1] * 0) for r in waves().records)),
         PLAIN, "flow never moves"),
    ],
)  # fmt: skip
def test_too_little_and_what_tells_nothing_are_refused(data: DataSet, options: ForecastOptions, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        train(data, options, 1, Course())
    with pytest.raises(BadRequest, match="shares"):
        ForecastOptions(shares=(0.5, 0.2, 0.2))


@pytest.mark.parametrize(("lookback", "bar"), [(96, 0.383), (336, 0.370)])
def test_the_ridge_alone_forecasts_the_transformer_as_well_as_the_best_published(lookback: int, bar: float) -> None:
    folder = os.environ.get("TWINLOOP_DATA")
    if not folder:
        pytest.skip("TWINLOOP_DATA names no folder of data sets")
    data = read_table(Path(folder) / "ett/ETTh1.csv", Roles(time="date"))
    trial = evaluate(data, ForecastOptions(lookback, 96, rows=14_400, network="none"), [1], Course())
    assert trial.mean("mse") <= bar


def test_only_what_would_be_told_is_scored_and_its_share_is_said() -> None:
    chance = np.random.default_rng(1)
    values = np.sin(np.arange(3_000) / 15)[:, None] + 0.1 * chance.standard_normal((3_000, 1))
    values[2_600:2_800] = np.nan  # of the test part; windows that see too little of the rest are not told
    data = DataSet(("level",), (Record("tank", np.arange(3_000.0), values),))
    options = ForecastOptions(lookback=24, horizon=6, network="none")
    (found,) = evaluate(data, options, [1], Course()).seeds
    assert 0.9 < found.figures["told"] < 1.0 and found.figures["mse"] < 0.1
    gappy = values.copy()
    gappy[np.arange(3_000) % 3 > 0] = np.nan
    with pytest.raises(BadRequest, match="more than half is measured"):
        train(replace(data, records=(replace(data.records[0], values=gappy),)), options, 1, Course())


def test_windows_do_not_reach_over_a_silence() -> None:
    time_s = np.concatenate([np.arange(30.0) + 1_030.0 * k for k in range(40)])
    data = DataSet(("level",), (Record("tank", time_s, np.sin(time_s)[:, None]),))
    with pytest.raises(BadRequest, match=r"0 windows of 24 \+ 6 rows"):
        train(data, ForecastOptions(lookback=24, horizon=6, network="none"), 1, Course())
