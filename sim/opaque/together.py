"""Replications in lock-step: each goes on by one stride and then the next does, so that their networks step in one call.

Whoever runs them in another order gets the same numbers, only later.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sim.kernel.assembly import Assembly
from sim.kernel.interpreter import Interpreter
from sim.kernel.watch import Seen
from sim.layout import Layout
from sim.opaque.component import Stepped
from sim.opaque.network import Network


def abreast(layout: Layout) -> int:
    """How many replications gain by running together: the rows of its networks; 1 when it has none."""
    kinds = [kind.cls for kind in layout.types]
    return max(
        (cls.model.rows for cls in kinds if issubclass(cls, Stepped) and isinstance(cls.model, Network)), default=1
    )


def stride(assembly: Assembly) -> float:
    """The shortest step of the networks of a layout; 0 when it has none."""
    steps = [
        assembly.world.number[assembly.places[c.number].number + c.type.draw_at(c.type.chances[0])]
        for c in assembly.layout.components
        if issubclass(c.type.cls, Stepped) and isinstance(c.type.cls.model, Network)
    ]
    return min(steps, default=0.0)


def run_together(
    runs: Sequence[Interpreter], horizon: float, grid: NDArray[np.float64], watched: NDArray[np.int64],
    seen: Seen | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """Samples of all, shape (r, t, p), as each one's `run` would give them.

    Args:
        seen: room of all for what is seen between events.

    Raises:
        Fault: in one of them a component did what cannot be.
    """
    samples = np.empty((len(runs), len(grid), len(watched)), np.float32)
    if not runs:
        return samples
    to, step, done = runs[0].world.now, stride(runs[0].assembly) or horizon, 0
    while True:  # first to where they stand, so that all have begun
        upto = len(grid) if to >= horizon else int(np.searchsorted(grid, to, side="right"))
        for r, run in enumerate(runs):
            samples[r, done:upto] = run.run(to, grid[done:upto], watched, seen and seen.of(r))
        if to >= horizon:
            return samples
        to, done = min(horizon, to + step), upto
