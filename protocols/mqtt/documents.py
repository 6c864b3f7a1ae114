"""JSON payloads straight from their bytes into columns, compiled; what is not plain is left to codec.py.

A message is taken whole or `by hand`: where anything in it is not plain (numbers.py), or could be understood otherwise
(a key said twice, text where a number is wanted), codec.py looks at it.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

from protocols.delivery import NO_STAMP
from protocols.mqtt.numbers import moment_said, plain_text, quality_said, scalar, skip, space, word_at
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

# numba's cache of this file does not see that numbers.py, which is compiled into it, has changed; this line does.
NUMBERS_CRC = 0xB37A57D9

UNBOUND = -1
"""In place of a row: nobody wants this value. Numbers below it are containers: -2 is container 0, -3 is 1, …"""

_DATA = types.Array(types.uint8, 1, "C", readonly=True)
_INT = types.int64
_SAID = types.UniTuple(_INT, 2)
_compiled = {"cache": True, "nogil": True}
_ROWS, _KINDS = types.int32[::1], types.uint8[::1]
_KEYS = (_ROWS, types.Array(types.uint8, 1, "C", readonly=True), _ROWS, _ROWS, _ROWS)
_ITEMS = (_ROWS, _ROWS, _ROWS, _ROWS)
_SEEN = (types.int64[::1], types.int64[::1])
_OUT = (_ROWS, types.float64[::1], _KINDS, types.uint32[::1], types.int64[::1], _KINDS)
_TIME, _QUALITY = 0x74696D65, 0x7175616C697479  # "time" and "quality"


@njit(_INT(_DATA, _INT, _INT, _INT), **_compiled)  # type: ignore[untyped-decorator]
def _hash(data: np.ndarray, at: int, size: int, owner: int) -> int:
    """FNV-1a over a key, begun differently for each container."""
    mixed = np.uint64(14695981039346656037) ^ np.uint64(owner)
    for i in range(at, at + size):
        mixed = (mixed ^ np.uint64(data[i])) * np.uint64(1099511628211)
    return int((mixed ^ (mixed >> np.uint64(32))) & np.uint64(0x7FFFFFFF))


@njit(types.boolean(_DATA, _INT, _INT, _INT, _INT, *_KEYS[1:4]), **_compiled)
def _is_key(data, at, size, owner, key, letters, key_at, key_owner):  # type: ignore[no-untyped-def]
    start = key_at[key]
    same = key_owner[key] == owner and key_at[key + 1] - start == size
    for i in range(size if same else 0):
        if letters[start + i] != data[at + i]:
            same = False
            break
    return same


@njit(_INT(_DATA, _INT, _INT, _INT, _INT, *_KEYS[:4]), **_compiled)
def find(data, at, size, owner, guess, slots, letters, key_at, key_owner):  # type: ignore[no-untyped-def]
    """The number of a key of a container; -1 when it has none such. `guess`: which one it may be: payloads name their
    members in the same order every time."""
    if guess < len(key_owner) and _is_key(data, at, size, owner, guess, letters, key_at, key_owner):
        return guess
    slot = _hash(data, at, size, owner) & (len(slots) - 1)
    while slots[slot] >= 0:
        if _is_key(data, at, size, owner, slots[slot], letters, key_at, key_owner):
            return slots[slot]
        slot = (slot + 1) & (len(slots) - 1)
    return -1


@njit(types.void(*_KEYS[:4]), **_compiled)
def enter(slots, letters, key_at, key_owner):  # type: ignore[no-untyped-def]
    """Fill `slots` (a power of two, at least twice the keys, all -1) so that `find` finds every key."""
    for key in range(len(key_owner)):
        slot = _hash(letters, key_at[key], key_at[key + 1] - key_at[key], key_owner[key]) & (len(slots) - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = key


@njit(types.void(_DATA, _ROWS, _ROWS, *_KEYS[:4], _ROWS), **_compiled)
def find_all(data, at, size, slots, letters, key_at, key_owner, found):  # type: ignore[no-untyped-def]
    """`find` for N keys of container 0; `found`, shape (N,), is filled."""
    for i in range(len(at)):
        found[i] = find(data, at[i], size[i], 0, len(key_owner), slots, letters, key_at, key_owner)


@njit(_INT(_DATA, _INT, _INT, _INT, _INT, types.boolean, *_KEYS, *_ITEMS, *_SEEN, _INT, _INT, *_OUT), **_compiled)
def _document(  # type: ignore[no-untyped-def]
    data, at, end, bare, root, retained,
    slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
    seen_row, seen_container, serial, begin,
    row, wire, kind, quality, stamp, marks,
):  # fmt: skip
    """One payload into the columns from place `begin` on -> where they end; -1: by hand, -2: they are too short.

    A payload is a bare value, or an object or list of values, some of which may be objects or lists of values. `level`
    is 0 in the outer one and 1 in an inner one. marks: bit 0: the quality is known, bit 1: the time is.
    """
    n = begin
    at = space(data, at, end)
    if at >= end:
        return -1
    root_stamp, root_quality = NO_STAMP, -1
    if data[at] != 123 and data[at] != 91:
        value, how, at = scalar(data, at, end)
        if at < 0 or bare < 0:
            return -1
        if n >= len(row):
            return -2
        row[n], wire[n], kind[n], marks[n] = bare, value, how, 0
        n += 1
    else:
        if root < 0:
            return -1
        level, container, in_list, fresh = 0, root, data[at] == 91, True
        index, outer_index, outer_list, inner_begin = 0, 0, False, 0
        inner_stamp, inner_quality, guess, outer_guess = NO_STAMP, -1, key_first[root], 0
        at += 1
        while True:
            at = space(data, at, end)
            if at >= end:
                return -1
            closes = fresh and data[at] == (93 if in_list else 125)
            if not closes:
                fresh = False
                said = 0
                if in_list:
                    target = items[item_first[container] + index] if index < item_count[container] else UNBOUND
                    index += 1
                else:
                    if data[at] != 34:
                        return -1
                    start = at + 1
                    at = plain_text(data, start, end)
                    if at < 0:
                        return -1
                    size = at - start
                    if size == 4 and word_at(data, start, end, _TIME, 4) > 0:
                        said = 1
                    elif size == 7 and word_at(data, start, end, _QUALITY, 7) > 0:
                        said = 2
                    target = UNBOUND
                    if said == 0:
                        key = find(data, start, size, container, guess, slots, letters, key_at, key_owner)
                        if key >= 0:
                            target, guess = key_target[key], key + 1
                    at = space(data, at + 1, end)
                    if at >= end or data[at] != 58:
                        return -1
                    at = space(data, at + 1, end)
                if said == 1:
                    time, at = moment_said(data, at, end)
                    if at < 0 or (inner_stamp if level else root_stamp) != NO_STAMP:
                        return -1
                    if level:
                        inner_stamp = time
                    else:
                        root_stamp = time
                elif said == 2:
                    code, at = quality_said(data, at, end)
                    if at < 0 or (inner_quality if level else root_quality) != -1:
                        return -1
                    if level:
                        inner_quality = code
                    else:
                        root_quality = code
                elif target >= 0:
                    value, how, at = scalar(data, at, end)
                    if at < 0 or seen_row[target] == serial:
                        return -1
                    if n >= len(row):
                        return -2
                    seen_row[target] = serial
                    row[n], wire[n], kind[n], marks[n] = target, value, how, 0
                    n += 1
                elif target == UNBOUND:
                    at = skip(data, at, end)
                    if at < 0:
                        return -1
                else:
                    inner = -2 - target
                    if level or at >= end or (data[at] != 123 and data[at] != 91) or seen_container[inner] == serial:
                        return -1
                    seen_container[inner] = serial
                    outer_list, outer_index, outer_guess, inner_begin = in_list, index, guess, n
                    guess = key_first[inner]
                    level, container, in_list, fresh, index = 1, inner, data[at] == 91, True, 0
                    inner_stamp, inner_quality = NO_STAMP, -1
                    at += 1
                    continue
            # A value is complete, or the container ends here.
            done = False
            while True:
                at = space(data, at, end)
                if at >= end:
                    return -1
                if data[at] == 44 and not closes:
                    at += 1
                    break
                if data[at] != (93 if in_list else 125):
                    return -1
                at += 1
                closes = False
                if level == 0:
                    done = True
                    break
                for i in range(inner_begin, n):
                    if inner_quality >= 0:
                        quality[i] = np.uint32(inner_quality)
                        marks[i] |= 1
                    if inner_stamp != NO_STAMP:
                        stamp[i] = inner_stamp
                        marks[i] |= 2
                level, container, in_list, index, fresh = 0, root, outer_list, outer_index, False
                guess = outer_guess
            if done:
                break
    if space(data, at, end) != end or n == begin:
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
        _DATA, _ROWS, _ROWS, _KINDS, _ROWS, _INT, _ROWS, _ROWS, *_KEYS, *_ITEMS, *_SEEN, _INT, *_OUT, _ROWS
    ), **_compiled,
)  # fmt: skip
def take(  # type: ignore[no-untyped-def]
    data, payload_at, payload_size, first, topic, begin, bare, root,
    slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
    seen_row, seen_container, serial,
    row, wire, kind, quality, stamp, marks, message,
):  # fmt: skip
    """Messages from `begin` on into columns, up to one that is by hand -> (values, the message that is next).

    Args:
        payload_at, payload_size, first: of N messages in `data`, see messages.py.
        topic: shape (N,), the topic's number; UNBOUND is by hand.
        bare, root: of each topic: the row that a bare value answers, and its container; UNBOUND for none.
        slots … key_target: keys of containers, see `find`; `key_first`: of each container, its first one.
        item_first, item_count, items: of each container, the rows of its list.
        seen_row, seen_container: the last message that spoke of it, by serial number; kept up to date.
        serial: of the message 0 of the columns.
        row … message: shape (VALUES_MAX,), filled; `message` is the number of the message.
    """
    n = 0
    for i in range(begin, len(topic)):
        which = topic[i]
        if which < 0:
            return n, i
        at = payload_at[i]
        found = _document(
            data, at, at + payload_size[i], bare[which], root[which], first[i] & 1 == 1,
            slots, letters, key_at, key_owner, key_target, key_first, item_first, item_count, items,
            seen_row, seen_container, serial + i, n,
            row, wire, kind, quality, stamp, marks,
        )  # fmt: skip
        if found < 0:
            return n, i
        for place in range(n, found):
            message[place] = i
        n = found
    return n, len(topic)
