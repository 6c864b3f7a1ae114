"""Which rows a model was trained on, as a small sketch: so that nobody judges it by what it knows; pure.

The smallest hashes of runs of rows stand for all of them. Source: Beyer et al., "On synopses for distinct-value estimation
under multiset operations", SIGMOD 2007.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.model_file import ModelFile
from ml.records import DataSet

SIZE = 1024  # hashes: 8 kB
RUN = 8  # rows one after the other
SHARED_MAX = 0.02  # of the runs
TENSOR = "seen.runs"
ODD = np.uint64(0x9E3779B97F4A7C15)  # of splitmix64, Steele, Lea and Flood 2014


def sketch(data: DataSet) -> NDArray[np.uint64]:
    """The smallest hashes of its distinct runs of rows, rising, shape (at most SIZE,)."""
    return np.unique(_hashes(data))[:SIZE]


def marked(model: ModelFile, data: DataSet) -> dict[str, NDArray[Any]]:
    """The tensor that a model's file gets after training."""
    return {TENSOR: sketch(data.having(model.manifest.columns))}


def shared(model: ModelFile, data: DataSet) -> float:
    """Estimated share of the distinct rows of these data that the model was trained on; 0 when it does not say."""
    return _shared(model.tensors, data.having(model.manifest.columns)) if TENSOR in model.tensors else 0.0


def _shared(tensors: Mapping[str, NDArray[Any]], data: DataSet) -> float:
    known = tensors[TENSOR]
    if not len(known):
        return 0.0
    hashes = np.unique(_hashes(data))
    if len(known) == SIZE:
        hashes = hashes[hashes <= known[-1]]  # of larger ones the sketch does not know
    return float(np.isin(hashes, known).mean()) if len(hashes) else 0.0


def _hashes(data: DataSet) -> NDArray[np.uint64]:
    """One number a run of RUN rows of a record, by its values alone; runs in which nothing moves tell nothing.

    Not a row: coarse readings of one column repeat by chance, eight of them one after the other do not.
    """
    return np.concatenate([np.empty(0, np.uint64), *(_runs(r.values) for r in data.records)])


def _runs(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Of one record, (T, C); a shorter one is one run."""
    values = values[np.isfinite(values).any(axis=1)]
    bits = np.ascontiguousarray(np.where(np.isfinite(values), values, np.nan) + 0.0).view(np.uint64)
    row = np.zeros(len(values), np.uint64)
    for k in range(values.shape[1]):
        row = _mix(row + bits[:, k] + ODD)
    length = min(RUN, len(row))
    if not length:
        return row
    windows = np.lib.stride_tricks.sliding_window_view(row, length)  # (T - length + 1, length)
    mixed = np.zeros(len(windows), np.uint64)
    for k in range(length):
        mixed = _mix(mixed + windows[:, k] + ODD)
    moving: NDArray[np.uint64] = mixed[np.any(windows != windows[:, :1], axis=1)]
    return moving


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64; numbers wrap around."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
