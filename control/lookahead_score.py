"""How forecasts of a look-ahead fared against what was then read, and against saying that nothing changes; pure.

Forecasts of one plant overlap: a thousand of them are far fewer independent trials than a thousand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from control.lookahead import SCORED, SCORED_LEVELS, Expected, Forecast, beyond, unpacked
from control.lookahead_alarms import Again, Alarm, Status
from control.observed import KNOWN_SHARE, Track, first_change, plant_clock, since_start, widened
from control.score import Bin, Outcome, bins_of
from sim.scenario import parse_limit

LEADS = (0.25, 0.5, 0.75, 1.0)  # of the horizon: how good a forecast is depends on how far it looks
PIT_BINS = 10
BANDS = ((0.25, 0.75), (0.05, 0.95))


# --- one distribution against one reading --------------------------------------------------------------------------------


def crps(drawn: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continuous ranked probability score (Matheson and Winkler, 1976) in the values' unit: (M, K), (K,) -> (K,).

    Twice the pinball loss, averaged over SCORED_LEVELS; of one number the absolute error. It takes counts, and yes or no
    as 1 and 0, as it takes what is continuous: of a probability it is the Brier score.
    """
    over, levels = values - drawn, SCORED_LEVELS[:, None]  # (M, K)
    return np.asarray(2 * np.maximum(levels * over, (levels - 1) * over).mean(axis=0), np.float64)


def transform(
    drawn: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in its distribution each value lay, from and to, 0 … 1: (M, K), (K,) -> two (K,).

    The probability integral transform of counts is no number but spread evenly between P(below) and P(below or equal):
    only so is it even when forecasts are honest (Czado, Gneiting and Held, 2009). Of a value between two quantiles it is
    known only to lie between their levels.
    """
    below, up_to = (drawn < values).mean(axis=0), (drawn <= values).mean(axis=0)
    between = np.where(below == up_to, 0.5 / SCORED, 0.0)
    return np.maximum(0.0, below - between), np.minimum(1.0, up_to + between)


def at_times(
    drawn: NDArray[np.float64], times_s: NDArray[np.float64], ahead_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Quantiles at other times than the samples, straight in between: (M, T), (T,), (K,) -> (M, K).

    What is whole at both ends is a count, and stays one.
    """
    after = np.clip(np.searchsorted(times_s, ahead_s), 1, len(times_s) - 1)
    share = np.clip((ahead_s - times_s[after - 1]) / (times_s[after] - times_s[after - 1]), 0.0, 1.0)
    low, high = drawn[:, after - 1], drawn[:, after]
    between = low + (high - low) * share
    whole = (low == np.round(low)) & (high == np.round(high))
    return np.where(whole, np.round(between), between)


def within(places: tuple[NDArray[np.float64], NDArray[np.float64]], low: float, high: float) -> NDArray[np.float64]:
    """How much of each place of `transform` lies between two probabilities: shares, (K,)."""
    begin, end = places
    overlap = np.clip(np.minimum(end, high) - np.maximum(begin, low), 0.0, None)
    return np.asarray(overlap / np.maximum(end - begin, 1e-12), np.float64)


# --- one forecast --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeadScore:
    """One output over a quarter of the horizon: sums over its good readings.

    Attributes:
        inside_50, inside_90: of the readings, in the central band, widened by the instrument's noise; one that is equal
            to many futures lies partly in it.
        crps, persistence: of the forecast, and of "it stays as it was" (the absolute error); of a counter: of "it goes
            on as before".
    """

    readings: int = 0
    inside_50: float = 0.0
    inside_90: float = 0.0
    crps: float = 0.0
    persistence: float = 0.0


@dataclass(frozen=True, slots=True)
class PointScore:
    """One output: by quarters of the horizon, and how many readings lay in each tenth of the forecast."""

    point: str
    unit: str
    leads: tuple[LeadScore, ...]
    pit: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LimitScore:
    """A limit that was kept at the start: P(passed by a quarter, half … of the horizon), and whether it was."""

    limit: str
    lead: float
    probability: float
    passed: bool


@dataclass(frozen=True, slots=True)
class Score:
    """
    Attributes:
        forecast: its id.
        scored_at: ns since 1970 UTC.
        until_s: plant time after the start up to which it was compared.
    """

    forecast: str
    made_at: int
    outcome: Outcome
    detail: str
    scored_at: int
    until_s: float = 0.0
    points: tuple[PointScore, ...] = ()
    limits: tuple[LimitScore, ...] = ()


def unscored(forecast: Forecast, why: str, now: int) -> Score:
    return Score(forecast.id, forecast.made_at, Outcome.UNSCORED, why, now)


def score(forecast: Forecast, clock_readings: Track, tracks: Mapping[str, Track], now: int) -> Score:
    """The forecast against what was read since, as far as nobody changed what it had taken for given.

    Args:
        tracks: of every output and every held point, what came after the start; one that is missing never changed.
    """
    clock, set_back = plant_clock(forecast.made_at, forecast.clock_s, clock_readings)
    reached_s = min(float(clock.seconds[-1]) - forecast.clock_s, forecast.horizon_s)
    cut = first_change(forecast.held, tracks, forecast.made_at)
    until_s, why = reached_s, ""
    if cut is not None and clock.read(cut[0]) - forecast.clock_s < reached_s:
        until_s, why = clock.read(cut[0]) - forecast.clock_s, cut[1]
    elif set_back:
        why = "the plant's clock was set back"
    elif reached_s < forecast.times_s[-1]:
        why = "the plant's clock stopped"
    rows = [k for k, t in enumerate(forecast.times_s) if 0 < t <= until_s]
    if not rows:
        why = f"{why or 'nothing was read'}, before anything could be compared"
        return Score(forecast.id, forecast.made_at, Outcome.UNSCORED, why, now, max(0.0, until_s))
    seconds = forecast.clock_s + np.array(forecast.times_s)[rows]
    moments, heard = clock.moments(seconds), clock.heard(seconds, forecast.times_s[1])
    followed = {name: since_start(forecast, name, tracks) for name in forecast.drawn}
    read = {name: np.where(heard, track.in_force(moments), np.nan) for name, track in followed.items()}
    # A reading is older than the moment at which it is looked up: on a fast plant that publishes twice a second by half a
    # minute of the plant's. It was true when it was read, or when the plant was last heard if that was later.
    last = clock.told_before(moments)
    ahead = {
        name: clock.read_at(np.maximum(last, track.since(moments))) - forecast.clock_s
        for name, track in followed.items()
    }
    return Score(
        forecast.id,
        forecast.made_at,
        Outcome.CENSORED if why else Outcome.SCORED,
        why,
        now,
        until_s,
        # Without a reading at the start, or a counter's pace before it, there is nothing to be better than.
        tuple(
            _point(forecast, n, v, pace, rows, read[n], ahead[n])
            for n, v in forecast.started.items()
            if v is not None and n in read and (pace := forecast.paces.get(n, 0.0)) is not None
        ),
        tuple(found for x in forecast.limits for found in _limit(forecast, x, rows, read, followed, moments)),
    )


def _point(
    forecast: Forecast, name: str, started: float, pace: float, rows: list[int], read: NDArray[np.float64],
    ahead_s: NDArray[np.float64],
) -> PointScore:  # fmt: skip
    """Readings `read` of `ahead_s` after the start, which stand for the sample times in `rows`: (K,) each."""
    drawn = at_times(unpacked(forecast.drawn[name]), np.array(forecast.times_s), ahead_s)  # (M, K)
    known = np.isfinite(read) & (ahead_s > 0)
    drawn, values = widened(drawn, forecast.noise.get(name, 0.0), SCORED_LEVELS)[:, known], read[known]
    ahead_s, lead = ahead_s[known], np.array(forecast.times_s)[rows][known] / forecast.horizon_s
    loss, rival = crps(drawn, values), np.abs(values - started - pace * ahead_s)
    places = transform(drawn, values)
    inside = [within(places, low, high) for low, high in BANDS]
    leads = []
    for low, high in pairwise((0.0, *LEADS)):
        mine = (low < lead) & (lead <= high + 1e-9)
        leads.append(LeadScore(int(mine.sum()), *(float(x[mine].sum()) for x in (*inside, loss, rival))))
    edges = pairwise(np.linspace(0.0, 1.0, PIT_BINS + 1))
    pit = tuple(round(float(within(places, low, high).sum()), 6) for low, high in edges)
    return PointScore(name, forecast.units.get(name, ""), tuple(leads), pit)


def _limit(
    forecast: Forecast, found: Expected, rows: list[int], read: Mapping[str, NDArray[np.float64]],
    followed: Mapping[str, Track], moments: NDArray[np.int64],
) -> list[LimitScore]:  # fmt: skip
    """Nothing of a limit that was passed at the start: what is already so is no forecast."""
    limit = parse_limit(found.limit)
    started, values = forecast.started.get(limit.point), read.get(limit.point)
    if started is None or beyond(limit, started) or values is None:
        return []
    scores = []
    for lead in LEADS:
        count = sum(forecast.times_s[k] <= lead * forecast.horizon_s + 1e-9 for k in rows)
        if not count or forecast.times_s[rows[-1]] < lead * forecast.horizon_s * (1 - 1e-9):
            continue  # it was compared less far
        came = followed[limit.point].passed(limit, int(moments[count - 1]))
        if came or np.isfinite(values[:count]).mean() >= KNOWN_SHARE:
            scores.append(LimitScore(found.limit, lead, found.by[rows[count - 1]], came))
    return scores


# --- the track record ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeadSkill:
    """One output up to `lead` of the horizon (a quarter of it each): means; skill is 1 - crps / persistence."""

    lead: float
    readings: int
    coverage_50: float | None
    coverage_90: float | None
    crps: float | None
    persistence: float | None
    skill: float | None


@dataclass(frozen=True, slots=True)
class PointSkill:
    """One output over all forecasts; `pit` is the share of readings in each tenth of their forecast."""

    point: str
    unit: str
    whole: LeadSkill
    leads: tuple[LeadSkill, ...]
    pit: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LimitSkill:
    """Probabilities of limits that were kept at the start.

    Attributes:
        brier: mean square error; `base` of always saying of each limit how often it was passed by then, known only
            afterwards; skill is 1 - brier / base.
        reliability, resolution, uncertainty: brier = reliability - resolution + uncertainty, but for what lies within
            bins (Murphy, 1973). Small reliability: what is called 30 % happens in 30 %.
        bins: predicted probability against what happened.
    """

    count: int
    passed: int
    brier: float | None
    base: float | None
    skill: float | None
    reliability: float | None
    resolution: float | None
    uncertainty: float | None
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class AlarmSkill:
    """Predicted alarms that have ended.

    Attributes:
        missed: limits that were passed unforeseen.
        again: further passings of limits that were quiet because they had come or were missed.
        lead_s: median time from being predicted to coming, in the plant's time.
        error_s: median of how far the time first said was off.
        inside: of those that came, within the 90 % interval first said.
    """

    came: int
    cleared: int
    lapsed: int
    missed: int
    lead_s: float | None
    error_s: float | None
    inside: int
    again: Again


@dataclass(frozen=True, slots=True)
class Summary:
    """How far the look-ahead can be trusted."""

    waiting: int
    scored: int
    censored: int
    unscored: int
    points: tuple[PointSkill, ...]
    limits: LimitSkill
    alarms: AlarmSkill


def summary(waiting: int, scores: Sequence[Score], alarms: Sequence[Alarm]) -> Summary:
    """Over the scores and alarms given."""
    outcomes = [s.outcome for s in scores]
    by_point: dict[str, list[PointScore]] = {}
    for found in (p for s in scores for p in s.points):
        by_point.setdefault(found.point, []).append(found)
    return Summary(
        waiting,
        outcomes.count(Outcome.SCORED),
        outcomes.count(Outcome.CENSORED),
        outcomes.count(Outcome.UNSCORED),
        tuple(_point_skill(found) for found in by_point.values()),
        _limit_skill([x for s in scores for x in s.limits]),
        _alarm_skill(alarms),
    )


def _point_skill(found: Sequence[PointScore]) -> PointSkill:
    leads = [[p.leads[k] for p in found] for k in range(len(LEADS))]
    counts = np.sum([p.pit for p in found], axis=0)
    pit = tuple((counts / max(1, counts.sum())).tolist())
    whole = _lead_skill(1.0, [x for part in leads for x in part])
    parts = tuple(_lead_skill(lead, part) for lead, part in zip(LEADS, leads, strict=True))
    return PointSkill(found[0].point, found[0].unit, whole, parts, pit)


def _lead_skill(lead: float, found: Sequence[LeadScore]) -> LeadSkill:
    readings = sum(x.readings for x in found)
    if not readings:
        return LeadSkill(lead, 0, None, None, None, None, None)
    loss, stays = (sum(x.crps for x in found) / readings, sum(x.persistence for x in found) / readings)
    return LeadSkill(
        lead,
        readings,
        sum(x.inside_50 for x in found) / readings,
        sum(x.inside_90 for x in found) / readings,
        loss,
        stays,
        1 - loss / stays if stays > 0 else None,
    )


def _limit_skill(found: Sequence[LimitScore]) -> LimitSkill:
    if not found:
        return LimitSkill(0, 0, None, None, None, None, None, None, ())
    said = np.array([x.probability for x in found])
    came = np.array([x.passed for x in found], np.float64)
    rate = float(came.mean())
    bins = bins_of(list(zip(said.tolist(), came.tolist(), strict=True)))
    brier, base = float(((said - came) ** 2).mean()), _base_rates(found)
    return LimitSkill(
        len(found),
        int(came.sum()),
        brier,
        base,
        1 - brier / base if base > 0 else None,
        sum(b.count * (b.predicted - b.violated) ** 2 for b in bins) / len(found),
        sum(b.count * (b.violated - rate) ** 2 for b in bins) / len(found),
        rate * (1 - rate),
        bins,
    )


def _base_rates(found: Sequence[LimitScore]) -> float:
    """Brier score of each limit's own rate by each lead: limits that differ are no skill (Hamill and Juras, 2006)."""
    came: dict[tuple[str, float], list[bool]] = {}
    for x in found:
        came.setdefault((x.limit, x.lead), []).append(x.passed)
    rates = [(len(each), sum(each) / len(each)) for each in came.values()]
    return sum(count * rate * (1 - rate) for count, rate in rates) / len(found)


def _alarm_skill(alarms: Sequence[Alarm]) -> AlarmSkill:
    statuses = [a.status for a in alarms]
    leads = [a.lead_s for a in alarms if a.lead_s is not None]
    errors = [abs(a.error_s) for a in alarms if a.error_s is not None]
    return AlarmSkill(
        statuses.count(Status.CAME),
        statuses.count(Status.CLEARED),
        statuses.count(Status.LAPSED),
        statuses.count(Status.MISSED),
        float(np.median(leads)) if leads else None,
        float(np.median(errors)) if errors else None,
        sum(bool(a.inside) for a in alarms),
        sum((a.again for a in alarms), Again()),
    )
