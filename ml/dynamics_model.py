"""Trained dynamics with what they do not know: free runs from a few measured rows, intervals by step; must not train."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.dynamics_fit import fit
from ml.dynamics_physics import start_of
from ml.dynamics_runs import Batch, Stretch
from ml.model_file import ModelFile
from ml.training import Course
from twin.dynamics import PHYSICS, Dynamics, run

TASK = "dynamics"
ROUNDS = 12  # of the least squares that finds a first state
KNOWN_MIN = 0.5  # share of the first rows that must be measured
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rollout:
    """A free run, the rows that it began with included.

    Attributes:
        mean, low, high: (G, T, O), NaN from where an input is not known; the interval is that of `level`.
        sure: (G, T), False from the first input outside what was seen in training on: a free run finds no way back.
    """

    mean: Array
    low: Array
    high: Array
    sure: NDArray[np.bool_]


@dataclass(frozen=True)
class DynamicsModel:
    """
    Attributes:
        dynamics: with its memory, the measured rows that a run begins with.
        steps: ends of classes of steps ahead, (B,). margins: half of the interval in each, (B, O).
    """

    dynamics: Dynamics
    steps: NDArray[np.int64]
    margins: Array

    @property
    def lookback(self) -> int:
        return self.dynamics.memory

    @property
    def columns(self) -> tuple[str, ...]:
        form = self.dynamics.step.form
        return (*form.inputs, *form.outputs)

    def rollout(self, inputs: Array, outputs: Array) -> Rollout:
        """A free run over all rows, begun with the first `lookback` of `outputs`; later ones are not looked at.

        Args:
            inputs: (G, T, I). outputs: (G, lookback or more, O).
        """
        n = self.lookback
        known: NDArray[np.bool_] = np.asarray(np.isfinite(inputs).all(axis=2))  # (G, T)
        until = np.where(known.all(axis=1), known.shape[1], known.argmin(axis=1))  # rows before the first gap
        enough = np.isfinite(outputs[:, :n]).mean(axis=(1, 2)) >= KNOWN_MIN
        usable = (until >= n) & enough & np.asarray(np.isfinite(outputs[:, :n]).any(axis=1)).all(axis=1)
        mean = np.full((*inputs.shape[:2], len(self.dynamics.step.form.outputs)), np.nan)
        if usable.any():
            mean[usable] = self._run(np.nan_to_num(inputs[usable]), _filled(outputs[usable, :n]), outputs[usable, :n])
        mean[np.arange(inputs.shape[1])[None] > until[:, None]] = np.nan
        ahead = np.arange(inputs.shape[1]) - n  # 0: the first row that is told
        half = self.margins[np.clip(np.searchsorted(self.steps, ahead + 1), 0, len(self.steps) - 1)]  # (T, O)
        scales = self.dynamics.step.scales
        low, high = (np.clip(mean + side * half, scales.low.numpy(), scales.high.numpy()) for side in (-1, 1))
        return Rollout(mean, low, high, self._sure(inputs) & np.isfinite(mean).all(axis=2))

    def _run(self, inputs: Array, begins: Array, measured: Array) -> Array:
        """(G, T, I), (G, n, O) without gaps and as measured -> (G, T, O)."""
        u, runs, n = torch.from_numpy(inputs), len(inputs), self.lookback
        step, members = self.dynamics.step, self.dynamics.parameters
        start = torch.stack([self._first(p, inputs[:, :n], begins, measured) for p in members])  # (M, G, S + L)
        with torch.inference_mode():
            before, x = run(step, members, start, u[:, self._given - 1 : n])
            x = self._remembered(x, inputs[:, :n], begins)
            after, _ = run(step, members, x, u[:, n - 1 :])
        count = len(step.form.outputs)
        told = torch.cat([before, after[:, :, 1:]], dim=2).mean(dim=0).numpy()  # (G, T - given + 1, O)
        lead = begins[:, : self._given - 1]
        found: Array = np.concatenate([lead, told], axis=1)
        assert found.shape == (runs, inputs.shape[1], count)
        return found

    @property
    def _given(self) -> int:
        """Rows that are taken as measured: those that a linear model looks back."""
        return self.dynamics.step.form.lags

    def _first(self, p: Tensor, inputs: Array, begins: Array, measured: Array) -> Tensor:
        """The state of one member at row `given` - 1: lags as measured, others by least squares over the first rows."""
        step = self.dynamics.step
        form = step.form
        batch = Batch(torch.from_numpy(inputs), torch.from_numpy(measured))
        start = start_of(step, p, Batch(batch.inputs, torch.from_numpy(begins)), torch.zeros_like(p))
        if PHYSICS[form.physics].free(form):
            return fit(step, start, batch, ROUNDS, Course(), range(len(p))).states
        return self._lags(start.states, inputs[:, : self._given], begins[:, : self._given])

    def _lags(self, states: Tensor, inputs: Array, outputs: Array) -> Tensor:
        """The linear model's states where they are lags: the last of these rows is now. (G, lags, …)."""
        back = outputs.shape[1]
        parts = [outputs[:, back - 1 - k] for k in range(back)] + [inputs[:, back - 1 - k] for k in range(1, back)]
        known = torch.from_numpy(np.concatenate(parts, axis=1))
        return torch.cat([known, states[:, known.shape[1] :]], dim=1)

    def _remembered(self, x: Tensor, inputs: Array, begins: Array) -> Tensor:
        """After the first rows a linear model goes on from what was measured; its latent states stay."""
        if PHYSICS[self.dynamics.step.form.physics].free(self.dynamics.step.form):
            return x
        back = self._given
        return torch.stack([self._lags(each, inputs[:, -back:], begins[:, -back:]) for each in x])

    def _sure(self, inputs: Array) -> NDArray[np.bool_]:
        out = self.dynamics.strange(torch.from_numpy(inputs)).numpy()  # (G, T); NaN is strange
        return np.asarray(~np.logical_or.accumulate(out, axis=1))

    def of(self, runs: Sequence[Stretch]) -> list[Rollout]:
        """Each stretch as one free run from its first rows on."""
        return [self.rollout(r.inputs[None], r.outputs[None, : self.lookback]) for r in runs]

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        own = {"margins.steps": self.steps, "margins.half": self.margins}
        return {**self.dynamics.tensors(), **own}

    @classmethod
    def from_file(cls, file: ModelFile) -> Self:
        t, told = file.tensors, file.manifest.settings
        return cls(Dynamics.of(told, t), t["margins.steps"], t["margins.half"])


def _filled(outputs: Array) -> Array:
    """Gaps as the last value before them, or the first after; (G, n, O)."""
    filled = outputs.copy()
    for each in filled:
        for column in each.T:
            known = np.flatnonzero(np.isfinite(column))
            at = np.clip(np.searchsorted(known, np.arange(len(column)), side="right") - 1, 0, None)
            column[:] = column[known[at]]
    return filled
