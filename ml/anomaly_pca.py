"""The closed-form detector: values against the good data of their device, by T² and SPE of what is smoothed; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.anomaly_statistic import Distance, Following, Statistic
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

    def distance(self, device: str, values: Array) -> Distance:
        """Of a whole record. (T, C)."""
        return self.statistic.judged(self.statistic.smoothed(self.deviations(device, values)))

    def begin(self, devices: Sequence[str]) -> Following:
        count = len(devices)
        window = np.empty((count, 0, len(self.statistic.spread)))
        never = np.full(count, np.nan)
        return Following(
            self.scaler.rows(devices), window, np.zeros(count, np.intp), self.statistic.begin(count), never
        )

    def step(self, state: Following, values: Array) -> tuple[Following, Distance]:
        """One new sample of each device, (D, C), NaN where missing."""
        memory, distance = self.statistic.step(state.memory, self.scaler.scaled(values, state.row))
        return replace(state, seen=state.seen + 1, memory=memory), distance

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {**self.scaler.tensors("scaler"), **self.statistic.tensors()}

    @classmethod
    def from_tensors(cls, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(DeviceScaler.from_tensors("scaler", devices, tensors), Statistic.from_tensors(tensors))
