"""What people believe of parameters, as quantiles and spread samples; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sim.kernel.chance import inverse
from sim.spec import Distribution
from sim.streams import stream
from twin.errors import BadRequest

Belief = Distribution | tuple[float, float]
"""A distribution of a parameter, or its 10 and 90 % quantiles (between and beyond them: uniform)."""


_RANGE = re.compile(r"\s*(?P<name>[A-Za-z]\w*(?:\.\w+)*)\s*=\s*(?P<low>\S+?)\s*\.\.\s*(?P<high>\S+)\s*", re.ASCII)


def parse_range(text: str) -> tuple[str, str, str]:
    """`filler.mtbf.mean=20..40`: the name and both ends, which are finite numbers, as they were written.

    Raises:
        BadRequest: not of that form.
    """
    match = _RANGE.fullmatch(text)
    if match is None or not (_finite(match["low"]) and _finite(match["high"])):
        raise BadRequest(f"range {text!r} is not understood", "write NAME=LOW..HIGH, such as filler.mtbf.mean=20..40")
    return match["name"], match["low"], match["high"]


def parse_beliefs(texts: Sequence[str]) -> dict[str, Belief]:
    """Of each parameter its 10 and 90 % quantiles, as `parse_range` reads them.

    Raises:
        BadRequest: not of that form, the wrong way round, or a parameter comes twice.
    """
    found: dict[str, Belief] = {}
    for text in texts:
        name, low, high = parse_range(text)
        if name in found:
            raise BadRequest(f"{name} has two ranges", "give it one")
        found[name] = float(low), float(high)
        quantile(found[name], 0.5)
    return found


def _finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


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
