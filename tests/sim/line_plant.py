"""Plants in memory whose model is a layout file in a folder: points, a model table, and readings of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twin.columns import Snapshot
from twin.plant import Plant
from twin.points import Point, Points
from twin.readings import Readings
from twin.table import PointTable

NOW = 1_700_000_000_000_000_000
MACHINES = ("M1", "M2", "M3")
LINE = """
from sim.components.line import Machine
from sim.layout import Layout
from sim.spec import LogNormal, Uniform, Weibull


def layout(crew: int = 1, buffer: int = 4) -> Layout:
    line = Layout("line", "min")
    people = line.resource("crew", int(crew))
    between = [line.buffer(f"B{i}", buffer) for i in (1, 2)]
    ends = [line.buffer("supply", level=1e15), *between, line.buffer("parts")]
    for i in range(3):
        line.add(
            Machine, f"M{i + 1}", inp=ends[i], out=ends[i + 1], crew=people,
            cycle=Uniform(0.5, 1.5), mttf=Weibull(40.0, 1.8), mttr=LogNormal(6.0, 0.5),
        )
    return line
"""
MODEL: Mapping[str, Any] = {
    "kind": "layout",
    "layout": "line.py",
    "stale_after_s": 30.0,
    "outputs": ["parts.made"],
    "given": ["supply"],
    "read": [
        {"for": list(MACHINES), "point": "*.work", "state": "*.work", "map": {"0": "idle", "1": "busy", "2": "blocked"}},
        {
            "for": list(MACHINES), "point": "*.up", "state": "*.health", "map": {"true": "up", "false": "down"},
            "age": "*.since",
        },
        {"for": list(MACHINES), "point": "*.cycle", "timer": "*.job"},
        {"for": list(MACHINES), "point": "*.life", "timer": "*.fail"},
        {"for": list(MACHINES), "point": "*.repair", "timer": "*.fix"},
        {"for": ["B1", "B2"], "point": "*.level", "field": "*.level"},
        {"point": "crew.size", "field": "crew.capacity"},
        {"point": "parts.made", "field": "parts.level"},
    ],
    "set": [{"point": "crew.size", "target": "crew.capacity"}],
}  # fmt: skip


def points() -> list[Point]:
    rows: list[tuple[str, str, str, bool]] = [("line.clock", "double", "s", False)]
    for name in MACHINES:
        rows += [(f"{name}.work", "integer", "", False), (f"{name}.up", "boolean", "", False)]
        rows += [(f"{name}.{age}", "double", "s", False) for age in ("since", "cycle", "life", "repair")]
    rows += [("B1.level", "integer", "", False), ("B2.level", "integer", "", False)]
    rows += [("crew.size", "integer", "", True), ("parts.made", "integer", "", False)]
    return [
        Point(i, name, *name.split("."), kind, unit, "plc", "", writable=writable)
        for i, (name, kind, unit, writable) in enumerate(rows)
    ]


def line_plant(folder: Path, text: str = LINE, more: tuple[Point, ...] = (), **changes: Any) -> Plant:
    """The plant, its layout file written into the folder."""
    (folder / "line.py").write_text(text)
    known = Points.of((*points(), *more))
    return Plant("line", "Line", str(folder), {}, (), (), (), known, (), "line.clock", {**MODEL, **changes})


def snapshot(
    plant: Plant, values: Mapping[str, float], quality: Mapping[str, int] | None = None,
    age_s: Mapping[str, float] | None = None, at: int = NOW,
) -> Snapshot:  # fmt: skip
    """The twin once these were read."""
    table = PointTable.sized(plant.points.size)
    for name, value in values.items():
        time = at - int((age_s or {}).get(name, 0.0) * 1e9)
        table.apply(Readings.of([plant.point(name).id], [value], time, (quality or {}).get(name, 0)))
    return table.snapshot(1, 1, at)
