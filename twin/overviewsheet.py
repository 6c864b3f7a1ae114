"""Reads the rows [[overview]] of plant.toml; says every mistake. Must not know what is shown of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from twin.nearest import nearest
from twin.overview import Kpi
from twin.points import Point
from twin.sheet import Sheet

KPIS_MAX = 60  # more than one screen shows is no overview
_TYPES = ("double", "integer")


def read_overview(sheet: Sheet, known: Mapping[str, Point]) -> tuple[Kpi, ...]:
    """In their order; a plant needs none."""
    found: dict[str, Kpi] = {}
    for index, row in sheet.rows("overview"):
        name = row["point"]
        point = known.get(name)
        if point is None:
            sheet.mistake("overview", index, "point", f"{name!r} is no point", nearest(name, known) or "name one")
        elif point.type not in _TYPES:
            sheet.mistake("overview", index, "point", f"{name} is {point.type}", "name a point that is a number")
        elif name in found:
            sheet.mistake("overview", index, "point", f"{name} stands there twice", "keep one")
        elif len(found) == KPIS_MAX:
            sheet.mistake(
                "overview", index, "", f"more than {KPIS_MAX} rows", "keep those that tell how the plant runs"
            )
        else:
            said, target = row.get("name", ""), _number(row.get("target"))
            normal = _normal(sheet, index, row, point)
            if isinstance(row.get("target"), float) and target is None:
                sheet.mistake("overview", index, "target", f"target = {row['target']!r}", "give a number")
            elif target is not None and not point.low <= target <= point.high:
                _outside(sheet, index, "target", point)
            found[name] = Kpi(name, said if isinstance(said, str) else "", normal, target)
    return tuple(found.values())


def _normal(sheet: Sheet, index: int, row: Mapping[str, Any], point: Point) -> tuple[float, float] | None:
    if not isinstance(row.get("normal"), list):
        return None  # left out, or said by check_tables
    ends = [_number(end) for end in row["normal"]]
    if len(ends) != 2 or ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
        sheet.mistake("overview", index, "normal", f"normal = {row['normal']!r}", "give two numbers: normal = [3, 8]")
        return None
    if not point.low <= ends[0] or not ends[1] <= point.high:
        _outside(sheet, index, "normal", point)
    return ends[0], ends[1]


def _outside(sheet: Sheet, index: int, key: str, point: Point) -> None:
    span = f"{point.low:g} … {point.high:g} {point.unit}".rstrip()
    sheet.mistake("overview", index, key, f"{key} is outside of {point.name}'s range", f"stay within {span}")


def _number(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if number else None  # type: ignore[arg-type]
