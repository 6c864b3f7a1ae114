"""Intervals that hold as often as they say: quantiles that never cross, conformal margins, adaption under drift; pure.

Split conformal: Vovk et al.; conformalised quantiles: Romano, Patterson and Candès, NeurIPS 2019. Adaption: Gibbs and
Candès, "Adaptive conformal inference under distribution shift", NeurIPS 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def rising(raw: Tensor) -> Tensor:
    """Quantiles that cannot cross: the first as it is, each next one above it. (..., Q) -> (..., Q)."""
    steps = torch.nn.functional.softplus(raw[..., 1:])  # (..., Q - 1)
    return torch.cat([raw[..., :1], raw[..., :1] + steps.cumsum(dim=-1)], dim=-1)  # (..., Q)


def margin(excess: Array, level: float) -> Array:
    """How far an interval must be widened (or may be narrowed) to hold `level` of what was held out.

    Args:
        excess: max(low - truth, truth - high) of each held-out device or moment, shape (N, ...).

    Returns:
        Shape (...); inf where N is too small to promise the level.
    """
    n = len(excess)
    rank = math.ceil((n + 1) * level)
    if rank > n:
        return np.full(excess.shape[1:], math.inf)
    return np.asarray(np.partition(excess, rank - 1, axis=0)[rank - 1])


def excess(low: Array, high: Array, truth: Array) -> Array:
    """How far the truth lies outside, negative inside."""
    return np.maximum(low - truth, truth - high)


@dataclass(frozen=True, slots=True)
class Adaption:
    """A level that follows what comes: it widens after misses and narrows after hits.

    Attributes:
        level: promised. now: asked of the margin at present, from 0 to 1. pace: of the adaption.
    """

    level: float
    now: float
    pace: float = 0.01

    def after(self, held: bool) -> Adaption:
        """Whether the newest truth lay inside."""
        missed = 0.0 if held else 1.0
        now = self.now + self.pace * (missed - (1 - self.level))
        return Adaption(self.level, min(1.0, max(0.0, now)), self.pace)
