"""Runs that dynamics are learned from: stretches without gaps, cut to one length; must not know models.

A row whose inputs are not known, or a step of another length, ends a stretch. An output that is not known is not scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ml.records import DataSet, constant
from twin.dynamics import Scales
from twin.errors import BadRequest

LATE = 0.1  # share of a step by which a sample may be late before it ends a stretch
SATURATED = 3  # samples in a row at the largest value of all: there the sensor or the vessel ends
JUMP = 3.0  # spreads of an output's own steps: the largest correction of one step
MARGIN = 0.5  # of its range: how far an output may run outside what was seen
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Rows that follow each other in equal steps, inputs known.

    Attributes:
        device: whose. inputs: (T, I). outputs: (T, O), NaN where not known.
    """

    device: str
    inputs: Array
    outputs: Array

    def __len__(self) -> int:
        return len(self.inputs)

    def between(self, first: int, after: int) -> Stretch:
        return Stretch(self.device, self.inputs[first:after], self.outputs[first:after])


@dataclass(frozen=True, slots=True)
class Batch:
    """Stretches side by side, the shorter ones filled up; (G, T, …).

    Attributes:
        outputs: NaN where not known or filled up.
    """

    inputs: Tensor
    outputs: Tensor

    @classmethod
    def of(cls, stretches: Sequence[Stretch]) -> Batch:
        longest = max(map(len, stretches))
        inputs = np.stack([np.pad(s.inputs, ((0, longest - len(s)), (0, 0)), mode="edge") for s in stretches])
        fill = [np.full((longest - len(s), s.outputs.shape[1]), np.nan) for s in stretches]
        outputs = np.stack([np.concatenate([s.outputs, f]) for s, f in zip(stretches, fill, strict=True)])
        return cls(torch.from_numpy(inputs), torch.from_numpy(outputs))


def step_of(data: DataSet, said_s: float) -> tuple[float, float]:
    """(seconds of a step for the model, difference of times of one row)."""
    gaps = np.concatenate([np.diff(r.time_s) for r in data.records]) if data.records else np.empty(0)
    if not len(gaps):
        raise BadRequest("no record has two rows", "give records in equal steps")
    usual = float(np.median(gaps))
    return said_s or usual, usual


def stretches(data: DataSet, inputs: Sequence[str], outputs: Sequence[str], gap: float, least: int) -> list[Stretch]:
    """Of all records, each at least `least` rows long, from a row on at which all is known.

    Args:
        gap: difference of times of rows that follow each other.
    """
    u, y = (np.array([data.column(n) for n in group], np.intp) for group in (inputs, outputs))
    found: list[Stretch] = []
    for record in data.records:
        known: NDArray[np.bool_] = np.asarray(np.isfinite(record.values[:, u]).all(axis=1))
        torn = np.append(np.abs(np.diff(record.time_s) - gap) > LATE * gap, True) | ~known  # after this row
        first = 0
        for end in np.flatnonzero(torn):
            rows = np.arange(first, end + (1 if known[end] else 0))
            first = int(end) + 1
            told = np.isfinite(record.values[np.ix_(rows, y)]).all(axis=1)
            if told.any():
                rows = rows[int(told.argmax()) :]
                if len(rows) >= least:
                    found.append(Stretch(record.device, record.values[np.ix_(rows, u)], record.values[np.ix_(rows, y)]))
    return found


def checked(data: DataSet, inputs: Sequence[str], outputs: Sequence[str]) -> DataSet:
    """Only the columns that are used.

    Raises:
        BadRequest: no roles, a column that is both, missing, or that tells nothing.
    """
    if not outputs or not inputs:
        names = ", ".join(data.columns)
        raise BadRequest("which columns are inputs and outputs?", f"--set inputs=… --set outputs=…, of {names}")
    both = set(inputs) & set(outputs)
    if both or len({*inputs, *outputs}) < len(inputs) + len(outputs):
        raise BadRequest(f"{', '.join(sorted(both)) or 'a column'} twice among inputs and outputs", "once each")
    used = data.having((*inputs, *outputs))
    if still := constant(used):
        raise BadRequest(f"{', '.join(still)} never moves or was never measured", "leave it out")
    return used


def cut(runs: Sequence[Stretch], length: int, least: int) -> list[Stretch]:
    """Pieces of at most `length` rows that together are all; each begins where all outputs are known."""
    found: list[Stretch] = []
    for run in runs:
        count = max(1, -(-len(run) // length))
        edges = np.linspace(0, len(run), count + 1).astype(int).tolist()
        for first, after in pairwise(edges):
            told = np.isfinite(run.outputs[first:after]).all(axis=1)
            if told.any() and (after - first - int(told.argmax())) >= least:
                found.append(run.between(first + int(told.argmax()), after))
    return found


def scales_of(runs: Sequence[Stretch]) -> Scales:
    """Of the rows of all stretches."""
    inputs, outputs = (np.concatenate([getattr(r, name) for r in runs]) for name in ("inputs", "outputs"))
    moves = np.concatenate([np.diff(r.outputs, axis=0) for r in runs])
    low, high = np.nanmin(outputs, axis=0), np.nanmax(outputs, axis=0)
    room = MARGIN * (high - low)
    end = [low - room, high + room]
    for side, edge in enumerate((low, high)):
        for k in range(outputs.shape[1]):
            if any(_stays(r.outputs[:, k], edge[k]) for r in runs):
                end[side][k] = edge[k]
    mean, spread = np.nanmean(outputs, axis=0), np.nanstd(outputs, axis=0)
    input_mean, input_spread = inputs.mean(axis=0), inputs.std(axis=0)
    found = (end[0], end[1], mean, spread, input_mean, input_spread, JUMP * np.nanstd(moves, axis=0))
    return Scales(*(torch.from_numpy(np.asarray(a, np.float64)) for a in found))


def _stays(values: Array, edge: float) -> bool:
    """Whether it is exactly there several samples in a row."""
    there = np.append(values == edge, False)
    return bool(np.convolve(there, np.ones(SATURATED), "valid").max(initial=0.0) >= SATURATED)
