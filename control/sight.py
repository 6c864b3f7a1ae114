"""What forecasts are made of and held against, read from snapshot and history; decides nothing, must not know a forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from control.observed import Held, Track
from twin import track
from twin.columns import Snapshot
from twin.plant import Plant
from twin.points import Point
from twin.quality import good_mask, is_good
from twin.store import Store


def values(plant: Plant, names: Sequence[str], snapshot: Snapshot) -> dict[str, float | None]:
    """None where what was read is not good, and of what a model tells and the plant does not measure."""
    columns = snapshot.columns
    found: dict[str, float | None] = {}
    for name in names:
        point = plant.point_of_name.get(name)
        good = point is not None and is_good(int(columns.quality[point.id])) and np.isfinite(columns.value[point.id])
        found[name] = float(columns.value[point.id]) if point is not None and good else None
    return found


def held(plant: Plant, names: Sequence[str], snapshot: Snapshot) -> dict[str, Held]:
    """What settable points were told, as far as they can be read."""
    read = values(plant, names, snapshot)
    return {n: Held(v, tolerance(plant, plant.point(n), v)) for n, v in read.items() if v is not None}


def tolerance(plant: Plant, point: Point, value: float) -> float:
    """Two readings nearer than this are the same setting: half a step of its register, or what its feedback allows."""
    if point.type in ("boolean", "enum"):
        return 0.0
    rule = plant.feedback_of_point.get(point.name)
    own = rule.tolerance if rule is not None and rule.feedback == point.name else 0.0
    step = abs(point.scale) / 2 if point.type == "integer" or point.scale != 1.0 else 0.0
    return max(own, step, 1e-6 * abs(value))


def read_tracks(store: Store, names: Sequence[str], start: int, end: int) -> dict[str, Track]:
    """Readings of each in (start, end] ns since 1970 UTC. Blocks for its time."""
    con = store.cursor()
    try:
        read = {name: track.read(con, name, start, end) for name in names}
    finally:
        con.close()
    return {n: Track(time, value, good_mask(code) & np.isfinite(value)) for n, (time, value, code) in read.items()}
