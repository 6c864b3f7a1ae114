"""Readings into columns, one by one in order, compiled: the inner loop of `PointTable.apply`; must not know texts.

Compiled with numba when first imported and cached beside this file.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

CHANGED, CONFIRMED, QUIET, LATE, DUPLICATE, CONFLICT = range(6)
"""What became of a reading.

CHANGED: value, text or quality is new. CONFIRMED: newer, and the same again. QUIET: newer, and within the dead band.
LATE: older than what is held. DUPLICATE: says again what is held. CONFLICT: the revision was not the expected one.
"""


def _read(kind: types.Type) -> types.Array:
    """Any layout, and read-only is enough: one compiled form for whatever a link delivers."""
    return types.Array(kind, 1, "A", readonly=True)


_SIGNATURE = types.void(
    _read(types.int32), _read(types.float64), _read(types.uint32), _read(types.int64), types.int64,
    _read(types.boolean), _read(types.uint64),
    types.float64[::1], types.uint32[::1], types.int64[::1], types.int64[::1], types.uint64[::1],
    _read(types.float64), types.uint8[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def scatter(
    point: np.ndarray,
    value: np.ndarray,
    quality: np.ndarray,
    source_time: np.ndarray,
    received_time: int,
    text_differs: np.ndarray,
    expected: np.ndarray,
    value_of: np.ndarray,
    quality_of: np.ndarray,
    source_time_of: np.ndarray,
    received_time_of: np.ndarray,
    revision_of: np.ndarray,
    deadband_of: np.ndarray,
    outcome: np.ndarray,
) -> None:
    """Take B readings into N points; `*_of` are the table's columns, shape (N,), all others shape (B,).

    `text_differs` and `expected` may have shape (0,): no texts, no expectation. `outcome` is filled.
    """
    with_text, with_expected = len(text_differs) > 0, len(expected) > 0
    for row in range(len(point)):
        i = np.uint32(point[row])  # unsigned: no wrap-around to check
        if with_expected and revision_of[i] != expected[row]:
            outcome[row] = CONFLICT
            continue
        if source_time[row] < source_time_of[i]:
            outcome[row] = LATE
            continue
        new, held = value[row], value_of[i]
        equal = new == held or (math.isnan(new) and math.isnan(held))
        same = quality[row] == quality_of[i] and not (with_text and text_differs[row])
        quiet = same and not equal and abs(new - held) <= deadband_of[i]
        if same and (equal or quiet) and source_time[row] == source_time_of[i]:
            outcome[row] = DUPLICATE
            continue
        source_time_of[i] = source_time[row]
        received_time_of[i] = max(received_time_of[i], received_time)
        if quiet:
            outcome[row] = QUIET
        elif same and equal:
            outcome[row] = CONFIRMED
        else:
            outcome[row] = CHANGED
            value_of[i] = new
            quality_of[i] = quality[row]
            revision_of[i] += np.uint64(1)
