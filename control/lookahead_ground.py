"""What a forecast stands on, and why it no longer holds; pure: reads no clock, must not know who forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from control.observed import Held
from sim.told import flaws
from twin.columns import Columns, Snapshot
from twin.plant import Plant
from twin.points import Point
from twin.quality import good_mask

NAMED_MAX = 5  # points that one sentence names


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """A forecast can be true only as long as its start is known and settable points are what it took them for.

    Attributes:
        needed: points that its start was made of.
        stale_after_s: how old their readings may be.
        told: settable points that it took for given, and their rows, values and tolerances: shape (N,).
    """

    needed: tuple[Point, ...]
    stale_after_s: float
    needed_rows: NDArray[np.intp]
    told: tuple[str, ...]
    told_rows: NDArray[np.intp]
    value: NDArray[np.float64]
    tolerance: NDArray[np.float64]

    def broken(self, columns: Columns, now: int) -> str:
        """Why the forecast no longer holds; "" while it may.

        Args:
            now: ns since 1970 UTC.
        """
        read, good = columns.value[self.told_rows], good_mask(columns.quality[self.told_rows])
        moved = np.flatnonzero(good & (np.abs(read - self.value) > self.tolerance))
        why = [f"{self.told[k]} was set to {read[k]:g}" for k in moved[:NAMED_MAX]]
        rows = self.needed_rows
        old = columns.received_time[rows] < now - int(self.stale_after_s * 1e9)
        doubtful = np.flatnonzero(~good_mask(columns.quality[rows]) | old)
        why += flaws((self.needed[k] for k in doubtful[:NAMED_MAX]), self.stale_after_s, Snapshot(0, 0, now, columns))
        more = max(0, len(moved) - NAMED_MAX) + max(0, len(doubtful) - NAMED_MAX)
        return "; ".join([*why, *([f"{more} more points"] if more else [])])


def ground(plant: Plant, needed: Sequence[Point], stale_after_s: float, held: Mapping[str, Held]) -> Ground:
    """What a forecast stands on whose start was made of `needed` and which took `held` for given."""
    return Ground(
        tuple(needed),
        stale_after_s,
        np.array([p.id for p in needed], np.intp),
        tuple(held),
        np.array([plant.point(name).id for name in held], np.intp),
        np.array([known.value for known in held.values()], np.float64),
        np.array([known.tolerance for known in held.values()], np.float64),
    )
