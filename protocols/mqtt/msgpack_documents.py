"""msgpack payloads straight from their bytes into columns, compiled; what is not plain is left to codec.py.

As documents.py for JSON, and with the same arrays. Also by hand: texts beyond ASCII, bytes, extension types, and objects
or lists that nobody wants anything of.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types

from protocols.delivery import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from protocols.mqtt.documents import _DATA, _INT, _ITEMS, _KEYS, _KINDS, _OUT, _ROWS, _SAID, _SEEN, UNBOUND, find
from protocols.mqtt.numbers import moment, quality_word, stamp_of
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

# numba's cache of this file does not see changes of what is compiled into it; these lines do.
NUMBERS_CRC = 0xB37A57D9
DOCUMENTS_CRC = 0xDE3B342E

_compiled = {"cache": True, "nogil": True}
_TIME, _QUALITY = np.frombuffer(b"time", np.uint8), np.frombuffer(b"quality", np.uint8)


@njit(types.uint64(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _big(data: np.ndarray, at: int, size: int) -> int:
    bits = np.uint64(0)
    for i in range(at, at + size):
        bits = bits << np.uint64(8) | np.uint64(data[i])
    return int(bits)


@njit(types.float64(types.int64), **_compiled)  # type: ignore[untyped-decorator]
def _single(bits: int) -> float:
    """A float32's bits as a number; NaN for what is none or infinite."""
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0xFF:
        return math.nan
    size = math.ldexp(fraction, -149) if exponent == 0 else math.ldexp(fraction | 0x800000, exponent - 150)
    return -size if bits >> 31 else size


@njit(types.Tuple((types.float64, _INT, _INT))(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _scalar(data: np.ndarray, at: int, end: int) -> tuple[float, int, int]:
    """A number, true or false -> (value, kind, where it ends); by hand: an end of -1. float64 is left to its reader."""
    byte = data[at]
    if byte < 0x80:
        return float(byte), WIRE_INTEGER, at + 1
    if byte >= 0xE0:
        return float(byte) - 256.0, WIRE_INTEGER, at + 1
    if byte == 0xC2 or byte == 0xC3:
        return float(byte - 0xC2), WIRE_BOOLEAN, at + 1
    if byte == 0xCA:
        if at + 5 > end:
            return 0.0, 0, -1
        value = _single(_big(data, at + 1, 4))
        return value, WIRE_FLOAT, -1 if math.isnan(value) else at + 5
    if 0xCC <= byte <= 0xD3:
        size = 1 << (byte & 3)
        if at + 1 + size > end:
            return 0.0, 0, -1
        bits = _big(data, at + 1, size)
        if byte <= 0xCF:
            return float(bits), WIRE_INTEGER, at + 1 + size
        shift = np.uint64(64 - 8 * size)
        return float(np.int64(bits << shift) >> np.int64(shift)), WIRE_INTEGER, at + 1 + size
    return 0.0, 0, -1


@njit(_SAID(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _text(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """A text of plain ASCII -> (where its letters begin, where they end); by hand: -1."""
    byte = data[at]
    size, start = byte & 0x1F, at + 1
    if 0xD9 <= byte <= 0xDB:
        start = at + 1 + (1 << (byte - 0xD9))
        if start > end:
            return -1, -1
        size = np.int64(_big(data, at + 1, start - at - 1))
    elif byte & 0xE0 != 0xA0:
        return -1, -1
    if size > end - start:
        return -1, -1
    for i in range(start, start + size):
        if data[i] >= 128:
            return -1, -1
    return start, start + size


@njit(types.Tuple((types.boolean, _INT, _INT))(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _opened(data: np.ndarray, at: int, end: int) -> tuple[bool, int, int]:
    """The head of a list or a map -> (whether it is a list, members, where they begin); by hand: members of -1."""
    byte = data[at]
    if 0x80 <= byte < 0xA0:
        return byte >= 0x90, byte & 0x0F, at + 1
    if 0xDC <= byte <= 0xDF:
        size = 4 if byte & 1 else 2
        if at + 1 + size > end:
            return False, -1, at
        return byte <= 0xDD, int(_big(data, at + 1, size)), at + 1 + size
    return False, -1, at


@njit(_SAID(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _time(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """What stands behind "time" -> (ns since 1970 or NO_STAMP for nil, where it ends or -1)."""
    byte = data[at]
    if byte == 0xC0:
        return NO_STAMP, at + 1
    start, stop = _text(data, at, end)
    if start >= 0:
        stamp = moment(data, start, stop)
        return stamp, stop if stamp >= 0 else -1
    if byte == 0xC2 or byte == 0xC3 or byte == 0xCB:
        return 0, -1
    value, kind, stop = _scalar(data, at, end)
    stamp = stamp_of(value, kind) if stop >= 0 else -1
    return stamp, stop if stamp >= 0 else -1


@njit(_SAID(_DATA, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _quality(data: np.ndarray, at: int, end: int) -> tuple[int, int]:
    """What stands behind "quality" -> (status code or -1 for nil, where it ends or -1)."""
    if data[at] == 0xC0:
        return -1, at + 1
    start, stop = _text(data, at, end)
    if start >= 0:
        code = quality_word(data, start, stop)
        return code, stop if code >= 0 else -1
    value, kind, stop = _scalar(data, at, end)
    if stop < 0 or kind != WIRE_INTEGER or value < 0 or value >= 2**32:
        return 0, -1
    return int(value), stop


@njit(_INT(_DATA, _INT, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _about(data: np.ndarray, at: int, stop: int, kind: int) -> int:
    """1 for the word `time`, 2 for `quality`, else 0."""
    word = _TIME if stop - at == 4 else _QUALITY
    if stop - at != 4 and stop - at != 7:
        return kind
    for i in range(stop - at):
        if data[at + i] != word[i]:
            return kind
    return 1 if stop - at == 4 else 2


_BITS = types.uint64[::1]


@njit(
    _INT(_DATA, _INT, _INT, _INT, _INT, types.boolean, *_KEYS, *_ITEMS, *_SEEN, _INT, _INT, *_OUT, _BITS), **_compiled
)
def _document(  # type: ignore[no-untyped-def]
    data, at, end, bare, root, retained,
    slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
    seen_row, seen_container, serial, begin,
    row, wire, kind, quality, stamp, marks, bits,
):  # fmt: skip
    """As documents._document. `bits`: the column `wire` seen as bits."""
    n, left, outer_left, level = begin, 1, 0, -1
    container, in_list, index, outer_list, outer_index, guess, outer_guess = UNBOUND, True, 0, False, 0, 0, 0
    root_stamp, root_quality, inner_stamp, inner_quality, inner_begin = NO_STAMP, -1, NO_STAMP, -1, begin
    while True:
        while left == 0:  # a container ends here, and perhaps the one around it
            if level <= 0:
                left = -1
                break
            for i in range(inner_begin, n):
                if inner_quality >= 0:
                    quality[i] = np.uint32(inner_quality)
                    marks[i] |= 1
                if inner_stamp != NO_STAMP:
                    stamp[i] = inner_stamp
                    marks[i] |= 2
            level, container, in_list, index, left = 0, root, outer_list, outer_index, outer_left
            guess = outer_guess
        if left < 0:
            break
        left -= 1
        said, target = 0, UNBOUND
        if level < 0:
            target = bare
        elif in_list:
            target = items[item_first[container] + index] if index < item_count[container] else UNBOUND
            index += 1
        else:
            if at >= end:
                return -1
            start, at = _text(data, at, end)
            if at < 0:
                return -1
            said = _about(data, start, at, 0)
            if said == 0:
                key = find(data, start, at - start, container, guess, slots, letters, key_at, key_owner)
                if key >= 0:
                    target, guess = key_target[key], key + 1
        if at >= end:
            return -1
        if said == 1:
            time, at = _time(data, at, end)
            if at < 0 or (inner_stamp if level else root_stamp) != NO_STAMP:
                return -1
            if level:
                inner_stamp = time
            else:
                root_stamp = time
            continue
        if said == 2:
            code, at = _quality(data, at, end)
            if at < 0 or (inner_quality if level else root_quality) != -1:
                return -1
            if level:
                inner_quality = code
            else:
                root_quality = code
            continue
        is_list, members, inside = _opened(data, at, end)
        if members >= 0:
            inner = root if level < 0 else -2 - target
            if level == 1 or inner < 0 or members > end - inside:
                return -1
            if level == 0:
                if seen_container[inner] == serial:
                    return -1
                seen_container[inner] = serial
                outer_list, outer_index, outer_left, outer_guess, inner_begin = in_list, index, left, guess, n
                inner_stamp, inner_quality = NO_STAMP, -1
            level, container, in_list, index, left, at = level + 1, inner, is_list, 0, members, inside
            guess = key_first[inner]
            continue
        if target < UNBOUND:
            return -1
        if target == UNBOUND and level >= 0:
            start, stop = _text(data, at, end)
            if start >= 0:
                at = stop
                continue
            if data[at] == 0xC0:
                at += 1
                continue
        if n >= len(row):
            return -2
        if data[at] == 0xCB:
            if at + 9 > end:
                return -1
            if target >= 0:
                bits[n] = _big(data, at + 1, 8)
            how, at = WIRE_FLOAT, at + 9
        else:
            value, how, at = _scalar(data, at, end)
            if at < 0:
                return -1
            wire[n] = value
        if target == UNBOUND:
            if level < 0:
                return -1
            continue
        if seen_row[target] == serial:
            return -1
        seen_row[target] = serial
        row[n], kind[n], marks[n] = target, how, 0
        n += 1
    if at != end or n == begin:
        return -1
    for i in range(begin, n):
        if marks[i] & 1 == 0:
            quality[i] = np.uint32(root_quality if root_quality >= 0 else GOOD)
        if marks[i] & 2 == 0:
            stamp[i] = root_stamp
        if retained and quality[i] == GOOD:
            quality[i] = UNCERTAIN_LAST_USABLE
    return n


@njit(
    _SAID(
        _DATA, _ROWS, _ROWS, _KINDS, _ROWS, _INT, types.boolean, _ROWS, _ROWS, *_KEYS, *_ITEMS, *_SEEN, _INT, *_OUT,
        _BITS, _ROWS
    ), **_compiled,
)  # fmt: skip
def take(  # type: ignore[no-untyped-def]
    data, payload_at, payload_size, first, topic, begin, guess, bare, root,
    slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
    seen_row, seen_container, serial,
    row, wire, kind, quality, stamp, marks, bits, message,
):  # fmt: skip
    """As documents.take. `guess`: nobody said that it is msgpack: what could be a stray letter is by hand."""
    n = 0
    for i in range(begin, len(topic)):
        which, at, size = topic[i], payload_at[i], payload_size[i]
        if which < 0 or size == 0 or (guess and not 0x80 <= data[at] <= 0xDF):
            return n, i
        found = _document(
            data, at, at + size, bare[which], root[which], first[i] & 1 == 1,
            slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
            seen_row, seen_container, serial + i, n,
            row, wire, kind, quality, stamp, marks, bits,
        )  # fmt: skip
        if found < 0:
            return n, i
        for place in range(n, found):
            message[place] = i
        n = found
    return n, len(topic)
