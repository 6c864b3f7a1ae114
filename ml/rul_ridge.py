"""Remaining life as a weighted sum of features, in closed form: the plain model; must not know devices or labels' cap.

Ridge regression: Hoerl and Kennard, Technometrics 12 (1970).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LifeRidge:
    """A weight for each input, shape (F,), and one for none."""

    weights: Array
    bias: float

    def told(self, inputs: NDArray[np.floating[Any]]) -> Array:
        """(N, F) -> (N,)."""
        life: Array = inputs @ self.weights + self.bias
        return life

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {"ridge.weights": self.weights, "ridge.bias": np.array([self.bias])}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(tensors["ridge.weights"], float(tensors["ridge.bias"][0]))


def fit_ridge(inputs: NDArray[np.floating[Any]], life: Array, penalty: float) -> LifeRidge:
    """
    Args:
        inputs: shape (N, F), each of mean 0 and spread 1 or so. life: shape (N,).
        penalty: of squared weights, relative to the number of rows.
    """
    x = inputs.astype(np.float64)
    middle, bias = x.mean(axis=0), float(life.mean())
    x = x - middle  # (N, F)
    square = x.T @ x + penalty * len(x) * np.eye(x.shape[1])  # (F, F)
    weights = np.linalg.solve(square, x.T @ (life - bias))  # (F,)
    return LifeRidge(weights, bias - float(middle @ weights))
