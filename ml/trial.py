"""A trial of a model: the protocol in words, a figure a seed, the bar and the floor, and how it is told; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_MAX = 2_000  # single results of a seed: what a person looks at; figures are of all
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Seed:
    """What one seed gave.

    Attributes:
        figures: by name; lower is better unless the name says otherwise.
        raw: what figures were made of, plain lists, for others to check.
    """

    seed: int
    figures: Mapping[str, float]
    seconds: float
    raw: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """Several seeds of one model on data that training never saw, opened once.

    Attributes:
        model: kind of it; `floor` the same figures of the plain model beside it.
        protocol: what was split how, what is scored, in a sentence or two.
    """

    task: str
    model: str
    data: str
    protocol: str
    seeds: Sequence[Seed]
    floor: Mapping[str, float] = field(default_factory=dict)
    floor_model: str = ""

    def mean(self, figure: str) -> float:
        return float(np.mean([s.figures[figure] for s in self.seeds]))

    def spread(self, figure: str) -> float:
        """Standard deviation over the seeds; 0 of one."""
        return float(np.std([s.figures[figure] for s in self.seeds], ddof=1)) if len(self.seeds) > 1 else 0.0

    @property
    def figures(self) -> tuple[str, ...]:
        return tuple(self.seeds[0].figures)

    def to_json(self) -> dict[str, Any]:
        told = {name: {"mean": self.mean(name), "sd": self.spread(name)} for name in self.figures}
        return {**asdict(self), "seeds": [asdict(s) for s in self.seeds], "figures": told}


def kept(
    truth: Array, told: Array, low: Array | None = None, high: Array | None = None,
    device: Sequence[str] | None = None, level: float = 0.9, by: str = "device", most: int = KEPT_MAX,
) -> dict[str, Any]:  # fmt: skip
    """Single results for `Seed.raw`, evenly thinned, each (N,): what a report plots.

    Args:
        low, high: of the interval that promises `level`. device: whose each is; `by`: what that is called.
    """
    places = np.unique(np.linspace(0, max(0, len(truth) - 1), min(most, len(truth))).astype(np.intp)).tolist()
    columns = {"truth": truth, "told": told, "low": low, "high": high}
    found: dict[str, Any] = {n: [_plain(v[k]) for k in places] for n, v in columns.items() if v is not None}
    if device is not None:
        found["device"] = [device[k] for k in places]
    return {**found, "level": level, "by": by, "of": len(truth)}


def _plain(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
