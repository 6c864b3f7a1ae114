"""Example texts and structured values that fit a point's schema, numbered; pure, must not know plants or devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twin.points import Point
from twin.schema import Array, Enum, Map, Misfit, Object, Primitive, Schema, canonical, settle

_PRIMITIVES: Mapping[str, Callable[[int], Any]] = {
    "boolean": lambda n: n % 2 == 1,
    "date": lambda n: f"2026-01-{n % 28 + 1:02d}",
    "dateTime": lambda n: f"2026-01-01T{n // 60 % 24:02d}:{n % 60:02d}:00Z",
    "time": lambda n: f"{n // 60 % 24:02d}:{n % 60:02d}:00",
    "duration": lambda n: f"PT{n % 1000}S",
    "uuid": lambda n: f"00000000-0000-4000-8000-{n:012x}",
    "bytes": lambda n: "AAAA",
    "decimal": lambda n: f"{n % 1000}.5",
    "string": lambda n: f"text {n}",
}
_WHOLE = ("integer", "long", "byte", "short", "unsignedByte", "unsignedShort", "unsignedInteger", "unsignedLong")


def specimen(point: Point, number: int) -> str | None:
    """A text or the canonical JSON of a structured value; None where no example is known to fit."""
    if point.schema is None:
        return f"{point.property} {number}" if point.type == "string" else None
    try:
        settled = settle(point.schema, _value(point.schema, number))
        return str(settled) if point.type == "string" else canonical(settled)
    except (Misfit, KeyError):
        return None


def _value(schema: Schema, number: int) -> Any:
    """
    Raises:
        KeyError: no example of such a schema is known.
    """
    match schema:
        case Primitive(name):
            if name in _WHOLE:
                return number % 100
            return number % 100 + 0.5 if name in ("double", "float") else _PRIMITIVES[name](number)
        case Enum():
            return schema.values[number % len(schema.values)].value
        case Object():
            return {m.name: _value(m.schema, number + place) for place, m in enumerate(schema.members)}
        case Array():
            return [_value(schema.element, number + place) for place in range(3)]
        case Map():
            return {f"key{place}": _value(schema.value.schema, number + place) for place in range(2)}
    raise KeyError(type(schema).__name__)
