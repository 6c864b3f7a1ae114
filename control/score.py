"""How a prediction fared: the plant's readings against the forecast; pure, hand-checkable numbers, must not know stores.

Losses are quantile scores (Gneiting & Raftery, "Strictly proper scoring rules", 2007): twice the mean pinball loss over
the fan's quantiles, in the point's unit, which tends to the CRPS; of a single number it is the absolute error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from control.observed import KNOWN_SHARE, Track, first_change, plant_clock, since_start, widened
from control.prediction import Fan, Prediction, span
from sim.scenario import parse_limit
from sim.statistics import QUANTILES

LATE_SHARE = 0.1  # of the horizon: a command that acts later than that is not the one that was predicted
BINS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.0)  # of predicted probability, finer where decisions are taken


class Outcome(StrEnum):
    """What became of a prediction."""

    SCORED = "scored"  # against the readings of its whole horizon
    CENSORED = "censored"  # up to the moment at which somebody changed what it had taken for given
    UNSCORED = "unscored"  # its command was not sent, or nothing can be compared; the detail says why


@dataclass(frozen=True, slots=True)
class PointScore:
    """One output of the forecast.

    Attributes:
        readings: sample times with a good reading.
        inside: of them inside the 90 % band, widened by the instrument's noise.
        loss: mean quantile score of the forecast; `persistence` of "it stays as it was", `without` of the forecast
            without the command.
        expected: what the command was to change by the last compared moment: median with it - median without it.
        observed: the last compared reading - median without the command; None without a reading.
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


@dataclass(frozen=True, slots=True)
class LimitScore:
    """One limit: its probability by the last compared moment, whether it was violated by then, and (p - o)²."""

    limit: str
    probability: float
    violated: bool | None
    brier: float | None


@dataclass(frozen=True, slots=True)
class Score:
    """
    Attributes:
        scored_at: ns since 1970 UTC.
        until_s: plant time after the start up to which it was compared.
        delay_s: how much later than predicted the command was sent, in plant time.
        readings, inside: over all points.
    """

    command: str
    outcome: Outcome
    detail: str
    scored_at: int
    until_s: float = 0.0
    delay_s: float | None = None
    readings: int = 0
    inside: int = 0
    points: tuple[PointScore, ...] = ()
    limits: tuple[LimitScore, ...] = ()

    @property
    def coverage(self) -> float | None:
        return self.inside / self.readings if self.readings else None


def unscored(prediction: Prediction, why: str, now: int) -> Score:
    return Score(prediction.command, Outcome.UNSCORED, why, now)


# --- scoring -------------------------------------------------------------------------------------------------------------


def score(prediction: Prediction, sent_at: int, clock_readings: Track, tracks: Mapping[str, Track], now: int) -> Score:
    """The prediction against what was read since.

    Args:
        sent_at: when its command was sent, ns since 1970 UTC.
        tracks: of every output and every settable point, what came after the start; one that is missing never changed.
    """
    clock, set_back = plant_clock(prediction.made_at, prediction.clock_s, clock_readings)
    delay_s = clock.read(sent_at) - prediction.clock_s - prediction.at_s
    if delay_s > LATE_SHARE * prediction.horizon_s:
        why = f"the command was sent {span(round(delay_s))} of plant time later than predicted"
        return Score(prediction.command, Outcome.UNSCORED, why, now, delay_s=delay_s)
    reached_s = min(float(clock.seconds[-1]) - prediction.clock_s, prediction.horizon_s)
    cut = first_change(prediction.held, tracks, prediction.made_at, prediction.point, prediction.value)
    until_s, why = reached_s, ""
    if cut is not None and clock.read(cut[0]) - prediction.clock_s < reached_s:
        until_s, why = clock.read(cut[0]) - prediction.clock_s, cut[1]
    elif set_back:
        why = "the plant's clock was set back"
    elif reached_s < prediction.times_s[-1]:
        why = "the plant's clock stopped"
    rows = [k for k, t in enumerate(prediction.times_s) if 0 < t <= until_s]
    if not rows:
        why = f"{why or 'nothing was read'}, before anything could be compared"
        return Score(prediction.command, Outcome.UNSCORED, why, now, max(0.0, until_s), delay_s)
    seconds = prediction.clock_s + np.array(prediction.times_s)[rows]
    moments, heard = clock.moments(seconds), clock.heard(seconds, prediction.times_s[1])
    followed = {name: since_start(prediction, name, tracks) for name in prediction.fans}
    read = {name: np.where(heard, track.in_force(moments), np.nan) for name, track in followed.items()}
    points = tuple(_point(prediction, name, rows, read[name]) for name in prediction.fans)
    return Score(
        prediction.command,
        Outcome.CENSORED if why else Outcome.SCORED,
        why,
        now,
        until_s,
        delay_s,
        sum(p.readings for p in points),
        sum(p.inside for p in points),
        points,
        tuple(_limit(prediction, n, rows[-1], read, followed, int(moments[-1])) for n in range(len(prediction.risks))),
    )


def _point(prediction: Prediction, name: str, rows: list[int], read: NDArray[np.float64]) -> PointScore:
    noise = prediction.noise.get(name, 0.0)
    fan, without = (widened(_columns(f[name], rows), noise) for f in (prediction.fans, prediction.without))
    known = np.isfinite(read)
    values, median = read[known], len(QUANTILES) // 2
    inside = (fan[0][known] <= values) & (values <= fan[-1][known])
    started = prediction.started.get(name)
    last = float(read[-1])
    return PointScore(
        name,
        prediction.units.get(name, ""),
        int(known.sum()),
        int(inside.sum()),
        quantile_loss(fan[:, known], values),
        None if started is None or not len(values) else float(np.abs(values - started).mean()),
        quantile_loss(without[:, known], values),
        float(fan[median, -1] - without[median, -1]),
        float(last - without[median, -1]) if np.isfinite(last) else None,
    )


def _limit(
    prediction: Prediction, n: int, row: int, read: Mapping[str, NDArray[np.float64]], followed: Mapping[str, Track],
    until: int,
) -> LimitScore:  # fmt: skip
    risk = prediction.risks[n]
    limit = parse_limit(risk.limit)
    values = read[limit.point]
    violated: bool | None = followed[limit.point].passed(limit, until)  # the start included
    if not violated and np.isfinite(values).mean() < KNOWN_SHARE:
        violated = None
    probability = risk.by[row]
    return LimitScore(risk.limit, probability, violated, None if violated is None else (probability - violated) ** 2)


def quantile_loss(fan: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    """Mean over the values of twice the mean pinball loss: fan (5, K), values (K,); None without values."""
    if not len(values):
        return None
    levels = np.array(QUANTILES)[:, None]
    over = values - fan
    return float(2 * np.maximum(levels * over, (levels - 1) * over).mean())


def _columns(fan: Fan, rows: Sequence[int]) -> NDArray[np.float64]:
    return np.array(fan)[:, rows]


# --- the track record ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bin:
    """Limits predicted with probabilities in [low, high): how many, their mean, and the share that was violated."""

    low: float
    high: float
    count: int
    predicted: float
    violated: float


@dataclass(frozen=True, slots=True)
class Summary:
    """How far predictions can be trusted.

    Attributes:
        made: predictions looked at; `waiting` of them for their horizon.
        coverage: share of all readings inside the 90 % band.
        brier: mean over all limits with an outcome; `brier_base` of always saying how often it happened.
        beats_persistence: share of forecasts of a point that were nearer than "it stays as it was".
        bins: predicted probability against what happened.
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
    bins: tuple[Bin, ...]


def summary(made: int, waiting: int, scores: Sequence[Score]) -> Summary:
    """Over the scores given."""
    outcomes = [s.outcome for s in scores]
    limits = [x for s in scores for x in s.limits]
    pairs = [(x.probability, float(x.violated)) for x in limits if x.violated is not None]
    points = [p for s in scores for p in s.points]
    beaten = [p.loss < p.persistence for p in points if p.loss is not None and p.persistence is not None]
    readings = sum(s.readings for s in scores)
    happened = float(np.mean([o for _, o in pairs])) if pairs else 0.0
    return Summary(
        made,
        waiting,
        outcomes.count(Outcome.SCORED),
        outcomes.count(Outcome.CENSORED),
        outcomes.count(Outcome.UNSCORED),
        readings,
        sum(s.inside for s in scores) / readings if readings else None,
        len(pairs),
        float(np.mean([(p - o) ** 2 for p, o in pairs])) if pairs else None,
        happened * (1 - happened) if pairs else None,
        float(np.mean(beaten)) if beaten else None,
        bins_of(pairs),
    )


def bins_of(pairs: Sequence[tuple[float, float]]) -> tuple[Bin, ...]:
    """Of (probability, 1 where it happened)."""
    found = []
    for low, high in pairwise(BINS):
        mine = [(p, o) for p, o in pairs if low <= p < high or (p == high == BINS[-1])]
        if mine:
            found.append(
                Bin(low, high, len(mine), float(np.mean([p for p, _ in mine])), float(np.mean([o for _, o in mine])))
            )
    return tuple(found)
