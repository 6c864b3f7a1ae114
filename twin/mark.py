"""What a plant says of how its twins are drawn, as frozen values; must not know plants, values or screens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Shape(StrEnum):
    """Signs of the drawing. Vessels are filled as far as their value is in its range, the others when they are on."""

    TANK = "tank"
    BELT = "belt"
    MACHINE = "machine"
    PUMP = "pump"
    STATION = "station"
    SOURCE = "source"
    PEOPLE = "people"
    FLOW = "flow"
    CIRCLE = "circle"
    DOT = "dot"


VESSELS = (Shape.TANK, Shape.BELT)


@dataclass(frozen=True, slots=True)
class MarkRule:
    """A `[[mark]]` of the plant: how twins of one Interface are drawn; what is None follows from the model.

    Attributes:
        point: the property shown, by dotted name.
        on: values in which the shape is filled, as the twin keeps them.
        words: of a boolean: what false and what true is called.
    """

    interface: str
    point: str | None = None
    shape: Shape | None = None
    on: tuple[float, ...] | None = None
    words: tuple[str, str] | None = None
