"""Sparkplug data messages read from their bytes by compiled code, numbers into columns; the rest is left to protobuf.

Knows the wire format and nothing of births but a table of aliases. Compiled with numba when first imported and cached
beside this file. Source: protobuf's encoding, and the field numbers of sparkplug_b.proto.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, types

from protocols.mqtt.codec import TIME_MAX_NS
from protocols.scan import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from twin.quality import GOOD

NOT_SAID = -1
"""In place of a time, an alias or a number that the message does not say."""
STAMP_MAX_MS = TIME_MAX_NS // 1_000_000  # what lies beyond is ahead of every clock, and not believed as such
UNBOUND, SEVERAL = -1, -2
"""Rows of a metric that no point is bound to, and of one that several are."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_INT, _LONG, _FLOAT, _DOUBLE, _BOOLEAN = 10, 11, 12, 13, 14
_CUT = np.int64(-1)
_GOOD = np.uint32(GOOD)
_LARGEST = np.int64(2**63 - 1)
_U1, _I4, _I8, _F8 = types.uint8, types.int32, types.int64, types.float64


def _read(kind: types.Type) -> types.Array:
    return types.Array(kind, 1, "A", readonly=True)


@njit(types.UniTuple(types.int64, 2)(_read(_U1), _I8, _I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _varint(data: np.ndarray, at: int, end: int) -> Any:
    """-> (number, modulo 2^64 as int64; where it ends, or _CUT)."""
    number, shift = np.uint64(0), 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        if shift < 64:
            number |= np.uint64(byte & 0x7F) << np.uint64(shift)
        if byte < 0x80:
            return np.int64(number), at
        shift += 7
    return np.int64(0), _CUT


@njit(_I8(_read(_U1), _I8, _I8, _I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _after(data: np.ndarray, at: int, end: int, kind: int) -> Any:
    """Where a value of that wire type ends, or _CUT."""
    if kind == _VARINT:
        return _varint(data, at, end)[1]
    if kind == _BYTES:
        size, at = _varint(data, at, end)
        if at == _CUT or size < 0 or size > end - at:
            return _CUT
        return at + size
    if kind in (_FIXED64, _FIXED32):
        at += 8 if kind == _FIXED64 else 4
        return at if at <= end else _CUT
    return _CUT  # groups: nobody sends them


@njit(_I8(_I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _positive(number: int) -> Any:
    """A number beyond 2^63 is larger than anything that makes sense, and must not look like NOT_SAID."""
    return number if number >= 0 else _LARGEST


@njit(_I8(_read(_U1), types.int64[::1]), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def head(data: np.ndarray, said: np.ndarray) -> int:
    """Fills `said` with the message's time in ms and its number (seq); -> how many metrics it has, or -1: let protobuf
    look at it, because it is cut short or has more to it than metrics."""
    said[:] = NOT_SAID
    at, end, count = np.int64(0), len(data), 0
    while at < end:
        tag, at = _varint(data, at, end)
        if at == _CUT:
            return -1
        value = at
        at = _after(data, at, end, tag & 7)
        if at == _CUT:
            return -1
        if tag == (2 << 3 | _BYTES):
            count += 1
        elif tag == (1 << 3 | _VARINT):
            said[0] = _positive(_varint(data, value, end)[0])
        elif tag == (3 << 3 | _VARINT):
            said[1] = _positive(_varint(data, value, end)[0])
        else:
            return -1
    return count


@njit(_F8(types.uint64, _I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _from_bits(bits: np.uint64, size: int) -> Any:
    if size == 8:
        all_bits = np.uint64(bits)
        return all_bits.view(np.float64)
    few = np.uint32(bits)
    return np.float64(few.view(np.float32))


@njit(_F8(_read(_U1), _I8, _I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _real(data: np.ndarray, at: int, size: int) -> Any:
    bits = np.uint64(0)
    for i in range(size):
        bits |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return _from_bits(bits, size)


# By datatype (Payload's DataType): 0 unsigned, 1 signed, 2 real, 3 boolean, 4 none of these; and bits of whole numbers.
_KINDS = np.array([4, 1, 1, 1, 1, 0, 0, 0, 0, 2, 2, 3, 4, 0], np.uint8)
_BITS = np.array([0, 8, 16, 32, 64, 8, 16, 32, 64, 0, 0, 0, 0, 64], np.int64)


@njit(types.Tuple((_F8, _I8))(_I8, _I8, _F8, _I8), cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _number(field: int, whole: int, real: float, datatype: int) -> tuple[float, int]:
    """The value of a datatype that came in a field -> (number, its kind on the wire), NaN where protobuf's own reading
    must say what is wrong."""
    kind = _KINDS[datatype] if datatype < len(_KINDS) else 4
    if kind == 2 and field in (_FLOAT, _DOUBLE):
        return real, WIRE_FLOAT
    if kind == 3 and field == _BOOLEAN:
        return (1.0 if whole != 0 else 0.0), WIRE_BOOLEAN
    if kind > 1 or (field != _INT and field != _LONG):
        return math.nan, WIRE_FLOAT
    bits = _BITS[datatype]
    carried = np.uint64(whole) if field == _LONG else np.uint64(whole) & np.uint64(0xFFFFFFFF)
    if kind == 0:
        top = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - bits)
        return (np.float64(carried), WIRE_INTEGER) if carried <= top else (math.nan, WIRE_FLOAT)
    high = np.uint64(0x7FFFFFFFFFFFFFFF) >> np.uint64(64 - bits)
    if carried <= high:
        return np.float64(carried), WIRE_INTEGER
    for width in (32 if field == _INT else 64, bits):
        if width == 64:
            below = np.int64(carried)
        elif carried >> np.uint64(width):
            continue
        else:
            below = np.int64(carried) - (np.int64(1) << width)
        if -np.int64(high) - 1 <= below < 0:
            return np.float64(below), WIRE_INTEGER
    return math.nan, WIRE_FLOAT


_READ = types.UniTuple(_I8, 3)(
    _read(_U1), _I8, _read(types.uint64), _read(_I4), _read(_U1),
    types.int32[::1], types.float64[::1], types.uint8[::1], types.uint32[::1], types.int64[::1], types.uint8[::1],
    types.int32[::1], types.int32[::1], types.int32[::1], _I8,
)  # fmt: skip


@njit(_READ, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def read(
    data: np.ndarray,
    time_ms: int,
    aliases: np.ndarray,
    row_of: np.ndarray,
    type_of: np.ndarray,
    row: np.ndarray,
    wire: np.ndarray,
    kind: np.ndarray,
    quality: np.ndarray,
    stamp: np.ndarray,
    datatype: np.ndarray,
    begin: np.ndarray,
    size: np.ndarray,
    special: np.ndarray,
    place: int,
) -> tuple[int, int, int]:
    """The metrics of a message that `head` has found whole, from `place` on in the columns.

    Args:
        aliases: ascending, shape (A,); `row_of` and `type_of` say what each stands for.
        stamp: filled with ns since 1970 UTC, or NO_STAMP.
        begin, size: filled with where each metric lies in the data.
        special: filled with the places where protobuf must look at the metric: it has a name instead of an alias,
            properties, a text …, or no number of its datatype.

    Returns:
        (the place after the last, how many special places, how many aliases that no birth has).
    """
    at, end, foreign, specials = np.int64(0), len(data), 0, 0
    while at < end:
        tag, at = _varint(data, at, end)
        value = at
        at = _after(data, at, end, tag & 7)
        if tag != (2 << 3 | _BYTES):
            continue
        length, value = _varint(data, value, end)
        stop = value + length
        begin[place], alias, said_alias, time, field = value, np.uint64(0), False, time_ms, 0
        whole, real, odd, said_type = np.int64(0), 0.0, False, np.int64(0)
        while value < stop:
            inner, value = _varint(data, value, stop)
            if value == _CUT:
                odd = True
                break
            here = value
            value = _after(data, value, stop, inner & 7)
            if value == _CUT:
                odd = True
                break
            number = inner >> 3
            if inner == (2 << 3 | _VARINT):
                alias, said_alias = np.uint64(_varint(data, here, stop)[0]), True
            elif inner == (3 << 3 | _VARINT):
                said_time = _varint(data, here, stop)[0]
                time = _positive(said_time) if said_time != 0 else time
            elif inner == (4 << 3 | _VARINT):
                said_type = _varint(data, here, stop)[0]
            elif number in (_INT, _LONG, _BOOLEAN) and inner & 7 == _VARINT:
                field, whole = number, _varint(data, here, stop)[0]
            elif inner == (_DOUBLE << 3 | _FIXED64):
                field, real = number, _real(data, here, 8)
            elif inner == (_FLOAT << 3 | _FIXED32):
                field, real = number, _real(data, here, 4)
            elif number != 5 and number != 6:  # is_historical and is_transient change nothing
                odd = True
        at_alias = np.searchsorted(aliases, alias)
        if odd or not said_alias:
            row[place], odd = UNBOUND, True
        elif at_alias >= len(aliases) or aliases[at_alias] != alias:
            foreign += 1
            continue
        elif row_of[at_alias] == UNBOUND:
            continue
        else:
            row[place], datatype[place] = row_of[at_alias], type_of[at_alias]
            wire[place], kind[place] = _number(field, whole, real, datatype[place])
            usual = said_type == 0 or said_type == datatype[place]
            odd = not usual or row[place] < 0 or math.isnan(wire[place])
        if odd:
            special[specials] = place
            specials += 1
        size[place], quality[place] = length, _GOOD
        stamp[place] = NO_STAMP if time == NOT_SAID else min(time, STAMP_MAX_MS) * 1_000_000
        place += 1
    return place, specials, foreign
