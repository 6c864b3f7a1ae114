"""Forecasts for many devices, sample by sample: what is told, held against what comes, intervals that follow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ml.forecast_model import COVERED, MISSING_MAX, ForecastModel, model_of
from ml.intervals import Adaption
from ml.model_file import ModelFile
from ml.recent import Recent, Where
from ml.reckoning import Reckoning
from ml.recurrent import STRETCH, Cell, Recurrent
from ml.told import Array, Kind, Mask, Output, Places, Settled, Told, no_reasons
from twin.errors import BadRequest

Single = NDArray[np.float32]
BLOCK = 2500  # devices: windows of 64 samples of 8 columns are 5 MB; measured best of 500 … 5,000
MEMORY_REACH = 128  # samples after which a memory that began with nothing tells the same; see docs/forecast.md
PARTS = ((Kind.MEAN, ""), (Kind.LOW, "_low"), (Kind.HIGH, "_high"))


class ForecastFollower:
    """A row of `serving.FOLLOWERS`.

    Devices are brought up to date BLOCK at a time: what is worked out for them stays in the processor's cache, and no
    product is so large that it would be shared between threads, which on a busy machine wait for each other.
    """

    def __init__(self, file: ModelFile, devices: Sequence[str], ahead: Sequence[int]) -> None:
        model = model_of(file)
        horizon, columns = model.margins.shape
        ahead = tuple(ahead) or tuple(sorted({1, horizon}))
        if list(ahead) != sorted(set(ahead)) or not 1 <= ahead[0] <= ahead[-1] <= horizon:
            raise BadRequest(f"{ahead} samples ahead", f"1 … {horizon}, rising: the model tells no others")
        steps, self._devices = _Steps(model, ahead), len(devices)
        self._blocks = [_Block(model, steps, min(BLOCK, self._devices - k)) for k in range(0, self._devices, BLOCK)]
        self._shape = (len(ahead), columns, len(PARTS))
        self.reach = steps.reach
        self.outputs = _outputs(file, ahead)

    def step(self, time_s: Array, values: Array, at: Places) -> Told:
        told, sure = np.empty((*self._shape, len(at))), np.empty((*self._shape, len(at)), np.bool_)  # (A, C, 3, n)
        settled = Settled(*(np.empty(len(at)) for _ in range(3)))
        for block, where, rows in self._parts(at):
            told[..., rows], sure[..., rows], found = block.step(values[rows], where)
            settled.squared[rows], settled.pinball[rows], settled.held[rows] = found.squared, found.pinball, found.held
        count = len(self.outputs)
        return Told(told.reshape(count, len(at)).T, sure.reshape(count, len(at)).T, no_reasons(len(at)), settled)

    def forget(self, at: Places) -> None:
        for block, where, _ in self._parts(at):
            block.forget(where)

    def _parts(self, at: Places) -> Iterator[tuple[_Block, Where, slice | Places]]:
        """Blocks with their devices that are meant, and the rows of those in `at`."""
        everyone = len(at) == self._devices and bool((at == np.arange(len(at))).all())
        order = np.arange(len(at)) if everyone else np.argsort(at, kind="stable")
        edges = np.searchsorted(at[order], np.arange(0, self._devices + BLOCK, BLOCK))
        for k, (block, (begin, end)) in enumerate(zip(self._blocks, itertools.pairwise(edges), strict=False)):
            rows: slice | Places = slice(int(begin), int(end)) if everyone else order[begin:end]
            if end - begin == block.devices:
                yield block, slice(None), rows
            elif end > begin:
                yield block, at[rows] - k * BLOCK, rows


class _Block:
    """What is kept of some devices."""

    def __init__(self, model: ForecastModel, steps: _Steps, devices: int) -> None:
        columns, ahead = len(steps.size), steps.ahead
        self.devices, self._model, self._steps = devices, model, steps
        self._recent = Recent(columns, model.ridge.lookback, devices)
        self._reckoning = Reckoning(columns, ahead, devices, COVERED)
        self._adaption = Adaption(COVERED)
        self._wider = np.zeros((len(ahead), columns, devices), np.float32)  # (A, C, N)
        self._odd = np.zeros((columns, devices), np.int32)  # samples for which an odd one still counts
        self._memory = _Memory.of(model, ahead, devices)

    def step(self, values: Array, where: Where) -> tuple[Array, Mask, Settled]:
        """What is told (A, C, 3, n), whether it is sure, (A, C, 1, n), and how good it was."""
        steps = self._steps
        new = np.ascontiguousarray(self._model.scaler.scaled(values).T, np.float32)  # (C, n)
        settled, held = self._reckoning.settle(new, where)
        wider = self._adaption.after(self._wider[:, :, where], held)  # (A, C, n)
        self._recent.take(new, where)
        odd = np.where((new < steps.least) | (new > steps.most), steps.reach, np.maximum(self._odd[:, where] - 1, 0))
        known = self._recent.share(where) > 1 - MISSING_MAX  # (C, n)
        mean, low, high = self._tell(new, where)
        more = wider * (high - low)
        whole = np.stack([mean, low - more, high + more], axis=2)  # (A, C, 3, n)
        if not known.all():
            whole[:, ~known[:, None].repeat(len(PARTS), axis=1)] = np.nan
        self._reckoning.told(whole[:, :, 0], whole[:, :, 1], whole[:, :, 2], where)
        self._wider[:, :, where], self._odd[:, where] = wider, odd
        odd = odd if self._memory is None else odd.max(axis=0, keepdims=True)  # what is remembered is of all columns
        sure = known & (odd == 0) & (wider < self._adaption.most)  # (A, C, n)
        return whole * steps.size[..., None] + steps.middle[..., None], sure[:, :, None], settled

    def forget(self, where: Where) -> None:
        self._recent.forget(where)
        self._reckoning.forget(where)
        self._wider[:, :, where] = 0.0
        self._odd[:, where] = 0
        if self._memory is not None:
            self._memory.forget(where)

    def _tell(self, new: Single, where: Where) -> tuple[Single, Single, Single]:
        """Mean, low and high after a new sample, scaled, each (A, C, n)."""
        steps = self._steps
        if self._model.network is not None:
            return self._asked(where)
        mean = self._recent.summed(steps.weights, where)  # (A, C, n)
        mean += steps.bias
        mean += steps.rest * self._recent.newest(where)
        if self._memory is not None:
            return self._memory.corrected(mean, new, where)
        return mean, mean + steps.low, mean + steps.high

    def _asked(self, where: Where) -> tuple[Single, Single, Single]:
        """Of a network that sees whole windows."""
        mean, quantiles = self._model.scaled(self._recent.window(where).astype(np.float64))
        rows = [h - 1 for h in self._steps.ahead]
        parts = (mean[:, rows], quantiles[:, rows, :, 0], quantiles[:, rows, :, -1])  # (n, A, C)
        told, low, high = (np.asarray(p.transpose(1, 2, 0), np.float32) for p in parts)
        return told, low, high


class _Memory:
    """What a recurrent forecast remembers of N devices, (M, N), and the last known values, (C, N)."""

    def __init__(self, model: Recurrent, heads: Single, around: Single, margins: Single, devices: int) -> None:
        self._cell, self._heads, self._around, self._margins = Cell(model, devices), heads, around, margins
        self._memory = np.zeros((model.memory, devices), np.float32)
        self._last = np.full((around.shape[2], devices), np.nan, np.float32)

    @classmethod
    def of(cls, model: ForecastModel, ahead: Sequence[int], devices: int) -> _Memory | None:
        if model.recurrent is None:
            return None
        rows, own = [h - 1 for h in ahead], model.recurrent
        parts = (own.correction[rows], own.stretch[rows, :, 0], own.stretch[rows, :, 1])  # (A, C, M + 1) each
        heads = np.stack(parts).reshape(-1, own.memory + 1)  # (3 A C, M + 1)
        around = own.around[rows][..., [0, 1, -2, -1]].transpose(2, 0, 1)[..., None]  # (4, A, C, 1)
        return cls(own, _single(heads), _single(around), _single(model.margins[rows][..., None]), devices)

    def forget(self, where: Where) -> None:
        self._memory[:, where], self._last[:, where] = 0.0, np.nan

    def corrected(self, mean: Single, new: Single, where: Where) -> tuple[Single, Single, Single]:
        """As `Recurrent.corrected` and `ForecastModel.widened`, of what is told: each (A, C, n)."""
        last = self._last[:, where]
        memory = self._cell.step(self._memory[:, where], new, last)
        self._memory[:, where] = memory
        self._last[:, where] = np.where(np.isfinite(new), new, last)
        told = self._heads[:, :-1] @ memory + self._heads[:, -1:]  # (3 A C, n)
        more, below, above = told.reshape(3, *mean.shape)
        below, above = (np.exp(np.clip(log, -STRETCH, STRETCH)) for log in (below, above))
        mean = mean + more
        outer, second, third, last_one = self._around
        low, high = outer * below - self._margins, last_one * above + self._margins
        # A margin below 0 may turn quantiles around: then they are put in order, as `widened` does.
        lowest = np.minimum(np.minimum(low, second * below), high)
        highest = np.maximum(np.maximum(high, third * above), low)
        return mean, mean + lowest, mean + highest


class _Steps:
    """The ridge at the steps that are told, in single precision.

    Attributes:
        weights: of what was seen, oldest first, (C, A, L). rest: of the newest, bias: each (A, C, 1).
        low, high: of the interval around the mean, (A, C, 1).
        middle, size: that scale it back, (C, 1). least, most: scaled values beyond which one is odd, (C, 1).
        reach: samples that fill the memory.
    """

    def __init__(self, model: ForecastModel, ahead: Sequence[int]) -> None:
        rows = [h - 1 for h in ahead]
        chosen = model.ridge.weights[:, :, rows].transpose(0, 2, 1)  # (C, A, L + 1)
        self.ahead, self.weights = tuple(ahead), _single(chosen[..., :-1])
        self.bias = _single(chosen[..., -1].T[..., None])
        # What was seen counts less the newest, which is added again.
        self.rest = _single(1.0 - chosen[..., :-1].sum(axis=2).T[..., None])
        around = model.widened(model.spread)[rows]  # (A, C, Q)
        self.low, self.high = _single(around[..., :1]), _single(around[..., -1:])
        deviation = model.scaler.deviation[0]
        self.middle = model.scaler.mean[0][:, None]
        self.size = np.where(np.isfinite(deviation), deviation, 0.0)[:, None]
        self.reach = max(model.ridge.lookback, MEMORY_REACH if model.recurrent is not None else 0)
        self.least, self.most = (_single(bound[:, None]) for bound in model.bounds)


def _single(values: NDArray[Any]) -> Single:
    return np.ascontiguousarray(values, np.float32)


def _outputs(file: ModelFile, ahead: Sequence[int]) -> tuple[Output, ...]:
    columns = file.manifest.columns
    units = file.manifest.units or ("",) * len(columns)
    step_s = float(file.manifest.settings.get("step_s", 0.0))
    return tuple(
        Output(f"{column}_{_span(h, step_s)}{suffix}", unit, kind, column, h, level=_level(kind))
        for h in ahead
        for column, unit in zip(columns, units, strict=True)
        for kind, suffix in PARTS
    )


def _level(kind: Kind) -> float:
    return float("nan") if kind is Kind.MEAN else COVERED


def _span(ahead: int, step_s: float) -> str:
    """In a point's name: seconds, or how many samples ahead where no step is known."""
    if not step_s:
        return f"next{ahead}"
    span_s = round(ahead * step_s, 3)
    return f"{span_s:.0f}s" if span_s == int(span_s) else f"{span_s * 1000:.0f}ms"
