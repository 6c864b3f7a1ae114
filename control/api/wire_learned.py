"""Models in service as they travel; must not know how they are served. Times are ms since 1970, spans seconds."""

from __future__ import annotations

import msgspec


class TrainingRecord(msgspec.Struct, frozen=True):
    """A retraining; `by`: who asked for it, `twinloop` where drift or time did.

    `course`: running, done, failed or cancelled; `share` of it done, 0 … 1; `words`: with what, or how it ended; `model`:
    the hash of what it made, "" for none yet.
    """

    row: str
    why: str
    by: str
    begun: float
    course: str
    share: float
    words: str
    model: str


class LearnedRecord(msgspec.Struct, frozen=True):
    """A row [[learned]] of the plant at work.

    `state`: no model, refused, filling, serving, late or failed; `model`: the champion's hash, "" for none; `error`: mean
    squared error of the forecasts that came due, in variances of training; `held`: share of their intervals that held;
    `drifted`: what is no longer as in training; `training`: the newest retraining.
    """

    id: str
    task: str
    twins: int
    columns: list[str]
    every_s: float
    state: str
    why: str
    model: str
    known: int
    took_ms: float | None
    skipped: int
    error: float | None
    held: float | None
    drifted: list[str]
    retrain: str
    training: TrainingRecord | None


class RetrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reason`: kept with the model."""

    reason: str = ""
