"""Payloads of numbers side by side, without names: `topic#N` is the Nth. Pure.

Little-endian. A layout names the numbers (`f64` or `f32`) and where times stand, if there are any: `time f64` has one
time before the numbers for all of them, `f64 times` one a number behind them. A time is an int64 of ns since 1970 UTC;
its least value says that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LAYOUTS = ("f64", "f32", "time f64", "time f32", "f64 times", "f32 times")
TIME_SIZE = 8
NO_TIME = -(2**63)  # protocols.delivery says it likewise


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
    """One payload: numbers, and a time for each (NO_TIME where none is said)."""

    values: tuple[float, ...]
    stamps: tuple[int, ...]


def read(payload: bytes, layout: Layout) -> Row | None:
    """None when the payload is not of the layout."""
    count = layout.count(len(payload))
    if count < 0:
        return None
    head = TIME_SIZE * layout.head
    values = np.frombuffer(payload, "<f4" if layout.size == 4 else "<f8", count, head)
    stamps = [NO_TIME] * count
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
