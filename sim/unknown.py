"""Draws of what is not measured: named streams, one uniform a draw, ages as one finds them; must not know a plant."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.kernel.chance import CONSTANT, inverse, normal_quantile, philox, survival, unit
from sim.layout import stream_name
from sim.spec import Law

AGES = 400  # points of the table of an age's distribution: errors of some 1e-4 of the mean
BLOCK = 256  # replications whose draws of one name are made at once: some 1 µs each instead of 20
BLOCKS_MAX = 2048  # of 8 kB each: of a hundred names over five thousand replications
TAIL = 1e-9  # of a lifetime that the table leaves out


class Chance:
    """Draws of one replication. Each name has a stream of its own, so that one thing more changes no other's draws."""

    def __init__(self, seed: int, replication: int) -> None:
        self._seed = seed
        self._block, self._place = divmod(replication, BLOCK)

    def uniform(self, name: str, count: int = 0) -> float:
        """In (0, 1); the same for ever for this seed, replication, name and count."""
        return _uniforms(self._seed, name, count, self._block)[self._place]

    def draw(self, name: str, law: Law, count: int = 0) -> float:
        return inverse(*law, self.uniform(name, count))

    def normal(self, name: str) -> float:
        return normal_quantile(self.uniform(name))

    def pick(self, name: str, likely: Mapping[str, float]) -> str:
        """One of the names, each as likely as it says."""
        u, seen = self.uniform(name), 0.0
        for value, probability in likely.items():
            seen += probability
            if u < seen:
                return value
        return list(likely)[-1]

    def age(self, name: str, law: Law, least: float = 0.0, most: float = float("inf")) -> float:
        """How long something of this lifetime has lasted when one comes at any time; known to lie in a range.

        The density of the age is the survival function over its mean (renewal theory; Cox 1962, section 5.2).
        """
        u = self.uniform(name)
        if law[0] == CONSTANT:
            low, high = min(least, law[1]), min(most, law[1])
            return low + u * (high - low)
        ages, mass = _ages(law)
        low, high = np.interp((least, most), ages, mass)
        if high <= low:
            return least
        return float(np.interp(low + u * (high - low), mass, ages))


@lru_cache(maxsize=BLOCKS_MAX)
def _uniforms(seed: int, name: str, count: int, block: int) -> list[float]:
    """The uniforms of BLOCK replications."""
    low, high = stream_name(name, "start")
    replications: Any = np.arange(block * BLOCK, (block + 1) * BLOCK, dtype=np.uint64)
    a, b, _, _ = philox(count, low, replications, high, seed & 0xFFFFFFFF, seed >> 32)
    uniforms: Any = unit(a, b)
    found: list[float] = uniforms.tolist()
    return found


@lru_cache(maxsize=1024)
def _ages(law: Law) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ages and the integral of the survival function up to them, each shape (n,)."""
    odds = np.concatenate([np.linspace(1 - 1e-12, 0.01, AGES // 2), np.geomspace(0.01, TAIL, AGES // 2)])
    ages = np.unique([0.0, *(inverse(*law, float(u)) for u in odds)])
    alive = np.array([survival(*law, float(x)) for x in ages])
    mass = np.concatenate([[0.0], np.cumsum(0.5 * (alive[1:] + alive[:-1]) * np.diff(ages))])
    return ages, mass
