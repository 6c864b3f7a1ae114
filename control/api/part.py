"""What the HTTP and WebSocket faces may ask: the server's parts, gathered once by the composition root."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from control.api import wire
from control.backup import Backups
from control.command import Command
from control.evidence import Evidence
from control.history_check import check_history
from control.identity import Identity
from control.live import LiveTwin
from control.runtime import CommandRuntime
from control.whatif import WhatIfs
from protocols.link import Clock
from twin.graph import TwinGraph
from twin.plant import Plant
from twin.query import TwinTables
from twin.store import Store
from twin.table import Columns


class Tables:
    """The tables of a query at one moment: the twin's, and `commands`."""

    def __init__(self, plant: Plant) -> None:
        self._twin = TwinTables(plant)

    def at(self, columns: Columns, desired: Mapping[int, float], commands: Sequence[Command]) -> dict[str, pa.Table]:
        return {
            "twins": self._twin.twins,
            "relationships": self._twin.relationships,
            "points": self._twin.points(columns, desired),
            "commands": command_table(commands),
        }


def command_table(commands: Sequence[Command]) -> pa.Table:
    """One row a command."""
    return pa.table(
        {
            "id": pa.array([c.id for c in commands], pa.string()),
            "key": pa.array([c.key for c in commands], pa.string()),
            "author": pa.array([c.author for c in commands], pa.string()),
            "point": pa.array([c.point for c in commands], pa.string()),
            "value": pa.array([c.value for c in commands], pa.float64()),
            "priority": pa.array([c.priority.name.lower() for c in commands], pa.string()),
            "status": pa.array([c.status.value for c in commands], pa.string()),
            "reason": pa.array([c.reason for c in commands], pa.string()),
            "observed": pa.array([c.observed for c in commands], pa.float64()),
            "submitted": pa.array([c.submitted_at for c in commands], pa.timestamp("ns")),
            "changed": pa.array([c.transitions[-1].time for c in commands], pa.timestamp("ns")),
            "detail": pa.array([c.transitions[-1].detail for c in commands], pa.string()),
        }
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a handler may use."""

    plant: Plant
    plant_info: wire.PlantInfo
    tables: Tables
    live: LiveTwin
    store: Store
    evidence: Evidence
    commands: CommandRuntime
    whatifs: WhatIfs
    identity: Identity
    backups: Backups
    clock: Clock
    version: str

    def check_history(self) -> dict[str, Any]:
        return check_history(self.store, (e for _, e in self.evidence.entries(self.evidence.log.size)))


def plant_info(plant: Plant, version: str) -> wire.PlantInfo:
    """The plant as the console draws it."""
    places = TwinGraph(plant).layout()
    kinds = {i.id: i.kind for i in plant.interfaces.values()}
    return wire.PlantInfo(
        plant.id,
        plant.name,
        version,
        [wire.DeviceInfo(d.id, d.protocol, d.endpoint.rsplit("@", 1)[-1]) for d in plant.devices],
        [wire.TwinInfo(t.id, t.interface, kinds.get(t.interface, "Link"), t.name, *places[t.id]) for t in plant.twins],
        [wire.RelationshipInfo(r.source, r.name, r.target) for r in plant.relationships],
        [
            wire.PointInfo(
                p.id, p.name, p.twin, p.property, p.type, p.unit, p.device, p.writable, _finite(p.low), _finite(p.high)
            )
            for p in plant.points
        ],
        plant.clock,
    )


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
