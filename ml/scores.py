"""How good a forecast, an interval or an alarm was: figures of arrays; pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rmse(told: Array, truth: Array) -> float:
    """Over what is known of the truth."""
    known = np.isfinite(truth)
    return float(np.sqrt(np.mean((told[known] - truth[known]) ** 2)))


def mse(told: Array, truth: Array) -> float:
    known = np.isfinite(truth)
    return float(np.mean((told[known] - truth[known]) ** 2))


def mae(told: Array, truth: Array) -> float:
    known = np.isfinite(truth)
    return float(np.mean(np.abs(told[known] - truth[known])))


def coverage(low: Array, high: Array, truth: Array) -> float:
    """Share of the truth within [low, high]."""
    known = np.isfinite(truth)
    return float(np.mean((low[known] <= truth[known]) & (truth[known] <= high[known])))


def pinball(quantiles: Array, levels: Array, truth: Array) -> float:
    """Mean quantile loss.

    Args:
        quantiles: shape (..., Q). levels: shape (Q,). truth: shape (...).
    """
    gap = truth[..., None] - quantiles
    return float(np.nanmean(np.maximum(levels * gap, (levels - 1) * gap)))


def late_penalty(told: Array, truth: Array) -> float:
    """The score of the PHM08 challenge for remaining life: a forecast that is too long costs more than one too short.

    Source: Saxena et al., "Damage propagation modeling for aircraft engine run-to-failure simulation", PHM 2008.
    """
    over = told - truth
    return float(np.sum(np.where(over < 0, np.expm1(-over / 13), np.expm1(over / 10))))


@dataclass(frozen=True, slots=True)
class Flagged:
    """How flags met the truth, sample by sample; never adjusted so that one hit counts for a whole event.

    Attributes:
        false_alarms: share of good samples that were flagged (FAR).
        missed: share of anomalous samples that were not (MAR).
    """

    f1: float
    false_alarms: float
    missed: float


def flagged(flags: NDArray[np.bool_], truth: NDArray[np.bool_]) -> Flagged:
    """
    Args:
        flags, truth: shape (T,).
    """
    hit = int(np.sum(flags & truth))
    wrong, missed, quiet = int(np.sum(flags & ~truth)), int(np.sum(~flags & truth)), int(np.sum(~flags & ~truth))
    f1 = 2 * hit / (2 * hit + wrong + missed) if hit + wrong + missed else 1.0
    return Flagged(
        f1, wrong / (wrong + quiet) if wrong + quiet else 0.0, missed / (hit + missed) if hit + missed else 0.0
    )


def ranked(score: Array, truth: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: the chance that an anomalous sample scores higher than a good one; ties count half."""
    good, bad = int(np.sum(~truth)), int(np.sum(truth))
    if not good or not bad:
        return float("nan")
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[place]  # of ties their mean
    return float((rank[truth].sum() - bad * (bad + 1) / 2) / (good * bad))
