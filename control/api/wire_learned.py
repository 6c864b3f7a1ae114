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


class ModelStep(msgspec.Struct, frozen=True):
    """One move of a model to a stage; `verdict`: of the contest that let it go on, "" where there was none."""

    time: float
    stage: str
    by: str
    why: str
    verdict: str


class ModelRecord(msgspec.Struct, frozen=True):
    """A model of the registry. `scope`: the row it competes for; `stage`: trained, shadow, canary, live, retired or rolled
    back; `share`: of the twins that it serves as a canary; `code`: version of Twinloop; `metrics`: on data held out;
    `problem`: why its file cannot be read, the fields of which are empty then."""

    model: str
    task: str
    scope: str
    stage: str
    share: float
    kind: str
    columns: list[str]
    data_hash: str
    code: str
    seed: int
    parent: str
    metrics: dict[str, str]
    steps: list[ModelStep]
    problem: str


class RetrainRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`reason`: kept with the model."""

    reason: str = ""
