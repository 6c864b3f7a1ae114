"""Which decoded values are believed: finite, in range, of the point's type and shape; pure, the same for every protocol."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twin.schema import Enum, Misfit, brief, canonical, offer, settle

if TYPE_CHECKING:
    from twin.points import Point

# A source clock may run ahead by this much before its time is not believed: common NTP drift plus leap smearing.
SOURCE_AHEAD_MAX_NS = 60 * 1_000_000_000
EXACT_MAX = 2**53  # whole numbers beyond it are not told apart in a double
TEXT_MAX = 4096  # characters of a text value: a page, far more than any name, recipe or message of a device


class Unbelievable(Exception):
    """A value that must not reach the table: `reason` is one of DeadLetter's, the message says it in words."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def twin_value(point: Point, wire: Any) -> tuple[float, str | None]:
    """The wire's value in the twin's unit.

    (number, None) for numbers; (NaN, text) for texts; (code, name) for an enum, said by number, name or text; (NaN,
    canonical JSON) for a structured value.

    Raises:
        Unbelievable: wrong type or shape, NaN or infinite, or outside the point's range.
    """
    other = _OTHER_THAN_NUMBERS.get(point.type)
    if other is not None:
        return other(point, wire)
    if isinstance(wire, bool):
        if point.type != "boolean":
            raise Unbelievable("type", f"{point.name} is {point.type}, got boolean {wire!r}")
        return float(wire), None
    if isinstance(wire, str) and point.schema is not None:  # DTDL's decimal travels as text
        wire = _settled(point, wire)
    if not isinstance(wire, int | float):
        raise Unbelievable("type", f"{point.name} is {point.type}, got {brief(wire)}")
    return _number(point, wire), None


def _choice(point: Point, wire: Any) -> tuple[float, str]:
    enum = enum_of(point)
    index = enum.index_of(wire)
    if index is None:
        raise Unbelievable("enum", f"{point.name}: {brief(wire)} is none of {offer(enum)}")
    return float(enum.code(index)), enum.values[index].name


def _structure(point: Point, wire: Any) -> tuple[float, str]:
    try:
        return math.nan, canonical(_settled(point, wire))
    except Misfit as misfit:
        raise Unbelievable("schema", f"{point.name}: {misfit}") from None


def _settled(point: Point, wire: Any) -> Any:
    if point.schema is None:
        raise Unbelievable("schema", f"{point.name} is structured, and nothing says how")
    try:
        return settle(point.schema, wire)
    except Misfit as misfit:
        raise Unbelievable("schema", f"{point.name}: {misfit}") from None


def _text(point: Point, wire: Any) -> tuple[float, str]:
    if not isinstance(wire, str):
        raise Unbelievable("type", f"{point.name} is text, got {brief(wire)}")
    if len(wire) > TEXT_MAX:
        raise Unbelievable("overflow", f"{point.name}: a text of {len(wire)} characters; {TEXT_MAX} are the limit")
    if point.schema is not None:
        _settled(point, wire)
    return math.nan, wire


_OTHER_THAN_NUMBERS: dict[str, Callable[[Point, Any], tuple[float, str]]] = {
    "enum": _choice,
    "object": _structure,
    "string": _text,
}


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
    if point.type == "integer" and abs(value) >= EXACT_MAX:
        raise Unbelievable("range", f"{point.name}: {wire} is not within ± 2^53, where whole numbers are exact")
    if not point.low <= value <= point.high:
        said = f"{value:g} {point.unit}".strip()
        raise Unbelievable("range", f"{point.name}: {said} is outside {point.low:g} … {point.high:g}")
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
    """The inverse of `twin_value` for numbers; an enum's code is what goes out."""
    return (value - point.offset) / point.scale


def plain_value(point: Point, value: float) -> bool | int | float | str:
    """`wire_value` in the shape of the point's type, for protocols whose values carry their type.

    An enum of texts goes out as its text.
    """
    wire = wire_value(point, value)
    if point.type == "boolean":
        return wire == 1.0
    if point.type == "enum":
        index = enum_of(point).index_of(wire)
        return int(wire) if index is None else enum_of(point).values[index].value
    if point.type == "integer" and wire.is_integer():
        return int(wire)
    return wire


def enum_of(point: Point) -> Enum:
    """
    Raises:
        Unbelievable: the point's Interface lists no values.
    """
    if not isinstance(point.schema, Enum):
        raise Unbelievable("enum", f"{point.name} is an enum, and nothing lists its values")
    return point.schema
