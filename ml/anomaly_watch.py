"""Detectors that look together: the mean of their scores against one limit, and what each column has to do with it; pure.

Before they look, values are scaled under their operating condition where there are several, and after a gap in time the
detectors begin anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.anomaly_pca import Pca
from ml.anomaly_residual import Residual
from ml.anomaly_statistic import Distance, Following, Memory
from ml.scaling import Scaler

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
PARTS: Mapping[str, type[Pca] | type[Residual]] = {"pca": Pca, "residual": Residual}


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Of N samples, of one device or of many.

    Attributes:
        score: shape (N,), comparable between devices; NaN is no verdict: nothing was measured, or the memory of the
            detectors is not yet filled.
        flagged: shape (N,), the score is over the limit. Never true without a verdict.
        contribution: shape (N, C), how much of the squared distance goes if the column were what the others make it.
        deviation: shape (N, C), smoothed, over its spread in good data, with its sign; NaN where missing.
        missing: shape (N, C), columns that the score was made without.
        distances: of each detector.
    """

    score: Array
    flagged: Mask
    contribution: Array
    deviation: Array
    missing: Mask
    distances: tuple[Distance, ...]


@dataclass(frozen=True, slots=True)
class Watch:
    """
    Attributes:
        parts: by name, rows of PARTS.
        limit: of the mean score.
        gap_s: time without a sample after which the memory begins anew.
        conditions: scales values under their operating condition; None where there is one.
    """

    parts: Mapping[str, Pca | Residual]
    limit: float
    gap_s: float = math.inf
    conditions: Scaler | None = None

    def verdicts(self, device: str, values: Array, time_s: Array | None = None) -> Verdicts:
        """Of a whole record. (T, C), and (T,) if gaps are to be noticed."""
        values = self._comparable(values)
        gaps = np.zeros(0) if time_s is None else np.diff(time_s)
        cuts = np.flatnonzero(gaps > self.gap_s) + 1
        spans = np.split(values, cuts)  # of (T', C)
        return self._together([_joined([part.distance(device, v) for v in spans]) for part in self.parts.values()])

    def begin(self, devices: Sequence[str]) -> tuple[Following, ...]:
        return tuple(part.begin(devices) for part in self.parts.values())

    def step(
        self, state: tuple[Following, ...], values: Array, time_s: Array | None = None
    ) -> tuple[tuple[Following, ...], Verdicts]:
        """One new sample of each device, (D, C), NaN where missing; what `verdicts` would say of it.

        Args:
            time_s: of each device's sample, shape (D,); without it no gap is noticed.
        """
        values = self._comparable(values)
        if time_s is not None:
            state = tuple(_after_gaps(each, time_s, self.gap_s) for each in state)
        made = [part.step(each, values) for part, each in zip(self.parts.values(), state, strict=True)]
        return tuple(after for after, _ in made), self._together([distance for _, distance in made])

    def _comparable(self, values: Array) -> Array:
        return values if self.conditions is None else self.conditions.scaled(values)

    def _together(self, distances: Sequence[Distance]) -> Verdicts:
        score = np.mean([d.score for d in distances], axis=0)
        known = np.isfinite(score)
        flagged = np.where(known, score, -np.inf) > self.limit
        contribution = np.where(known[:, None], np.mean([d.contribution for d in distances], axis=0), 0.0)
        missing = np.any([d.missing for d in distances], axis=0)
        return Verdicts(score, flagged, contribution, distances[0].deviation, missing, tuple(distances))

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        named = {f"{name}.{key}": t for name, part in self.parts.items() for key, t in part.tensors().items()}
        if self.conditions is not None:
            named |= {f"conditions.{key}": t for key, t in self.conditions.tensors().items()}
        return {**named, "limit": np.array([self.limit]), "gap_s": np.array([self.gap_s])}

    @classmethod
    def from_tensors(cls, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        parts: dict[str, Pca | Residual] = {}
        for name, kind in PARTS.items():
            own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            if own:
                parts[name] = kind.from_tensors(devices, own)
        told = {key.removeprefix("conditions."): t for key, t in tensors.items() if key.startswith("conditions.")}
        conditions = Scaler.from_tensors(told) if told else None
        gap_s = float(tensors["gap_s"][0]) if "gap_s" in tensors else math.inf  # of files written before gaps counted
        return cls(parts, float(tensors["limit"][0]), gap_s, conditions)


def _joined(spans: Sequence[Distance]) -> Distance:
    """One after the other."""
    if len(spans) == 1:
        return spans[0]
    return Distance(*(np.concatenate([getattr(d, f.name) for d in spans]) for f in fields(Distance)))


def _after_gaps(state: Following, time_s: Array, gap_s: float) -> Following:
    """Devices that were not heard of for too long have no past."""
    long = time_s - state.time_s > gap_s  # (D,), false of a first sample: NaN
    known = np.where(np.isfinite(time_s), time_s, state.time_s)
    if not long.any():
        return replace(state, time_s=known)
    kept = np.where(long, 0.0, 1.0)[:, None]  # (D, 1)
    memory = Memory(state.memory.total * kept, state.memory.weight * kept)
    window, seen = state.window * kept[:, None], np.where(long, 0, state.seen)
    return Following(state.row, window, seen, memory, known)
