"""Figures of many replications on the compiled kernel, and intervals around their means, for tests of truth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sim.components.library import LIBRARY
from sim.kernel.assembly import assemble
from sim.kernel.compiler import Kernel
from sim.kernel.ensemble import Ask, pairs, replicate
from sim.kernel.names import Names
from sim.layout import Layout
from tests.sim.kernels import library

GRID = np.empty(0)


def figures(
    layout: Layout, wanted: Sequence[str], horizon: float, replications: int, *, seed: int = 3, kernel: Kernel | None = None
) -> NDArray[np.float64]:  # fmt: skip
    """Figures at the horizon, shape (replications, wanted)."""
    assembly = assemble(layout, seed=seed, types=LIBRARY if kernel is None else None)
    names = Names(assembly)
    readings = [names.reading(name) for name in wanted]
    ask = Ask(horizon, pairs([(r.kind, r.index) for r in readings]), GRID, pairs([]))
    runs = replicate(kernel or library(), assembly, ask, 0, replications)
    found: NDArray[np.float64] = runs.figures / np.array([horizon if r.mean else 1.0 for r in readings])
    return found


def trajectories(
    layout: Layout, watched: Sequence[str], grid: NDArray[np.float64], replications: int, *, seed: int = 3
) -> NDArray[np.float32]:
    """What is read at the moments of the grid, shape (replications, moments, watched)."""
    assembly = assemble(layout, seed=seed, types=LIBRARY)
    names = Names(assembly)
    readings = [names.reading(name) for name in watched]
    ask = Ask(float(grid[-1]), pairs([]), grid, pairs([(r.kind, r.index) for r in readings]))
    return replicate(library(), assembly, ask, 0, replications).samples


def interval(values: NDArray[np.float64], confidence: float = 0.99) -> tuple[float, float]:
    """Student's interval around the mean of independent values."""
    half = stats.sem(values) * stats.t.ppf(0.5 + confidence / 2, len(values) - 1)
    return float(values.mean() - half), float(values.mean() + half)


def assert_holds(values: NDArray[np.float64], exact: float, within: float) -> None:
    """The exact figure lies in the 99 % interval, and that is narrow enough to say something.

    Args:
        within: largest half-width allowed, relative to the exact figure.
    """
    low, high = interval(values)
    assert low <= exact <= high, f"{exact:.6g} outside {low:.6g} … {high:.6g}"
    assert (high - low) / 2 <= within * abs(exact), f"too wide to say anything: {low:.6g} … {high:.6g} for {exact:.6g}"
