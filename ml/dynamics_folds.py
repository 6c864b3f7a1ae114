"""What dynamics are judged by: parts of the data held out in turn, losses and intervals there; must not fit anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ml.contest import UNITS_MIN, blocks
from ml.dynamics_model import DynamicsModel
from ml.dynamics_runs import Batch, Stretch, cut
from ml.intervals import margin
from twin.dynamics import Dynamics
from twin.errors import BadRequest

LEAST = 3  # lookbacks: a shorter part of a stretch is not held out by itself
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Folds:
    """Stretches held out in turn.

    Attributes:
        held: those of each fold. lookback: measured rows that a free run begins with, and rows of a block.
    """

    held: Sequence[Sequence[Stretch]]
    lookback: int

    @classmethod
    def of(cls, runs: Sequence[Stretch], count: int, lookback: int) -> Folds:
        """Devices whole where there are enough of them, else parts of every stretch in time.

        Raises:
            BadRequest: too few rows to judge anything.
        """
        devices = list(dict.fromkeys(r.device for r in runs))
        held: list[list[Stretch]] = [[] for _ in range(count)]
        for n, run in enumerate(runs):
            if len(devices) >= 2 * count:
                held[devices.index(run.device) % count].append(run)
            elif len(run) >= count * LEAST * lookback:
                for k, part in enumerate(cut([run], -(-len(run) // count), 2)):
                    held[k % count].append(part)
            else:
                held[n % count].append(run)
        units = sum(max(0, len(r) - lookback) // lookback for some in held for r in some)
        if units < 2 * UNITS_MIN or not all(held):
            raise BadRequest(
                f"{sum(map(len, runs))} rows in {len(runs)} stretches without gaps: too few to hold some out",
                f"{count} folds of {LEAST * lookback} rows or more; or set fewer folds, or a smaller lookback",
            )
        return cls(held, lookback)

    def apart(self, fold: int) -> list[Stretch]:
        return [run for k, held in enumerate(self.held) if k != fold for run in held]

    def losses(self, models: Sequence[Dynamics]) -> Array:
        """Mean squared error in spreads, block by block, of free runs through what each model did not see."""
        found = []
        for dynamics, held in zip(models, self.held, strict=True):
            spread = dynamics.step.scales.spread.numpy()
            for run in held:
                told = bare(dynamics).rollout(run.inputs[None], run.outputs[None]).mean[0]
                squared = ((told - run.outputs) / spread) ** 2
                known = np.isfinite(squared).any(axis=1)
                mean = np.where(known, np.nanmean(np.where(known[:, None], squared, 0.0), axis=1), np.nan)
                found.append(blocks(mean[self.lookback :], self.lookback))
        return np.concatenate(found)

    def margins(self, models: Sequence[Dynamics], horizon: int, level: float) -> tuple[NDArray[np.int64], Array]:
        """What free runs begun every half lookback missed, by classes of steps ahead that double.

        Returns:
            Ends of the classes (B,), half-widths (B, O): never narrower for more steps.
        """
        n, outputs = self.lookback, len(models[0].step.form.outputs)
        ends = np.unique(np.append(2 ** np.arange(int(np.log2(horizon)) + 1), horizon)).astype(np.int64)
        errors: list[list[Array]] = [[np.empty((0, outputs))] for _ in ends]
        for dynamics, held in zip(models, self.held, strict=True):
            some = [r.between(p, p + n + horizon) for r in held for p in range(0, len(r) - n, max(1, n // 2))]
            batch = Batch.of(some)
            inputs, truth = batch.inputs.numpy(), batch.outputs.numpy()
            missed = np.abs(bare(dynamics).rollout(inputs, truth).mean - truth)[:, n:]  # (G, H, O)
            for b, end in enumerate(ends):
                errors[b].append(missed[:, ends[b - 1] if b else 0 : end].reshape(-1, outputs))
        found = np.stack([_margin(np.concatenate(e), level) for e in errors])  # (B, O)
        return ends, np.maximum.accumulate(found, axis=0)


def bare(dynamics: Dynamics) -> DynamicsModel:
    """Without margins."""
    return DynamicsModel(dynamics, np.array([1]), np.zeros((1, len(dynamics.step.form.outputs))))


def range_of(runs: Sequence[Stretch]) -> torch.Tensor:
    """Smallest and largest of each input, (2, I)."""
    inputs = np.concatenate([r.inputs for r in runs])
    return torch.from_numpy(np.stack([inputs.min(axis=0), inputs.max(axis=0)]))


def _margin(missed: Array, level: float) -> Array:
    whole = missed[np.isfinite(missed).all(axis=1)]
    if not len(whole):
        return np.zeros(missed.shape[1])
    found = margin(whole, level)
    return np.where(np.isfinite(found), found, whole.max(axis=0))
