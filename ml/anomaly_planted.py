"""Anomalies planted into good data, so that detectors can be compared where nobody knows a real one; pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
COLUMNS_MAX = 2  # that one event touches
SIZE = (1.5, 4.0)  # of an event, in spreads of its column


def _shifted(values: Array, size: float, rng: np.random.Generator) -> Array:
    return values + size * _sign(rng)


def _drifting(values: Array, size: float, rng: np.random.Generator) -> Array:
    return values + np.linspace(0.0, 2.0 * size, len(values)) * _sign(rng)


def _noisy(values: Array, size: float, rng: np.random.Generator) -> Array:
    return values + size * rng.normal(size=len(values))


def _stuck(values: Array, size: float, rng: np.random.Generator) -> Array:
    return np.full(len(values), values[0] + size * _sign(rng))


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


EVENTS: dict[str, Callable[[Array, float, np.random.Generator], Array]] = {
    "shift": _shifted, "drift": _drifting, "noise": _noisy, "stuck": _stuck,
}  # fmt: skip


def planted(values: Array, rng: np.random.Generator) -> tuple[Array, Mask]:
    """One event over a third of good data, somewhere in it, with its truth. (T, C) -> (T, C), (T,)."""
    length = len(values) // 3
    first = int(rng.integers(0, len(values) - length + 1))
    made, truth = values.copy(), np.zeros(len(values), bool)
    truth[first : first + length] = True
    event = EVENTS[str(rng.choice(list(EVENTS)))]
    touched = rng.permutation(values.shape[1])[: rng.integers(1, COLUMNS_MAX + 1)]
    for column in touched:
        known = np.isfinite(values[:, column])
        spread = values[known, column].std() if known.any() else 0.0
        made[truth, column] = event(values[truth, column], float(rng.uniform(*SIZE) * spread), rng)
    return made, truth
