"""Packed payloads (layout.py) of many messages into columns, compiled; pure."""

from __future__ import annotations

import numpy as np
from numba import njit, types

from protocols.delivery import NO_STAMP, WIRE_FLOAT
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

_DATA = types.Array(types.uint8, 1, "C", readonly=True)
_INT, _ROWS, _BYTES = types.int64, types.int32[::1], types.uint8[::1]


@njit(types.uint64(_DATA, _INT, _INT), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bits(data: np.ndarray, at: int, size: int) -> int:
    bits = np.uint64(0)
    for i in range(size):
        bits |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return int(bits)


@njit(
    types.UniTuple(_INT, 2)(
        _DATA, _ROWS, _ROWS, _BYTES, _ROWS, _INT, _INT, types.boolean, types.boolean, _ROWS, _ROWS, _ROWS, _ROWS,
        _ROWS, types.uint64[::1], _BYTES, types.uint32[::1], _INT[::1], _ROWS,
    ),
    cache=True, nogil=True,
)  # fmt: skip
def take(  # type: ignore[no-untyped-def]
    data, payload_at, payload_size, first, topic, begin, size, head, tail,
    root, item_first, item_count, items,
    row, wire_bits, kind, quality, stamp, message,
):  # fmt: skip
    """As documents.take, for payloads of one layout. `wire_bits`: the column of values seen as bits (of f32, too)."""
    n = 0
    for i in range(begin, len(topic)):
        which = topic[i]
        if which < 0 or root[which] < 0:
            return n, i
        container = root[which]
        rest = payload_size[i] - (8 if head else 0)
        step = size + (8 if tail else 0)
        if rest < 0 or rest % step or n + rest // step > len(row):
            return n, i
        count = rest // step
        at, begun = payload_at[i] + (8 if head else 0), n
        time = np.int64(_bits(data, payload_at[i], 8)) if head else NO_STAMP
        for place in range(min(count, item_count[container])):
            target = items[item_first[container] + place]
            if target >= 0:
                row[n], kind[n], message[n] = target, WIRE_FLOAT, i
                wire_bits[n] = _bits(data, at + size * place, size)
                stamp[n] = np.int64(_bits(data, at + size * count + 8 * place, 8)) if tail else time
                quality[n] = UNCERTAIN_LAST_USABLE if first[i] & 1 else GOOD
                n += 1
        if n == begun:
            return n, i
    return n, len(topic)
