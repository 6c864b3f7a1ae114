"""What a forecast remembers beyond its window: a GRU that takes one sample at a time and corrects the ridge; pure, no torch.

Each sample brings its memory one step further, so that a served device costs one step and not a window (80 times less).
From the memory comes, for each step ahead and column, what is added to the ridge's forecast, and by what factor the ridge's
usual errors are stretched, below and above: quantiles cannot cross, and untrained it is the ridge.
GRU: Cho et al., EMNLP 2014, in the form of cuDNN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

FAR = 5.0  # spreads; a value or a change beyond says no more than that
STRETCH = 3.0  # largest logarithm of a stretch: twentyfold
Array = NDArray[np.float64]
Single = NDArray[np.float32]
PREFIX = "recurrent."


@dataclass(frozen=True, slots=True)
class Recurrent:
    """
    Attributes:
        taken, kept: weights of the inputs, (3 M, 3 C), and of the memory, (3 M, M): reset, update, new below each other.
        bias: of all three, (3 M, 1). inner: of the memory within the new one, (M, 1).
        correction: (H, C, M + 1), the last for itself. stretch: (H, C, 2, M + 1), below and above.
        around: the ridge's errors, (H, C, Q), not above 0 below the median nor below 0 above it.
    """

    taken: Single
    kept: Single
    bias: Single
    inner: Single
    correction: Single
    stretch: Single
    around: Array

    @property
    def memory(self) -> int:
        return int(self.kept.shape[1])

    def after(self, runs: Single) -> Single:
        """Memory after each sample of runs that begin with none: (R, T, C) scaled -> (R, T, M)."""
        cell = Cell(self, len(runs))
        memory = np.zeros((self.memory, len(runs)), np.float32)
        last = np.full((runs.shape[2], len(runs)), np.nan, np.float32)
        made = np.empty((len(runs), runs.shape[1], self.memory), np.float32)
        for t in range(runs.shape[1]):
            new = runs[:, t].T
            memory = cell.step(memory, new, last)
            last = np.where(np.isfinite(new), new, last)
            made[:, t] = memory.T
        return made

    def corrected(self, mean: Array, memory: Single) -> tuple[Array, Array]:
        """The ridge's forecasts with what the memory adds: (N, H, C), (N, M) -> the same, and quantiles (N, H, C, Q)."""
        more = np.einsum("nm,hcm->nhc", memory, self.correction[..., :-1], optimize=True) + self.correction[..., -1]
        told = mean + more
        log = np.einsum("nm,hcsm->nhcs", memory, self.stretch[..., :-1], optimize=True) + self.stretch[..., -1]
        factor = np.exp(np.clip(log, -STRETCH, STRETCH))  # (N, H, C, 2)
        sides = [0 if k < self.around.shape[2] / 2 else 1 for k in range(self.around.shape[2])]
        return told, told[..., None] + factor[..., sides] * self.around

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        return {f"{PREFIX}{name}": getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Self:
        return cls(*(tensors[f"{PREFIX}{name}"] for name in cls.__slots__))


class Cell:
    """The GRU for up to `count` devices at once, with room for what it works out: memory asked for anew at each step would
    cost more than the sums. Gates are halves of tanh, so that one product and two passes of tanh make a step."""

    def __init__(self, model: Recurrent, count: int) -> None:
        size, inputs = model.memory, model.taken.shape[1]
        self.size, self.inputs = size, inputs
        weights = np.zeros((4 * size, inputs + size + 1), np.float32)  # reset, update, new of the inputs, of the memory
        gates, new, own = slice(0, 2 * size), slice(2 * size, 3 * size), slice(3 * size, 4 * size)
        weights[gates, :inputs], weights[gates, inputs:-1] = model.taken[gates] / 2, model.kept[gates] / 2
        weights[gates, -1:] = model.bias[gates] / 2
        weights[new, :inputs], weights[new, -1:] = model.taken[new], model.bias[new]
        weights[own, inputs:-1], weights[own, -1:] = model.kept[new], model.inner
        self.weights = weights
        self._given = np.empty((inputs + size + 1) * count, np.float32)
        self._made = np.empty(4 * size * count, np.float32)

    def step(self, memory: Single, values: Single, last: Single) -> Single:
        """What is remembered after one more sample.

        Its inputs are each value, its change, and whether it was measured; 0 where it was not.

        Args:
            memory: (M, n). values: scaled, NaN where missing, (C, n). last: known ones, (C, n).
        """
        count, size = values.shape[1], self.size
        given = self._given[: (self.inputs + size + 1) * count].reshape(-1, count)
        made = self._made[: 4 * size * count].reshape(-1, count)
        columns = len(values)
        value, change, known = (given[k * columns : (k + 1) * columns] for k in range(3))
        np.clip(values, -FAR, FAR, out=value)
        np.subtract(values, last, out=change)
        np.clip(change, -FAR, FAR, out=change)
        np.equal(values, values, out=known, casting="unsafe")  # not NaN
        missing = np.isnan(change)
        if missing.any():
            change[missing] = 0.0
            value[np.isnan(value)] = 0.0
        given[self.inputs : -1], given[-1] = memory, 1.0
        np.dot(self.weights, given, out=made)
        gates, new, own = made[: 2 * size], made[2 * size : 3 * size], made[3 * size :]
        np.tanh(gates, out=gates)
        gates *= 0.5
        gates += 0.5
        own *= gates[:size]
        new += own
        np.tanh(new, out=new)
        after: Single = memory - new
        after *= gates[size:]
        after += new
        return after


def states(model: Recurrent, runs: Sequence[Array], rows: Sequence[NDArray[np.intp]]) -> Single:
    """Memories at these rows of each run, one below the other: (N, M)."""
    longest = max(len(run) for run in runs)
    padded = np.full((len(runs), longest, runs[0].shape[1]), np.nan, np.float32)
    for k, run in enumerate(runs):
        padded[k, : len(run)] = run
    memory = model.after(padded)
    return np.concatenate([memory[k, some] for k, some in enumerate(rows)])
