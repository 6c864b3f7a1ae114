"""Models of every kind as ONNX: they tell the same, for any number of inputs; int8 only where it pays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from control.model_edge import TOLERANCE, TOLERANCE_INT8, export
from ml import edge, forecast, rul
from ml.forecast_model import model_of
from ml.forecaster import Forecaster
from ml.model_file import ModelFile
from ml.training import Course
from tests.ml.stand_in import a_walk
from tests.ml.test_edge import LIFE, lives
from twin.errors import Refused

pytest.importorskip("onnxruntime", reason="the extra edge is not installed")


def a_forecast(network: bool) -> ModelFile:
    """A ridge, or a network around it, whether it beats it or not."""
    torch.set_num_threads(1)
    file = forecast.train(a_walk(2, 500), forecast.ForecastOptions(lookback=24, horizon=6, network="none"), 1, Course())
    if not network:
        return file
    torch.manual_seed(3)
    net = Forecaster(torch.from_numpy(model_of(file).ridge.weights).float())
    torch.nn.init.normal_(net.correction.weight, std=0.1)
    return replace(file, tensors={**file.tensors, **{k: np.array(v) for k, v in net.tensors().items()}})


@pytest.mark.parametrize("kind", ["ridge", "forecaster", "rul"])
def test_an_exported_network_tells_what_the_model_tells(tmp_path: Path, kind: str) -> None:
    if kind == "rul":
        file = rul.train(lives(), LIFE, 1, Course())
        network = edge.of_lives(file)
    else:
        file = a_forecast(kind == "forecaster")
        network = edge.of_forecast(file)
    assert network is not None
    plain, small = export(file, network, tmp_path / "m.onnx")
    assert plain.kept and plain.difference <= TOLERANCE
    assert small.difference <= TOLERANCE_INT8 and small.kept == (tmp_path / "m.int8.onnx").is_file()


def test_an_export_that_tells_something_else_is_refused(tmp_path: Path) -> None:
    """Chance in the network: no two runs tell the same."""
    network = edge.of_forecast(a_forecast(False))

    class Noisy(torch.nn.Module):
        def forward(self, seen: torch.Tensor) -> torch.Tensor:
            return network.module(seen) + torch.rand_like(seen[:, :1, :1, None])

    with pytest.raises(Refused, match="other values"):
        export(a_forecast(False), replace(network, module=Noisy()), tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
