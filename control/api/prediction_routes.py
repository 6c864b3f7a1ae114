"""Handlers of predictions: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from control.api.wire_prediction import PredictionRecord, Predictions, TrackRecord
from control.preflight import as_body
from twin.errors import NotFound

if TYPE_CHECKING:
    from control.api.part import Parts
    from control.api.route import Call

PREDICTIONS_MAX = 500


async def predictions(parts: Parts, call: Call) -> Predictions:
    kept = await parts.preflight.newest(int(call.number("limit", 50, 1, PREDICTIONS_MAX)))
    track = msgspec.convert(await parts.preflight.summary(), TrackRecord, from_attributes=True)
    return Predictions(track, [_record(as_body(k, whole=False)) for k in kept])


async def prediction(parts: Parts, call: Call) -> PredictionRecord:
    identity = call.path["id"]
    kept = await parts.preflight.of(identity)
    if kept is None:
        raise NotFound(f"no prediction of command {identity!r}", "its point's policy has no pre-flight, or it failed")
    return _record(as_body(kept))


def _record(body: dict[str, object]) -> PredictionRecord:
    return msgspec.convert(body, PredictionRecord)
