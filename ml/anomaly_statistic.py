"""How far a device is from good, in one number, and which columns make it so; must not know what deviates from what.

Deviations (of values from their mean, or of values from their forecast) are smoothed by an exponentially weighted mean
(MEWMA: Lowry et al., Technometrics 1992) and measured by a probabilistic PCA (Tipping and Bishop, 1999) of the smoothed
deviations of good data that was held out: so columns that wander by themselves weigh little. Hotelling's T² of the parts
and the squared prediction error (SPE) add up to the squared distance exactly. A column that is missing is left out:
the distance is the marginal one of those that are there. Contributions are by reconstruction (Alcala and Qin,
Automatica 2009): how much of the squared distance goes if the column were what the others make it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from twin.errors import BadRequest

WEIGHT_MIN = 0.5  # share of the memory that must be of measured samples for a column to count
EXPLAINED = 0.7  # of the variance, by the parts that are kept
TRIMMED, TRIMS = 0.1, 3  # share of held-out rows that the covariance leaves out as too far, found in so many turns
ROWS_MIN = 40  # held-out rows, below which a covariance says nothing
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Memory:
    """What smoothing keeps of each device: the weighted sum and its weight, both (D, C)."""

    total: Array
    weight: Array


@dataclass(frozen=True, slots=True)
class Following:
    """What a detector keeps of D devices that it follows sample by sample.

    Attributes:
        row: of each in the scalers, shape (D,).
        window: the last samples, scaled, gaps filled with what was last known, shape (D, W, C), oldest first.
        seen: samples so far, shape (D,).
        time_s: of the last sample, shape (D,); NaN where none was told.
    """

    row: NDArray[np.intp]
    window: Array
    seen: NDArray[np.intp]
    memory: Memory
    time_s: Array


@dataclass(frozen=True, slots=True)
class Distance:
    """Of N samples, of one device or of many, from what is good.

    Attributes:
        score: shape (N,), about standard normal where all is good; NaN where nothing was measured, or the memory is not
            yet filled.
        parts, rest: T² and SPE, shape (N,); they add up to the squared distance.
        contribution: shape (N, C), of the squared distance; 0 for a column that is missing.
        deviation: shape (N, C), smoothed, over its spread in good data, with its sign; NaN where missing.
        missing: shape (N, C), columns that the score was made without.
    """

    score: Array
    parts: Array
    rest: Array
    contribution: Array
    deviation: Array
    missing: Mask


@dataclass(frozen=True, slots=True)
class Statistic:
    """
    Attributes:
        spread: of each smoothed deviation about 0 in held-out good data, shape (C,).
        loadings: of the parts, shape (C, K), in spreads.
        noise: variance beside the parts.
        pace: of the exponentially weighted mean, 0 … 1 a sample.
    """

    spread: Array
    loadings: Array
    noise: float
    pace: float

    @classmethod
    def fit(cls, levels: Array, pace: float) -> Self:
        """From smoothed deviations of held-out good data, shape (N, C), NaN where missing.

        The farthest are left out and it is fitted again: what is called good seldom is so everywhere.

        Raises:
            BadRequest: too few rows.
        """
        found = cls._of_all(levels, pace)
        for _ in range(TRIMS):
            score = found.judged(levels).score
            far = np.nanquantile(score, 1.0 - TRIMMED)
            found = cls._of_all(levels[~(score > far)], pace)
        return found

    @classmethod
    def _of_all(cls, levels: Array, pace: float) -> Self:
        known = np.isfinite(levels)
        if known.sum(axis=0).min() < ROWS_MIN:
            raise BadRequest(
                f"{known.sum(axis=0).min()} held-out samples of a column",
                f"{ROWS_MIN} or more: longer records, or a shorter memory",
            )
        filled = np.where(known, levels, 0.0)
        spread = np.maximum(np.sqrt((filled**2).sum(axis=0) / known.sum(axis=0)), 1e-6)
        scaled = filled / spread
        pairs = np.maximum(known.T.astype(np.float64) @ known, 1.0)
        variance, axes = np.linalg.eigh(scaled.T @ scaled / pairs)
        variance, axes = np.maximum(variance[::-1], 0.0), axes[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(variance) / variance.sum(), EXPLAINED)) + 1
        kept = max(0, min(kept, len(variance) - 1))
        noise = float(max(variance[kept:].mean(), 0.05))
        loadings = axes[:, :kept] * np.sqrt(np.maximum(variance[:kept] - noise, 0.0))
        return cls(spread, loadings, noise, pace)

    def begin(self, devices: int) -> Memory:
        return Memory(np.zeros((devices, len(self.spread))), np.zeros((devices, len(self.spread))))

    def step(self, memory: Memory, deviation: Array) -> tuple[Memory, Distance]:
        """One new sample of each device, shape (D, C), NaN where missing."""
        known = np.isfinite(deviation)
        total = (1 - self.pace) * memory.total + self.pace * np.where(known, deviation, 0.0)
        weight = (1 - self.pace) * memory.weight + self.pace * known
        return Memory(total, weight), self.judged(_level(total, weight, known))

    def smoothed(self, deviation: Array) -> Array:
        """All samples of one device at once, shape (T, C): what `step` would make of one after the other."""
        known = np.isfinite(deviation)
        total = lfilter([self.pace], [1.0, self.pace - 1.0], np.where(known, deviation, 0.0), axis=0)
        weight = lfilter([self.pace], [1.0, self.pace - 1.0], known.astype(np.float64), axis=0)
        return _level(total, weight, known)

    def judged(self, level: Array) -> Distance:
        """Of smoothed deviations, (N, C), NaN where missing."""
        deviation = level / self.spread
        known = np.isfinite(deviation)
        bare = np.where(known, deviation, 0.0)
        count = known.sum(axis=1)
        distance, parts = np.zeros(len(level)), np.zeros(len(level))
        contribution = np.zeros(level.shape)
        for rows, pattern in _patterns(known):
            inverse = self._inverse(pattern)
            pull = bare[rows] @ inverse  # (R, C)
            distance[rows] = (pull * bare[rows]).sum(axis=1)
            parts[rows] = ((pull * pattern @ self.loadings) ** 2).sum(axis=1)
            contribution[rows] = np.where(pattern, pull**2 / np.diag(inverse), 0.0)
        score = np.where(count > 0, _normal(distance, np.maximum(count, 1)), np.nan)
        return Distance(score, parts, np.maximum(distance - parts, 0.0), contribution, deviation, ~known)

    def _inverse(self, pattern: Mask) -> Array:
        """Of the covariance of the columns that are there; the others stand apart with variance 1. (C, C)."""
        covariance = self.loadings @ self.loadings.T + self.noise * np.eye(len(self.spread))
        there = np.outer(pattern, pattern)
        inverse: Array = np.linalg.inv(np.where(there, covariance, 0.0) + np.diag((~pattern).astype(np.float64)))
        return inverse

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {
            "statistic.spread": self.spread, "statistic.loadings": self.loadings,
            "statistic.rest": np.array([self.noise, self.pace]),
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        noise, pace = (float(x) for x in tensors["statistic.rest"])
        return cls(tensors["statistic.spread"], tensors["statistic.loadings"], noise, pace)


def _level(total: Array, weight: Array, known: Mask) -> Array:
    """A column counts when it is measured now and filled half of the memory."""
    there = known & (weight >= WEIGHT_MIN)
    return np.where(there, total / np.where(there, weight, 1.0), np.nan)


def _patterns(known: Mask) -> list[tuple[NDArray[np.intp], Mask]]:
    """Rows that miss the same columns, with the columns that they have."""
    if (known == known[:1]).all():  # what there nearly always is, in a tenth of the time
        return [(np.arange(len(known)), known[0])] if len(known) else []
    packed = np.packbits(known, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    found = known[first]
    order = np.argsort(which.reshape(-1), kind="stable")
    ends = np.cumsum(np.bincount(which.reshape(-1), minlength=len(found)))
    return [(rows, found[k]) for k, rows in enumerate(np.split(order, ends[:-1])) if len(rows)]


def _normal(distance: Array, count: NDArray[np.intp]) -> Array:
    """A chi-squared of so many columns made normal, so that scores with and without a column compare.

    Source: Wilson and Hilferty, PNAS 1931.
    """
    small = 2.0 / (9.0 * count)
    normal: Array = (np.cbrt(distance / count) - (1.0 - small)) / np.sqrt(small)
    return normal
