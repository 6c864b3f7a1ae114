"""What replications say: quantiles, paired differences, event probabilities, each with its interval; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, scenario - baseline.

    Attributes:
        mean: of the differences.
        half_width: of the mean's t interval; infinite with a single pair.
        p_greater: share of pairs in which the scenario's figure is greater; pairs that tie are shared evenly.
        resolved: whether the interval excludes 0.
    """

    mean: float
    half_width: float
    p_greater: float
    resolved: bool


def fan(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pointwise quantiles of trajectories: (replications, times) -> (len(QUANTILES), times)."""
    quantiles: NDArray[np.float64] = np.quantile(samples, QUANTILES, axis=0)
    return quantiles


def half_width(samples: NDArray[np.float64], confidence: float = CONFIDENCE) -> float:
    """Half the t interval of the mean of (replications,)."""
    count = len(samples)
    if count < 2:
        return math.inf
    spread = float(np.std(samples, ddof=1))
    return float(special.stdtrit(count - 1, (1 + confidence) / 2)) * spread / math.sqrt(count)


def paired_difference(
    scenario: NDArray[np.float64], baseline: NDArray[np.float64], confidence: float = CONFIDENCE
) -> Difference:
    """Difference of two figures, one per replication and run with the same chance: (replications,) each."""
    differences = np.asarray(scenario - baseline, np.float64)
    mean, half = float(differences.mean()), half_width(differences, confidence)
    greater = float((differences > 0).mean() + 0.5 * (differences == 0).mean())
    return Difference(mean, half, greater, abs(mean) > half)


def wilson(hits: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of a probability seen as `hits` of `count` (Wilson, 1927): honest at 0 and 1 too."""
    z = float(special.ndtri((1 + confidence) / 2))
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    low = 0.0 if hits == 0 else max(0.0, centre - reach)
    high = 1.0 if hits == count else min(1.0, centre + reach)
    return low, high
