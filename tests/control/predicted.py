"""A prediction whose numbers can be followed by hand: one tank over 400 s, sampled every 100 s."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from control.observed import Held, Track
from control.prediction import Effect, Fan, Prediction, Risk

MADE_AT = 1_700_000_000_000_000_000
CLOCK_S = 36_000.0
TIMES_S = (0.0, 100.0, 200.0, 300.0, 400.0)
LEVEL, PUMP, LAKE = "tank.level", "pump.status", "lake.status"


def risk(probability: float = 0.2, baseline: float = 0.0, worse: bool = True, limit: str = f"{LEVEL}<2") -> Risk:
    by = (0.0, 0.0, probability / 4, probability / 2, probability)
    return Risk(limit, probability, probability / 2, min(1.0, 2 * probability), baseline, worse, by)


def prediction(**more: object) -> Prediction:
    """With the command the level is about 3 m (1 … 5), without it about 6 m (4 … 8); it starts at 6 m."""
    made = Prediction(
        command="c1", point=PUMP, value=0.0, made_at=MADE_AT, clock_s=CLOCK_S, horizon_s=400.0, at_s=0.0, assumed="",
        seed=7, replications=200, state_hash="s", model_hash="m", risks=(risk(),),
        effects=(Effect(LEVEL, "m", -3.0, -3.2, -2.8), Effect("energy_kwh", "kWh", -5.0, -6.0, -4.0)),
        held={PUMP: Held(1.0, 0.0), LAKE: Held(0.0, 0.0)}, started={LEVEL: 6.0}, noise={}, units={LEVEL: "m"},
        times_s=TIMES_S, fans={LEVEL: _flat(1.0, 2.0, 3.0, 4.0, 5.0)}, without={LEVEL: _flat(4.0, 5.0, 6.0, 7.0, 8.0)},
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def _flat(*rows: float) -> Fan:
    return tuple((row,) * len(TIMES_S) for row in rows)


def at(plant_s: float) -> int:
    """When the plant's clock showed this many seconds after the start: it runs ten times as fast as ours."""
    return MADE_AT + int(plant_s / 10 * 1e9)


def track(*readings: tuple[float, float] | tuple[float, float, bool]) -> Track:
    """(plant seconds after the start, value[, good]) in order."""
    rows = [(t, v, more[0] if more else True) for t, v, *more in readings]
    return Track(
        np.array([at(t) for t, _, _ in rows], np.int64),
        np.array([v for _, v, _ in rows], np.float64),
        np.array([g for _, _, g in rows], np.bool_),
    )


def clock_to(plant_s: float) -> Track:
    """The clock told every 50 s up to then."""
    return track(*((t, CLOCK_S + t) for t in np.arange(50.0, plant_s + 1, 50.0).tolist()))
