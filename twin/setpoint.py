"""What may be commanded to a point, and how people write it; must not know commands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from twin.schema import Enum, brief, offer

if TYPE_CHECKING:
    from twin.points import Point

INTEGER_MAX = 2**63  # TOML's integers have 64 bits; its reader takes longer ones


def number_of(point: Point, said: Any) -> float | None:
    """The number that stands for a value as a file says it: a number, true or false, a name of an enum; None for others."""
    if isinstance(said, bool):
        return float(said) if point.type == "boolean" else None
    if isinstance(said, int | float):
        return float(said) if isinstance(said, float) or abs(said) < INTEGER_MAX else math.inf
    if isinstance(point.schema, Enum):
        index = point.schema.index_of(said)
        return None if index is None else float(point.schema.code(index))
    return None


def complaint(point: Point, value: float) -> tuple[str, str] | None:
    """Why a value can never be commanded to a point, and what could; None where it can."""
    if not point.writable:
        return f"{point.name} is not writable", "commands need access rw in points.csv"
    if not math.isfinite(value):
        return f"value {value} is not a finite number", "give a number"
    if isinstance(point.schema, Enum) and point.schema.index_of(value) is None:
        return f"{value:g} is no value of {point.name}", f"one of {offer(point.schema)}"
    if point.type == "boolean" and value not in (0.0, 1.0):
        return f"{point.name} is boolean, got {value:g}", "give 0 or 1"
    if point.type == "integer" and point.scale == 1.0 and value != int(value):
        return f"{point.name} is an integer, got {value:g}", "give a whole number"
    if not point.low <= value <= point.high:
        return f"{value:g} {point.unit} is outside {point.low:g} … {point.high:g} of {point.name}", "stay inside"
    return None


def said_complaint(point: Point, said: Any) -> tuple[str, str] | None:
    """As `complaint`, of a value as a file says it."""
    value = number_of(point, said)
    if value is None:
        wanted = offer(point.schema) if isinstance(point.schema, Enum) else "a number"
        return f"{brief(said)} is no value of {point.name}", f"give {wanted}"
    return complaint(point, value)
