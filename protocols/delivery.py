"""What a link hands over: believed values as columns, the rest as dead letters, limited and counted; knows no protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.believe import Unbelievable, source_time, twin_value
from protocols.link import RAW_MAX, Clock, DeadLetter, Sink
from protocols.scan import NO_STAMP as NO_STAMP
from protocols.scan import WIRE_BOOLEAN as WIRE_BOOLEAN
from protocols.scan import WIRE_FLOAT as WIRE_FLOAT
from protocols.scan import WIRE_INTEGER as WIRE_INTEGER
from protocols.scan import Scales
from twin.points import Point, Selection
from twin.readings import Readings, joined

# One reason of one point (or of no known point) may send so many letters a window; the rest are only counted, so that
# a device that talks garbage at full rate fills a counter and not the dead-letter table.
LETTERS_MAX = 20
LETTER_WINDOW_NS = 10 * 1_000_000_000


class Delivery:
    """The one way from a link to its sink.

    Counts are cumulative and told as the metrics `rejected` (everything not believed) and `letters_held` (those of it
    over the limit).
    """

    def __init__(self, device_id: str, sink: Sink, clock: Clock, points: Sequence[Point] = ()) -> None:
        """`points`: the link's, whose places are the rows of `Batch.add_columns`."""
        self.device_id = device_id
        self.sink = sink
        self.clock = clock
        self.scales = Scales(Selection.of(points))
        self.rejected = 0
        self.letters_held = 0
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}

    def batch(self) -> Batch:
        """An empty batch received now."""
        return Batch(self, self.clock())

    def reject(
        self, address: str, reason: str, detail: str, raw: bytes, point: str = "", source_time: int | None = None
    ) -> None:
        """Send a dead letter, unless its kind has used up its limit."""
        now = self.clock()
        self.rejected += 1
        self.sink.metric(self.device_id, "rejected", self.rejected)
        if not self._may_send((reason, point), now):
            self.letters_held += 1
            self.sink.metric(self.device_id, "letters_held", self.letters_held)
            return
        letter = DeadLetter(self.device_id, point, address, reason, detail, raw[:RAW_MAX], now, source_time)
        self.sink.dead_letter(letter)

    def _may_send(self, key: tuple[str, str], now: int) -> bool:
        started, sent = self._windows.get(key, (now, 0))
        if now - started >= LETTER_WINDOW_NS:
            started, sent = now, 0
        self._windows[key] = (started, sent + 1)
        return sent < LETTERS_MAX


class Batch:
    """Readings of one delivery while they are collected. Readings and dead letters reach the sink in the order in which
    they were added: a letter first lets go what was believed before it."""

    def __init__(self, delivery: Delivery, received_time: int) -> None:
        self.received_time = received_time
        self._delivery = delivery
        self._parts: list[Readings] = []
        self._singles = _Singles()
        self._columns: _Columns | None = None  # while their doubtful numbers are looked at

    def add(self, point: Point, wire: Any, quality: int, stamp: int | None, address: str, raw: bytes) -> None:
        """Take one decoded value, or send a dead letter when it is not believed.

        Args:
            stamp: source time in ns since 1970 UTC; None when the source gave none (the receipt time stands in).
            address, raw: where it came from and as what bytes, for the dead letter; a link that never saw the bytes
                gives none, and the decoded value stands in.
        """
        try:
            taken_at = self.received_time if stamp is None else source_time(stamp, self.received_time)
            value, text = _bad_value(point, wire) if quality >> 31 else twin_value(point, wire)
        except Unbelievable as doubt:
            believed = None if doubt.reason == "source_time" else stamp
            self.reject(address, doubt.reason, doubt.detail, raw or repr(wire).encode(), point.name, believed)
            return
        place = self._singles if self._columns is None else self._columns
        place.put(point.id, value, quality, taken_at, text)

    def add_columns(
        self,
        row: NDArray[np.int32],
        wire: NDArray[np.float64],
        kind: NDArray[np.uint8],
        quality: NDArray[np.uint32],
        stamp: NDArray[np.int64],
        doubt: Callable[[int], None],
    ) -> None:
        """Take B numbers at once; every column has shape (B,).

        Args:
            row: place of each one's point among the link's.
            kind: WIRE_BOOLEAN, WIRE_INTEGER or WIRE_FLOAT.
            stamp: source times in ns since 1970 UTC, or NO_STAMP.
            doubt: called with the place of each number that is not believed as it stands: of no point of the link, of
                the wrong type, out of range …, and of each value of a point that is no number. It decodes that one and
                adds or rejects it, once at most.
        """
        self._seal()
        scales = self._delivery.scales
        value, taken_at, doubtful = scales.scan(row, wire, kind, quality, stamp, self.received_time)
        point = np.take(scales.ids, row, mode="clip") if len(scales.ids) else np.zeros(len(row), np.int32)
        columns = self._columns = _Columns(point, value, np.array(quality), taken_at, doubtful)
        for place in doubtful.tolist():
            columns.place = place
            doubt(place)
        columns.place = len(row)
        self._parts += columns.cut(self.received_time)
        self._columns = None

    def reject(
        self, address: str, reason: str, detail: str, raw: bytes, point: str = "", source_time: int | None = None
    ) -> None:
        """A dead letter in its place among the readings."""
        self.deliver()
        self._delivery.reject(address, reason, detail, raw, point, source_time)

    def add_quality(self, point: Point, quality: int) -> None:
        """The device says that it has no value for the point, and why."""
        self.add(point, None, quality, None, point.address, b"")

    def deliver(self) -> Readings | None:
        """Hand to the sink what has gathered; None when that is nothing."""
        self._seal()
        if self._columns is not None:
            self._parts += self._columns.cut(self.received_time)
        if not self._parts:
            return None
        readings = joined(self._parts)
        self._parts = []
        self._delivery.sink.readings(readings)
        return readings

    def _seal(self) -> None:
        self._parts += self._singles.cut(self.received_time)


class _Singles:
    """Values that came one by one."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, float, int, int]] = []
        self._text: dict[int, str] = {}

    def put(self, point: int, value: float, quality: int, taken_at: int, text: str | None) -> None:
        if text is not None:
            self._text[len(self._rows)] = text
        self._rows.append((point, value, quality, taken_at))

    def cut(self, received_time: int) -> list[Readings]:
        """What there is, as none or one."""
        if not self._rows:
            return []
        point, value, quality, taken_at = zip(*self._rows, strict=True)
        cut = Readings.of(point, value, received_time, quality, taken_at, self._text)
        self._rows, self._text = [], {}
        return [cut]


class _Columns:
    """Numbers that came as columns; `place` is the one that is looked at, those before it are settled."""

    def __init__(
        self,
        point: NDArray[np.int32],
        value: NDArray[np.float64],
        quality: NDArray[np.uint32],
        source_time: NDArray[np.int64],
        doubtful: NDArray[np.intp],
    ) -> None:
        self.place = 0
        self._point, self._value, self._quality, self._source_time = point, value, quality, source_time
        self._kept = np.ones(len(point), np.bool_)
        self._kept[doubtful] = False
        self._text: dict[int, str] = {}
        self._begin = 0

    def put(self, point: int, value: float, quality: int, taken_at: int, text: str | None) -> None:
        """In its place among the others."""
        self._point[self.place], self._value[self.place] = point, value
        self._quality[self.place], self._source_time[self.place] = quality, taken_at
        self._kept[self.place] = True
        if text is not None:
            self._text[self.place] = text

    def cut(self, received_time: int) -> list[Readings]:
        """What is settled and was not cut before, as none or one."""
        rows = self._begin + np.flatnonzero(self._kept[self._begin : self.place])
        self._begin = self.place
        if not len(rows):
            return []
        whole = Readings(self._point, self._value, self._quality, self._source_time, received_time, self._text)
        return [whole if len(rows) == len(whole) else whole.take(rows)]


def _bad_value(point: Point, wire: Any) -> tuple[float, str | None]:
    """What a Bad quality leaves of a value: the number when it still is one, else nothing. It is never doubted twice."""
    try:
        return twin_value(point, wire)
    except Unbelievable:
        return math.nan, None
