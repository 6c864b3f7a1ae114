"""What a link hands over: believed values as columns, the rest as dead letters, limited and counted; knows no protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from protocols.believe import Unbelievable, source_time, twin_value
from protocols.link import RAW_MAX, Clock, DeadLetter, Sink
from twin.points import Point
from twin.readings import Readings

# One reason of one point (or of no known point) may send so many letters a window; the rest are only counted, so that
# a device that talks garbage at full rate fills a counter and not the dead-letter table.
LETTERS_MAX = 20
LETTER_WINDOW_NS = 10 * 1_000_000_000


class Delivery:
    """The one way from a link to its sink.

    Counts are cumulative and told as the metrics `rejected` (everything not believed) and `letters_held` (those of it
    over the limit).
    """

    def __init__(self, device_id: str, sink: Sink, clock: Clock) -> None:
        self.device_id = device_id
        self.sink = sink
        self.clock = clock
        self.rejected = 0
        self.letters_held = 0
        self._windows: dict[tuple[str, str], tuple[int, int]] = {}

    def batch(self) -> Batch:
        """An empty batch received now."""
        return Batch(self, self.clock())

    def reject(self, address: str, reason: str, detail: str, raw: bytes, point: str = "") -> None:
        """Send a dead letter, unless its kind has used up its limit."""
        now = self.clock()
        self.rejected += 1
        self.sink.metric(self.device_id, "rejected", self.rejected)
        if not self._may_send((reason, point), now):
            self.letters_held += 1
            self.sink.metric(self.device_id, "letters_held", self.letters_held)
            return
        self.sink.dead_letter(DeadLetter(self.device_id, point, address, reason, detail, raw[:RAW_MAX], now))

    def _may_send(self, key: tuple[str, str], now: int) -> bool:
        started, sent = self._windows.get(key, (now, 0))
        if now - started >= LETTER_WINDOW_NS:
            started, sent = now, 0
        self._windows[key] = (started, sent + 1)
        return sent < LETTERS_MAX


class Batch:
    """Readings of one delivery while they are collected."""

    def __init__(self, delivery: Delivery, received_time: int) -> None:
        self.received_time = received_time
        self._delivery = delivery
        self._point: list[int] = []
        self._value: list[float] = []
        self._quality: list[int] = []
        self._source_time: list[int] = []
        self._text: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._point)

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
            self._delivery.reject(address, doubt.reason, doubt.detail, raw or repr(wire).encode(), point.name)
            return
        if text is not None:
            self._text[len(self._point)] = text
        self._point.append(point.id)
        self._value.append(value)
        self._quality.append(quality)
        self._source_time.append(taken_at)

    def add_quality(self, point: Point, quality: int) -> None:
        """The device says that it has no value for the point, and why."""
        self.add(point, None, quality, None, point.address, b"")

    def deliver(self) -> Readings | None:
        """Hand everything to the sink as one batch; None when nothing was believed."""
        if not self._point:
            return None
        text: Mapping[int, str] = self._text
        readings = Readings.of(self._point, self._value, self.received_time, self._quality, self._source_time, text)
        self._delivery.sink.readings(readings)
        return readings


def _bad_value(point: Point, wire: Any) -> tuple[float, str | None]:
    """What a Bad quality leaves of a value: the number when it still is one, else nothing. It is never doubted twice."""
    try:
        return twin_value(point, wire)
    except Unbelievable:
        return math.nan, None
