"""Numbers, times and qualities where they stand in JSON text, compiled; what is not plain is left to codec.py.

Whatever is taken here codec.py would understand alike (a property test holds it to that); whatever is not plain (escapes,
other alphabets, faults) ends at -1, which is `by hand`. Decimal numbers follow Lemire, "Number parsing at a gigabyte per
second" (2021).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

from protocols.delivery import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from twin.quality import BAD, GOOD, UNCERTAIN

MS_FROM = 1e11  # see codec.py
STAMP_MAX = 1 << 62  # year 2116
POWER_MAX = 64  # of ten, either way; physical quantities end far inside
_POWERS = [10.0**n for n in range(23)]  # exact in a double
_TENS = np.array(_POWERS)


def _fifth_powers() -> tuple[np.ndarray, np.ndarray]:
    """The first 128 bits of 5^q for q from -POWER_MAX, as two columns: upper and lower halves."""
    found = []
    for q in range(-POWER_MAX, POWER_MAX + 1):
        if q >= 0:
            bits = 5**q
            bits = bits << 128 >> bits.bit_length()
        else:
            below = 5**-q
            size = (below - 1).bit_length()
            bits = (1 << (2 * size + 128)) // below + 1
            bits >>= bits.bit_length() - 128
        found.append(bits)
    return (
        np.array([bits >> 64 for bits in found], np.uint64),
        np.array([bits & (2**64 - 1) for bits in found], np.uint64),
    )


_UPPER, _LOWER = _fifth_powers()
_DATA = types.Array(types.uint8, 1, "C", readonly=True)
_INT, _FLOAT = types.int64, types.float64
_NUMBER = types.Tuple((_FLOAT, _INT, _INT))
_compiled = {"cache": True, "nogil": True}


@njit(types.UniTuple(types.uint64, 2)(types.uint64, types.uint64), **_compiled)  # type: ignore[untyped-decorator]
def _product(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """128 bits of a product, upper and lower half."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a1, a0, b1, b0 = a >> half, a & low, b >> half, b & low
    p00, p01, p10 = a0 * b0, a0 * b1, a1 * b0
    middle = (p00 >> half) + (p01 & low) + (p10 & low)
    return a1 * b1 + (p01 >> half) + (p10 >> half) + (middle >> half), (middle << half) | (p00 & low)


@njit(_FLOAT(types.uint64, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _decimal(digits: np.uint64, power: int) -> float:
    """digits * 10^power, rounded as IEEE 754 wants it; NaN where that is not sure."""
    if digits == 0:
        return 0.0
    if digits <= np.uint64(1 << 53) and -22 <= power <= 22:
        whole = np.float64(digits)
        return float(whole / _TENS[-power] if power < 0 else whole * _TENS[power])
    if not -POWER_MAX <= power <= POWER_MAX:
        return math.nan
    shift = 0
    while digits >> np.uint64(63) == 0:
        digits <<= np.uint64(1)
        shift += 1
    upper, lower = _product(digits, _UPPER[power + POWER_MAX])
    if upper & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = _product(digits, _LOWER[power + POWER_MAX])
        lower += more
        if lower < more:
            upper += np.uint64(1)
    if lower == np.uint64(0xFFFFFFFFFFFFFFFF):
        return math.nan
    top = 1 if upper >> np.uint64(63) else 0
    cut = np.uint64(top + 9)
    mantissa = upper >> cut
    between = lower <= np.uint64(1) and -4 <= power <= 23 and mantissa << cut == upper
    if between and mantissa & np.uint64(3) == np.uint64(1):  # exactly between two doubles: to the even one
        mantissa &= ~np.uint64(1)
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    exponent = (((152170 + 65536) * power) >> 16) + 63 + top - shift
    return math.ldexp(np.float64(mantissa), exponent - 52)


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def space(data: np.ndarray, at: int, end: int) -> int:
    while at < end and (data[at] == 32 or data[at] == 10 or data[at] == 13 or data[at] == 9):
        at += 1
    return at


@njit(_NUMBER(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def number(data: np.ndarray, at: int, end: int) -> tuple[float, int, int]:
    """RFC 8259, 6 -> (value, kind, where it ends); by hand: an end of -1."""
    negative = at < end and data[at] == 45
    if negative:
        at += 1
    digits, count, power, start = np.uint64(0), 0, 0, at
    while at < end and 48 <= data[at] <= 57:
        digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
        at += 1
    count = at - start
    if count == 0 or count > 18 or (count > 1 and data[start] == 48):
        return 0.0, 0, -1
    kind = WIRE_INTEGER
    if at < end and data[at] == 46:
        at += 1
        start, kind = at, WIRE_FLOAT
        while at < end and 48 <= data[at] <= 57:
            digits = digits * np.uint64(10) + np.uint64(data[at] - 48)
            at += 1
        power = start - at
        count -= power
        if power == 0 or count > 19:
            return 0.0, 0, -1
    if at < end and (data[at] == 101 or data[at] == 69):
        at += 1
        kind = WIRE_FLOAT
        down = at < end and data[at] == 45
        if at < end and (data[at] == 45 or data[at] == 43):
            at += 1
        said, start = 0, at
        while at < end and 48 <= data[at] <= 57 and at - start < 4:
            said = said * 10 + (data[at] - 48)
            at += 1
        if at == start or at - start == 4:
            return 0.0, 0, -1
        power += -said if down else said
    if kind == WIRE_INTEGER:
        if negative and digits == 0:
            return 0.0, 0, -1
        value = np.float64(digits)
    else:
        value = _decimal(digits, power)
        if math.isnan(value):
            return 0.0, 0, -1
    return -value if negative else value, kind, at


@njit(_INT(_DATA, _INT, _INT, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def word_at(data: np.ndarray, at: int, end: int, letters: int, count: int) -> int:
    """Where a word of `count` letters ends that stands here; -1 when another does. Letters: its bytes, the last lowest."""
    if at + count > end:
        return -1
    found = 0
    for i in range(count):
        found = found << 8 | data[at + i]
    return at + count if found == letters else -1


_TRUE, _FALSE, _NULL = 0x74727565, 0x66616C7365, 0x6E756C6C


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def plain_text(data: np.ndarray, at: int, end: int) -> int:
    """Where the text behind a quotation mark ends (at its other mark); -1: not plain ASCII."""
    while at < end:
        byte = data[at]
        if byte == 34:
            return at
        if byte < 32 or byte == 92 or byte >= 127:
            return -1
        at += 1
    return -1


@njit(_NUMBER(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def scalar(data: np.ndarray, at: int, end: int) -> tuple[float, int, int]:
    """A number, true or false, as `number`."""
    if at < end and data[at] == 116:
        return 1.0, WIRE_BOOLEAN, word_at(data, at, end, _TRUE, 4)
    if at < end and data[at] == 102:
        return 0.0, WIRE_BOOLEAN, word_at(data, at, end, _FALSE, 5)
    value, kind, at = number(data, at, end)
    return value, kind, at


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def skip(data: np.ndarray, at: int, end: int) -> int:
    """Where a value that nobody wants ends; -1: by hand. `lists` has one bit a level, 1 for a list."""
    lists, level = np.uint64(0), 0
    while True:
        at = space(data, at, end)
        if at >= end:
            return -1
        byte = data[at]
        opened = byte == 123 or byte == 91
        if opened:
            if level == 60:
                return -1
            level += 1
            lists = lists << np.uint64(1) | np.uint64(byte == 91)
            at = space(data, at + 1, end)
            if at < end and data[at] == (93 if byte == 91 else 125):
                opened = False  # and closed again: handled below
            elif byte == 91:
                continue
        elif byte == 34:
            at = plain_text(data, at + 1, end)
            if at < 0:
                return -1
            at += 1
        elif byte == 110:
            at = word_at(data, at, end, _NULL, 4)
        else:
            _, _, at = scalar(data, at, end)
        if at < 0:
            return -1
        while not opened:  # a value is complete
            if level == 0:
                return at
            at = space(data, at, end)
            if at >= end:
                return -1
            inside_list = lists & np.uint64(1) == np.uint64(1)
            if data[at] == (93 if inside_list else 125):
                at += 1
                level -= 1
                lists >>= np.uint64(1)
            elif data[at] == 44:
                at += 1
                opened = True
            else:
                return -1
        if lists & np.uint64(1) == np.uint64(0):
            at = space(data, at, end)
            if at >= end or data[at] != 34:
                return -1
            at = plain_text(data, at + 1, end)
            if at < 0:
                return -1
            at = space(data, at + 1, end)
            if at >= end or data[at] != 58:
                return -1
            at += 1


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _digits(data: np.ndarray, at: int, count: int) -> int:
    """-1: not only digits."""
    value = 0
    for i in range(at, at + count):
        if not 48 <= data[i] <= 57:
            return -1
        value = value * 10 + (data[i] - 48)
    return value


@njit(_INT(_INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _days_of(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def moment(data: np.ndarray, at: int, end: int) -> int:
    """RFC 3339 text -> ns since 1970 UTC, down to µs; -1: by hand."""
    if end - at < 19 or data[at + 4] != 45 or data[at + 7] != 45 or data[at + 13] != 58 or data[at + 16] != 58:
        return -1
    if data[at + 10] != 84 and data[at + 10] != 32:
        return -1
    year, month, day = _digits(data, at, 4), _digits(data, at + 5, 2), _digits(data, at + 8, 2)
    hour, minute, second = _digits(data, at + 11, 2), _digits(data, at + 14, 2), _digits(data, at + 17, 2)
    if year < 1970 or year > 2115 or month < 1 or month > 12 or day < 1 or day > _days_of(year, month):
        return -1
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return -1
    at += 19
    micro = 0
    if at < end and data[at] == 46:
        start = at + 1
        at = start
        while at < end and 48 <= data[at] <= 57:
            if at - start < 6:
                micro = micro * 10 + (data[at] - 48)
            at += 1
        if at == start or at - start > 9:
            return -1
        for _ in range(6 - (at - start)):
            micro *= 10
    ahead = 0
    if at + 1 == end and data[at] == 90:
        at += 1
    elif at + 6 == end and (data[at] == 43 or data[at] == 45) and data[at + 3] == 58:
        hours, minutes = _digits(data, at + 1, 2), _digits(data, at + 4, 2)
        if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
            return -1
        ahead = (hours * 60 + minutes) * (-60 if data[at] == 45 else 60)
        at += 6
    if at != end:
        return -1
    past = year - 1  # whole years since the year 1; 719162 days later came 1970
    days = past * 365 + past // 4 - past // 100 + past // 400 - 719162 + day - 1
    for earlier in range(1, month):
        days += _days_of(year, earlier)
    stamp = ((days * 86400 + hour * 3600 + minute * 60 + second - ahead) * 1_000_000 + micro) * 1000
    return stamp if stamp >= 0 else -1


_GOOD, _NCERTAIN, _BAD = (int.from_bytes(word, "big") for word in (b"good", b"ncertain", b"bad"))
_SAID = types.UniTuple(_INT, 2)


@njit(_INT(_FLOAT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def stamp_of(value: float, kind: int) -> int:
    """Seconds or ms since 1970 -> ns; -1: by hand."""
    unit = 1e6 if value >= MS_FROM else 1e9
    if not 0 <= value * unit < STAMP_MAX:
        return -1
    if kind == WIRE_INTEGER:
        return int(value) * int(unit)
    return int(np.rint(value * unit))


@njit(_SAID(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def moment_said(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """What stands behind "time" -> (ns since 1970 or NO_STAMP for null, where it ends or -1)."""
    if at < end and data[at] == 110:
        return NO_STAMP, word_at(data, at, end, _NULL, 4)
    if at < end and data[at] == 34:
        stop = plain_text(data, at + 1, end)
        stamp = moment(data, at + 1, stop) if stop >= 0 else -1
        return stamp, stop + 1 if stamp >= 0 else -1
    value, kind, stop = number(data, at, end)
    stamp = stamp_of(value, kind)
    return stamp, stop if stamp >= 0 else -1


@njit(_INT(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def quality_word(data: np.ndarray, at: int, end: int) -> int:
    """good, uncertain or bad in letters of either case -> its status code; -1 for any other word."""
    word, size = 0, end - at
    for i in range(max(at, end - 8), end):
        word = word << 8 | data[i] | 32
    if size == 4 and word == _GOOD:
        return int(GOOD)
    if size == 9 and word == _NCERTAIN and data[at] | 32 == 117:
        return int(UNCERTAIN)
    if size == 3 and word == _BAD:
        return int(BAD)
    return -1


@njit(_SAID(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def quality_said(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """What stands behind "quality" -> (status code or -1 for null, where it ends or -1)."""
    if at < end and data[at] == 110:
        return -1, word_at(data, at, end, _NULL, 4)
    if at < end and data[at] == 34:
        stop = plain_text(data, at + 1, end)
        if stop < 0:
            return 0, -1
        known = quality_word(data, at + 1, stop)
        return known, stop + 1 if known >= 0 else -1
    value, kind, stop = number(data, at, end)
    if stop < 0 or kind != WIRE_INTEGER or value < 0 or value >= 2**32:
        return 0, -1
    return int(value), stop
