"""Detectors that look together: the mean of their scores against one limit, and what each column has to do with it; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ml.anomaly_pca import Pca
from ml.anomaly_residual import Residual
from ml.anomaly_statistic import Distance, Following

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
    """

    parts: Mapping[str, Pca | Residual]
    limit: float

    def verdicts(self, device: str, values: Array) -> Verdicts:
        """Of a whole record. (T, C)."""
        return self._together([part.distance(device, values) for part in self.parts.values()])

    def begin(self, devices: Sequence[str]) -> tuple[Following, ...]:
        return tuple(part.begin(devices) for part in self.parts.values())

    def step(self, state: tuple[Following, ...], values: Array) -> tuple[tuple[Following, ...], Verdicts]:
        """One new sample of each device, (D, C), NaN where missing; what `verdicts` would say of it."""
        made = [part.step(each, values) for part, each in zip(self.parts.values(), state, strict=True)]
        return tuple(after for after, _ in made), self._together([distance for _, distance in made])

    def _together(self, distances: Sequence[Distance]) -> Verdicts:
        score = np.mean([d.score for d in distances], axis=0)
        known = np.isfinite(score)
        flagged = np.where(known, score, -np.inf) > self.limit
        contribution = np.where(known[:, None], np.mean([d.contribution for d in distances], axis=0), 0.0)
        missing = np.any([d.missing for d in distances], axis=0)
        return Verdicts(score, flagged, contribution, distances[0].deviation, missing, tuple(distances))

    def tensors(self) -> Mapping[str, NDArray[Any]]:
        named = {f"{name}.{key}": t for name, part in self.parts.items() for key, t in part.tensors().items()}
        return {**named, "limit": np.array([self.limit])}

    @classmethod
    def from_tensors(cls, devices: Sequence[str], tensors: Mapping[str, NDArray[Any]]) -> Self:
        parts = {}
        for name, kind in PARTS.items():
            own = {key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")}
            if own:
                parts[name] = kind.from_tensors(devices, own)
        return cls(parts, float(tensors["limit"][0]))
