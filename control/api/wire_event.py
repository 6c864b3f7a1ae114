"""Every kind of event and the type of its body: what clients, the AsyncAPI document and the guide go by.

Must not know who announces them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from control.api.wire_alarm import AlarmChange
from control.api.wire_command import CommandRecord
from control.api.wire_lease import GroupRecord, LeaseRecord
from control.api.wire_lookahead import PredictedAlarm


class LinkEvent(msgspec.Struct, frozen=True):
    """A device's link is in another state; `detail` says why."""

    device: str
    state: str
    detail: str


class WhatIfEvent(msgspec.Struct, frozen=True):
    """Progress of a what-if, 0…1; `left_s` as far as it can be told. Its result is fetched."""

    id: str
    state: str
    progress: float
    left_s: float | None


class PredictionEvent(msgspec.Struct, frozen=True):
    """A command was predicted, or its prediction was scored: fetch it."""

    command: str


class LookaheadEvent(msgspec.Struct, frozen=True):
    """After each turn of the look-ahead, change of its state, or shelf; `predicted` alarms stand."""

    what: str
    state: str
    why: str
    made_at: float | None
    predicted: int


class PredictedAlarmEvent(PredictedAlarm, frozen=True):
    """It was predicted, came, was cleared, lapsed or was missed; `shelved`: nobody is to be told."""

    shelved: bool


class AlarmEvent(msgspec.Struct, frozen=True):
    """Up to 100 steps, in order of `n`."""

    changes: list[AlarmChange]


class FloodEvent(msgspec.Struct, frozen=True):
    """More alarms than people can read, or no more; `count` in ten minutes, `n` of the step that says so."""

    on: bool
    count: int
    n: int


class PlantEvent(msgspec.Struct, frozen=True):
    """Twins, relationships or points are others now: fetch the plant again."""

    revision: int


class AuditEvent(msgspec.Struct, frozen=True):
    """How far the evidence reaches, after each anchor and round of witnesses, and when an alarm comes or goes."""

    size: int
    checkpointed: int
    witnessed: int
    anchored: int
    anchor_alarm: str
    witness_alarm: str


EVENTS: Mapping[str, type[msgspec.Struct]] = {
    "command": CommandRecord,
    "lease": LeaseRecord,
    "group": GroupRecord,
    "link": LinkEvent,
    "whatif": WhatIfEvent,
    "prediction": PredictionEvent,
    "lookahead": LookaheadEvent,
    "predicted_alarm": PredictedAlarmEvent,
    "alarm": AlarmEvent,
    "alarm_flood": FloodEvent,
    "plant": PlantEvent,
    "audit": AuditEvent,
}
"""By kind."""
