"""What the HTTP and WebSocket faces may ask: the server's parts, gathered once by the composition root."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from control.api import wire
from control.backup import Backups
from control.branches import Branches
from control.evidence import Evidence
from control.history_check import check_history
from control.identity import Identity
from control.live import LiveTwin
from control.questions import Questions
from control.runtime import CommandRuntime
from control.whatif import WhatIfs
from protocols.link import Clock
from twin.drawing import layout
from twin.plant import Plant
from twin.store import Store


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a handler may use."""

    plant: Plant
    plant_info: wire.PlantInfo
    questions: Questions
    branches: Branches
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
    places = layout(plant)
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
