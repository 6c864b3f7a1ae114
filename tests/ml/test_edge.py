"""Networks for the edge tell what the model tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ml import edge, forecast, forecast_model, rul, rul_model
from ml.forecaster import Forecaster
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.training import Course
from tests.ml.stand_in import a_walk

LIFE = rul.RulOptions(cap=50.0, model="network", windows=(5,), means=(5,), window=10, steps=5, folds=3)


def lives(devices: int = 20, seed: int = 1) -> DataSet:
    """Runs to failure: wear shows in both columns."""
    rng = np.random.default_rng(seed)
    records = []
    for k in range(devices):
        length = int(rng.integers(60, 110))
        wear = np.linspace(0, 1, length)[:, None] ** 2 * np.array([3.0, -2.0])
        records.append(Record(f"pump_{k}", np.arange(length, dtype=float), wear + 0.2 * rng.normal(size=(length, 2))))
    return DataSet(("heat", "flow"), tuple(records))


@pytest.mark.parametrize("network", [False, True])
def test_a_forecast_is_the_same_with_scaling_margins_and_quantiles(network: bool) -> None:
    torch.set_num_threads(1)
    data = a_walk(2, 400)
    options = forecast.ForecastOptions(lookback=24, horizon=6, network="none")
    file = forecast.train(data, options, 1, Course())
    model = forecast_model.model_of(file)
    if network:  # whether it beats the ridge or not
        torch.manual_seed(3)
        net = Forecaster(torch.from_numpy(model.ridge.weights).float())
        torch.nn.init.normal_(net.correction.weight, std=0.1)
        tensors = {**file.tensors, **{k: np.array(v) for k, v in net.tensors().items()}}
        file = ModelFile(file.manifest, tensors)
        model = forecast_model.model_of(file)
    made = edge.of_forecast(file)
    with torch.inference_mode():
        told = made.module(torch.from_numpy(made.inputs)).numpy()
    asked = model.forecast(made.inputs.astype(np.float64))
    spread = np.nanstd(data.stacked(), axis=0)[:, None]
    assert np.abs((told[..., 0] - asked.mean) / spread[:, 0]).max() < 1e-4
    assert np.abs((told[..., 1:] - asked.quantiles) / spread).max() < 1e-4


def test_remaining_life_is_the_same_before_its_margins_and_the_ridge_has_no_network() -> None:
    torch.set_num_threads(1)
    file = rul.train(lives(), LIFE, 1, Course())
    model, made = rul_model.LifeModel.from_file(file), edge.of_lives(file)
    assert made is not None and model.network is not None
    with torch.inference_mode():
        told = made.module(torch.from_numpy(made.inputs)).numpy()
    assert np.abs(told - model.network.told(made.inputs) * model.cap).max() < 1e-3
    plain = rul.train(lives(), replace(LIFE, model="ridge"), 1, Course())
    assert edge.of_lives(plain) is None
