"""Predictions and their scores as entries of the ledger; must not know what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from control.evidence import PREDICTION, PREDICTION_SCORE, Evidence
from control.outbox import AUDIT_BATCH
from control.prediction import Prediction
from control.prediction_store import PredictionStore, Unaudited
from control.score import Score
from ledger.entry import JSON


class PredictionLetters:
    """Predictions and their scores."""

    what = "predictions"

    def __init__(self, store: PredictionStore, evidence: Evidence, on_disk: Callable[..., Awaitable[Any]]) -> None:
        self._store, self._evidence, self._on_disk = store, evidence, on_disk

    async def waiting(self) -> Sequence[Unaudited]:
        rows: Sequence[Unaudited] = await self._on_disk(self._store.unaudited, AUDIT_BATCH)
        return rows

    async def record(self, rows: Sequence[Unaudited]) -> None:
        made = [r for r in rows if r.needs_prediction]
        scored = [r for r in rows if r.needs_score]
        tickets = [
            self._evidence.record(PREDICTION, _entry(r.prediction, r.body_sha256), r.prediction.made_at) for r in made
        ]
        tickets += [
            self._evidence.record(PREDICTION_SCORE, _score_entry(r.score, r.score_sha256), r.score.scored_at)
            for r in scored
            if r.score is not None
        ]
        indexes = [await ticket for ticket in tickets]
        await self._on_disk(
            self._store.audited,
            [(i, r.command) for i, r in zip(indexes[: len(made)], made, strict=True)],
            [(i, r.command) for i, r in zip(indexes[len(made) :], scored, strict=True)],
        )

    async def forget_recorded(self, rows: Sequence[Unaudited]) -> None:
        found: list[list[tuple[int, str]]] = []
        for kind, texts in (
            (PREDICTION, {(r.command, r.body_sha256) for r in rows if r.needs_prediction}),
            (PREDICTION_SCORE, {(r.command, r.score_sha256) for r in rows if r.needs_score}),
        ):
            entries = await asyncio.to_thread(self._evidence.entries, 2 * AUDIT_BATCH, kind) if texts else []
            found.append([(i, str(e.body["id"])) for i, e in entries if (e.body["id"], e.body["sha256"]) in texts])
        await self._on_disk(self._store.audited, *found)


def _entry(made: Prediction, sha256: str) -> dict[str, JSON]:
    """A prediction as the ledger keeps it; `sha256` is of its whole text in the store."""
    risks: list[JSON] = [
        {"limit": r.limit, "probability": r.probability, "without": r.baseline, "worse": r.worse} for r in made.risks
    ]
    return {
        "id": made.command, "point": made.point, "value": made.value, "clock_s": made.clock_s,
        "horizon_s": made.horizon_s, "at_s": made.at_s, "seed": made.seed, "replications": made.replications,
        "state_sha256": made.state_hash, "model_sha256": made.model_hash, "risks": risks, "sha256": sha256,
    }  # fmt: skip


def _score_entry(found: Score, sha256: str) -> dict[str, JSON]:
    limits: list[JSON] = [
        {"limit": x.limit, "probability": x.probability, "violated": x.violated} for x in found.limits
    ]
    return {
        "id": found.command, "outcome": found.outcome.value, "detail": found.detail, "until_s": found.until_s,
        "readings": found.readings, "inside": found.inside, "limits": limits, "sha256": sha256,
    }  # fmt: skip
