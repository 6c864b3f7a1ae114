"""A snapshot straight from a mover, as perfect links would deliver it: for scripts and tests without a server."""

from __future__ import annotations

from scenarios.mover import Measured, Mover
from twin.columns import Snapshot
from twin.plant import Plant
from twin.readings import Readings
from twin.table import PointTable


def observe(plant: Plant, mover: Mover, elapsed_s: float, taken_at: int) -> Snapshot:
    """Let the plant live until `elapsed_s` after its start and take what its instruments then read.

    Args:
        taken_at: ns since 1970 UTC, the source and received time of every reading.
    """
    return snapshot_of(plant, mover.advance(elapsed_s), mover, taken_at)


def snapshot_of(plant: Plant, measured: Measured, mover: Mover, taken_at: int) -> Snapshot:
    """The table after one delivery of everything."""
    settings = mover.settings()
    table = PointTable.sized(plant.points.size)
    table.apply(Readings.of(measured.ids, measured.value, taken_at, measured.quality))
    table.apply(Readings.of(list(settings), list(settings.values()), taken_at))
    return table.snapshot(epoch=1, seq=1, taken_at=taken_at)
