"""The closed-form detector: a device's values against its own good data, by T² and SPE of smoothed deviations; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.anomaly_statistic import Following, Statistic, Verdicts
from ml.device_scaling import DeviceScaler
from ml.records import DataSet

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pca:
    scaler: DeviceScaler
    statistic: Statistic

    @classmethod
    def fit(cls, data: DataSet, statistic: Statistic) -> Self:
        return cls(DeviceScaler.fit(data), statistic)

    def judging(self, statistic: Statistic) -> Self:
        return replace(self, statistic=statistic)

    def deviations(self, device: str, values: Array) -> Array:
        """(T, C) -> (T, C), NaN where missing."""
        return self.scaler.scaled(values, self.scaler.rows([device])[0])

    def verdicts(self, device: str, values: Array) -> Verdicts:
        """Of a whole record. (T, C)."""
        return self.statistic.judged(self.statistic.smoothed(self.deviations(device, values)))

    def begin(self, devices: Sequence[str]) -> Following:
        count = len(devices)
        window = np.empty((count, 0, len(self.statistic.spread)))
        return Following(self.scaler.rows(devices), window, np.zeros(count, np.intp), self.statistic.begin(count))

    def step(self, state: Following, values: Array) -> tuple[Following, Verdicts]:
        """One new sample of each device, (D, C), NaN where missing."""
        memory, verdicts = self.statistic.step(state.memory, self.scaler.scaled(values, state.row))
        return replace(state, seen=state.seen + 1, memory=memory), verdicts

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {**self.scaler.tensors("scaler"), **self.statistic.tensors()}

    @classmethod
    def from_tensors(cls, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(DeviceScaler.from_tensors("scaler", devices, tensors), Statistic.from_tensors(tensors))
