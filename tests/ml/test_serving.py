"""Served sample by sample a model says what it says of whole records: with gaps, missing values, and devices that rest."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from ml import anomaly, rul
from ml.anomaly import AnomalyOptions
from ml.forecast import ForecastOptions, train
from ml.forecast_model import model_of
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.rul_model import LifeModel
from ml.serving import Served, Told, served
from ml.training import Course
from ml.windows import windows
from tests.ml.fleets import leaking, pumps
from tests.ml.stand_in import a_walk
from tests.ml.test_recurrent import a_memory
from tests.ml.test_rul import QUICK as WEAR
from tests.ml.test_rul import pumps as pumps_that_wear
from twin.errors import BadRequest

PLAIN = ForecastOptions(lookback=24, horizon=6, network="none")


def holey(data: DataSet, seed: int, share: float = 0.15) -> DataSet:
    """With single values missing, and stretches of all, longer than a window for some."""
    rng, records = np.random.default_rng(seed), []
    for r in data.records:
        values = r.values.copy()
        values[rng.random(values.shape) < share] = np.nan
        for length in (3, 10, 30):
            first = int(rng.integers(0, len(r) - length))
            values[first : first + length, rng.integers(0, values.shape[1])] = np.nan
        records.append(Record(r.device, r.time_s, values))
    return DataSet(data.columns, tuple(records), data.units)


def test_a_ridge_served_sample_by_sample_is_the_ridge_over_windows() -> None:
    file = train(a_walk(2, 400), PLAIN, 1, Course())
    data, model, ahead = holey(a_walk(5, 200, seed=7), 3), model_of(file), (1, 3, 6)
    follower, rng = served(file, data.devices, ahead), np.random.default_rng(5)
    place = np.zeros(5, np.intp)
    whole = []
    for r in data.records:
        before = np.full((23, 2), np.nan)
        seen = windows(np.concatenate([before, r.values]), 24, 0).seen
        whole.append(model.forecast(seen))
    spread = model.scaler.deviation[0]
    for tick in range(240):
        at = np.flatnonzero((place < 200) & ((rng.random(5) < 0.8) | (tick < 60)))
        told = follower.step(
            np.array([data.records[d].time_s[place[d]] for d in at]),
            np.stack([data.records[d].values[place[d]] for d in at]) if len(at) else np.empty((0, 2)),
            at,
        )
        for n, d in enumerate(at):
            batch, k = whole[d], place[d]
            rows = [h - 1 for h in ahead]
            parts = (batch.mean[k, rows], batch.quantiles[k, rows, :, 0], batch.quantiles[k, rows, :, -1])
            mean = told.values[n].reshape(3, 2, 3)
            known = np.broadcast_to(batch.known[k], (3, 2))
            assert np.array_equal(np.isfinite(mean[..., 0]), known)
            assert np.nanmax(np.abs(mean[..., 0] - parts[0]) / spread, initial=0.0) < 1e-4
            assert not told.sure[n].reshape(3, 2, 3)[~known].any()
        place[at] += 1
    assert (place > 150).all()


def test_wrong_shapes_and_times_that_do_not_rise_are_refused() -> None:
    file = train(a_walk(2, 400), PLAIN, 1, Course())
    with pytest.raises(BadRequest, match="samples ahead"):
        served(file, ("a",), (7,))
    follower = served(file, ("a", "b"), (1,))
    assert [o.name for o in follower.outputs] == [f"{c}_1s{s}" for c in ("flow", "heat") for s in ("", "_low", "_high")]
    assert follower.outputs[0].unit == "m3/h"
    follower.step(np.array([1.0, 1.0]), np.zeros((2, 2)))
    with pytest.raises(BadRequest, match=r"b: 1\.0 s does not rise"):
        follower.step(np.array([2.0, 1.0]), np.zeros((2, 2)))
    with pytest.raises(BadRequest, match="columns"):
        follower.step(np.array([2.0, 2.0]), np.zeros((2, 3)))


def test_remaining_life_is_served_as_it_is_told_of_whole_records() -> None:
    data = pumps_that_wear(20, 1)
    file = rul.train(data, replace(WEAR, steps=10, model="network"), 4, Course())
    model = LifeModel.from_file(file)
    used = data.having(file.manifest.columns)
    fleet = holey(replace(used, records=used.records[:3]), 2, 0.05)
    whole, follower = model.of(fleet), served(file, fleet.devices)
    assert follower.columns == file.manifest.columns and [o.name for o in follower.outputs][1:] == [
        "life_low",
        "life_high",
    ]
    for t in range(50):
        told = follower.step(
            np.array([r.time_s[t] for r in fleet.records]), np.stack([r.values[t] for r in fleet.records])
        )
        for k in range(3):
            one = [whole[k].life[t], whole[k].low[t], whole[k].high[t]]
            np.testing.assert_allclose(told.values[k], one, atol=1e-3)
            assert told.sure[k].tolist() == [bool(whole[k].sure[t])] * 3
    assert not told.why.size and told.settled is None


def test_an_anomaly_is_served_with_its_flag_and_the_columns_that_make_it() -> None:
    data = leaking(pumps(), 600, 750)
    file = anomaly.train(data, AnomalyOptions(kind="both", memory=30, buffer=10), 0, Course())
    used = holey(data.having(file.manifest.columns), 4, 0.05)
    whole, follower = anomaly.scored(file, used), served(file, used.devices)
    place, rng = np.zeros(len(used.records), np.intp), np.random.default_rng(3)
    for _ in range(850):
        at = np.flatnonzero((rng.random(len(place)) < 0.95) & (place < 800))
        time_s = np.array([used.records[d].time_s[place[d]] for d in at])
        values = np.array([used.records[d].values[place[d]] for d in at]).reshape(len(at), 4)
        told = follower.step(time_s, values, at)
        for n, d in enumerate(at):
            score = whole[d].score[place[d]]
            np.testing.assert_allclose(told.values[n, 0], score, atol=1e-6)
            assert np.isnan(told.values[n, 1]) == np.isnan(score) or told.values[n, 1] == whole[d].flagged[place[d]]
            assert np.isfinite(told.values[n]).all() or not told.sure[n].any()
            if 640 < place[d] < 740 and told.values[n, 1]:
                assert follower.why(told.why[n])
        place[at] += 1
    assert follower.outputs[0].limit == pytest.approx(float(file.manifest.metrics["limit"]))


def replayed(follower: Served, data: DataSet, rows: range, skip: tuple[int, ...] = ()) -> list[Told]:
    """All devices together, row by row but for the skipped ones."""
    records = data.records
    return [
        follower.step(np.array([r.time_s[t] for r in records]), np.stack([r.values[t] for r in records]))
        for t in rows
        if t not in skip
    ]


@pytest.fixture(scope="module")
def remembering() -> ModelFile:
    """A recurrent forecast of chance: what it tells need not be good."""
    file = train(a_walk(2, 400), PLAIN, 1, Course())
    model = model_of(file)
    return replace(file, tensors=replace(model, recurrent=a_memory(model, 12)).tensors())


def test_a_memory_served_sample_by_sample_is_that_of_the_whole_record(remembering: ModelFile) -> None:
    model, data = model_of(remembering), holey(a_walk(3, 150, seed=8), 5, 0.1)
    told = np.stack([t.values for t in replayed(served(remembering, data.devices, (2, 6)), data, range(150))])
    for n, record in enumerate(data.records):
        batch = model.forecast_at(record.values, np.arange(23, 150))
        mean = told[23:, n].reshape(-1, 2, 2, 3)[..., 0]
        np.testing.assert_allclose(mean, batch.mean[:, [1, 5]], atol=2e-3)
    first = served(remembering, data.devices, (2, 6))
    replayed(first, data, range(1))
    one = first.step(np.full(3, 1.0), np.stack([r.values[1] for r in data.records])).values  # before any truth came
    other = model.forecast(np.stack([np.concatenate([np.full((22, 2), np.nan), r.values[:2]]) for r in data.records]))
    assert np.isnan(one).all() and not other.known.any()


def test_intervals_of_a_memory_are_those_of_its_model_until_truth_moves_them(remembering: ModelFile) -> None:
    model, data = model_of(remembering), a_walk(2, 60, seed=8)
    moved = replace(model, margins=model.margins - 0.7)  # so far below 0 that quantiles turn around
    for each in (model, moved):
        file = replace(remembering, tensors=each.tensors())
        follower = served(file, data.devices, (6,))
        replayed(
            follower, replace(data, records=tuple(replace(r, values=r.values * np.nan) for r in data.records)), range(1)
        )
        told = follower.step(np.full(2, 2.0), np.stack([r.values[3] for r in data.records]))
        assert np.isnan(told.values).all()
        told = replayed(served(file, data.devices, (6,)), data, range(14))[-1]
        seen = np.stack([np.concatenate([np.full((10, 2), np.nan), r.values[:14]]) for r in data.records])
        batch = each.forecast(seen)
        parts = np.stack([batch.mean[:, 5], batch.quantiles[:, 5, :, 0], batch.quantiles[:, 5, :, -1]], axis=2)
        inside = np.abs(told.values.reshape(2, 2, 3) - parts) / each.scaler.deviation[0][:, None]
        assert inside.max() < 0.05 * (1 + np.ptp(parts, axis=2).max())  # one truth or two have come by then


@pytest.mark.parametrize("kind", ["ridge", "recurrent"])
def test_a_gap_in_time_is_samples_without_values_and_a_long_one_a_new_beginning(
    kind: str, remembering: ModelFile
) -> None:
    file = remembering if kind == "recurrent" else train(a_walk(2, 400), PLAIN, 1, Course())
    data = a_walk(3, 400, seed=9)
    short = tuple(range(60, 66))
    blind = replace(data, records=tuple(replace(r, values=r.values.copy()) for r in data.records))
    for r in blind.records:
        r.values[list(short)] = np.nan
    gap, nothing = served(file, data.devices, (1, 3)), served(file, data.devices, (1, 3))
    one, other = replayed(gap, data, range(90), short)[-1], replayed(nothing, blind, range(90))[-1]
    assert np.array_equal(one.values, other.values) and np.array_equal(one.sure, other.sure)
    assert np.array_equal(one.settled.squared, other.settled.squared)  # type: ignore[union-attr]
    fresh = served(file, data.devices, (1, 3))
    late = replayed(gap, data, range(90 + gap.reach, 130 + gap.reach))[-1]
    assert np.array_equal(late.values, replayed(fresh, data, range(90 + gap.reach, 130 + gap.reach))[-1].values)


def test_what_lies_outside_of_training_is_told_unsure_as_long_as_it_is_in_the_window() -> None:
    file = train(a_walk(2, 400), PLAIN, 1, Course())
    data, model = a_walk(2, 100, seed=10), model_of(file)
    low, high = model.bounds
    scale, middle = model.scaler.deviation[0], model.scaler.mean[0]
    calm = tuple(
        replace(r, values=np.clip(r.values, (low * scale + middle), (high * scale + middle))) for r in data.records
    )
    calm[0].values[40, 0] = 1e4
    told = replayed(served(file, data.devices, (1,)), replace(data, records=calm), range(100))
    sure = np.stack([t.sure for t in told])[30:, :, ::3]  # (T, N, C)
    assert sure[:, 1].all() and sure[:, 0, 1].all()
    assert np.flatnonzero(~sure[:, 0, 0]).tolist() == list(range(10, 10 + 24))
    batch = model.forecast(windows(calm[0].values, 24, 0).seen).sure
    assert np.array_equal(batch[7:, 0], sure[:, 0, 0])


def test_intervals_follow_a_series_that_drifts_and_losses_tell_of_it() -> None:
    rng, rows = np.random.default_rng(2), 4_000
    train_on = DataSet(("x",), (Record("d", np.arange(900.0), rng.normal(size=(900, 1))),))
    file = train(train_on, ForecastOptions(lookback=8, horizon=4, network="none"), 1, Course())
    noise = np.where(np.arange(rows) < 1_000, 1.0, 3.0)[:, None, None]  # it trebles at row 1,000
    values = np.clip(noise * rng.normal(size=(rows, 5, 1)), -9, 9)
    follower = served(file, tuple("abcde"), (1, 4))
    told = [follower.step(np.full(5, float(t)), v) for t, v in enumerate(values)]
    held = np.stack([t.settled.held for t in told if t.settled])  # (T, N)
    squared = np.stack([t.settled.squared for t in told if t.settled])
    assert np.isnan(held[0]).all() and np.isfinite(held[10:]).all()
    assert np.mean(held[200:1_000]) == pytest.approx(0.9, abs=0.02)
    assert np.mean(held[1_000:1_020]) < 0.6
    assert np.mean(held[1_500:]) == pytest.approx(0.9, abs=0.015)
    assert np.mean(squared[2_000:]) == pytest.approx(9 * np.mean(squared[200:1_000]), rel=0.2)
    wide = np.stack([t.values[:, 2] - t.values[:, 1] for t in told])
    assert np.median(wide[3_000:]) == pytest.approx(3 * np.median(wide[500:1_000]), rel=0.2)


def test_a_fleet_may_be_served_for_days_in_the_same_memory(remembering: ModelFile) -> None:
    follower, rng = served(remembering, tuple(f"d{k}" for k in range(200)), (1, 6)), np.random.default_rng(1)
    sizes = []
    for t in range(600):
        at = np.flatnonzero(rng.random(200) < 0.9)
        values = rng.normal(size=(len(at), 2))
        values[rng.random(values.shape) < 0.05] = np.nan
        told = follower.step(np.full(len(at), float(t)), values, at)
        assert not (told.sure & np.isnan(told.values)).any()
        if t in (200, 599):
            sizes.append(len(pickle.dumps(follower)))
    assert abs(sizes[1] - sizes[0]) < 2_000


def test_a_device_that_was_exchanged_begins_anew(remembering: ModelFile) -> None:
    data = a_walk(2, 200, seed=11)
    both = served(remembering, data.devices, (1,))
    replayed(both, data, range(80))
    both.forget(np.array([1]))
    fresh = served(remembering, data.devices, (1,))
    old, new = replayed(both, data, range(80, 120))[-1], replayed(fresh, data, range(80, 120))[-1]
    assert np.array_equal(old.values[1], new.values[1]) and not np.array_equal(old.values[0], new.values[0])
