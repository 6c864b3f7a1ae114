"""PUBLISH packets found in a buffer in one go, compiled: topics and payloads as places; must not know what they mean.

One pass over what a read of the socket brought. It takes PUBLISH of every QoS and the bare PUBREL, and stops at anything
else, which comes a few times a minute. Compiled with numba when first imported and cached beside this file.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from protocols.mqtt.packets import BLOB, BYTE, KINDS, LONG, PAIR, SHORT, TEXT, VARIABLE

ROWS_MAX = 512  # messages of one pass: 3 ms of work where each must be decoded one by one

MORE, OTHER, FULL, BAD, ALIASED, CUT, LARGE = range(7)
"""Why a pass ended.

MORE: a packet is not complete. OTHER: a whole packet that is no PUBLISH. FULL: ROWS_MAX reached. BAD: malformed.
ALIASED: a PUBLISH with a topic alias. CUT: a packet over the limit; its first part is taken, the rest is to be skipped.
LARGE: no packet that could be cut.
"""

_KIND = np.zeros(256, np.uint8)
for _identity, _how in KINDS.items():
    _KIND[_identity] = _how
_ALIAS = 0x23

_DATA = types.Array(types.uint8, 1, "C", readonly=True)
_ROWS = types.int32[::1]


@njit(types.UniTuple(types.int64, 2)(_DATA, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def variable_at(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """A length of up to four bytes -> (its value, where it ends); value -1: cut off, -2: longer than four bytes."""
    value = 0
    for count in range(4):
        if at + count >= end:
            return -1, at
        byte = data[at + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    return -2, at


@njit(types.int64(_DATA, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def alias_in(data: np.ndarray, at: int, end: int) -> int:
    """The topic alias among the properties of a PUBLISH; 0 when there is none, -1 when they are malformed."""
    alias = 0
    while at < end:
        identity = data[at]
        kind = _KIND[identity]
        at += 1
        if kind == BYTE:
            at += 1
        elif kind == SHORT:
            if at + 2 > end:
                return -1
            if identity == _ALIAS:
                alias = data[at] << 8 | data[at + 1]
                if alias == 0:
                    return -1
            at += 2
        elif kind == LONG:
            at += 4
        elif kind == VARIABLE:
            value, at = variable_at(data, at, end)
            if value < 0:
                return -1
        elif kind in (TEXT, BLOB, PAIR):
            for _ in range(2 if kind == PAIR else 1):
                if at + 2 > end:
                    return -1
                at += 2 + (data[at] << 8 | data[at + 1])
        else:
            return -1
    return alias if at == end else -1


@njit(  # type: ignore[untyped-decorator]
    types.UniTuple(types.int64, 5)(
        _DATA, types.int64, types.int64, types.boolean, types.int64,
        types.uint8[::1], _ROWS, _ROWS, _ROWS, _ROWS, types.uint8[::1], types.uint8[:, ::1],
    ),
    cache=True, nogil=True,
)  # fmt: skip
def scan(
    data: np.ndarray,
    start: int,
    end: int,
    five: bool,
    packet_max: int,
    held: np.ndarray,
    topic_at: np.ndarray,
    topic_size: np.ndarray,
    payload_at: np.ndarray,
    payload_size: np.ndarray,
    first_of: np.ndarray,
    answers: np.ndarray,
) -> tuple[int, int, int, int, int]:
    """Take the packets between `start` and `end`.

    Args:
        five: version 5, whose PUBLISH has properties.
        held: shape (65536,), 1 for packet ids of QoS 2 that came and are not released yet; kept up to date.
        topic_at … first_of: shape (ROWS_MAX,), filled: where topic and payload lie, and the packet's first byte.
        answers: shape (ROWS_MAX, 4), filled: the packets to answer with, in order.

    Returns:
        (rows, answers, where the next pass starts, why this one ended, bytes to skip there).
    """
    rows, told, at = 0, 0, start
    while True:
        if at + 2 > end:
            return rows, told, at, MORE, 0
        first = data[at]
        kind = first & 0xF0
        size, body = variable_at(data, at + 1, end)
        if size < 0:
            return rows, told, at, MORE if size == -1 else BAD, 0
        stop, skip = body + size, 0
        if stop - at > packet_max:
            if kind != 0x30:
                return rows, told, at, LARGE, 0
            skip = stop - at - packet_max
            stop = at + packet_max
        if stop > end:
            return rows, told, at, MORE, 0
        if kind != 0x30 and not (first == 0x62 and size == 2):
            return rows, told, at, OTHER, 0
        if rows == ROWS_MAX or told == ROWS_MAX:
            return rows, told, at, FULL, 0
        if first == 0x62:
            identity = data[body] << 8 | data[body + 1]
            held[identity] = 0
            answers[told, 0], answers[told, 1] = 0x70, 2
            answers[told, 2], answers[told, 3] = data[body], data[body + 1]
            told += 1
            at = stop
            continue
        qos = (first >> 1) & 3
        if qos == 3 or body + 2 > stop:
            return rows, told, at, BAD, 0
        length = data[body] << 8 | data[body + 1]
        place = body + 2
        cursor = place + length + (2 if qos else 0)
        if cursor > stop:
            return rows, told, at, LARGE if skip else BAD, 0
        if five:
            inside, cursor = variable_at(data, cursor, stop)
            if inside < 0 or cursor + inside > stop:
                return rows, told, at, LARGE if skip else BAD, 0
            if inside:
                alias = alias_in(data, cursor, cursor + inside)
                if alias:
                    return rows, told, at, BAD if alias < 0 else LARGE if skip else ALIASED, 0
                cursor += inside
        if length == 0:
            return rows, told, at, BAD, 0
        known = False
        if qos:
            high, low = data[place + length], data[place + length + 1]
            identity = high << 8 | low
            if identity == 0:
                return rows, told, at, BAD, 0
            answers[told, 0], answers[told, 1] = 0x40 if qos == 1 else 0x50, 2
            answers[told, 2], answers[told, 3] = high, low
            told += 1
            if qos == 2:
                known = held[identity] == 1
                held[identity] = 1
        if not known:
            topic_at[rows], topic_size[rows] = place, length
            payload_at[rows], payload_size[rows] = cursor, stop - cursor
            first_of[rows] = first
            rows += 1
        at = stop
        if skip:
            return rows, told, at, CUT, skip


@njit(types.int64(_DATA, types.int64, types.int64), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def waiting(data: np.ndarray, at: int, end: int) -> int:
    """How many whole packets lie between the two."""
    count = 0
    while at + 2 <= end:
        size, body = variable_at(data, at + 1, end)
        if size < 0 or body + size > end:
            return count
        at = body + size
        count += 1
    return count
