"""What is looked at between events, and what was seen; plain arrays, must not know names or points."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Arrays = tuple[Floats, NDArray[np.int64], Floats, Floats, Floats]


def _none(*shape: int) -> Floats:
    return np.empty(shape)


@dataclass(frozen=True, slots=True)
class Watch:
    """What is looked at between events, by number.

    Attributes:
        images: what the first P of the watched readings are told as, shape (p, m): a state as one number for each of its
            values, anything else times the first.
        limits: whose image, and which sign of `sim.kernel.loop`, shape (l, 2).
        bounds: in what is told, shape (l,).
    """

    images: Floats = field(default_factory=lambda: _none(0, 1))
    limits: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    bounds: Floats = field(default_factory=lambda: _none(0))


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of it.

    Attributes:
        extremes: the least and the most of each image, shape (r, p, 2).
        passed: when each limit was first passed, in the layout's unit, inf never; shape (r, l).
    """

    watch: Watch
    extremes: Floats
    passed: Floats

    @classmethod
    def nothing(cls, watch: Watch, count: int) -> Seen:
        """Room for so many replications, of which nothing was seen yet."""
        extremes = np.empty((count, len(watch.images), 2))
        extremes[..., 0], extremes[..., 1] = math.inf, -math.inf
        return cls(watch, extremes, np.full((count, len(watch.limits)), math.inf))

    def of(self, first: int, count: int = 1) -> Seen:
        """The room of those replications: what is written there is written here."""
        rows = slice(first, first + count)
        return Seen(self.watch, self.extremes[rows], self.passed[rows])

    @property
    def arrays(self) -> Arrays:
        """As `sim.kernel.loop.observe` takes them."""
        flat = self.extremes.reshape(-1, 2)
        return self.watch.images, self.watch.limits, self.watch.bounds, flat, self.passed
