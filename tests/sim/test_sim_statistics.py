"""Intervals and quantiles against closed forms and published values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sim.statistics import Difference, fan, half_width, paired_difference, wilson


def test_a_fan_of_evenly_spread_trajectories_has_evenly_spread_quantiles() -> None:
    samples = np.tile(np.linspace(0, 1, 101)[:, None], (1, 3))
    assert fan(samples)[:, 1].tolist() == pytest.approx([0.05, 0.25, 0.5, 0.75, 0.95])


def test_the_half_width_is_students() -> None:
    samples = np.array([1.0, 2.0, 3.0, 4.0])
    assert half_width(samples) == pytest.approx(3.182446 * samples.std(ddof=1) / 2, rel=1e-6)
    assert half_width(samples[:1]) == math.inf


def test_a_difference_whose_interval_contains_zero_is_not_resolved() -> None:
    base = np.zeros(8)
    noisy = paired_difference(np.array([1.0, -1.0] * 4), base)
    clear = paired_difference(np.array([1.0, 1.1] * 4), base)
    assert not noisy.resolved and noisy.p_greater == 0.5
    assert clear.resolved and clear.p_greater == 1.0


def test_equal_runs_differ_by_nothing_and_say_so() -> None:
    same = paired_difference(np.ones(5), np.ones(5))
    assert (same.mean, same.half_width, same.p_greater, same.resolved) == (0.0, 0.0, 0.5, False)


@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval_has_its_published_values(hits: int, count: int, low: float, high: float) -> None:
    assert wilson(hits, count) == pytest.approx((low, high), abs=1e-4)


def test_the_t_interval_holds_the_true_difference_19_times_in_20() -> None:
    chance = np.random.default_rng(1)
    held = [abs(d.mean - 0.3) <= d.half_width for d in (_experiment(chance) for _ in range(2000))]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def _experiment(chance: np.random.Generator) -> Difference:
    return paired_difference(0.3 + chance.standard_normal(20), np.zeros(20))
