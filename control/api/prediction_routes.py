"""Handlers of predictions: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from control.api.route import API, Call, Route
from control.api.wire_prediction import PredictionRecord, Predictions, TrackRecord
from control.prediction_store import Kept
from control.preflight import as_body
from twin.errors import NotFound

if TYPE_CHECKING:
    from control.api.part import Parts

PREDICTIONS_MAX = 500


async def predictions(parts: Parts, call: Call) -> Predictions:
    kept = await parts.preflight.newest(int(call.number("limit", 50, 1, PREDICTIONS_MAX)))
    track = msgspec.convert(await parts.preflight.summary(), TrackRecord, from_attributes=True)
    return Predictions(track, [record_of(k, whole=False) for k in kept])


async def prediction(parts: Parts, call: Call) -> PredictionRecord:
    identity = call.path["id"]
    kept = await parts.preflight.of(identity)
    if kept is None:
        raise NotFound(f"no prediction of command {identity!r}", "its point's policy has no pre-flight, or it failed")
    return record_of(kept)


def record_of(kept: Kept, whole: bool = True) -> PredictionRecord:
    return msgspec.convert(as_body(kept, whole), PredictionRecord)


PREDICTION_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/predictions",
        predictions,
        "Predictions of commands, newest first, and their track record",
        Predictions,
        query=("limit",),
    ),
    Route(
        "GET",
        f"{API}/commands/{{id}}/prediction",
        prediction,
        "What was predicted of a command, and how it fared",
        PredictionRecord,
    ),
)
