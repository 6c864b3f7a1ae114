"""A look-ahead whose numbers can be followed by hand: one tank over 400 s, sampled every 100 s."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np

from control.lookahead import SCORED_LEVELS, Expected, Forecast, expected, packed
from control.lookahead_alarms import Alarms
from control.observed import Held
from control.prediction import Fan
from sim.result import LimitRisk
from sim.scenario import Limit
from sim.statistics import QUANTILES
from tests.control.predicted import CLOCK_S, LEVEL, MADE_AT, PUMP, TIMES_S
from twin.lookahead import Lookahead

LOW = Limit(LEVEL, "<", 2.0)
ASKED = Lookahead(every_s=1.0, horizon_s=400.0, p_min=0.5, p_clear=0.2, off_delay_s=60.0, limits=(str(LOW),))


def flat(*rows: float) -> Fan:
    return tuple((row,) * len(TIMES_S) for row in rows)


def drawn(*rows: float) -> bytes:
    """Futures with these 5, 25, 50, 75, 95 % quantiles at any time, evenly between them."""
    futures = np.interp(SCORED_LEVELS, QUANTILES, rows)
    return packed(np.repeat(futures[:, None], len(TIMES_S), axis=1))


def risk(*by: float, limit: Limit = LOW) -> LimitRisk:
    return LimitRisk(str(limit), by, tuple(p / 2 for p in by), tuple(min(1.0, 2 * p) for p in by))


def likely(probability: float, clock_s: float = CLOCK_S) -> Expected:
    """Passed at an even rate from 100 s to 300 s after the start."""
    return expected(risk(0.0, 0.0, probability / 2, probability, probability), TIMES_S, clock_s)


def forecast(probability: float = 0.0, at_s: float = 0.0, **more: object) -> Forecast:
    """Made `at_s` after the first: the level is about 3 m (1 … 5), and was 6 m."""
    made = Forecast(
        id="f1", made_at=MADE_AT + int(at_s / 10 * 1e9), clock_s=CLOCK_S + at_s, horizon_s=400.0, replications=100,
        seed=7, took_s=0.1, backend="b", state_hash="s", model_hash="m", limits=(likely(probability, CLOCK_S + at_s),),
        held={PUMP: Held(1.0, 0.0)}, started={LEVEL: 6.0}, noise={}, units={LEVEL: "m"}, times_s=TIMES_S,
        fans={LEVEL: flat(1.0, 2.0, 3.0, 4.0, 5.0)}, drawn={LEVEL: drawn(1.0, 2.0, 3.0, 4.0, 5.0)},
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def alarms(**more: object) -> Alarms:
    numbers = count(1)
    return Alarms(replace(ASKED, **more), (LOW,), (), lambda: f"a{next(numbers)}")  # type: ignore[arg-type]
