"""Windows of records: what was seen before a moment and what came after it; must not know models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ml.records import DataSet

Array = NDArray[np.float64]
T = TypeVar("T", np.float32, np.float64)


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one record, in order.

    Attributes:
        seen: shape (N, L, C), NaN where nothing was measured.
        ahead: shape (N, H, C).
        origin: place of each window's newest row, shape (N,).
    """

    seen: Array
    ahead: Array
    origin: NDArray[np.intp]


def windows(values: Array, lookback: int, horizon: int, first: int = 0) -> Windows:
    """All windows of a record, shape (T, C), whose future begins at row `first` or later; views, nothing is copied."""
    count = len(values) - lookback - horizon + 1
    if count <= 0:
        empty = np.empty((0, lookback, values.shape[1]))
        return Windows(empty, np.empty((0, horizon, values.shape[1])), np.empty(0, np.intp))
    seen = sliding_window_view(values, lookback, axis=0).transpose(0, 2, 1)[:count]  # (N, L, C)
    ahead = sliding_window_view(values[lookback:], horizon, axis=0).transpose(0, 2, 1)  # (N, H, C)
    skip = max(0, first - lookback)
    return Windows(seen[skip:], ahead[skip:], np.arange(skip, count) + lookback - 1)


def filled(seen: NDArray[T]) -> NDArray[T]:
    """Each gap with the value before it; at the beginning with the first there is; NaN where there is none at all.

    (N, L, C) -> (N, L, C).
    """
    known = np.isfinite(seen)
    if known.all():
        return seen
    place = np.where(known, np.arange(seen.shape[1])[None, :, None], -1)
    last = np.maximum.accumulate(place, axis=1)
    first = np.argmax(known, axis=1)[:, None]  # (N, 1, C), 0 where nothing is known: it stays NaN
    return np.take_along_axis(seen, np.where(last >= 0, last, first), axis=1)


def parts(data: DataSet, shares: tuple[float, float, float]) -> list[tuple[int, int]]:
    """Of each record the rows where its validation and its test part begin."""
    cuts = []
    for record in data.records:
        trained = round(len(record) * shares[0])
        cuts.append((trained, trained + round(len(record) * shares[1])))
    return cuts
