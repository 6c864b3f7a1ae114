"""A forecast as it is asked: what was seen in, the next rows with their intervals out; must not know training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ml.model_file import ModelFile
from ml.recurrent import Recurrent, states
from ml.ridge import Ridge
from ml.scaling import Scaler
from ml.windows import windows
from twin.errors import BadRequest

if TYPE_CHECKING:  # torch, which the ridge has no need of
    from ml.forecaster import Forecaster

TASK = "forecast"
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
COVERED = 0.90  # what the outer quantiles promise
MISSING_MAX = 0.5  # share of a window's values: with fewer measured it says nothing
BEYOND = 0.25  # of the range of training, outside of which an input is out of range
Array = NDArray[np.float64]
Single = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is told of the next rows.

    Attributes:
        mean: shape (N, H, C), in the units of the data; NaN where nothing may be told.
        quantiles: shape (N, H, C, Q) of `levels`, the outer two widened or narrowed to hold what they promise.
        known: whether a window was whole enough, shape (N, C).
        sure: whether it was, and lies where the training's lay, shape (N, C); where not, the interval promises nothing.
    """

    mean: Array
    quantiles: Array
    known: Mask
    sure: Mask


@dataclass(frozen=True)
class ForecastModel:
    """A trained forecast.

    Attributes:
        network: of whole windows; recurrent: with a memory. None where the ridge is not beaten.
        spread: of the ridge's errors, quantiles by column and step, shape (H, C, Q); the network has its own.
        margins: by which the outer quantiles are moved, shape (H, C).
        range: lowest and highest value of each column in training, scaled, shape (2, C).
    """

    scaler: Scaler
    ridge: Ridge
    network: Forecaster | None
    recurrent: Recurrent | None
    spread: Array
    margins: Array
    range: Array
    levels: tuple[float, ...] = LEVELS

    def forecast(self, seen: Array) -> Forecast:
        """(N, L, C) -> the next H rows; a memory begins with each window."""
        flat = self.scaler.scaled(seen.reshape(-1, seen.shape[2])).reshape(seen.shape)
        return self._told(flat, *self.scaled(flat))

    def forecast_at(self, values: Array, rows: NDArray[np.intp]) -> Forecast:
        """From these rows of a record, (T, C), each at least L - 1; a memory begins with the record."""
        scaled = self.scaler.scaled(values)
        seen = windows(scaled, self.ridge.lookback, 0).seen[rows - self.ridge.lookback + 1]
        return self._told(seen, *self.scaled(seen, self.memories([scaled], [rows])))

    def _told(self, seen: Array, mean: Array, quantiles: Array) -> Forecast:
        known = np.isfinite(seen).mean(axis=1) > 1 - MISSING_MAX  # (N, C)
        sure = known & ~self.odd(seen).any(axis=1)
        size = np.where(np.isfinite(self.scaler.deviation[0]), self.scaler.deviation[0], 0.0)
        mean = np.where(known[:, None], mean * size + self.scaler.mean[0], np.nan)
        told = quantiles * size[:, None] + self.scaler.mean[0][:, None]
        return Forecast(mean, np.where(known[:, None, :, None], told, np.nan), known, sure)

    def odd(self, scaled: Array) -> Mask:
        """Which values lie outside what training saw, (..., C) -> (..., C)."""
        low, high = self.bounds
        return np.asarray((scaled < low) | (scaled > high))

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Of what training saw and somewhat beyond, scaled, each (C,)."""
        span = BEYOND * (self.range[1] - self.range[0])
        return self.range[0] - span, self.range[1] + span

    def scaled(self, seen: Array, memory: Single | None = None) -> tuple[Array, Array]:
        """As `forecast`, on scaled values; without a memory it is made of the window alone."""
        mean, quantiles = self.bare(seen, memory)
        return mean, self.widened(quantiles)

    def widened(self, quantiles: Array) -> Array:
        """By the margins, (..., H, C, Q)."""
        wide = quantiles.copy()
        wide[..., 0] -= self.margins
        wide[..., -1] += self.margins
        wide.sort(axis=-1)  # a margin below 0 must not turn them around
        return wide

    def bare(self, seen: Array, memory: Single | None = None) -> tuple[Array, Array]:
        """Before the margins."""
        if self.network is not None:
            return self.network.forecast(seen)
        mean = self.ridge.forecast(seen)
        if self.recurrent is None:
            return mean, mean[..., None] + self.spread
        if memory is None:
            memory = self.recurrent.after(seen.astype(np.float32))[:, -1]
        return self.recurrent.corrected(mean, memory)

    def memories(self, runs: Sequence[Array], rows: Sequence[NDArray[np.intp]]) -> Single | None:
        """What is remembered at these rows of each record, scaled, one below the other, (N, M); None where nothing is."""
        return None if self.recurrent is None else states(self.recurrent, runs, rows)

    def tensors(self) -> dict[str, NDArray[np.generic]]:
        net = {} if self.network is None else self.network.tensors()
        memory = {} if self.recurrent is None else self.recurrent.tensors()
        own = {"spread": self.spread, "margins": self.margins, "range": self.range}
        return {**self.scaler.tensors(), **self.ridge.tensors(), **net, **memory, **own}


def model_of(file: ModelFile) -> ForecastModel:
    """The model in a file.

    Raises:
        BadRequest: it is a model of something else, or of a version before models kept the range of their inputs.
    """
    t = file.tensors
    if file.manifest.task != TASK or "range" not in t:
        raise BadRequest(
            f"a {file.manifest.kind} for {file.manifest.task}, no forecast of this version", "train forecast"
        )
    levels = tuple(file.manifest.settings["levels"])
    network = None
    if "net.linear" in t:
        from ml.forecaster import Forecaster

        network = Forecaster.from_tensors(t, levels)
    recurrent = Recurrent.from_tensors(t) if "recurrent.kept" in t else None
    scaler, plain = Scaler.from_tensors(t), Ridge.from_tensors(t)
    return ForecastModel(scaler, plain, network, recurrent, t["spread"], t["margins"], t["range"], levels)
