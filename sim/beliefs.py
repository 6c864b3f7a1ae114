"""What people believe of parameters, as quantiles and spread samples; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.kernel.chance import inverse
from sim.spec import Distribution
from sim.streams import stream
from twin.errors import BadRequest

Belief = Distribution | tuple[float, float]
"""A distribution of a parameter, or its 10 and 90 % quantiles (between and beyond them: uniform)."""


def quantile(belief: Belief, p: float) -> float:
    """The number that is not exceeded with probability p."""
    if isinstance(belief, Distribution):
        return inverse(*belief.law, 1 - p)
    low, high = belief
    if not low <= high:
        raise BadRequest(f"a belief of {low:g} … {high:g}", "give the 10 % quantile, then the 90 % quantile")
    return low + (high - low) * (p - 0.1) / 0.8


def spread(beliefs: Mapping[str, Belief], count: int, seed: int) -> Sequence[Mapping[str, float]]:
    """A Latin hypercube of so many draws; every parameter has a stream of its own."""
    columns: dict[str, NDArray[np.float64]] = {}
    for name in beliefs:
        chance = stream(seed, f"belief.{name}")
        columns[name] = (chance.permutation(count) + chance.uniform(size=count)) / count
    return [{name: quantile(belief, float(columns[name][k])) for name, belief in beliefs.items()} for k in range(count)]
