"""Values made comparable: per operating condition where a device runs under several; must not know models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from ml.records import DataSet
from twin.errors import BadRequest

CONDITIONS_MAX = 24
STEADY = 1e-9  # spread, relative to the mean, below which a column is constant
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaler:
    """Mean and spread of each column, per operating condition.

    Attributes:
        settings: places of the columns that tell the condition; none: there is one.
        centres: of the conditions, over their own spread, shape (K, S).
        spread: of the settings, shape (S,).
        mean, deviation: shape (K, C). A column that does not move under a condition has deviation inf there: it is 0.
    """

    settings: tuple[int, ...]
    centres: Array
    spread: Array
    mean: Array
    deviation: Array

    def condition(self, values: Array) -> NDArray[np.intp]:
        """The nearest condition of each row, shape (T,)."""
        if len(self.centres) == 1:
            return np.zeros(len(values), np.intp)
        there = values[:, self.settings] / self.spread  # (T, S)
        gap = ((np.nan_to_num(there)[:, None] - self.centres[None]) ** 2).sum(axis=2)  # (T, K)
        nearest: NDArray[np.intp] = gap.argmin(axis=1)
        return nearest

    def scaled(self, values: Array) -> Array:
        """(T, C) -> (T, C), NaN where NaN, and all of a row whose condition is not known."""
        k = self.condition(values)
        scaled = (values - self.mean[k]) / self.deviation[k]
        if len(self.centres) > 1:
            scaled[~np.isfinite(values[:, self.settings]).all(axis=1)] = np.nan
        return scaled

    def restored(self, scaled: Array, values: Array) -> Array:
        """What `scaled` was made of, under the conditions of `values`."""
        k = self.condition(values)
        deviation = np.where(np.isfinite(self.deviation), self.deviation, 0.0)
        return scaled * deviation[k] + self.mean[k]

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {
            "scaler.settings": np.array(self.settings, np.int64), "scaler.centres": self.centres,
            "scaler.spread": self.spread, "scaler.mean": self.mean, "scaler.deviation": self.deviation,
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        settings = tuple(int(k) for k in tensors["scaler.settings"])
        return cls(settings, *(tensors[f"scaler.{name}"] for name in ("centres", "spread", "mean", "deviation")))


def fit_scaler(data: DataSet, settings: tuple[str, ...] = (), conditions: int = 1, seed: int = 0) -> Scaler:
    """Mean and spread under each of `conditions` operating conditions, as the columns `settings` tell them apart.

    Raises:
        BadRequest: no row is whole enough, or more conditions than CONDITIONS_MAX or than the columns tell.
    """
    if not 1 <= conditions <= CONDITIONS_MAX or (conditions > 1 and not settings):
        raise BadRequest(f"{conditions} operating conditions by {settings}", f"1 … {CONDITIONS_MAX}, told by columns")
    values = data.stacked()
    empty = [name for k, name in enumerate(data.columns) if not np.isfinite(values[:, k]).any()]
    if empty:
        raise BadRequest(f"{', '.join(empty)}: no value at all", "leave the column out")
    places = tuple(data.column(name) for name in settings)
    there = values[:, places]
    spread = np.nanstd(there, axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    centres = np.zeros((1, len(places)))
    if conditions > 1:
        known = there[np.isfinite(there).all(axis=1)] / spread
        if len(np.unique(known, axis=0)) < conditions:
            raise BadRequest(f"{', '.join(settings)} do not tell {conditions} conditions apart", "fewer conditions")
        centres, _ = kmeans2(known, conditions, minit="++", rng=np.random.default_rng(seed))
    bare = Scaler(places, centres, spread, np.zeros((len(centres), 1)), np.ones((len(centres), 1)))
    k = bare.condition(values)
    mean, deviation = np.empty((len(centres), values.shape[1])), np.empty((len(centres), values.shape[1]))
    whole_mean, whole_deviation = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    for each in range(len(centres)):
        rows = values[k == each]
        some = np.isfinite(rows).sum(axis=0) > 1
        mean[each], deviation[each] = whole_mean, whole_deviation
        mean[each, some], deviation[each, some] = np.nanmean(rows[:, some], axis=0), np.nanstd(rows[:, some], axis=0)
    still = deviation <= STEADY * np.maximum(1.0, np.abs(mean))
    return Scaler(places, centres, spread, mean, np.where(still, np.inf, deviation))
