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


RANKS_MAX = 250  # thresholds of a curve; more change the third digit


def volume(score: Array, truth: NDArray[np.bool_], longest: int) -> float:
    """VUS-PR: the area under precision and recall by ranges, averaged over buffers of 0 … `longest` samples.

    Around each event the truth falls from 1 to 0 within half a buffer, so that an alarm a little early or late counts for
    something; recall counts the share of events that were met at all. No threshold, nothing point-adjusted.

    Source: Paparrizos et al., "Volume under the surface", VLDB 2022, sections 3.2 and 4.
    """
    if not truth.any() or truth.all():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    ranking = score[order]
    ends = np.flatnonzero(np.append(ranking[1:] < ranking[:-1], True))  # ties are flagged together
    if len(ends) > RANKS_MAX:
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, RANKS_MAX).astype(np.intp))]
    areas = [_range_area(score, _buffered(truth, buffer), truth, order, ends) for buffer in range(longest + 1)]
    return float(np.mean(areas))


def events(truth: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true: first sample, the one after the last."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], truth, [False]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _buffered(truth: NDArray[np.bool_], buffer: int) -> Array:
    """1 within events, sqrt(1 - distance / buffer) up to half a buffer beside them, overlaps added up to 1. (T,)."""
    soft = truth.astype(np.float64)
    for first, after in events(truth):
        for away in range(1, buffer // 2 + 1):
            worth = np.sqrt(1 - away / buffer)
            for place in (first - away, after - 1 + away):
                if 0 <= place < len(soft):
                    soft[place] += worth
    return np.minimum(soft, 1.0)


def _range_area(
    score: Array, soft: Array, truth: NDArray[np.bool_], order: NDArray[np.intp], ends: NDArray[np.intp]
) -> float:
    """Under precision and recall, of soft labels. `ends` are the places in `order` up to which all is flagged."""
    hit = np.cumsum(soft[order])[ends]
    precision = hit / (ends + 1)
    positives = (truth.sum() + soft.sum()) / 2  # between the hard and the soft labels, as the source has it
    best = np.array([score[first:after].max() for first, after in events(soft > 0)])
    met = (best[None] >= score[order][ends][:, None]).mean(axis=1)
    recall = np.minimum(hit / positives, 1.0) * met
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))
