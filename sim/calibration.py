"""A parameter that nobody measures, found from a figure that somebody does; must not know backends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.experiment import replicate
from sim.kpi import values
from sim.question import Question
from sim.runner import Runner
from sim.scenario import Intervention, Scenario
from sim.whatif import Base, job_of, lent
from twin.errors import BadRequest

STEPS_MAX = 30  # halvings: the interval shrinks to a billionth, or the figure is met within its own noise before


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A parameter at which the model shows what was observed.

    Attributes:
        error: standard error: of the observation and of the simulation, over how steeply the figure answers.
        figure: the model's mean there.
    """

    parameter: str
    value: float
    error: float
    figure: float
    steps: int


def calibrate(
    base: Base, parameter: str, low: float, high: float, kpi: str, observed: float, *, observed_error: float = 0.0,
    horizon: str | float, replications: int = 512, seed: int = 1, runner: Runner | None = None, **asked: Any,
) -> Calibrated:  # fmt: skip
    """Where between `low` and `high` the figure's mean is as observed. The figure must rise or fall all the way.

    All values are simulated with the same chance, so that the mean is a steady function of the parameter.

    Args:
        observed_error: standard error of the observation.
        asked: more of `sim.whatif.job_of`.

    Raises:
        BadRequest: the observation is not between what the two ends show.
    """
    if not low < high:
        raise BadRequest(f"{parameter} from {low:g} to {high:g}", "give the smaller one first")
    job = job_of(base, (), Question(kpis=(kpi,)), horizon=horizon, seed=seed, **asked)
    with lent(runner) as hired:

        def shown(*numbers: float) -> NDArray[np.float64]:
            arms = [Scenario(f"{x!r}", (Intervention(0.0, parameter, x),)) for x in numbers]
            some = job.asking(arms)
            block, _ = replicate(some, Question(replications), hired)
            return np.stack([values(some, block, s, kpi) for s in range(len(arms))])

        ends = shown(low, high).mean(axis=1) - observed
        if not ends[0] * ends[1] <= 0:
            told = ", ".join(f"{kpi} = {e + observed:g} at {x:g}" for e, x in zip(ends, (low, high), strict=True))
            raise BadRequest(f"{observed:g} is not between the ends: {told}", "widen the range, or doubt the model")
        at, steps = (low, high), 0
        while True:
            middle, steps = 0.5 * (at[0] + at[1]), steps + 1
            found = shown(middle)[0]
            gap, noise = float(found.mean()) - observed, float(found.std(ddof=1)) / math.sqrt(replications)
            if steps >= STEPS_MAX or abs(gap) <= 0.05 * noise:
                break
            at = (middle, at[1]) if gap * ends[0] > 0 else (at[0], middle)
        reach = 0.05 * (high - low)
        sides = shown(max(low, middle - reach), min(high, middle + reach)).mean(axis=1)
    slope = (sides[1] - sides[0]) / (min(high, middle + reach) - max(low, middle - reach))
    error = math.hypot(observed_error, noise) / abs(slope) if slope else math.inf
    return Calibrated(parameter, middle, error, gap + observed, steps)
