"""Forecasts held against what then came: remembered for each device until the sample that they were about; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ml.told import Settled

OUTSTANDING_MAX = 8  # forecasts of a device that wait, for each step ahead: of more that overlap no more is learnt
Single = NDArray[np.float32]
Places = NDArray[np.intp]
Where = slice | Places  # devices; slice(None) is all of them, without a copy


class Reckoning:
    """What N devices were told of C columns, A steps ahead, all scaled by the spreads of training.

    Of a step far ahead only every so many-th forecast is kept, so that at most OUTSTANDING_MAX wait.

    Args:
        level: that intervals promise.
    """

    def __init__(self, columns: int, ahead: Sequence[int], devices: int, level: float) -> None:
        self.ahead = tuple(ahead)
        self.low, self.high = (1 - level) / 2, (1 + level) / 2
        self.stride = [-(-h // OUTSTANDING_MAX) for h in ahead]
        slots = [-(-h // stride) for h, stride in zip(ahead, self.stride, strict=True)]
        self.waiting = [np.full((n, 3, columns, devices), np.nan, np.float32) for n in slots]
        self.count = np.zeros(devices, np.intp)  # samples so far

    def forget(self, where: Where) -> None:
        for waiting in self.waiting:
            waiting[:, :, :, where] = np.nan

    def settle(self, truth: Single, where: Where) -> tuple[Settled, Single]:
        """The sample that has come, (C, n), NaN where missing: what was told of it, and which intervals held.

        Returns:
            Means of each device, and 1, 0 or NaN for each interval, shape (A, C, n).
        """
        held = np.full((len(self.ahead), *truth.shape), np.nan, np.float32)
        sums, count = np.zeros((3, truth.shape[1])), np.zeros(truth.shape[1])
        for k, (h, stride, waiting) in enumerate(zip(self.ahead, self.stride, self.waiting, strict=True)):
            for slot, rows, here in self._kept(where, -h, stride, len(waiting)):
                mean, low, high = self._of(waiting, slot, here)  # (C, m) each
                now = truth[:, rows]
                gap = now - mean
                inside = ((low <= now) & (now <= high)).astype(np.float32)
                loss = _quantile_loss(now - low, self.low) + _quantile_loss(now - high, self.high)
                known = gap == gap  # not NaN
                if not known.all():
                    gap, loss = np.where(known, gap, np.float32(0)), np.where(known, loss, np.float32(0))
                    held[k][:, rows], inside = np.where(known, inside, np.float32(np.nan)), inside * known
                else:
                    held[k][:, rows] = inside
                for total, part in zip(sums, (gap * gap, loss * np.float32(0.5), inside), strict=True):
                    total[rows] += part.sum(axis=0)
                count[rows] += known.sum(axis=0)
        with np.errstate(invalid="ignore"):
            return Settled(*(sums / count)), held

    def told(self, mean: Single, low: Single, high: Single, where: Where) -> None:
        """What is told after that sample, each (A, C, n); the count goes on."""
        for k, (stride, waiting) in enumerate(zip(self.stride, self.waiting, strict=True)):
            for slot, rows, here in self._kept(where, 0, stride, len(waiting)):
                for part, new in enumerate((mean, low, high)):
                    if isinstance(slot, int):
                        waiting[slot, part][:, here] = new[k][:, rows]
                    else:
                        waiting[slot, part, :, here] = new[k][:, rows].T
        self.count[where] += 1

    def _kept(
        self, where: Where, back: int, stride: int, slots: int
    ) -> Iterator[tuple[int | Places, slice | Places, Where]]:
        """Where the forecasts that were told `back` samples ago lie, of the devices of which they were kept: slot, rows,
        devices."""
        sample = self.count[where] + back
        if not len(sample):
            return
        if (sample == sample[0]).all():
            if sample[0] >= 0 and sample[0] % stride == 0:
                yield int(sample[0]) // stride % slots, slice(None), where
            return
        rows = np.flatnonzero((sample >= 0) & (sample % stride == 0))
        if len(rows):
            yield sample[rows] // stride % slots, rows, rows if isinstance(where, slice) else where[rows]

    @staticmethod
    def _of(waiting: Single, slot: int | Places, here: Where) -> Single:
        """(3, C, m)."""
        found: Single = (
            waiting[slot][:, :, here] if isinstance(slot, int) else waiting[slot, :, :, here].transpose(1, 2, 0)
        )
        return found


def _quantile_loss(gap: Single, level: float) -> Single:
    loss: Single = np.maximum(level * gap, (level - 1) * gap)
    return loss
