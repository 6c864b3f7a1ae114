"""Plants whose truth is known: two tanks with a leak that physics does not know, and a linear cooler; for tests of dynamics."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ml.records import DataSet, Record

STEP_S = 4.0
Array = NDArray[np.float64]


def drive(rows: int, rng: np.random.Generator, low: float = 0.8, high: float = 7.5) -> Array:
    """A smooth input that goes through its range, (rows,)."""
    knots = rng.uniform(low, high, rows // 12 + 3)
    found: Array = np.interp(np.arange(rows) / 12.0, np.arange(len(knots)), knots)
    return found


def levels(u: Array, rng: np.random.Generator, leak: float = 0.0, noise: float = 0.02) -> Array:
    """The lower of two tanks; `leak`: what runs out of it above 4, as no square root does. (T,)."""
    upper = lower = 4.0
    found = np.empty(len(u))
    for t, drive_now in enumerate(u):
        found[t] = lower
        for _ in range(4):
            out = 0.3 * np.sqrt(max(upper, 0.0))
            upper += (0.25 * max(drive_now - 0.5, 0.0) - out) / 4
            over = max(upper - 9.0, 0.0)
            upper -= over
            lower += (
                0.25 * out / 0.3 - 0.3 * np.sqrt(max(lower, 0.0)) - leak * max(lower - 4.0, 0.0) ** 2
            ) / 4 + 0.5 * over
            lower = min(max(lower, 0.0), 10.0)
    noisy: Array = np.minimum(found + rng.normal(0, noise, len(u)), 10.0)
    return noisy


def rigs(count: int, rows: int, seed: int, leak: float = 0.03) -> DataSet:
    rng, records = np.random.default_rng(seed), []
    for k in range(count):
        u = drive(rows, rng)
        records.append(
            Record(f"rig_{k}", STEP_S * np.arange(rows, dtype=np.float64), np.column_stack([u, levels(u, rng, leak)]))
        )
    return DataSet(("pump", "level"), tuple(records))


def coolers(count: int, rows: int, seed: int, bend: float = 0.0) -> DataSet:
    """Two inputs, two outputs, linear but for `bend`: warmth also falls with its cube. Times in seconds, ten apart."""
    rng, records = np.random.default_rng(seed), []
    for k in range(count):
        u = np.column_stack([drive(rows, rng, -1.0, 1.0), drive(rows, rng, -1.0, 1.0)])
        x, told = np.zeros(2), np.empty((rows, 2))
        for t in range(rows):
            told[t] = x
            warm = 0.9 * x[0] + 0.1 * x[1] + 0.5 * u[t, 0] - bend * x[0] ** 3
            x = np.array([warm, 0.8 * x[1] - 0.05 * x[0] + 0.3 * u[t, 1]])
        told += rng.normal(0, 0.01, told.shape)
        records.append(Record(f"cooler_{k}", 10.0 * np.arange(rows, dtype=np.float64), np.column_stack([u, told])))
    return DataSet(("gas", "water", "warmth", "damp"), tuple(records))
