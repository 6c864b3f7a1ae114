"""Whether what a model meets is still what it learned from: inputs, errors, intervals; pure.

Each verdict tells its figure, its threshold and where the threshold is from. Samples of a process follow each other, so
thresholds count independent samples (`independent`), not rows: else every quiet hour would be a drift.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ml.records import DataSet
from twin.errors import BadRequest
from twin.nearest import nearest

Array = NDArray[np.float64]
GRID = 101  # quantiles that stand for the training distribution: 0.8 kB a column
BINS = 10
PSI_LARGE = 0.25
PSI_SOURCE = "Siddiqi 2006: above 0.25 another population; not below what chance does to so few samples (Yurdakul 2018)"
KS_LEAST = 0.1  # a difference in distribution that is too small to matter however sure it is
KS_SOURCE = "Smirnov's asymptotic two-sample bound at the stated chance, at least 0.1"
COVERAGE_SOURCE = "Clopper and Pearson 1934: the exact binomial interval"
FALSE_ALARM = 1e-3  # of one look at one column
SMALLEST = 20  # independent samples: fewer tell nothing
SLACK = 0.5  # deviations that errors may grow before it counts
LIMIT = 12.0  # deviations that pile up: see `false_alarm_every`
BOUND = 3.0  # deviations that one error can add: one bad sample is no drift
PREFIX = "drift."


@dataclass(frozen=True, slots=True)
class Drift:
    """One verdict. `what` is a column, `errors` or `coverage`; `why` says what to make of it."""

    kind: str
    what: str
    figure: float
    threshold: float
    drifted: bool
    source: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """The training distribution of each column as a small table.

    Attributes:
        quantiles: at GRID equal steps of probability, shape (C, GRID); NaN for a column that was never measured.
        missing: share of rows without a value, shape (C,).
        count: independent samples, shape (C,).
    """

    columns: tuple[str, ...]
    quantiles: Array
    missing: Array
    count: Array

    @classmethod
    def of(cls, data: DataSet) -> Self:
        """The table of what a model is trained on.

        Raises:
            BadRequest: there are no rows.
        """
        if not data.rows:
            raise BadRequest("no rows to learn a distribution from", "give data")
        values = data.stacked()
        quantiles = np.full((values.shape[1], GRID), np.nan)
        for k in range(values.shape[1]):
            known = values[np.isfinite(values[:, k]), k]
            if len(known):
                quantiles[k] = np.quantile(known, np.linspace(0, 1, GRID))
        counts = _independents(data)
        missing = np.asarray(np.mean(~np.isfinite(values), axis=0))
        return cls(data.columns, quantiles, missing, np.asarray(counts))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """For the model's file; the columns are those of its manifest."""
        return {
            f"{PREFIX}quantiles": self.quantiles, f"{PREFIX}missing": self.missing, f"{PREFIX}count": self.count
        }  # fmt: skip

    @classmethod
    def from_tensors(cls, columns: tuple[str, ...], tensors: Mapping[str, NDArray[Any]]) -> Self:
        """
        Raises:
            BadRequest: the file has no table.
        """
        if f"{PREFIX}quantiles" not in tensors:
            raise BadRequest("the model's file has no table of its inputs", "train it with this version")
        return cls(
            columns, *(np.asarray(tensors[f"{PREFIX}{n}"], np.float64) for n in ("quantiles", "missing", "count"))
        )

    def compare(self, data: DataSet, false_alarm: float = FALSE_ALARM) -> list[Drift]:
        """PSI and KS of every column against data with at least these columns.

        Raises:
            BadRequest: a column is missing.
        """
        for name in self.columns:
            if name not in data.columns:
                raise BadRequest(f"the data have no column {name!r}", nearest(name, data.columns))
        now = data.having(self.columns)
        values = now.stacked()
        counts = _independents(now)
        found: list[Drift] = []
        for k, name in enumerate(self.columns):
            found.append(self._psi(k, name, values[:, k], float(counts[k]), false_alarm))
            found.append(self._ks(k, name, values[:, k], float(counts[k]), false_alarm))
        return found

    def _psi(self, k: int, name: str, values: Array, count: float, false_alarm: float) -> Drift:
        """Population stability index over tenths of the training values, and what is missing as a class of its own."""
        known = values[np.isfinite(values)]
        edges = np.unique(self.quantiles[k, :: (GRID - 1) // BINS][1:-1])
        before = _shares(self.quantiles[k, 1:], edges, float(self.missing[k]))
        after = _shares(known, edges, 1 - len(known) / max(1, len(values)))
        rows = max(1.0, count + len(values) - len(known))  # that a column falls silent is known at once
        floor = 0.5 / max(1.0, min(rows, self.count[k]))  # an empty class: half a sample, else the index were infinite
        a, b = np.maximum(before, floor), np.maximum(after, floor)
        figure = float(np.sum((b - a) * np.log(b / a)))
        by_chance = float(special.chdtri(len(a) - 1, false_alarm)) * (1 / rows + 1 / max(1.0, self.count[k]))
        threshold = max(PSI_LARGE, by_chance)
        return _said("psi", name, figure, threshold, PSI_SOURCE, rows, float(after[-1]))

    def _ks(self, k: int, name: str, values: Array, count: float, false_alarm: float) -> Drift:
        """Largest difference of the two distribution functions."""
        known = np.sort(values[np.isfinite(values)])
        if not len(known) or not np.isfinite(self.quantiles[k]).all():
            return _said("ks", name, math.nan, math.inf, KS_SOURCE, 0.0, 1.0)
        grid, steps = self.quantiles[k], np.linspace(0, 1, GRID)
        above = np.searchsorted(known, grid, side="right") / len(known)
        below = np.searchsorted(known, grid, side="left") / len(known)
        ties_high = steps[np.searchsorted(grid, grid, side="right") - 1]
        ties_low = steps[np.searchsorted(grid, grid, side="left")]
        figure = float(max(np.max(above - ties_high), np.max(ties_low - below), 0.0))
        both = max(1.0, count) * max(1.0, self.count[k]) / (max(1.0, count) + max(1.0, self.count[k]))
        threshold = max(KS_LEAST, math.sqrt(-math.log(false_alarm / 2) / (2 * both)) + 1 / (GRID - 1))
        return _said("ks", name, figure, threshold, KS_SOURCE, count, 0.0)


def _said(
    kind: str, name: str, figure: float, threshold: float, source: str, independent: float, missing: float
) -> Drift:
    if independent < SMALLEST:
        return Drift(
            kind, name, figure, threshold, False, source, f"{independent:.0f} independent samples tell nothing"
        )
    why = f"{missing:.0%} of the rows have no value" if missing > 0.01 else ""
    return Drift(kind, name, figure, threshold, figure > threshold, source, why)


def _shares(values: Array, edges: Array, missing: float) -> Array:
    """Of each class, the last one of what is missing."""
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    return np.append(counts / max(1, counts.sum()) * (1 - missing), missing)


def _independents(data: DataSet) -> Array:
    """Of each column, shape (C,)."""
    found = np.zeros(len(data.columns))
    for record in data.records:
        found += [independent(record.values[:, k]) for k in range(len(data.columns))]
    return found


def independent(values: Array) -> float:
    """How many independent samples tell as much as these: n (1 - r) / (1 + r), r the correlation of neighbours.

    Source: exact for the mean of a first-order autoregression; for others a guide. (T,) -> number.
    """
    known = values[np.isfinite(values)]
    if len(known) < 3:
        return float(len(known))
    gap = known - known.mean()
    power = float(gap @ gap)
    r = min(0.9999, max(0.0, float(gap[1:] @ gap[:-1]) / power)) if power > 0 else 0.0
    return max(1.0, len(known) * (1 - r) / (1 + r))


@dataclass(frozen=True, slots=True)
class PageHinkley:
    """Whether errors have grown, one error after the other: Page's test of a rise of the mean.

    Source: Page, "Continuous inspection schemes", Biometrika 1954; Hinkley, Biometrika 1971.

    Attributes:
        mean, deviation: of the absolute errors on data held out from training.
        slack, limit: in deviations. piled: what has piled up now.
    """

    mean: float
    deviation: float
    slack: float = SLACK
    limit: float = LIMIT
    piled: float = 0.0
    seen: int = 0

    @classmethod
    def of(cls, errors: Array) -> Self:
        """From held-out errors.

        Raises:
            BadRequest: too few, or all alike.
        """
        sizes = np.abs(errors[np.isfinite(errors)])
        if len(sizes) < SMALLEST or not sizes.std() > 0:
            raise BadRequest(f"{len(sizes)} errors", f"{SMALLEST} or more that differ tell what is usual")
        return cls(float(sizes.mean()), float(sizes.std(ddof=1)))

    def after(self, error: float) -> Self:
        """With one more error; NaN tells nothing."""
        if not math.isfinite(error):
            return self
        rise = min(BOUND, (abs(error) - self.mean) / self.deviation)
        return replace(self, piled=max(0.0, self.piled + rise - self.slack), seen=self.seen + 1)

    @property
    def verdict(self) -> Drift:
        every = false_alarm_every(self.slack, self.limit)
        source = f"Siegmund 1985: about one false alarm in {every:.2g} independent errors that are near to normal"
        return Drift("page-hinkley", "errors", self.piled, self.limit, self.piled > self.limit, source)


def false_alarm_every(slack: float, limit: float) -> float:
    """Mean number of independent normal errors between false alarms of Page's test. Source: Siegmund, 1985, 2.6."""
    b = 2 * slack * (limit + 1.166)
    return (math.exp(b) - b - 1) / (2 * slack * slack)


def coverage(held: NDArray[np.bool_], level: float, false_alarm: float = FALSE_ALARM) -> Drift:
    """Whether the last N intervals held as often as promised; `drifted` also when they hold too often.

    Args:
        held: of each of the last N independent intervals whether the truth lay inside, shape (N,).
    """
    n, k = len(held), int(held.sum())
    if n < SMALLEST:
        return Drift("coverage", "coverage", math.nan, level, False, COVERAGE_SOURCE, f"{n} intervals tell nothing")
    low = float(special.betaincinv(k, n - k + 1, false_alarm / 2)) if k else 0.0
    high = float(special.betaincinv(k + 1, n - k, 1 - false_alarm / 2)) if k < n else 1.0
    why = f"promised {level:g}, so often held within {low:.3f} … {high:.3f}"
    return Drift("coverage", "coverage", k / n, level, not low <= level <= high, COVERAGE_SOURCE, why)
