"""What a look-ahead says: one forecast, its limits and when they are passed; pure: simulates nothing, reads no clock.

Which predicted alarms stand because of it is in lookahead_alarms.py.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from control.observed import Held
from control.prediction import Fan
from sim.result import LimitRisk, Result
from sim.scenario import Limit

SAMPLES = 96  # sample times over the horizon: a crossing is told to a hundredth of it
SAMPLE_MIN_S = 60.0
# Quantiles of each output that a score is computed from: of 200 futures, whatever their distribution, the CRPS of all of
# them is met to 0.4 %; by the five of a fan only to 7 %, where what is forecast is a count or a yes or no.
SCORED = 20
SCORED_LEVELS = (np.arange(SCORED) + 0.5) / SCORED  # (M,)
CENTRAL = (0.05, 0.5, 0.95)  # of the time of a crossing, given that it comes


@dataclass(frozen=True, slots=True)
class Expected:
    """One limit in one forecast.

    Attributes:
        probability, low, high: that it is passed within the horizon, and its 95 % Wilson interval.
        early_s, at_s, late_s: when, in the plant's own time, given that it is: 5, 50, 95 %; None when it never was.
        by: the probability by each sample time.
    """

    limit: str
    probability: float
    low: float
    high: float
    early_s: float | None
    at_s: float | None
    late_s: float | None
    by: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """The plant ahead with nobody commanding anything.

    Attributes:
        made_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time then.
        took_s: how long the simulation took.
        held: every settable point that was known at the start.
        started: what the outputs read at the start; None where that was not good.
        noise: standard deviation of an output's instrument, in its unit, where the model states one.
        times_s: sample times after the start, the start included.
        fans: output -> its 5, 25, 50, 75, 95 % quantiles at those times; empty once scored.
        drawn: output -> its quantiles at SCORED_LEVELS, `packed`; empty once scored.
        paces: output that only counts up -> what it rose by in a second before the start, in the plant's time; None
            while that is not known.
    """

    id: str
    made_at: int
    clock_s: float
    horizon_s: float
    replications: int
    seed: int
    took_s: float
    backend: str
    state_hash: str
    model_hash: str
    limits: tuple[Expected, ...]
    held: Mapping[str, Held]
    started: Mapping[str, float | None]
    noise: Mapping[str, float]
    units: Mapping[str, str]
    times_s: tuple[float, ...]
    fans: Mapping[str, Fan]
    drawn: Mapping[str, bytes] = field(default_factory=dict)
    paces: Mapping[str, float | None] = field(default_factory=dict)


def packed(samples: NDArray[np.floating[Any]]) -> bytes:
    """Futures of one output, shape (R, T), as their quantiles at SCORED_LEVELS: values that occurred, no mixtures."""
    drawn = np.quantile(samples, SCORED_LEVELS, axis=0, method="inverted_cdf")
    return zlib.compress(drawn.astype("<f4").tobytes())


def unpacked(drawn: bytes) -> NDArray[np.float64]:
    """Quantiles at SCORED_LEVELS, shape (M, T)."""
    return np.frombuffer(zlib.decompress(drawn), "<f4").astype(np.float64).reshape(SCORED, -1)


def sample_every_s(horizon_s: float) -> float:
    return max(SAMPLE_MIN_S, horizon_s / SAMPLES)


def seed_of(identity: str) -> int:
    """Another one for each forecast: the same chance every time would be wrong the same way every time."""
    return (
        int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") >> 11
    )  # 53 bits: JSON numbers hold no more


def forecast_of(
    identity: str,
    result: Result,
    held: Mapping[str, Held],
    started: Mapping[str, float | None],
    noise: Mapping[str, float],
    drawn: Mapping[str, bytes],
) -> Forecast:
    """What an experiment without scenarios says."""
    base = result.baseline
    return Forecast(
        id=identity,
        made_at=result.taken_at,
        clock_s=result.clock_s,
        horizon_s=result.horizon_s,
        replications=result.replications,
        seed=result.seed,
        took_s=result.wall_s,
        backend=result.backend,
        state_hash=result.state_hash,
        model_hash=result.model_hash,
        limits=tuple(expected(risk, result.times_s, result.clock_s) for risk in base.limits),
        held=held,
        started=started,
        noise=noise,
        units=result.units,
        times_s=result.times_s,
        fans={name: tuple(tuple(_short(x) for x in row) for row in rows) for name, rows in base.fans.items()},
        drawn=drawn,
    )


def expected(risk: LimitRisk, times_s: Sequence[float], clock_s: float) -> Expected:
    early, middle, late = (crossing_s(risk.probability, times_s, share) for share in CENTRAL)
    return Expected(
        risk.limit,
        risk.probability[-1],
        risk.low[-1],
        risk.high[-1],
        None if early is None else clock_s + early,
        None if middle is None else clock_s + middle,
        None if late is None else clock_s + late,
        tuple(_short(p) for p in risk.probability),
    )


def crossing_s(by: Sequence[float], times_s: Sequence[float], share: float) -> float | None:
    """When that share of the futures that pass the limit at all has passed it: seconds after the start, between samples
    as if they passed at an even rate. None when none does."""
    wanted = share * by[-1]
    if by[-1] <= 0:
        return None
    row = next(k for k, p in enumerate(by) if p >= wanted)
    if row == 0 or by[row] == by[row - 1]:
        return times_s[row]
    return times_s[row - 1] + (times_s[row] - times_s[row - 1]) * (wanted - by[row - 1]) / (by[row] - by[row - 1])


def beyond(limit: Limit, value: float) -> bool:
    return bool(limit.passed(np.asarray(value)))


def _short(value: float) -> float:
    """Seven digits: all that a sample has, and a third of the bytes."""
    return float(f"{value:.7g}")


@dataclass(frozen=True, slots=True)
class Spread:
    """What is dropped of a forecast once it is scored."""

    fans: Mapping[str, Fan]
    drawn: Mapping[str, bytes]


def split(forecast: Forecast) -> tuple[str, str]:
    """(body, fans) as JSON: the fans are most of it, and are dropped once they are scored."""
    body = msgspec.json.encode(replace(forecast, fans={}, drawn={}), order="sorted").decode()
    return body, msgspec.json.encode(Spread(forecast.fans, forecast.drawn), order="sorted").decode()


def join(body: str, fans: str | None) -> Forecast:
    """The forecast of `split`; without its fans where they are gone."""
    made = msgspec.json.decode(body, type=Forecast)
    if fans is None:
        return made
    spread = msgspec.json.decode(fans, type=Spread)
    return replace(made, fans=spread.fans, drawn=spread.drawn)
