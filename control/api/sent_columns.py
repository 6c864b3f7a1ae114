"""Columns of the twin as they travel: little-endian bytes, times in ms since 1970; must not know who asked."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from control.api import wire
from twin.columns import NEVER, Columns


def wire_columns(columns: Columns, ids: NDArray[np.int32]) -> wire.Columns:
    """The rows of these points, shape (N,)."""
    text = {str(i): said for i, said in columns.texts(ids).items()}
    return wire.Columns(
        ids.astype("<u4").tobytes(),
        columns.value[ids].astype("<f8").tobytes(),
        columns.quality[ids].astype("<u4").tobytes(),
        _milliseconds(columns.source_time[ids]),
        _milliseconds(columns.received_time[ids]),
        text,
    )


def _milliseconds(times: NDArray[np.int64]) -> bytes:
    """ns -> little-endian f64 ms; NaN for never."""
    return np.where(times == NEVER, np.nan, times / 1e6).astype("<f8").tobytes()
