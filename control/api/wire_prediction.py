"""Predictions of commands as they travel; must not know how they are made. Times are ms since 1970, spans seconds."""

from __future__ import annotations

import msgspec


class PredictedRisk(msgspec.Struct, frozen=True):
    """P(limit violated by the horizon) with the command, its 95 % interval, and without it (`baseline`).

    `worse`: the command makes it likelier, earlier or deeper. `by`: the probability with it by each sample time.
    """

    limit: str
    probability: float
    low: float
    high: float
    baseline: float
    worse: bool
    by: list[float]


class PredictedEffect(msgspec.Struct, frozen=True):
    """What the command changes of a figure at the horizon: mean of the paired differences, with its 95 % interval."""

    name: str
    unit: str
    mean: float
    low: float
    high: float


class PointScore(msgspec.Struct, frozen=True):
    """One point of a forecast against its readings.

    `inside` of `readings` lay in the 90 % band. `loss`: mean quantile score of the forecast, `persistence` of "it stays
    as it was", `without` of the forecast without the command; smaller is better. `expected` and `observed`: what
    the command was to change by the last compared moment, and the reading then, both against the forecast without it.
    """

    point: str
    unit: str
    readings: int
    inside: int
    loss: float | None
    persistence: float | None
    without: float | None
    expected: float
    observed: float | None


class LimitScore(msgspec.Struct, frozen=True):
    """A limit's probability by the last compared moment, whether it was violated by then, and the Brier score."""

    limit: str
    probability: float
    violated: bool | None
    brier: float | None


class ScoreRecord(msgspec.Struct, frozen=True):
    """How a prediction fared: `outcome` is scored, censored (compared until `until_s`) or unscored; `detail` says why."""

    outcome: str
    detail: str
    scored_at: float
    until_s: float
    delay_s: float | None
    readings: int
    inside: int
    coverage: float | None
    points: list[PointScore]
    limits: list[LimitScore]


class PredictionRecord(msgspec.Struct, frozen=True):
    """A forecast of the plant with a command and without it, and its score once the plant has shown what came.

    `fans` and `without`: point -> rows of the 5, 25, 50, 75, 95 % quantiles at `times_s`; empty in lists, and of old
    predictions.
    """

    command: str
    point: str
    value: float
    made_at: float
    clock_s: float
    horizon_s: float
    at_s: float
    assumed: str
    seed: int
    replications: int
    state_hash: str
    model_hash: str
    risks: list[PredictedRisk]
    effects: list[PredictedEffect]
    units: dict[str, str]
    times_s: list[float]
    fans: dict[str, list[list[float]]]
    without: dict[str, list[list[float]]]
    score: ScoreRecord | None


class CalibrationBin(msgspec.Struct, frozen=True):
    """Limits predicted with probabilities in [low, high): how many, their mean, and the share that was violated."""

    low: float
    high: float
    count: int
    predicted: float
    violated: float


class TrackRecord(msgspec.Struct, frozen=True):
    """How far predictions can be trusted.

    `coverage`: share of readings inside the 90 % band. `brier`: mean over limits, `brier_base` of always saying how
    often it happened. `beats_persistence`: share of forecasts nearer than "it stays as it was".
    """

    made: int
    waiting: int
    scored: int
    censored: int
    unscored: int
    readings: int
    coverage: float | None
    limits: int
    brier: float | None
    brier_base: float | None
    beats_persistence: float | None
    bins: list[CalibrationBin]


class Predictions(msgspec.Struct, frozen=True):
    """GET /api/v1/predictions: the track record over the newest 1,000 scores, and predictions, newest first."""

    summary: TrackRecord
    predictions: list[PredictionRecord]
