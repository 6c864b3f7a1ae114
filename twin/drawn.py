"""How the drawing of a plant shows each twin: which point, as which shape, in which words; must not know values or screens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twin.interface import Field, kind_of
from twin.mark import VESSELS, MarkRule, Shape
from twin.plant import Plant, Twin
from twin.points import Point
from twin.schema import Enum
from twin.words import in_english

PARTS = "contains"  # says who owns whom, not what leads where
AMOUNTS = ("Length", "Volume", "Mass", "Energy")
FLOWS = ("VolumeFlowRate", "MassFlowRate")


@dataclass(frozen=True, slots=True)
class Mark:
    """How one twin is drawn.

    Attributes:
        point: the one that it shows; None when it has none.
        on: values in which it is filled; a vessel has none.
    """

    shape: Shape
    point: Point | None
    on: tuple[float, ...]


def marks(plant: Plant) -> dict[str, Mark]:
    """Of every twin in the drawing: those that are related to others otherwise than as parts, or have a place."""
    related = {end for r in plant.relationships if r.name != PARTS for end in (r.source, r.target)}
    drawn = [t for t in plant.twins if t.id in related or t.at is not None]
    points: dict[str, list[Point]] = {t.id: [] for t in drawn}
    for point in plant.points:
        if point.twin in points:
            points[point.twin].append(point)
    return {t.id: _mark(plant, t, points[t.id]) for t in drawn}


def _mark(plant: Plant, twin: Twin, points: Sequence[Point]) -> Mark:
    rule = plant.marks.get(twin.interface) or MarkRule(twin.interface)
    shown = next((p for p in points if p.property == rule.point), None)
    if shown is None and rule.point is None:
        shown = next((p for p in points if not p.writable), points[0] if points else None)
    shape = rule.shape or _shape(shown, field_of(plant, shown))
    on = rule.on
    if on is None:
        on = (1.0,) if shown is not None and shown.type == "boolean" else ()
    return Mark(shape, shown, () if shape in VESSELS else on)


def _shape(point: Point | None, declared: Field | None) -> Shape:
    """By what the value means: a state makes a machine, an amount with both ends a tank, a flow an arrow."""
    if point is None:
        return Shape.CIRCLE
    if point.type in ("boolean", "enum"):
        return Shape.MACHINE
    semantic = declared.semantic if declared is not None else ()
    if any(s in FLOWS for s in semantic):
        return Shape.FLOW
    amount = any(s in AMOUNTS for s in semantic) or point.type == "integer"
    return Shape.TANK if amount and math.isfinite(point.low) and math.isfinite(point.high) else Shape.CIRCLE


def field_of(plant: Plant, point: Point | None) -> Field | None:
    """How the point's Interface declares it; None for Twinloop's own points."""
    twin = None if point is None else plant.twin_of_id.get(point.twin)
    interface = None if twin is None else plant.interfaces.get(twin.interface)
    return None if interface is None or point is None else interface.fields.get(point.property)


def title(plant: Plant, point: Point) -> str:
    """What people call the property, "" where the model does not say."""
    declared = field_of(plant, point)
    return "" if declared is None else in_english(declared.words.display, "")


def kind_name(plant: Plant, interface: str) -> str:
    """What people call twins of an Interface."""
    found = plant.interfaces.get(interface)
    return kind_of(interface) if found is None else in_english(found.words.display, found.kind)


def value_names(plant: Plant, point: Point) -> Mapping[float, str]:
    """Value -> what it is called, of an enum or a boolean; empty for others."""
    if isinstance(point.schema, Enum):
        return {float(point.schema.code(i)): v.name for i, v in enumerate(point.schema.values)}
    if point.type != "boolean":
        return {}
    twin = plant.twin_of_id.get(point.twin)
    rule = None if twin is None else plant.marks.get(twin.interface)
    if rule is not None and rule.words is not None and rule.point == point.property:
        return dict(enumerate(rule.words))
    # What may be set is called as scenarios and commands write it.
    return {0.0: "off", 1.0: "on"} if point.writable else {0.0: "no", 1.0: "yes"}
