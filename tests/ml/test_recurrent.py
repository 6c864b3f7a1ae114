"""A forecast that remembers: it begins as the ridge, learns what no window's linear form tells, and costs one step."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from ml import edge, recurrent_training
from ml.forecast import ForecastOptions, evaluate, train
from ml.forecast_model import LEVELS, ForecastModel, model_of
from ml.model_file import ModelFile, read, write
from ml.records import DataSet
from ml.recurrent import Recurrent
from ml.training import Cancelled, Course
from ml.windows import windows
from tests.ml.fleets import tanks
from twin.errors import BadRequest

OPTIONS = ForecastOptions(lookback=24, horizon=6, network="recurrent", memory=16)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(recurrent_training, "PASSES", 10)
    monkeypatch.setattr(recurrent_training, "PASS_ROWS", 10_000)
    monkeypatch.setattr(recurrent_training, "RATE", 6e-3)


@pytest.fixture(scope="module")
def learnt() -> ModelFile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recurrent_training, "PASSES", 10)
        patch.setattr(recurrent_training, "PASS_ROWS", 10_000)
        patch.setattr(recurrent_training, "RATE", 6e-3)
        torch.set_num_threads(1)
        return train(tanks(), OPTIONS, 1, Course())


def a_memory(model: ForecastModel, size: int, seed: int = 1) -> Recurrent:
    """Of chance."""
    rng, (horizon, columns) = np.random.default_rng(seed), model.margins.shape
    shapes = (
        (3 * size, 3 * columns), (3 * size, size), (3 * size, 1), (size, 1), (horizon, columns, size + 1),
        (horizon, columns, 2, size + 1),
    )  # fmt: skip
    taken, kept, bias, inner, correction, stretch = (rng.normal(0, 0.3, s).astype(np.float32) for s in shapes)
    return Recurrent(taken, kept, bias, inner, correction, stretch, model.spread)


def test_where_the_level_turns_the_memory_knows_and_the_ridge_does_not(learnt: ModelFile) -> None:
    assert learnt.manifest.kind == "recurrent" and "beats the champion" in learnt.manifest.metrics["contest"]
    model, record = model_of(learnt), tanks(1, 600, seed=77).records[0]
    found = windows(record.values, 24, 6)
    told = model.forecast_at(record.values, found.origin)
    plain = dataclasses.replace(model, recurrent=None).forecast(found.seen)
    error, floor = (np.mean((x.mean - found.ahead) ** 2) for x in (told, plain))
    assert error < 0.7 * floor
    assert (np.diff(told.quantiles, axis=-1) >= 0).all()
    held = (told.quantiles[..., 0] <= found.ahead) & (found.ahead <= told.quantiles[..., -1])
    assert held.mean() == pytest.approx(0.9, abs=0.06)


def test_it_lives_in_the_same_file_and_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    small = dataclasses.replace(OPTIONS, memory=4)
    one, data = train(tanks(4, 400), small, 3, Course()), tanks(4, 400)
    assert one.hash == train(data, small, 3, Course()).hash
    write(tmp_path / "m", one)
    assert read(tmp_path / "m").hash == one.hash


def test_untrained_it_is_the_ridge_and_a_half_known_run_changes_nothing_of_that() -> None:
    file = train(tanks(2, 500), dataclasses.replace(OPTIONS, network="none"), 1, Course())
    model = model_of(file)
    horizon, columns, _ = model.spread.shape
    net = recurrent_training._Net(columns, horizon, 8)
    untrained = recurrent_training._plain(net, model.spread)
    seen = windows(model.scaler.scaled(tanks(1, 100).records[0].values), 24, 6).seen.copy()
    seen[::2, 5, 0] = np.nan
    mean, quantiles = model.bare(seen)
    other = dataclasses.replace(model, recurrent=untrained).bare(seen)
    assert np.array_equal(other[0], mean) and np.allclose(other[1], quantiles)


def test_step_by_step_the_memory_is_that_of_torch() -> None:
    torch.manual_seed(1)
    net = recurrent_training._Net(3, 5, 8).eval()
    plain = recurrent_training._plain(net, np.zeros((5, 3, len(LEVELS))))
    values = np.random.default_rng(2).normal(size=(4, 50, 3))
    values[np.random.default_rng(3).random(values.shape) < 0.2] = np.nan
    inputs, _ = recurrent_training._inputs(values, np.full((4, 3), np.nan))
    with torch.inference_mode():
        told = net.gru(torch.from_numpy(inputs))[0].numpy()
    np.testing.assert_allclose(plain.after(values.astype(np.float32)), told, atol=1e-5)


def test_corrections_are_joined_between_knots_and_reach_the_first_and_the_last_step() -> None:
    for horizon in (1, 3, 96):
        weights = recurrent_training.hats(horizon)
        assert len(weights) == horizon and weights.shape[1] <= recurrent_training.KNOTS
        assert np.allclose(weights.sum(axis=1), 1) and weights[0, 0] == weights[-1, -1] == 1


def test_a_memory_that_gains_nothing_is_left_out() -> None:
    rng = np.random.default_rng(4)
    walks = tanks(4, 500)
    noise = tuple(dataclasses.replace(r, values=rng.normal(size=r.values.shape)) for r in walks.records)
    file = train(DataSet(walks.columns, noise, walks.units), dataclasses.replace(OPTIONS, memory=4), 1, Course())
    assert file.manifest.kind == "ridge" and "does not beat" in file.manifest.metrics["contest"]


def test_a_trial_says_what_it_remembers_and_stops_where_it_is_told_to() -> None:
    course = Course()
    course.cancel.set()
    with pytest.raises(Cancelled):
        train(tanks(2, 500), OPTIONS, 1, course)
    trial = evaluate(tanks(3, 500), dataclasses.replace(OPTIONS, memory=4), (1,), Course())
    assert "remembers" in trial.protocol and trial.seeds[0].figures["mse"] <= 1.02 * trial.floor["mse"]


def test_files_for_the_edge_have_no_place_for_a_memory(learnt: ModelFile) -> None:
    with pytest.raises(BadRequest, match="keeps a memory"):
        edge.of_forecast(learnt)


@pytest.mark.parametrize(("said", "words"), [({"network": "gru"}, "no network 'gru'"), ({"memory": 2}, "4 … 512")])
def test_options_that_are_none_are_refused(said: dict[str, object], words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        dataclasses.replace(OPTIONS, **said)  # type: ignore[arg-type]
    assert ForecastOptions(network="no").network == "none" and ForecastOptions(network="yes").network == "window"
