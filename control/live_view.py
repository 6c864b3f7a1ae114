"""What a script holds of a running plant: values with unit, quality and age, and conditions over them; pure.

Must not know sockets. A value is good only while somebody vouches for it: a silent link makes all of them stale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from control.api import wire
from twin import quality
from twin.columns import NEVER, Columns
from twin.errors import NotFound
from twin.expression import Answer, Expression, parse
from twin.nearest import nearest
from twin.points import Point
from twin.schema import Enum, EnumValue

SILENT_S = 2.5  # without a frame or heartbeat; the server sends one a second
VALUE_STALE_S = 10.0  # as the console and the server have it
OFFSETS_KEPT = 16


@dataclass(frozen=True, slots=True)
class Value:
    """A point at one moment.

    Attributes:
        value: None when there is none; `text` of points that have texts.
        quality: OPC UA status code.
        age_s: since it was last heard, None of values that do not grow old.
        source_time: when it was measured, in ns since 1970 UTC; None for never.
        stale: too old, or the link to the server is silent.
    """

    point: str
    value: float | None
    text: str | None
    unit: str
    quality: int
    age_s: float | None
    source_time: int | None
    stale: bool

    @property
    def good(self) -> bool:
        """Whether one may go by it."""
        known = self.value is not None or self.text is not None
        return known and not self.stale and quality.is_good(self.quality)

    def __str__(self) -> str:
        shown = self.text if self.text is not None else "no value" if self.value is None else f"{self.value:.6g}"
        state = "stale" if self.stale else quality.name(self.quality).lower()
        age = "" if self.age_s is None else f", {self.age_s:.1f} s old"
        return f"{self.point} = {shown}{self.unit and f' {self.unit}'} ({state}{age})"


class LiveView:
    """The plant's points and their newest values. Times of frames are the server's, asked with ours."""

    def __init__(self) -> None:
        self.plant: wire.PlantInfo | None = None
        self._points: dict[str, Point] = {}
        self._columns = Columns.empty(0)
        self._offsets: list[int] = []

    def adopt(self, plant: wire.PlantInfo) -> None:
        """The plant as it is now: ids stay as long as the server lives."""
        self.plant = plant
        self._points = {p.name: _point(p) for p in plant.points}
        self._grow(1 + max((p.id for p in plant.points), default=-1))

    def observe(self, server_ms: float, now: int) -> None:
        """A frame can only arrive late, never early: the largest difference of the latest is the nearest to the truth."""
        self._offsets = [*self._offsets[1 - OFFSETS_KEPT :], int(server_ms * 1e6) - now]

    def apply(self, columns: wire.Columns, replace: bool) -> None:
        """Points that are not known yet wait for a plant that has them."""
        ids = np.frombuffer(columns.point, "<u4").astype(np.int64)
        if replace:
            self._columns = Columns.empty(len(self._columns))
        self._grow(1 + int(ids.max(initial=-1)))
        held = self._columns
        held.value[ids] = np.frombuffer(columns.value, "<f8")
        held.quality[ids] = np.frombuffer(columns.quality, "<u4")
        held.source_time[ids] = _nanoseconds(columns.source)
        held.received_time[ids] = _nanoseconds(columns.received)
        held.text |= {int(i): text for i, text in columns.text.items()}

    def value(self, name: str, now: int, silent_s: float) -> Value:
        """
        Args:
            now: our clock, ns since 1970 UTC.
            silent_s: for how long the server has said nothing.

        Raises:
            NotFound: the plant has no such point.
        """
        point, held = self.point(name), self._columns
        value, source = held.value.item(point.id), held.source_time.item(point.id)
        received = held.received_time.item(point.id)
        heard = source if received == NEVER else received
        age_s = None
        if point.device and heard != NEVER:
            age_s = max(0.0, (self._server(now) - heard) / 1e9)
        stale = silent_s > SILENT_S or (age_s is not None and age_s > VALUE_STALE_S)
        return Value(
            name, value if value == value else None, held.text.get(point.id), point.unit, held.quality.item(point.id),
            age_s, None if source == NEVER else source, stale,
        )  # fmt: skip

    def point(self, name: str) -> Point:
        """
        Raises:
            NotFound: the plant has no such point.
        """
        if name not in self._points:
            raise NotFound(f"there is no point {name!r}", nearest(name, self._points))
        return self._points[name]

    def condition(self, text: str) -> Expression:
        """
        Raises:
            BadRequest: where it is wrong, and how to mend it.
        """
        return parse(text, self._points)

    def holds(self, condition: Expression, now: int, silent_s: float) -> Answer:
        """Whether it holds; that cannot be told while the server is silent, or a value is not good or too old."""
        if silent_s > SILENT_S:
            return Answer(None, f"nothing was heard of the server for {silent_s:.1f} s", ())
        return condition.holds(self._columns, self._server(now), max_age_s=VALUE_STALE_S)

    def _server(self, now: int) -> int:
        return now + max(self._offsets, default=0)

    def _grow(self, size: int) -> None:
        if size > len(self._columns):
            self._columns = self._columns.grown(size)


def _point(info: wire.PointInfo) -> Point:
    schema = None
    if info.type == "enum":
        schema = Enum("integer", tuple(EnumValue(v.name, int(v.value)) for v in info.names))
    return Point(info.id, info.name, info.twin, info.property, info.type, info.unit, info.device, "", schema=schema)


def _nanoseconds(column: bytes) -> NDArray[np.int64]:
    """f64 ms, NaN for never -> ns."""
    times = np.frombuffer(column, "<f8")
    never = np.isnan(times)
    return np.where(never, NEVER, (np.where(never, 0.0, times) * 1e6).astype(np.int64))
