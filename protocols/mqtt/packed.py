"""Payloads of numbers side by side, without names: `topic#N` is the Nth. Compiled for many messages; pure.

Little-endian. A layout names the numbers (`f64` or `f32`) and where times stand, if there are any: `time f64` has one
time before the numbers for all of them, `f64 times` one a number behind them. A time is an int64 of ns since 1970 UTC;
its least value says that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, types

from protocols.delivery import NO_STAMP, WIRE_FLOAT
from twin.quality import GOOD, UNCERTAIN_LAST_USABLE

LAYOUTS = ("f64", "f32", "time f64", "time f32", "f64 times", "f32 times")
TIME_SIZE = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """`size`: bytes of a number; `head`: one time before all; `tail`: one time behind for each."""

    size: int
    head: bool
    tail: bool

    @classmethod
    def of(cls, name: str) -> Layout:
        words = name.split()
        return cls(4 if "f32" in words else 8, words[0] == "time", words[-1] == "times")

    def count(self, payload_size: int) -> int:
        """How many numbers a payload holds; -1 when it is not of this layout."""
        rest = payload_size - TIME_SIZE * self.head
        count, left = divmod(rest, self.size + TIME_SIZE * self.tail)
        return -1 if rest < 0 or left else count


@dataclass(frozen=True, slots=True)
class Row:
    """One payload: numbers, and a time for each (NO_STAMP where none is said)."""

    values: tuple[float, ...]
    stamps: tuple[int, ...]


def read(payload: bytes, layout: Layout) -> Row | None:
    """None when the payload is not of the layout."""
    count = layout.count(len(payload))
    if count < 0:
        return None
    head = TIME_SIZE * layout.head
    values = np.frombuffer(payload, "<f4" if layout.size == 4 else "<f8", count, head)
    stamps = [NO_STAMP] * count
    if layout.head:
        stamps = [int.from_bytes(payload[:TIME_SIZE], "little", signed=True)] * count
    if layout.tail:
        stamps = np.frombuffer(payload, "<i8", count, head + count * layout.size).tolist()
    return Row(tuple(values.tolist()), tuple(stamps))


def write(values: list[float], stamp: int, layout: Layout) -> bytes:
    """`stamp`: of all of them."""
    time = stamp.to_bytes(TIME_SIZE, "little", signed=True)
    numbers = np.array(values, "<f4" if layout.size == 4 else "<f8").tobytes()
    return time * layout.head + numbers + time * (len(values) * layout.tail)


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
