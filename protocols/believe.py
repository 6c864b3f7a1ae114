"""Which decoded values are believed: finite, in range, of the point's type; pure, the same for every protocol."""

from __future__ import annotations

import math
from typing import Any

from twin.points import Point

# A source clock may run ahead by this much before its time is not believed: common NTP drift plus leap smearing.
SOURCE_AHEAD_MAX_NS = 60 * 1_000_000_000
TEXT_MAX = 4096  # characters of a text value: a page, far more than any name, recipe or message of a device


class Unbelievable(Exception):
    """A value that must not reach the table: `reason` is one of DeadLetter's, the message says it in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def twin_value(point: Point, wire: Any) -> tuple[float, str | None]:
    """The wire's value in the twin's unit: (number, None), or (NaN, text) for a text point.

    Raises:
        Unbelievable: wrong type, NaN or infinite, or outside the point's range.
    """
    if point.type == "string":
        if not isinstance(wire, str):
            raise Unbelievable("type", f"{point.name} is text, got {type(wire).__name__} {wire!r}")
        if len(wire) > TEXT_MAX:
            raise Unbelievable("overflow", f"{point.name}: a text of {len(wire)} characters; {TEXT_MAX} are the limit")
        return math.nan, wire
    if isinstance(wire, bool):
        if point.type != "boolean":
            raise Unbelievable("type", f"{point.name} is {point.type}, got boolean {wire!r}")
        return float(wire), None
    if not isinstance(wire, int | float):
        raise Unbelievable("type", f"{point.name} is {point.type}, got {type(wire).__name__} {str(wire)[:80]!r}")
    return _number(point, wire), None


def _number(point: Point, wire: float) -> float:
    try:
        value = float(wire) * point.scale + point.offset
    except OverflowError:
        raise Unbelievable("range", f"{point.name}: the integer does not fit a double") from None
    if not math.isfinite(value):
        raise Unbelievable("nan", f"{point.name}: {wire!r} is not a finite number")
    if point.type == "boolean" and value not in (0.0, 1.0):
        raise Unbelievable("type", f"{point.name} is boolean, got {wire!r}")
    if point.type == "integer" and point.scale == 1.0 and value != int(value):
        raise Unbelievable("type", f"{point.name} is an integer, got {wire!r}")
    if not point.low <= value <= point.high:
        raise Unbelievable("range", f"{point.name}: {value:g} {point.unit} is outside {point.low:g} … {point.high:g}")
    return value


def source_time(stamp: int, received_time: int) -> int:
    """The source's time stamp, checked.

    Raises:
        Unbelievable: it lies further in the future than clocks drift, or before 1970.
    """
    if stamp < 0:
        raise Unbelievable("source_time", "source time lies before 1970")
    if stamp > received_time + SOURCE_AHEAD_MAX_NS:
        raise Unbelievable("source_time", f"source time is {(stamp - received_time) / 1e9:.0f} s ahead of ours")
    return min(stamp, received_time)  # else a fast clock would outrank what is said after it


def wire_value(point: Point, value: float) -> float:
    """The inverse of `twin_value` for numbers."""
    return (value - point.offset) / point.scale
