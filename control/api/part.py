"""What the HTTP and WebSocket faces may ask: the server's parts, gathered once by the composition root."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from control.access import Access
from control.alarm_rules import AlarmRules
from control.alarms import Alarms
from control.api import wire
from control.backup import Backups
from control.branches import Branches
from control.erasing import Erasing
from control.evidence import Evidence
from control.graph import LiveGraph
from control.graph_layouts import GraphLayouts
from control.graph_runs import Imports
from control.groups import Groups
from control.history_check import check_history
from control.identity import Identity
from control.inference import Inference
from control.leases import Leases
from control.live import LiveTwin
from control.lookout import Lookout
from control.oidc_door import OidcDoor
from control.operations import Operations
from control.per_plant import PerPlant
from control.preflight import Preflight
from control.questions import Questions
from control.retraining import Retrainings
from control.runtime import CommandRuntime
from control.sign_in import SignIn
from control.view_store import ViewStore
from control.whatif import WhatIfs
from ledger.entry import decode
from protocols.link import Clock
from sim.plant_model import read_plant_model
from twin.drawing import layout
from twin.drawn import Mark, kind_name, marks, title, value_names
from twin.errors import LimitExceeded, TwinloopError
from twin.graph_layout import GraphLayout
from twin.interface import kind_of
from twin.plant import Plant
from twin.points import Point
from twin.store import Store

POINTS_MAX = 50_000  # of a plant in one answer: 10 MB of JSON, and what one page of a browser can hold


class PlantShown:
    """The plant as the console draws it, as bytes of JSON: neither is made on the event loop, nor twice of one plant."""

    def __init__(self, version: str, layouts: GraphLayouts) -> None:
        self._info = PerPlant(lambda plant: msgspec.json.encode(plant_info(plant, version)))
        self._picture = PerPlant(lambda plant: msgspec.json.encode(picture(plant, layouts.of(plant))))

    async def info(self, plant: Plant) -> bytes:
        """wire.PlantInfo.

        Raises:
            LimitExceeded: it has more than POINTS_MAX points.
        """
        if len(plant.points) > POINTS_MAX:
            raise LimitExceeded(
                f"{len(plant.points)} points; {POINTS_MAX} are the limit", "page through GET /api/v1/twins"
            )
        return await self._info.on_thread(plant)

    async def picture(self, plant: Plant) -> bytes:
        """wire.GraphPicture.

        Raises:
            LimitExceeded: it has too many twins.
        """
        return await self._picture.on_thread(plant)


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything a handler may use."""

    graph: LiveGraph
    imports: Imports
    questions: Questions
    branches: Branches
    live: LiveTwin
    store: Store
    evidence: Evidence
    erasing: Erasing
    commands: CommandRuntime
    leases: Leases
    groups: Groups
    preflight: Preflight
    lookout: Lookout
    alarms: Alarms
    alarm_rules: AlarmRules
    whatifs: WhatIfs
    inference: Inference
    retrainings: Retrainings
    identity: Identity
    sign_in: SignIn
    access: Access
    oidc: OidcDoor | None
    backups: Backups
    operations: Operations
    views: ViewStore
    clock: Clock
    new_id: Callable[[], str]
    version: str
    shown: PlantShown

    @property
    def plant(self) -> Plant:
        """As it is now: edits replace it."""
        return self.live.plant

    def check_history(self) -> dict[str, Any]:
        return check_history(self.store, map(decode, self.evidence.log.entries()))


def plant_info(plant: Plant, version: str) -> wire.PlantInfo:
    """The plant as the console draws it."""
    places = layout(plant)
    drawn = marks(plant)
    return wire.PlantInfo(
        plant.id,
        plant.name,
        version,
        [wire.DeviceInfo(d.id, d.protocol, d.endpoint.rsplit("@", 1)[-1]) for d in plant.devices],
        [
            wire.TwinInfo(
                t.id,
                t.interface,
                kind_of(t.interface),
                kind_name(plant, t.interface),
                t.name,
                *places[t.id],
                _mark(drawn.get(t.id)),
            )
            for t in plant.twins
        ],
        [wire.RelationshipInfo(r.source, r.name, r.target) for r in plant.relationships],
        [_point(plant, p) for p in plant.points],
        plant.clock,
        [wire.ServingInfo(s.id, s.protocol, s.endpoint.rsplit("@", 1)[-1]) for s in plant.servings],
        _simulated(plant),
        [
            wire.KpiInfo(plant.point(k.point).id, k.name, None if k.normal is None else list(k.normal), k.target)
            for k in plant.overview
        ],
    )


def picture(plant: Plant, made: GraphLayout) -> wire.GraphPicture:
    """Where every twin stands, in columns."""
    boxes = np.array([(b.x, b.y, b.w, b.h) for b in made.boxes], np.float64).reshape(-1, 4)
    x, y, w, h = np.round(boxes, 3).T.tolist()
    return wire.GraphPicture(
        made.digest[:16], made.width, made.height, [t.id for t in plant.twins], [b.parent for b in made.boxes],
        x, y, w, h,
    )  # fmt: skip


def _simulated(plant: Plant) -> list[str]:
    try:
        return list(read_plant_model(plant).sets)
    except TwinloopError:  # no model, or one that a later edit of the plant broke: whoever asks a what-if is told
        return []


def _mark(mark: Mark | None) -> wire.MarkInfo | None:
    if mark is None:
        return None
    return wire.MarkInfo(mark.shape, None if mark.point is None else mark.point.id, list(mark.on))


def _point(plant: Plant, p: Point) -> wire.PointInfo:
    policy = plant.controls.policy(p)
    return wire.PointInfo(
        p.id, p.name, p.twin, p.property, p.type, p.unit, p.device, p.writable, _finite(p.low), _finite(p.high),
        policy.select, policy.approvals, policy.approver if policy.approvals else "", policy.preflight.value,
        title(plant, p), [wire.ValueName(v, n) for v, n in value_names(plant, p).items()],
    )  # fmt: skip


def _finite(bound: float) -> float | None:
    return bound if math.isfinite(bound) else None
