"""Net3 as a plant, and a snapshot of it, for the tests of the simulation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from protocols.catalog import PROTOCOLS
from sim.model import Model, read_model
from twin.columns import Snapshot
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.readings import Readings
from twin.table import PointTable

WATER = Path(__file__).parents[2] / "scenarios" / "water"
NOW = 1_700_000_000_000_000_000
MORNING: Mapping[str, float] = {
    "network.clock": 8 * 3600.0 + 120,
    "tank_1.level": 5.0,
    "tank_2.level": 7.0,
    "tank_3.level": 9.0,
    "tank_1.inflow": 45.0,
    "tank_2.inflow": 14.0,
    "tank_3.inflow": 160.0,
    "pump_10.running": 0.0,
    "pump_335.running": 1.0,
    "pump_10.speed": 100.0,
    "pump_335.speed": 100.0,
    "station.bypass_open": 0.0,
    "pipe_60.flow": 815.0,
    "pump_10.flow": 0.0,
}
"""What the instruments of Net3 read on a morning with its nominal demand."""

SnapshotOf = Callable[..., Snapshot]


@pytest.fixture(scope="session")
def plant() -> Plant:
    return load_plant(WATER, {name: entry.rules for name, entry in PROTOCOLS.items()})


@pytest.fixture(scope="session")
def model(plant: Plant) -> Model:
    return read_model(plant)


@pytest.fixture(scope="session")
def snapshot_with(plant: Plant) -> SnapshotOf:
    """(changes to the morning's values, quality by point, age in s by point) -> Snapshot; None leaves a point unread."""

    def make(
        values: Mapping[str, float | None] | None = None,
        quality: Mapping[str, int] | None = None,
        age_s: Mapping[str, float] | None = None,
    ) -> Snapshot:
        table = PointTable.sized(len(plant.points))
        for name, value in {**MORNING, **(values or {})}.items():
            if value is not None:
                time = NOW - int((age_s or {}).get(name, 0.0) * 1e9)
                table.apply(Readings.of([plant.point(name).id], [value], time, (quality or {}).get(name, 0)))
        return table.snapshot(1, 1, NOW)

    return make


@pytest.fixture(scope="session")
def morning(snapshot_with: SnapshotOf) -> Snapshot:
    return snapshot_with()
