"""Metrics of Sparkplug messages as columns of numbers, gathered over a turn of the loop; pure: knows no points and no sink."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from protocols.mqtt import sparkplug_scan as scan
from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_metrics import quality_of, value_of
from protocols.scan import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from twin.quality import BAD, GOOD

ROWS_FIRST = 4096  # room at first: forty messages of a hundred metrics; it grows with what comes in one turn
_KIND = {bool: WIRE_BOOLEAN, int: WIRE_INTEGER, float: WIRE_FLOAT}


@dataclass(frozen=True, slots=True)
class Known:
    """A metric as its birth defined it; `rows` are the points bound to it, mostly none or one."""

    name: str
    datatype: int
    rows: tuple[int, ...]


class Aliases:
    """What the aliases of one edge node stand for, as columns in the order of the aliases."""

    def __init__(self, known: Iterable[tuple[int, Known]]) -> None:
        listed = sorted(known, key=lambda pair: pair[0])
        rows = [k.rows[0] if len(k.rows) == 1 else scan.SEVERAL if k.rows else scan.UNBOUND for _, k in listed]
        self.alias = np.array([alias for alias, _ in listed], np.uint64)
        self.row = np.array(rows, np.int32)
        self.datatype = np.array([k.datatype if k.datatype < 256 else 0 for _, k in listed], np.uint8)


class Columns:
    """What messages say, in order: `row`, `wire`, `kind`, `quality`, `stamp` (ns or NO_STAMP) and `datatype` of each value.

    `wire` is NaN for what is no number: the metric itself then says what it is.
    """

    def __init__(self) -> None:
        self._size = 0
        self._make(ROWS_FIRST)
        self._said: dict[int, Wire.Metric] = {}
        self._raw: list[tuple[int, bytes]] = []  # (first place, payload) of each message

    def __len__(self) -> int:
        return self._size

    def begin(self, raw: bytes, count: int) -> int:
        """A message of so many metrics follows; -> its first place."""
        if self._size + count > len(self.row):
            self._grow(2 * (self._size + count))
        self._raw.append((self._size, raw))
        return self._size

    def read(self, data: NDArray[np.uint8], stamp_ms: int, aliases: Aliases) -> tuple[int, list[int]]:
        """The metrics of a message that `scan.head` has found whole.

        Returns:
            (how many have an alias that no birth has, places that are to be looked at: `settle` or `drop` them).
        """
        self._size, specials, foreign = scan.read(
            data, stamp_ms, aliases.alias, aliases.row, aliases.datatype, self.row, self.wire, self.kind, self.quality,
            self.stamp, self.datatype, self._begin, self._length, self._special, self._size,
        )  # fmt: skip
        return foreign, self._special[:specials].tolist()

    def put(self, row: int, said: Wire.Metric, datatype: int, stamp_ms: int | None) -> None:
        """One more value. `stamp_ms`: the message's, for a metric that says none."""
        if self._size == len(self.row):
            self._grow(2 * self._size)
        self._size += 1
        self.settle(self._size - 1, row, said, datatype, stamp_ms)

    def settle(self, place: int, row: int, said: Wire.Metric, datatype: int, stamp_ms: int | None) -> None:
        """The value at a place, as protobuf reads it."""
        ms = said.timestamp or stamp_ms
        self.row[place], self.datatype[place] = row, datatype if datatype < 256 else 0
        self.wire[place], self.kind[place], self.quality[place] = _number(said, datatype)
        self.stamp[place] = NO_STAMP if ms is None else min(ms, scan.STAMP_MAX_MS) * 1_000_000
        self._said[place] = said

    def drop(self, first: int) -> None:
        """Take out what no point is bound to, from a place on."""
        kept = first + np.flatnonzero(self.row[first : self._size] != scan.UNBOUND)
        if len(kept) == self._size - first:
            return
        said = {first + n: self._said[place] for n, place in enumerate(kept.tolist()) if place in self._said}
        for place in range(first, self._size):
            self._said.pop(place, None)
        self._said.update(said)
        end = first + len(kept)
        for column in self._columns():
            column[first:end] = column[kept]
        self._size = end

    def metric(self, place: int) -> Wire.Metric:
        """
        Raises:
            Malformed: it cannot be read.
        """
        said = self._said.get(place)
        if said is not None:
            return said
        begin = int(self._begin[place])
        return metric_in(self.raw(place)[begin : begin + int(self._length[place])])

    def special(self, place: int, raw: bytes) -> Wire.Metric:
        """A metric that is to be looked at, of the message that is being read."""
        begin = int(self._begin[place])
        return metric_in(raw[begin : begin + int(self._length[place])])

    def raw(self, place: int) -> bytes:
        """The message it came in."""
        return next(raw for first, raw in reversed(self._raw) if first <= place)

    def clear(self) -> None:
        self._size = 0
        self._said.clear()
        self._raw.clear()

    def _columns(self) -> list[NDArray[Any]]:
        return [
            self.row, self.wire, self.kind, self.quality, self.stamp, self.datatype, self._begin, self._length
        ]  # fmt: skip

    def _make(self, room: int) -> None:
        self.row, self.wire, self.kind = np.empty(room, np.int32), np.empty(room), np.empty(room, np.uint8)
        self.quality, self.stamp = np.empty(room, np.uint32), np.empty(room, np.int64)
        self.datatype = np.empty(room, np.uint8)
        self._begin, self._length = np.empty(room, np.int32), np.empty(room, np.int32)
        self._special = np.empty(room, np.int32)

    def _grow(self, room: int) -> None:
        before = self._columns()
        self._make(room)
        for column, old in zip(self._columns(), before, strict=True):
            column[: self._size] = old[: self._size]


def metric_in(data: bytes) -> Wire.Metric:
    """
    Raises:
        Malformed: it is no metric.
    """
    try:
        metric: Wire.Metric = Wire.Metric.FromString(data)
    except DecodeError as error:
        raise Malformed("decode", f"not a Sparkplug B metric: {error}") from None
    return metric


def _number(said: Wire.Metric, datatype: int) -> tuple[float, int, int]:
    """-> (number or NaN, kind, quality). A null says that there is no value, so its quality is Bad."""
    if said.is_null:
        return math.nan, WIRE_FLOAT, BAD
    try:
        value = value_of(said, datatype)
    except Malformed:
        return math.nan, WIRE_FLOAT, GOOD  # looked at again, one by one, and rejected
    quality = quality_of(said) if said.HasField("properties") else GOOD
    kind = _KIND.get(type(value))
    return (math.nan, WIRE_FLOAT, quality) if kind is None else (float(value), kind, quality)
