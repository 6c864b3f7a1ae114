"""Values made comparable between devices: each over its own mean and spread, learnt from its good data; pure.

`scaling` does the same per operating condition; here a device is its own condition, and an unknown one takes what the
fleet as a whole shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.records import DataSet

CALM = 0.1  # of the fleet's typical spread: a column that rested in one device's data may still move on another day
STILL = 1e-9  # of a mean: the least spread
FAR = 10.0  # spreads; what lies farther is cut off, so that one wild sample does not fill the memory
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeviceScaler:
    """Mean and spread of each column of each device.

    Attributes:
        devices: names, in the order of the rows.
        mean, deviation: shape (D + 1, C); the last row is for a device that is not among them: the fleet's.
    """

    devices: tuple[str, ...]
    mean: Array
    deviation: Array

    def rows(self, names: Sequence[str]) -> NDArray[np.intp]:
        """The row of each name, shape (N,)."""
        place = {name: k for k, name in enumerate(self.devices)}
        return np.array([place.get(name, len(self.devices)) for name in names], np.intp)

    def scaled(self, values: Array, row: NDArray[np.intp] | np.intp) -> Array:
        """(N, C) -> (N, C), NaN where NaN, within ±FAR."""
        scaled: Array = np.clip((values - self.mean[row]) / self.deviation[row], -FAR, FAR)
        return scaled

    @classmethod
    def fit(cls, data: DataSet) -> Self:
        """Of good data in which each column was measured and moves at some time."""
        devices = data.devices
        own = [data.of([name]).stacked() for name in devices]
        mean, deviation = moments([*own, data.stacked()])
        moving = np.where(deviation[:-1] > 0, deviation[:-1], np.nan)  # (D, C)
        typical = deviation[-1].copy()  # (C,)
        some = np.isfinite(moving).any(axis=0)
        typical[some] = np.nanmedian(moving[:, some], axis=0)
        mean = np.where(np.isfinite(mean), mean, mean[-1])
        deviation = np.where(np.isfinite(deviation), deviation, deviation[-1])
        still = STILL * np.maximum(1.0, np.abs(mean))  # of a column that rested everywhere: any move is far
        return cls(devices, mean, np.maximum(np.maximum(deviation, CALM * typical), still))

    def tensors(self, name: str) -> Mapping[str, NDArray[Any]]:
        return {f"{name}.mean": self.mean, f"{name}.deviation": self.deviation}

    @classmethod
    def from_tensors(cls, name: str, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(tuple(devices), tensors[f"{name}.mean"], tensors[f"{name}.deviation"])


def moments(groups: Sequence[Array]) -> tuple[Array, Array]:
    """Mean and spread of each group's known values, both (G, C); NaN where fewer than two are known."""
    mean = np.full((len(groups), groups[0].shape[1]), np.nan)
    deviation = mean.copy()
    for k, values in enumerate(groups):
        some = np.isfinite(values).sum(axis=0) > 1
        mean[k, some] = np.nanmean(values[:, some], axis=0)
        deviation[k, some] = np.nanstd(values[:, some], axis=0)
    return mean, deviation
