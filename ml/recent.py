"""The last samples of many devices, gaps filled as `windows.filled` fills them, kept up to date by what comes; pure.

Filling a window anew for each sample costs its length. Here a gap is filled when it opens, and once more when the value
that filled it leaves the window: then it takes the first one after it. So the window is at all times what `filled` makes
of it (a test compares them), and a weighted sum over it is a product of matrices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Single = NDArray[np.float32]
Places = NDArray[np.intp]
Where = slice | Places  # devices; slice(None) is all of them, without a copy


class Recent:
    """A ring of L samples of N devices; devices may rest, each has its own place in it.

    Shapes have devices last: a new sample of all of them is one stretch of memory for each column.
    """

    def __init__(self, columns: int, length: int, devices: int) -> None:
        self.length = length
        self.values = np.zeros((columns, length, devices), np.float32)
        self.known = np.zeros((columns, length, devices), np.bool_)
        self.count = np.zeros((columns, devices), np.int32)  # of known samples in the window
        self.slot = np.zeros(devices, np.intp)  # of the newest sample

    def forget(self, where: Where) -> None:
        """Nothing was ever measured there. The slot stays: it has no meaning of its own."""
        self.known[:, :, where] = False
        self.values[:, :, where] = 0.0
        self.count[:, where] = 0

    def take(self, values: Single, where: Where) -> None:
        """One new sample of these devices, none of them twice: (C, n), NaN where missing."""
        slot = self._slot(where)
        next_slot = (slot + 1) % self.length
        if not isinstance(slot, int):
            where = _devices(where, np.arange(len(slot)))
        known = np.isfinite(values)  # (C, n)
        leaving = self.known[:, next_slot, where].copy()
        count = self.count[:, where] - leaving
        alone = known & (count == 0)  # nothing else is known: it fills the whole window
        self.values[:, next_slot, where] = np.where(known, values, self.values[:, slot, where])
        self.known[:, next_slot, where] = known
        count += known
        self.count[:, where] = count
        self.slot[where] = next_slot
        if alone.any():
            c, n = np.nonzero(alone)
            self.values[c, :, _devices(where, n)] = values[c, n][:, None]
        oldest = (next_slot + 1) % self.length
        opened = leaving & ~self.known[:, oldest, where] & (count > 0)
        if opened.any():
            c, n = np.nonzero(opened)
            self._refill(
                c, _devices(where, n), oldest[n] if isinstance(oldest, np.ndarray) else np.full(len(n), oldest)
            )

    def _refill(self, c: Places, n: Places, oldest: Places) -> None:
        """The gap that the window begins with takes the first value after it. Each (m,)."""
        slots = (oldest[:, None] + np.arange(self.length)) % self.length  # (m, L), oldest first
        first = self.known[c[:, None], slots, n[:, None]].argmax(axis=1)  # (m,)
        value = self.values[c, slots[np.arange(len(c)), first], n]
        row, k = np.nonzero(np.arange(self.length) < first[:, None])
        self.values[c[row], slots[row, k], n[row]] = value[row]

    def window(self, where: Where) -> Single:
        """(n, L, C), oldest first, gaps filled; NaN for a column of which nothing is known."""
        found = np.where(self.count[:, where][:, None] > 0, self._ordered(where), np.float32(np.nan))
        return np.ascontiguousarray(found.transpose(2, 1, 0))

    def newest(self, where: Where) -> Single:
        """(C, n), gaps filled."""
        slot = self._slot(where)
        found: Single = self.values[:, slot, where if isinstance(slot, int) else _devices(where, np.arange(len(slot)))]
        return found

    def summed(self, weights: Single, where: Where) -> Single:
        """Weighted sums over the windows, weights oldest first: (C, A, L) -> (A, C, n)."""
        slot = self._slot(where)
        if isinstance(slot, int):
            values = self.values[:, :, where]
            weights = np.roll(weights, (slot + 1) % self.length, axis=2)  # as the ring lies
        else:
            values = self._ordered(where)
        made = np.empty((weights.shape[1], len(values), values.shape[2]), np.float32)
        for c, column in enumerate(values):
            for a, row in enumerate(weights[c]):
                np.dot(row, column, out=made[a, c])  # twice as fast as all at once, which packs the window first
        return made

    def share(self, where: Where) -> Single:
        """Of the window that is known, (C, n)."""
        return np.asarray(self.count[:, where] / np.float32(self.length), np.float32)

    def _slot(self, where: Where) -> int | Places:
        """Of the newest sample: one number where all are at the same."""
        slots: Places = self.slot[where]
        return int(slots[0]) if len(slots) and (slots == slots[0]).all() else slots

    def _ordered(self, where: Where) -> Single:
        """(C, L, n), oldest first."""
        slots = (self.slot[where] + 1 + np.arange(self.length)[:, None]) % self.length  # (L, n)
        found: Single = self.values[:, slots, _devices(where, np.arange(slots.shape[1]))]
        return found


def _devices(where: Where, rows: Places) -> Places:
    return rows if isinstance(where, slice) else where[rows]
