"""How customers' demand may go on from what is measured now: sampled multipliers; must not know networks or points.

log multiplier = level + walk; level stays, walk is AR(1). Both are Gaussian, so the measured sum splits in closed form.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sim.model import DemandBelief
from sim.streams import stream


def sample_multipliers(
    belief: DemandBelief, measured: float | None, steps: int, step_s: float, seed: int, replication: int
) -> NDArray[np.float64]:
    """One path of the demand multiplier, shape (steps,): the value that holds in each step.

    Args:
        measured: the multiplier measured at the start; None when the meters do not tell, then the prior holds.
    """
    chance = stream(seed, "demand.start", replication).standard_normal(2)
    level, walk = _split_start(belief, measured, chance[0], chance[1])
    kept = math.exp(-step_s / belief.correlation_s)
    pushes = (
        belief.walk_sd * math.sqrt(1 - kept * kept) * stream(seed, "demand.walk", replication).standard_normal(steps)
    )
    path = np.empty(steps)
    for k in range(steps):
        path[k] = walk
        walk = kept * walk + pushes[k]
    return np.exp(level + path)


def _split_start(belief: DemandBelief, measured: float | None, first: float, second: float) -> tuple[float, float]:
    """(level, walk) at the start, from the prior or from its posterior given their measured sum."""
    if measured is None:
        return belief.level_sd * first, belief.walk_sd * second
    total = math.log(measured) + belief.measured_sd * first
    variance = belief.level_sd**2 + belief.walk_sd**2
    share = belief.level_sd**2 / variance if variance > 0 else 1.0
    level = share * total + belief.level_sd * math.sqrt(1 - share) * second
    return level, total - level
