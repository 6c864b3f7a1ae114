"""Handlers of the models in service: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from control.api import wire_learned as wire
from control.api.route import API, Call, Route
from control.inference import Standing
from control.retraining import Training
from ml.registry import TEXT_MAX
from twin.errors import BadRequest
from twin.learned import Learned, When
from twin.role import Act

if TYPE_CHECKING:
    from control.api.part import Parts


async def learned(parts: Parts, _: Call) -> list[wire.LearnedRecord]:
    return [_row(parts, row, standing) for row, standing in parts.inference.standings()]


async def retrain(parts: Parts, call: Call) -> wire.TrainingRecord:
    asked: wire.RetrainRequest = call.body
    if len(asked.reason) > TEXT_MAX:
        raise BadRequest(f"a reason of {len(asked.reason)} characters", f"at most {TEXT_MAX}")
    why = asked.reason or "it was asked for"
    return _training(parts.retrainings.ask(call.path["id"], why, call.caller.name))


async def cancel(parts: Parts, call: Call) -> wire.TrainingRecord:
    return _training(await parts.retrainings.cancel(call.path["id"]))


def _row(parts: Parts, row: Learned, now: Standing) -> wire.LearnedRecord:
    newest = parts.retrainings.newest.get(row.id)
    asked = row.retraining
    return wire.LearnedRecord(
        row.id, row.task, len(row.twins), list(row.columns), row.every_s, now.state.value, now.why, now.model, now.known,
        _known(now.took_ms), now.skipped, _known(now.error), _known(now.held), list(now.drifted),
        f"every {asked.every_s:g} s" if asked.when is When.TIME else asked.when.value,
        _training(newest) if newest else None,
    )  # fmt: skip


def _training(found: Training) -> wire.TrainingRecord:
    return wire.TrainingRecord(
        found.row, found.why, found.by, found.begun / 1e6, found.course.value, found.share, found.words, found.model
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


LEARNED_ROUTES = (
    Route("GET", f"{API}/learned", learned, "The models in service, and how they fare", list[wire.LearnedRecord]),
    Route(
        "POST",
        f"{API}/learned/{{id}}/training",
        retrain,
        "Train a row's model anew on the plant's history; who wins a contest becomes a shadow",
        wire.TrainingRecord,
        wire.RetrainRequest,
        status=202,
        act=Act.EDIT,
    ),
    Route(
        "DELETE",
        f"{API}/learned/{{id}}/training",
        cancel,
        "Stop a retraining that waits or runs",
        wire.TrainingRecord,
        act=Act.EDIT,
    ),
)
