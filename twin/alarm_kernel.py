"""Conditions of alarms told from columns, one by one, compiled: the inner loop of twin/alarm_conditions.py; knows no names.

Compiled with numba when first imported and cached beside this file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import from_dtype, njit, types

NORMAL, BEYOND, UNKNOWN = range(3)
ACTIVATED, CLEARED, UNSURE, SURE = range(1, 5)
"""What came of a look, in `what`."""
NEVER = np.iinfo(np.int64).min
NOT_DUE = np.iinfo(np.int64).max
STALE_AGAIN_NS = 1_000_000_000  # how soon a stale point's return is seen where its value did not change
LIMIT, RATE, DEVIATION, STATE, STALE, QUALITY, GIVEN = range(7)

ASKED = np.dtype(
    [
        ("point", np.int32), ("other", np.int32), ("kind", np.uint8), ("sign", np.int8), ("negated", np.uint8),
        ("severity", np.uint8), ("limit", np.float64), ("deadband", np.float64), ("reference", np.float64),
        ("window", np.int64), ("on_delay", np.int64), ("off_delay", np.int64), ("first", np.int32), ("count", np.int32),
    ],
    align=True,
)  # fmt: skip
"""Of one alarm what never changes. Spans in ns; `other` -1: the value `reference`; codes at first … first + count."""
FOUND = np.dtype(
    [
        ("since", np.int64), ("due", np.int64), ("anchor_time", np.int64), ("anchor", np.float64),
        ("beyond", np.uint8), ("known", np.uint8), ("active", np.uint8), ("given", np.uint8),
    ],
    align=True,
)  # fmt: skip
"""What is known of it. `beyond` since `since`; look again at `due`; a rate is taken from `anchor`."""


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _judged(x: float, asked: Any, found: Any) -> int:
    """Against the limit, which is left only behind its dead band."""
    if x != x:
        return UNKNOWN
    limit = asked.limit - asked.deadband if found.beyond else asked.limit
    return BEYOND if x > limit else NORMAL


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _truth(
    asked: Any, found: Any, now: int, begun: int, value: np.ndarray, quality: np.ndarray,
    received: np.ndarray, codes: np.ndarray,
) -> int:  # fmt: skip
    p, kind = asked.point, asked.kind
    if kind == GIVEN:
        return int(found.given)
    if kind == QUALITY:
        return BEYOND if quality[p] >> 30 >= asked.severity else NORMAL
    if kind == STALE:
        heard = received[p] if received[p] != NEVER else begun
        return BEYOND if now - heard > asked.window else NORMAL
    if quality[p] >> 30 != 0:
        found.anchor_time = NEVER
        return UNKNOWN
    v = value[p]
    if kind == LIMIT:
        sign = asked.sign
        limit = asked.limit * sign - (asked.deadband if found.beyond else 0.0)
        if v != v:
            return UNKNOWN
        return BEYOND if v * sign > limit else NORMAL
    if kind == DEVIATION:
        reference = asked.reference
        if asked.other >= 0:
            if quality[asked.other] >> 30 != 0:
                return UNKNOWN
            reference = value[asked.other]
        gap = v - reference
        far: int = _judged(abs(gap) if asked.sign == 0 else gap * asked.sign, asked, found)
        return far
    if kind == STATE:
        if v != v:
            return UNKNOWN
        here = False
        for c in range(asked.first, asked.first + asked.count):
            here = here or v == codes[c]
        return BEYOND if here != (asked.negated != 0) else NORMAL
    if found.anchor_time == NEVER:
        found.anchor_time, found.anchor = now, v
        return UNKNOWN
    if now - found.anchor_time < asked.window:
        return int(found.beyond) if found.known else UNKNOWN
    rate = (v - found.anchor) / ((now - found.anchor_time) * 1e-9)
    found.anchor_time, found.anchor = now, v
    judged: int = _judged(abs(rate) if asked.sign == 0 else rate * asked.sign, asked, found)
    return judged


_SIGNATURE = types.int64(
    types.Array(types.int32, 1, "C", readonly=True), types.int64, types.int64,
    types.Array(types.float64, 1, "C", readonly=True), types.Array(types.uint32, 1, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True), types.Array(types.float64, 1, "C", readonly=True),
    types.Array(from_dtype(ASKED), 1, "C"), types.Array(from_dtype(FOUND), 1, "C"),
    types.int32[::1], types.uint8[::1],
)  # fmt: skip


@njit(_SIGNATURE, cache=True, nogil=True)  # type: ignore[untyped-decorator]
def look(
    rows: np.ndarray, now: int, begun: int, value: np.ndarray, quality: np.ndarray, received: np.ndarray,
    codes: np.ndarray, asked_of: np.ndarray, found_of: np.ndarray, out: np.ndarray, what: np.ndarray,
) -> int:  # fmt: skip
    """Look at the alarms of these rows; returns how many of `out` (rows) and `what` were filled, shape (2 R,) each.

    What cannot be told keeps an active alarm active and lets a pending one come: never the other way.
    """
    n = 0
    for row in rows:
        asked, found = asked_of[row], found_of[row]
        truth = _truth(asked, found, now, begun, value, quality, received, codes)
        if truth == UNKNOWN:
            was_known, was_active = found.known, found.active
            found.known = 0
            if was_active and not found.beyond:
                found.beyond = 1  # the time to clear starts again, once it can be told
            if not was_active and found.beyond and now - found.since >= asked.on_delay:
                found.active = 1
                out[n], what[n] = row, ACTIVATED
                n += 1
            if found.active and (was_known or not was_active):
                out[n], what[n] = row, UNSURE
                n += 1
        else:
            if not found.known:
                found.known = 1
                if found.active:
                    out[n], what[n] = row, SURE
                    n += 1
            if truth != found.beyond:
                found.beyond = truth
                found.since = now
            if truth == BEYOND and not found.active and now - found.since >= asked.on_delay:
                found.active = 1
                out[n], what[n] = row, ACTIVATED
                n += 1
            elif truth == NORMAL and found.active and now - found.since >= asked.off_delay:
                found.active = 0
                out[n], what[n] = row, CLEARED
                n += 1
        due = NOT_DUE
        if found.beyond and not found.active:
            due = found.since + asked.on_delay
        elif found.active and found.known and not found.beyond:
            due = found.since + asked.off_delay
        if asked.kind == STALE:
            heard = received[asked.point] if received[asked.point] != NEVER else begun
            due = min(due, heard + asked.window + 1 if truth == NORMAL else now + STALE_AGAIN_NS)
        elif asked.kind == RATE and found.anchor_time != NEVER:
            due = min(due, found.anchor_time + asked.window)
        found.due = due
    return n
