"""The networks of models as torch modules of one input and one output, for export; must not know file formats.

What surrounds a network stays with who uses it: gaps are filled and features made before, intervals widened after it,
where that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ml import forecast_model, rul_model
from ml.forecaster import PATCH, Forecaster
from ml.intervals import rising
from ml.model_file import ModelFile
from twin.errors import BadRequest

SAMPLES = 64  # inputs on which an export is compared


@dataclass(frozen=True, slots=True)
class Edge:
    """
    Attributes:
        module: in evaluation mode. inputs: as it meets them, float32, the first axis over samples.
        takes, tells: the input and the output in words, for the file.
    """

    module: nn.Module
    inputs: NDArray[np.float32]
    takes: str
    tells: str


class ForecastNet(nn.Module):
    """Values in, mean and quantiles out, all in the units of the data; margins and scaling are inside."""

    mean: Tensor
    size: Tensor
    weights: Tensor
    apart: Tensor
    margins: Tensor

    def __init__(self, model: forecast_model.ForecastModel) -> None:
        super().__init__()
        deviation = model.scaler.deviation[0]
        spread = np.where(np.isfinite(deviation), deviation, 0.0)
        for name, values in (
            ("mean", model.scaler.mean[0]), ("size", spread), ("weights", model.ridge.weights), ("apart", model.spread),
            ("margins", model.margins),
        ):  # fmt: skip
            self.register_buffer(name, torch.from_numpy(np.array(values, np.float32)))
        self.network: Forecaster | None = model.network

    def forward(self, seen: Tensor) -> Tensor:
        """(N, L, C) -> (N, H, C, 1 + Q)."""
        scaled = (seen - self.mean) / torch.where(self.size > 0, self.size, torch.ones_like(self.size))
        scaled = scaled * (self.size > 0)  # a column that never moved is 0
        mean, quantiles = self._plain(scaled) if self.network is None else self._told(self.network, scaled)
        low, high = quantiles[..., :1] - self.margins[..., None], quantiles[..., -1:] + self.margins[..., None]
        quantiles = torch.sort(torch.cat([low, quantiles[..., 1:-1], high], dim=-1), dim=-1).values
        told = torch.cat([mean[..., None], quantiles], dim=-1)  # (N, H, C, 1 + Q)
        return told * self.size[:, None] + self.mean[:, None]

    def _plain(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        newest = seen[:, -1:]  # (N, 1, C)
        ahead = (seen - newest).permute(2, 0, 1) @ self.weights[:, :-1] + self.weights[:, None, -1]  # (C, N, H)
        mean = ahead.permute(1, 2, 0) + newest  # (N, H, C)
        return mean, mean[..., None] + self.apart

    def _told(self, network: Forecaster, seen: Tensor) -> tuple[Tensor, Tensor]:
        """As `Forecaster.forward`, all columns at once and for any N: what is traced must not depend on either."""
        columns, lookback, horizon = network.linear.shape
        x = seen.transpose(1, 2)  # (N, C, L)
        newest = x[..., -1:]  # (N, C, 1)
        x = x - newest
        size = x.std(dim=2, keepdim=True) + 1e-3  # (N, C, 1)
        patches = nn.functional.pad(x / size, ((-lookback) % PATCH, 0)).reshape(-1, -(-lookback // PATCH), PATCH)
        which = (network.embedding.weight + 0 * newest).reshape(-1, 1, 4).expand(-1, patches.shape[1], -1)
        _, h = network.gru(torch.cat([patches, which], dim=2))  # (1, N C, hidden)
        linear = (x.transpose(0, 1) @ network.linear + network.bias[:, None]).transpose(0, 1)  # (N, C, H)
        mean = newest + linear + size * network.correction(h[0]).reshape(-1, columns, horizon)
        apart = rising(network.spread(h[0]).reshape(-1, columns, horizon, len(network.levels)))  # (N, C, H, Q)
        quantiles = mean[..., None] + size[..., None] * apart
        return mean.transpose(1, 2), quantiles.transpose(1, 2)


class LifeNet(nn.Module):
    """Features in, quantiles of life out, in the unit of the records' times; before the margins."""

    def __init__(self, model: rul_model.LifeModel) -> None:
        super().__init__()
        assert model.network is not None
        self.members = nn.ModuleList(model.network.members)
        self.cap = model.cap

    def forward(self, inputs: Tensor) -> Tensor:
        """(N, F) -> (N, Q)."""
        return torch.stack([member(inputs) for member in self.members]).mean(dim=0) * self.cap


def of_forecast(file: ModelFile) -> Edge:
    """Ridge or network, whole.

    Raises:
        BadRequest: it carries a memory, which these files have no place for.
    """
    model = forecast_model.model_of(file)
    if model.recurrent is not None:
        raise BadRequest(
            "a recurrent forecast keeps a memory from sample to sample; ONNX here holds forecasts of whole windows",
            "export the .safetensors, or train with network=window or none",
        )
    net = ForecastNet(model).eval()
    normal = np.random.default_rng(0).normal(size=(SAMPLES, model.ridge.lookback, len(net.mean)))
    inputs = (normal * net.size.numpy() + net.mean.numpy()).astype(np.float32)
    return Edge(
        net, inputs, "values without gaps (N, L, C)", "mean and quantiles with margins (N, H, C, 1 + Q), in their units"
    )


def of_lives(file: ModelFile) -> Edge | None:
    """None for the ridge: it is a few sums."""
    model = rul_model.LifeModel.from_file(file)
    if model.network is None:
        return None
    normal = np.random.default_rng(0).normal(
        size=(SAMPLES, model.statistics + model.window * model.network.shape.columns)
    )
    return Edge(
        LifeNet(model).eval(),
        normal.astype(np.float32),
        "features, scaled (N, F)",
        "quantiles of life without margins (N, Q)",
    )


NETWORKS: Mapping[str, Callable[[ModelFile], Edge | None]] = {"forecast": of_forecast, "rul": of_lives}
