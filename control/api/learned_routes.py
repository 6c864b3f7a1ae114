"""Handlers of the models in service: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from control.api import wire_learned as wire
from control.api.route import API, Call, Route
from control.inference import Standing
from control.models import metrics
from control.retraining import Training
from ml.model_file import Manifest
from ml.registry import TEXT_MAX, Promotion, Registry, trail
from ml.stages import Life
from twin.errors import BadRequest, TwinloopError
from twin.learned import Learned, When
from twin.role import Act

if TYPE_CHECKING:
    from control.api.part import Parts


MODELS_MAX = 200  # of one answer, the newest
MANIFESTS_KEPT = 500  # of files that never change


async def learned(parts: Parts, _: Call) -> list[wire.LearnedRecord]:
    return [_row(parts, row, standing) for row, standing in parts.inference.standings()]


async def models(parts: Parts, call: Call) -> list[wire.ModelRecord]:
    return await asyncio.to_thread(_models, parts.inference.registry, call.query.get("scope", ""))


def _models(registry: Registry, scope: str) -> list[wire.ModelRecord]:
    """Newest first: lives are in the order in which they were added."""
    record = registry.record()
    lives = [life for life in registry.lives().values() if not scope or life.scope == scope]
    return [_model(registry, life, record) for life in reversed(lives[-MODELS_MAX:])]


def _model(registry: Registry, life: Life, record: Sequence[Promotion]) -> wire.ModelRecord:
    steps = [
        wire.ModelStep(p.time_ns / 1e6, str(move.stage), p.by, p.why, p.contest.verdict.reason if p.contest else "")
        for p in trail(record, life.model)
        for move in p.moves
        if move.model == life.model
    ]
    about = (life.model, life.task, life.scope, str(life.stage), life.share)
    try:
        told, figures = _told(registry.folder, life.model)
    except TwinloopError as error:
        return wire.ModelRecord(*about, "", [], "", "", -1, "", {}, steps, str(error))
    return wire.ModelRecord(
        *about, told.kind, list(told.columns), told.data_hash, told.code, told.seed, told.parent,
        figures, steps, "",
    )  # fmt: skip


@lru_cache(MANIFESTS_KEPT)
def _told(folder: Path, model: str) -> tuple[Manifest, dict[str, str]]:
    """What a file says of itself; read whole to check its hash, but once."""
    file = Registry(folder).read(model)
    return file.manifest, dict(metrics(file))


async def retrain(parts: Parts, call: Call) -> wire.TrainingRecord:
    asked: wire.RetrainRequest = call.body
    if len(asked.reason) > TEXT_MAX:
        raise BadRequest(f"a reason of {len(asked.reason)} characters", f"at most {TEXT_MAX}")
    why = asked.reason or "it was asked for"
    return _training(parts.retrainings.ask(call.path["id"], why, call.caller.name))


async def cancel_training(parts: Parts, call: Call) -> wire.TrainingRecord:
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
        "GET",
        f"{API}/models",
        models,
        "Models of the registry, newest first: what each was trained on and what became of it",
        list[wire.ModelRecord],
        query=("scope",),
    ),
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
        cancel_training,
        "Stop a retraining that waits or runs",
        wire.TrainingRecord,
        act=Act.EDIT,
    ),
)
