"""Intervals that hold as often as they say: quantiles that never cross, conformal margins, adaption under drift; pure.

Split conformal: Vovk et al.; conformalised quantiles: Romano, Patterson and Candès, NeurIPS 2019. Adaption: Gibbs and
Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021, in the form named at `Adaption`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]


def rising(raw: Tensor) -> Tensor:
    """Quantiles that cannot cross: the first as it is, each next one above it. (..., Q) -> (..., Q)."""
    import torch  # who serves a ridge has no need of its 190 MB

    steps = torch.nn.functional.softplus(raw[..., 1:])  # (..., Q - 1)
    return torch.cat([raw[..., :1], raw[..., :1] + steps.cumsum(dim=-1)], dim=-1)  # (..., Q)


def margin(excess: Array, level: float) -> Array:
    """How far an interval must be widened (or may be narrowed) to hold `level` of what is to come.

    The excess of rank r among N holds a new one with chance r / (N + 1). Between two ranks it goes in a line: rounded up
    instead, 30 devices would hold .93 where .90 is promised.

    Args:
        excess: max(low - truth, truth - high) of each held-out device or moment, shape (N, ...); NaN where not known.

    Returns:
        Shape (...); inf where too few are known to promise the level.
    """
    known = (~np.isnan(excess)).sum(axis=0)  # (...)
    ordered = np.sort(excess, axis=0)  # what is not known lies last
    place = np.round((known + 1) * level, 9)  # 10 x 0.9 is 9, not a little more
    rank = np.floor(place).astype(np.intp)
    below, above = (np.clip(r, 0, np.maximum(known - 1, 0)) for r in (rank - 1, rank))
    low, high = (np.take_along_axis(ordered, np.asarray(r)[None], axis=0)[0] for r in (below, above))
    return np.asarray(np.where(np.ceil(place) <= known, low + np.maximum(place - rank, 0.0) * (high - low), math.inf))


def excess(low: Array, high: Array, truth: Array) -> Array:
    """How far the truth lies outside, negative inside."""
    return np.maximum(low - truth, truth - high)


@dataclass(frozen=True, slots=True)
class Adaption:
    """Intervals that follow what comes: wider after misses, narrower after hits, so that they hold as often as promised.

    In the long run they hold `level` of the time whatever comes, as long as no width is at its limit (quantile tracking:
    Angelopoulos, Candès and Tibshirani, "Conformal PID control for time series prediction", NeurIPS 2023). In the short run
    they are late: it takes 1 / (0.9 `pace`) misses in a row to add one width.

    Attributes:
        level: promised. pace: share of an interval's width that a miss adds, and hits take back.
        least, most: widths that may be added; half a width less would be no interval, and one that has grown fivefold
            says that the model no longer fits.
    """

    level: float
    pace: float = 0.02
    least: float = -0.4
    most: float = 4.0

    def after(self, wider: NDArray[Any], held: NDArray[Any]) -> NDArray[Any]:
        """What is added on each side, in widths, after the newest truth: `held` is 1 where it lay inside, 0 outside, NaN
        where it is not known; any shape, of both the same."""
        moved = wider + self.pace * (self.level - held)
        return np.where(np.isnan(held), wider, np.clip(moved, self.least, self.most))
