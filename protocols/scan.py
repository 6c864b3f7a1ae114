"""Which numbers of a delivery are believed, column-wise and compiled; what is doubtful is left to protocols.believe.

Says no reasons: a number that fails here is looked at once more, alone. Compiled with numba when first imported.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

from protocols.believe import EXACT_MAX, SOURCE_AHEAD_MAX_NS
from twin.points import Selection

WIRE_BOOLEAN, WIRE_INTEGER, WIRE_FLOAT = 0, 1, 2
"""What a number was on the wire."""

NO_STAMP = -(2**63)
"""In place of a source time: the source gave none."""

_DOUBLE, _INTEGER, _BOOLEAN, _OTHER = 0, 1, 2, 3
_KINDS = {"double": _DOUBLE, "integer": _INTEGER, "boolean": _BOOLEAN}
_EXACT_MAX = float(EXACT_MAX)


class Scales:
    """What the scan needs to know of a link's points, as columns of shape (n,)."""

    def __init__(self, points: Selection) -> None:
        self.ids = points.ids
        kinds = [_KINDS.get(word, _OTHER) for word in points.words("type")]
        self.kind = np.array(kinds, np.uint8)
        self.scale, self.offset = points.numbers("scale"), points.numbers("offset")
        self.low, self.high = points.numbers("low"), points.numbers("high")

    def scan(
        self,
        row: NDArray[np.int32],
        wire: NDArray[np.float64],
        kind: NDArray[np.uint8],
        quality: NDArray[np.uint32],
        stamp: NDArray[np.int64],
        received_time: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.intp]]:
        """B numbers of the wire -> (values in the twin's units, source times, places that are doubtful).

        A Bad quality is never doubted: what is no value of the point becomes NaN, unless its time is doubtful.

        Args:
            row: which of the points each is about; all columns have shape (B,).
            kind: WIRE_BOOLEAN, WIRE_INTEGER or WIRE_FLOAT.
            stamp: source times in ns since 1970 UTC, or NO_STAMP.
        """
        value, source_time = np.empty(len(row)), np.empty(len(row), np.int64)
        doubtful = np.empty(len(row), np.bool_)
        _scan(
            row, wire, kind, quality, stamp, received_time,
            self.kind, self.scale, self.offset, self.low, self.high, value, source_time, doubtful,
        )  # fmt: skip
        return value, source_time, np.flatnonzero(doubtful)


def _read(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "A", readonly=True)


_SIGNATURE = types.void(
    _read(types.int32), _read(types.float64), _read(types.uint8), _read(types.uint32), _read(types.int64), types.int64,
    _read(types.uint8), _read(types.float64), _read(types.float64), _read(types.float64), _read(types.float64),
    types.float64[::1], types.int64[::1], types.boolean[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _scan(
    row: np.ndarray,
    wire: np.ndarray,
    wire_kind: np.ndarray,
    quality: np.ndarray,
    stamp: np.ndarray,
    received_time: int,
    kind_of: np.ndarray,
    scale_of: np.ndarray,
    offset_of: np.ndarray,
    low_of: np.ndarray,
    high_of: np.ndarray,
    value: np.ndarray,
    source_time: np.ndarray,
    doubtful: np.ndarray,
) -> None:
    for place in range(len(row)):
        i = row[place]
        if i < 0 or i >= len(kind_of):
            doubtful[place] = True
            continue
        kind = kind_of[i]
        number = wire[place] * scale_of[i] + offset_of[i]
        at = received_time if stamp[place] == NO_STAMP else stamp[place]
        doubt = at < 0 or at > received_time + SOURCE_AHEAD_MAX_NS or kind == _OTHER
        no_value = not math.isfinite(number) or not low_of[i] <= number <= high_of[i]
        if wire_kind[place] == WIRE_BOOLEAN:
            no_value = kind != _BOOLEAN
            number = wire[place]
        elif kind == _BOOLEAN:
            no_value = no_value or (number != 0.0 and number != 1.0)
        elif kind == _INTEGER:
            whole = scale_of[i] != 1.0 or number == math.floor(number)
            no_value = no_value or not whole or abs(number) >= _EXACT_MAX
        if quality[place] >> np.uint32(31):
            number = math.nan if no_value else number
            no_value = False
        value[place] = number
        source_time[place] = min(at, received_time)
        doubtful[place] = doubt or no_value
