"""Ranking and selection: which of many options is best, with a stated probability of being right; pure procedures.

KN: Kim and Nelson, "A fully sequential procedure for indifference-zone selection in simulation", ACM TOMACS 11 (2001).
OCBA: Chen, Lin, Yücesan and Chick, "Simulation budget allocation for further enhancing the efficiency of ordinal
optimization", DEDS 10 (2000).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from twin.errors import BadRequest

Sample = Callable[[Sequence[int], int, int], NDArray[np.float64]]
"""(options, first replication, count) -> observations, shape (options, count); larger is better. One replication may
share its chance among options: KN gains from it, OCBA is conservative then."""

Spent = Callable[[int, int], None]
"""(replications so far, at most so many): both procedures may end before."""

START = 32  # replications of every option before anything is dropped: variances must be known somewhat
BATCH = 32  # replications at a time: a kernel's threads want some
OPTIONS_MAX = 200


@dataclass(frozen=True, slots=True)
class Selection:
    """What was selected.

    Attributes:
        best: number of the option.
        means, counts: by option, over the replications that it got.
        survivors: options that were not dropped; more than one: they are as good as each other, or nobody knows.
        p_correct: KN: stated, if the best is `delta` better than all others. OCBA: estimated (Bonferroni), not stated.
        resolved: False when `most` replications ended it.
    """

    method: str
    best: int
    means: tuple[float, ...]
    counts: tuple[int, ...]
    survivors: tuple[int, ...]
    p_correct: float
    resolved: bool


def kn(
    sample: Sample, options: int, delta: float, *, confidence: float = 0.95, start: int = START, batch: int = BATCH,
    most: int = 100_000, spent: Spent | None = None,
) -> Selection:  # fmt: skip
    """Drops options as soon as they are clearly not the best; right with the confidence in the indifference zone.

    Args:
        delta: a smaller difference is nobody's concern.
        most: replications of one option.
    """
    check_selection(options, delta, confidence, start)
    eta = 0.5 * ((2 * (1 - confidence) / (options - 1)) ** (-2 / (start - 1)) - 1)
    h2 = 2 * eta * (start - 1)
    alive = list(range(options))
    seen = sample(alive, 0, start)
    sums, counts = seen.sum(axis=1), np.full(options, start)
    spread = _variances_of_differences(seen)
    bound = h2 * spread / delta**2
    r, pending = start, np.empty((options, 0))
    while True:
        alive = _screened(alive, sums, r, bound, delta)
        done = len(alive) == 1 or bool(r > max(bound[i, j] for i in alive for j in alive))
        if done or r >= most:
            best = max(alive, key=lambda i: sums[i])
            means = tuple((sums / counts).tolist())
            return Selection("kn", best, means, tuple(counts.tolist()), tuple(alive), confidence, done)
        if pending.shape[1] == 0:
            if spent is not None:
                spent(int(counts.sum()), int(counts.sum()) + _left_at_most(alive, bound, r, most))
            pending = np.full((options, batch), np.nan)
            pending[alive] = sample(alive, r, batch)
        sums[alive] += pending[alive, 0]
        counts[alive] += 1
        pending = pending[:, 1:]
        r += 1


def _left_at_most(alive: Sequence[int], bound: NDArray[np.float64], r: int, most: int) -> int:
    """Replications until the triangular region closes over those that are left: when nothing more is dropped before."""
    last = min(float(max(bound[i, j] for i in alive for j in alive)), most)
    return len(alive) * max(0, min(most, math.floor(last) + 1) - r)


def _screened(
    alive: Sequence[int], sums: NDArray[np.float64], r: int, bound: NDArray[np.float64], delta: float
) -> list[int]:
    """Those that are not beaten by more than the triangular region allows after r replications."""
    kept = []
    for i in alive:
        width = np.maximum(0.0, delta / 2 * (bound[i] - r))
        if all(sums[i] >= sums[j] - width[j] for j in alive if j != i):
            kept.append(i)
    return kept


def _variances_of_differences(seen: NDArray[np.float64]) -> NDArray[np.float64]:
    covariance = np.atleast_2d(np.cov(seen))
    variance = np.diag(covariance)
    spread: NDArray[np.float64] = np.maximum(0.0, variance[:, None] + variance[None, :] - 2 * covariance)
    return spread


def ocba(
    sample: Sample, options: int, *, budget: int, start: int = START, batch: int = BATCH, confidence: float = 0.95,
    spent: Spent | None = None,
) -> Selection:  # fmt: skip
    """Spends a budget of replications where they help most to tell the best; ends early at the confidence.

    Args:
        budget: replications of all options together.
    """
    check_selection(options, 1.0, confidence, start)
    check_budget(options, budget, start)
    seen = [list(row) for row in sample(range(options), 0, start)]
    while True:
        means = np.array([np.mean(s) for s in seen])
        variances = np.array([max(float(np.var(s, ddof=1)), 1e-300) for s in seen])
        counts = np.array([len(s) for s in seen])
        best = int(means.argmax())
        p_correct = _approximately_correct(means, variances, counts, best)
        left = budget - int(counts.sum())
        if spent is not None:
            spent(budget - left, budget)
        if p_correct >= confidence or left <= 0:
            told = tuple(means.tolist()), tuple(counts.tolist())
            return Selection("ocba", best, *told, tuple(range(options)), p_correct, p_correct >= confidence)
        wanted = allocation(means, variances, counts.sum() + min(left, batch * options))
        for i in np.argsort(counts - wanted):
            more = min(left, batch, max(0, math.ceil(wanted[i] - counts[i])))
            if more > 0:
                seen[i].extend(sample([int(i)], int(counts[i]), more)[0])
                left -= more


def allocation(means: NDArray[np.float64], variances: NDArray[np.float64], total: float) -> NDArray[np.float64]:
    """How many replications of `total` each option should have, shape (k,)."""
    best = int(means.argmax())
    gaps = means[best] - means
    smallest = np.min(gaps[gaps > 0], initial=1.0) * 1e-3
    ratio = variances / np.maximum(gaps, smallest) ** 2
    ratio[best] = 0.0
    ratio[best] = math.sqrt(variances[best] * float(np.sum(ratio**2 / variances)))
    shares: NDArray[np.float64] = total * ratio / ratio.sum()
    return shares


def _approximately_correct(
    means: NDArray[np.float64], variances: NDArray[np.float64], counts: NDArray[np.int64], best: int
) -> float:
    error = np.sqrt(variances / counts + variances[best] / counts[best])
    wrong = special.ndtr(-(means[best] - means) / error)
    wrong[best] = 0.0
    return max(0.0, 1.0 - float(wrong.sum()))


def check_budget(options: int, budget: int, start: int = START) -> None:
    """
    Raises:
        BadRequest: it does not suffice for a first look at every option.
    """
    if budget < options * start:
        raise BadRequest(f"a budget of {budget}", f"at least {start} replications for each of {options} options")


def check_selection(options: int, delta: float, confidence: float, start: int = START) -> None:
    """
    Raises:
        BadRequest: with these nothing can be selected.
    """
    if not 2 <= options <= OPTIONS_MAX:
        raise BadRequest(f"{options} options", f"rank 2 … {OPTIONS_MAX}")
    if not delta > 0:
        raise BadRequest(f"an indifference of {delta:g}", "say from which difference on it matters")
    if not 1 / options < confidence < 1 or start < 2:
        raise BadRequest(
            f"confidence {confidence:g}, start {start}", f"more than {1 / options:.2g}, below 1; 2 or more"
        )
