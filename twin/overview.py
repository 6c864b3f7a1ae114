"""What a plant says of its overview, as frozen values: which figures tell how it runs; must not know plants or screens."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kpi:
    """A `[[overview]]` of the plant, in the point's unit.

    Attributes:
        point: by name.
        name: what people call it, "" for what the point is called.
        normal: between which values it is when the plant runs as it should.
        target: where it is meant to be.
    """

    point: str
    name: str = ""
    normal: tuple[float, float] | None = None
    target: float | None = None
