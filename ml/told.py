"""What a device is told by a model, sample by sample: the words that every served task shares; must not know tasks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]


class Kind(StrEnum):
    """What a number is, so that screens and alarms know how to take it."""

    MEAN = "mean"
    LOW = "low"  # of the interval around the mean before it
    HIGH = "high"
    SCORE = "score"  # higher is worse, against Output.limit
    FLAG = "flag"  # 0 or 1


@dataclass(frozen=True, slots=True)
class Output:
    """One number that a device is told of.

    Attributes:
        name: of the point, without the device: `life`, `score`, `flow_600s_low`.
        column: that it forecasts; "" for the device as a whole.
        ahead: samples from now to the moment that it is about; 0: now.
        limit: of a score, above which its flag is up; NaN else.
        level: of the interval, for LOW and HIGH; NaN else.
    """

    name: str
    unit: str
    kind: Kind
    column: str = ""
    ahead: int = 0
    limit: float = float("nan")
    level: float = float("nan")


@dataclass(frozen=True, slots=True)
class Settled:
    """How good earlier forecasts of these samples were, of N devices; NaN where nothing came due.

    Attributes:
        squared: mean over columns and steps ahead of the squared error in spreads of training, shape (N,).
        pinball: the same of the quantile loss of low and high, shape (N,).
        held: share of their intervals that held, shape (N,).
    """

    squared: Array
    pinball: Array
    held: Array


@dataclass(frozen=True, slots=True)
class Told:
    """What N devices are told.

    Attributes:
        values: shape (N, O), in the units of the outputs; NaN where nothing may be told.
        sure: shape (N, O); False where the inputs lie outside what training saw, too much is missing, or `values` is NaN:
            quality Uncertain, or Bad for NaN.
        why: columns that contribute most, as places in `Served.columns`, the first one most, -1: none; shape (N, W), W = 0
            for a task that gives no reasons.
        settled: None for a task whose truth does not come with the next samples.
    """

    values: Array
    sure: Mask
    why: NDArray[np.int16]
    settled: Settled | None = None


def no_reasons(count: int) -> NDArray[np.int16]:
    return np.empty((count, 0), np.int16)


class Follower(Protocol):
    """A task's model that keeps what it remembers of many devices: rows of `serving.FOLLOWERS` make one.

    Attributes:
        reach: samples that fill its memory.
    """

    @property
    def outputs(self) -> tuple[Output, ...]: ...

    @property
    def reach(self) -> int: ...

    def step(self, time_s: Array, values: Array, at: Places) -> Told:
        """One new sample of the devices `at`: (N,), (N, C) NaN where nothing good was measured."""
        ...

    def forget(self, at: Places) -> None:
        """Begin anew with these: nothing before their next sample counts."""
        ...
