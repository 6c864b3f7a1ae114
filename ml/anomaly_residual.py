"""The forecasting detector: each new sample against what the last ones made likely, by the fleet's model adapted to each.

The forecast is a ridge regression of the window, in closed form: the fleet's, and each device's own drawn towards it. A
small network may be trained on what the fleet's leaves.
Where a column wanders by itself the forecast follows it, where it should rest it does not, so that a shift stays visible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ml.anomaly_network import Network
from ml.anomaly_statistic import Distance, Following, Statistic
from ml.device_scaling import DeviceScaler
from ml.records import DataSet, Record
from ml.training import Course

RIDGE = 30.0  # rows' worth of doubt about each weight; scaled values
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shape:
    """
    Attributes:
        window: samples that a forecast is made of.
        hidden: width of the network; 0: there is none.
        fleet_rows: how many rows of a device's own the fleet's forecast counts for.
    """

    window: int
    hidden: int
    fleet_rows: int


@dataclass(frozen=True, slots=True)
class Residual:
    """
    Attributes:
        residual_scaler: mean and spread of what the forecast leaves, per device.
        weights: of the ridge, shape (D + 1, W * C + 1, C), the last row of each for itself; the last of all is the
            fleet's, for a device that is not known.
    """

    scaler: DeviceScaler
    residual_scaler: DeviceScaler
    weights: Array
    network: Network | None
    statistic: Statistic

    @property
    def window(self) -> int:
        _, inputs, columns = self.weights.shape
        return int((inputs - 1) // columns)

    @classmethod
    def fit(cls, data: DataSet, shape: Shape, seed: int, course: Course, statistic: Statistic) -> Self:
        """On good data."""
        scaler = DeviceScaler.fit(data)
        row = scaler.rows([r.device for r in data.records])
        pairs = [windows(scaler.scaled(r.values, k), shape.window) for r, k in zip(data.records, row, strict=True)]
        inputs, targets = np.concatenate([x for x, _ in pairs]), np.concatenate([y for _, y in pairs])
        devices = np.repeat(row, [len(x) for x, _ in pairs])
        fleet = ridge(inputs, targets)
        network, left = None, targets - _linear(inputs, fleet)
        if shape.hidden:
            network = Network.fit(inputs, left, devices, shape.hidden, seed, course)
            left -= network.forecast(inputs)
        own = [_adapted(inputs[devices == k], left[devices == k], shape.fleet_rows) for k in range(len(scaler.devices))]
        made = cls(scaler, scaler, fleet + np.stack([*own, np.zeros_like(fleet)]), network, statistic)
        rests = tuple(
            Record(r.device, r.time_s[shape.window :], y - made.forecast(x, k))
            for r, k, (x, y) in zip(data.records, row, pairs, strict=True)
        )
        return replace(made, residual_scaler=DeviceScaler.fit(DataSet(data.columns, rests)))

    def judging(self, statistic: Statistic) -> Self:
        return replace(self, statistic=statistic)

    def forecast(self, inputs: Array, row: NDArray[np.intp] | np.intp) -> Array:
        """Of one device, or each of its own. (N, W * C), () or (N,) -> (N, C), scaled."""
        told = self._own(inputs, row)
        return told if self.network is None else told + self.network.forecast(inputs)

    def _own(self, inputs: Array, row: NDArray[np.intp] | np.intp) -> Array:
        """By the ridge."""
        fleet = row == len(self.weights) - 1
        if not np.any(fleet) or np.all(fleet):
            weights = self.weights[_slice(row)]
            return _linear(inputs, weights) if weights.ndim == 2 else _linear(inputs[:, None], weights)[:, 0]
        told = np.empty((len(inputs), self.weights.shape[2]))
        for part in (fleet, ~fleet):  # those that training did not know share the last row: of it no copies
            told[part] = self._own(inputs[part], np.asarray(row)[part])
        return told

    def deviations(self, device: str, values: Array) -> Array:
        """(T, C) -> (T, C), NaN where missing and before the window is full."""
        row = self.scaler.rows([device])[0]
        made = np.full(values.shape, np.nan)
        if len(values) > self.window:
            inputs, targets = windows(self.scaler.scaled(values, row), self.window)
            made[self.window :] = self.residual_scaler.scaled(targets - self.forecast(inputs, row), row)
        return made

    def distance(self, device: str, values: Array) -> Distance:
        """Of a whole record. (T, C)."""
        return self.statistic.judged(self.statistic.smoothed(self.deviations(device, values)))

    def begin(self, devices: Sequence[str]) -> Following:
        count, columns = len(devices), self.weights.shape[2]
        window = np.zeros((count, self.window, columns))
        never = np.full(count, np.nan)
        return Following(
            self.scaler.rows(devices), window, np.zeros(count, np.intp), self.statistic.begin(count), never
        )

    def step(self, state: Following, values: Array) -> tuple[Following, Distance]:
        """One new sample of each device, (D, C), NaN where missing."""
        scaled = self.scaler.scaled(values, state.row)
        left = scaled - self.forecast(state.window.reshape(len(values), self.window * values.shape[1]), state.row)
        left = np.where(state.seen[:, None] >= self.window, left, np.nan)
        memory, distance = self.statistic.step(state.memory, self.residual_scaler.scaled(left, state.row))
        newest = np.where(np.isfinite(scaled), scaled, state.window[:, -1])
        window = np.concatenate([state.window[:, 1:], newest[:, None]], axis=1)  # (D, W, C)
        return replace(state, window=window, seen=state.seen + 1, memory=memory), distance

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {
            **self.scaler.tensors("scaler"), **self.residual_scaler.tensors("residual"), "ridge.weights": self.weights,
            **(self.network.tensors() if self.network else {}), **self.statistic.tensors(),
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(
            DeviceScaler.from_tensors("scaler", devices, tensors),
            DeviceScaler.from_tensors("residual", devices, tensors), tensors["ridge.weights"],
            Network.from_tensors(tensors), Statistic.from_tensors(tensors),
        )  # fmt: skip


def windows(scaled: Array, window: int) -> tuple[Array, Array]:
    """Each sample and the ones before it. (T, C) -> (T - W, W * C) without gaps, (T - W, C) NaN where missing."""
    if len(scaled) <= window:
        return np.empty((0, window * scaled.shape[1])), np.empty((0, scaled.shape[1]))
    seen = sliding_window_view(held(scaled)[:-1], window, axis=0)  # (T - W, C, W)
    return seen.transpose(0, 2, 1).reshape(len(scaled) - window, -1), scaled[window:]


def held(scaled: Array) -> Array:
    """Gaps filled with what was last known, 0 before anything was."""
    known = np.isfinite(scaled)
    last = np.maximum.accumulate(np.where(known, np.arange(1, len(scaled) + 1)[:, None], 0), axis=0)
    padded = np.concatenate([np.zeros((1, scaled.shape[1])), scaled])
    filled: Array = np.take_along_axis(padded, last, axis=0)
    return filled


def ridge(inputs: Array, targets: Array) -> Array:
    """(N, K), (N, C) NaN where missing -> (K + 1, C); each column from the samples in which it was measured."""
    weights = np.zeros((inputs.shape[1] + 1, targets.shape[1]))
    for rows, columns in _measured(targets):
        x, y = inputs[rows], targets[np.ix_(rows, columns)]
        centre, level = x.mean(axis=0), y.mean(axis=0)
        square = (x - centre).T @ (x - centre) + RIDGE * np.eye(x.shape[1])
        slope = np.linalg.solve(square, (x - centre).T @ (y - level))
        weights[:-1, columns], weights[-1, columns] = slope, level - centre @ slope
    return weights


def _adapted(inputs: Array, left: Array, fleet_rows: int) -> Array:
    """What a device adds to the fleet's weights, for what those leave. (N, K), (N, C) NaN where missing -> (K + 1, C)."""
    more = np.zeros((inputs.shape[1] + 1, left.shape[1]))
    for rows, columns in _measured(left):
        x = np.concatenate([inputs[rows], np.ones((len(rows), 1))], axis=1)
        square = x.T @ x + fleet_rows * np.eye(x.shape[1])
        more[:, columns] = np.linalg.solve(square, x.T @ left[np.ix_(rows, columns)])
    return more


def _measured(targets: Array) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Columns that were measured in the same samples, with these samples: (rows, columns)."""
    patterns, which = np.unique(np.isfinite(targets).T, axis=0, return_inverse=True)
    found = [(np.flatnonzero(p), np.flatnonzero(which.reshape(-1) == k)) for k, p in enumerate(patterns)]
    return [(rows, columns) for rows, columns in found if len(rows)]


def _slice(row: NDArray[np.intp] | np.intp) -> NDArray[np.intp] | np.intp | slice:
    """Rows that follow each other, or are all the same, need no copy: of 10,000 devices it is 50 MB."""
    if isinstance(row, np.ndarray) and row.size:
        if (row == row[0]).all():  # devices that training did not know
            return np.intp(row[0])
        if (np.diff(row) == 1).all():
            return slice(int(row[0]), int(row[-1]) + 1)
    return row


def _linear(inputs: Array, weights: Array) -> Array:
    """(..., N, K), (..., K + 1, C) -> (..., N, C)."""
    made: Array = inputs @ weights[..., :-1, :] + weights[..., -1:, :]
    return made
