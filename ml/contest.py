"""Whether a challenger beats the champion on data that neither saw: a paired test; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from twin.errors import BadRequest

UNITS_MIN = 5  # pairs: a t of fewer says nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """The challenger against the champion.

    Attributes:
        gain: mean loss of the champion less that of the challenger; above 0 the challenger is better.
        half_width: of the gain's two-sided interval.
        p: chance of such a gain or more if there is none.
        units: pairs: devices, runs or blocks of time.
    """

    gain: float
    half_width: float
    p: float
    units: int
    better: bool
    reason: str


def judge(champion: NDArray[np.float64], challenger: NDArray[np.float64], level: float = 0.95) -> Verdict:
    """Losses unit by unit, shape (U,); a unit is a device or a block of time longer than errors remember.

    Raises:
        BadRequest: too few units.
    """
    gain = champion - challenger
    units = len(gain)
    _enough(units)
    return judged(float(gain.mean()), float(gain.std(ddof=1)), units, level)


def judged(mean: float, deviation: float, units: int, level: float = 0.95) -> Verdict:
    """The same from the mean and the deviation of the gains, where nobody has them all.

    Raises:
        BadRequest: too few units.
    """
    _enough(units)
    error = deviation / math.sqrt(units)
    t = mean / error if error > 0 else math.copysign(math.inf, mean) if mean else 0.0
    p = float(special.stdtr(units - 1, -t))
    half = float(special.stdtrit(units - 1, 0.5 + level / 2)) * error
    better = p < 1 - level
    word = "beats" if better else "does not beat"
    reason = f"the challenger {word} the champion: gain {mean:.4g} ± {half:.2g}, p = {p:.3g}, {units} units"
    return Verdict(mean, half, p, units, better, reason)


def _enough(units: int) -> None:
    if units < UNITS_MIN:
        raise BadRequest(f"{units} held-out devices or blocks", f"{UNITS_MIN} or more tell two models apart")


def blocks(loss: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Means of blocks of so many moments, so that errors which follow each other count once. (T,) -> (T // length,)."""
    count = len(loss) // length
    means: NDArray[np.float64] = loss[: count * length].reshape(count, length).mean(axis=1)
    return means
