"""The plain forecast: the next values as a linear form of those seen, closed form; it is always there to be beaten.

Each column has weights of its own, drawn towards the weights that all columns share: `own` says how little. With own = 0
it is the linear model that equals published transformers (Zeng et al., AAAI 2023; Toner and Darlow, ICML 2024).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.windows import Windows, filled

PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)  # of the shared weights, on values of spread 1
PULLS = (np.inf, 10_000.0, 1_000.0, 100.0)  # of a column's own weights towards the shared ones
WINDOWS_AT_ONCE = 4_096  # 3 MB a column of 96 rows
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ridge:
    """Weights, shape (C, L + 1, H), on what was seen less its newest value; the last row is a constant."""

    weights: Array

    @property
    def lookback(self) -> int:
        return int(self.weights.shape[1]) - 1

    def forecast(self, seen: Array) -> Array:
        """(N, L, C) -> (N, H, C); NaN for a column of which a window holds nothing."""
        whole = filled(seen)
        newest = whole[:, -1:]  # (N, 1, C)
        x = (whole - newest).transpose(2, 0, 1)  # (C, N, L)
        ahead = x @ self.weights[:, :-1] + self.weights[:, None, -1]  # (C, N, H)
        return ahead.transpose(1, 2, 0) + newest

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {"ridge.weights": self.weights}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(tensors["ridge.weights"])


@dataclass(slots=True)
class Sums:
    """What training keeps of the windows: shape (C, L + 1, L + 1) and (C, L + 1, H). Any number of records adds up."""

    xx: Array
    xy: Array
    count: int = 0

    @classmethod
    def of(cls, parts: Iterable[Windows], columns: int, lookback: int, horizon: int) -> Self:
        made = cls(np.zeros((columns, lookback + 1, lookback + 1)), np.zeros((columns, lookback + 1, horizon)))
        for part in parts:
            for begin in range(0, len(part.seen), WINDOWS_AT_ONCE):
                made._add(part.seen[begin : begin + WINDOWS_AT_ONCE], part.ahead[begin : begin + WINDOWS_AT_ONCE])
        return made

    def _add(self, seen: Array, ahead: Array) -> None:
        whole = filled(seen)
        known = np.isfinite(whole[:, -1]) & np.isfinite(ahead).all(axis=1)  # (N, C)
        x = np.concatenate([whole - whole[:, -1:], np.ones_like(whole[:, :1])], axis=1)  # (N, L + 1, C)
        y = ahead - whole[:, -1:]
        x, y = np.where(known[:, None], x, 0.0), np.where(known[:, None], y, 0.0)
        self.xx += x.transpose(2, 1, 0) @ x.transpose(2, 0, 1)
        self.xy += x.transpose(2, 1, 0) @ y.transpose(2, 0, 1)
        self.count += int(known.sum())

    def shared(self, penalty: float) -> Array:
        """Weights of all columns together, shape (L + 1, H)."""
        solved: Array = np.linalg.solve(self.xx.sum(axis=0) + penalty * np.eye(self.xx.shape[1]), self.xy.sum(axis=0))
        return solved

    def ridge(self, penalty: float, pull: float) -> Ridge:
        """
        Args:
            pull: how hard own weights are drawn to the shared ones; inf: there are only those.
        """
        together = self.shared(penalty)
        if np.isinf(pull):
            return Ridge(np.broadcast_to(together, self.xy.shape).copy())
        eye = pull * np.eye(self.xx.shape[1])
        return Ridge(np.asarray(np.linalg.solve(self.xx + eye, self.xy + eye @ together), np.float64))


def fit(
    sums: Sums, held: Sequence[Windows], penalties: Sequence[float] = PENALTIES, pulls: Sequence[float] = PULLS
) -> tuple[Ridge, dict[str, float]]:
    """The penalties that forecast the held-out windows best, and the model made with them.

    The shared weights are chosen first, then how far columns leave them.
    """
    shared = min(penalties, key=lambda penalty: loss(sums.ridge(penalty, np.inf), held))
    pull = min(pulls, key=lambda p: loss(sums.ridge(shared, p), held))
    return sums.ridge(shared, pull), {"penalty": shared, "pull": float(pull)}


def loss(model: Ridge, held: Iterable[Windows]) -> float:
    """Mean squared error."""
    total, count = 0.0, 0
    for part in held:
        for begin in range(0, len(part.seen), WINDOWS_AT_ONCE):
            gap = (
                model.forecast(part.seen[begin : begin + WINDOWS_AT_ONCE]) - part.ahead[begin : begin + WINDOWS_AT_ONCE]
            )
            known = np.isfinite(gap)
            total, count = total + float((gap[known] ** 2).sum()), count + int(known.sum())
    return total / count if count else np.inf
