"""A plant of a million points, 100,000 twins and 200,000 relationships, for the benchmarks of the twin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from twin.plant import Plant, Relationship, Twin
from twin.points import Point, Points

TWINS, POINTS_EACH, RELATIONSHIPS = 100_000, 10, 200_000
PROPERTIES = ("level", "flow", "pressure", "temperature", "speed", "power", "state", "torque", "valve", "alarm")


def large_plant() -> Plant:
    """Every twin with ten points on one of 100 devices; relationships between random twins."""
    chance = np.random.default_rng(7)
    twins = tuple(Twin(f"twin_{n}", "dtmi:bench:Machine;1", f"Machine {n}", (n % 300, n // 300)) for n in range(TWINS))
    ends = chance.integers(0, TWINS, (RELATIONSHIPS, 2)).tolist()
    relationships = tuple(Relationship(twins[a].id, "feeds", twins[b].id) for a, b in ends)
    return Plant("large", "Large", "", {}, (), twins, relationships, Points.of(_points(twins)), (), None, {})


def _points(twins: tuple[Twin, ...]) -> Iterator[Point]:
    for row, twin in enumerate(twins):
        for column, name in enumerate(PROPERTIES):
            identity = row * POINTS_EACH + column
            device = f"plc_{row % 100}"
            yield Point(identity, f"{twin.id}.{name}", twin.id, name, "double", "m", device, f"holding:{identity}")
