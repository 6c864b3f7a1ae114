"""Figures of forecasts, intervals and alarms, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ml.contest import blocks, judge
from ml.intervals import Adaption, excess, margin, rising
from ml.scores import coverage, events, flagged, late_penalty, pinball, ranked, rmse, volume
from twin.errors import BadRequest


def test_what_is_not_known_of_the_truth_does_not_count() -> None:
    told, truth = np.array([1.0, 2.0, 5.0]), np.array([1.0, 4.0, np.nan])
    assert rmse(told, truth) == pytest.approx(2**0.5)
    assert coverage(told - 1, told + 1, truth) == 0.5


def test_late_costs_more_than_early() -> None:
    truth = np.array([100.0])
    assert late_penalty(truth + 10, truth) == pytest.approx(np.e - 1)
    assert late_penalty(truth - 13, truth) == pytest.approx(np.e - 1)


def test_flags_are_judged_sample_by_sample() -> None:
    truth = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1], bool)
    flags = np.array([1, 0, 0, 0, 1, 1, 1, 0, 0], bool)
    told = flagged(flags, truth)
    assert (told.f1, told.false_alarms, told.missed) == (pytest.approx(6 / 9), 0.25, 0.4)
    everything = flagged(np.ones(1000, bool), np.arange(1000) < 537)
    assert everything.f1 == pytest.approx(0.698, abs=1e-3) and everything.false_alarms == 1.0


def test_the_area_is_the_chance_to_rank_right_and_ties_count_half() -> None:
    rng = np.random.default_rng(3)
    score, truth = rng.integers(0, 6, 300).astype(float), rng.random(300) < 0.4
    pairs = score[truth][:, None] - score[~truth][None]
    assert ranked(score, truth) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_without_a_buffer_the_volume_is_the_average_precision_times_the_share_of_events_met() -> None:
    truth = np.array([0, 1, 1, 0], bool)
    # flagged in turn: 1 (hit), 3 (wrong), 2 (hit), 0: precision 1, 1/2, 2/3, 1/2 at recall 1/2, 1/2, 1, 1
    assert volume(np.array([0.1, 0.9, 0.5, 0.7]), truth, 0) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    two = np.array([1, 0, 1, 0], bool)  # one event of two is met at first: recall 1/2 * 1/2, then 1 * 1
    assert volume(np.array([0.9, 0.1, 0.5, 0.2]), two, 0) == pytest.approx(0.25 * 1 + 0.75 * 1)
    assert volume(np.array([0.9, 0.1, 0.9, 0.2]), two, 0) == pytest.approx(1.0)
    assert volume(np.zeros(4), two, 0) == pytest.approx(0.5)  # ties are flagged together
    assert np.isnan(volume(np.zeros(4), np.zeros(4, bool), 0))


def test_an_alarm_beside_an_event_counts_for_something_within_the_buffer() -> None:
    truth, score = np.array([0, 0, 1, 0, 0], bool), np.array([0.0, 0.9, 0.8, 0.0, 0.0])
    near = np.sqrt(0.5)  # buffer 2: one sample on either side is worth sqrt(1 - 1/2), positives (1 + 1 + 2 near) / 2
    positives = 1 + near
    first, second, all_ = near / positives, (1 + near) / positives, 1.0
    area = first * near + (second - first) * (1 + near) / 2 + (all_ - second) * (1 + 2 * near) / 5
    sharp = 0.0 * 1 + 1.0 * 0.5  # buffers 0 and 1 reach no neighbour: the second flag is the first hit
    assert volume(score, truth, 0) == pytest.approx(sharp)
    assert volume(score, truth, 2) == pytest.approx((2 * sharp + area) / 3)
    assert events(np.array([1, 1, 0, 1], bool)) == [(0, 2), (3, 4)]


def test_the_volume_of_chance_is_the_share_of_anomalies_and_of_a_perfect_score_one() -> None:
    rng, truth = np.random.default_rng(7), np.arange(4000) % 1000 < 300
    assert volume(rng.random(4000), truth, 0) == pytest.approx(0.3, abs=0.03)
    assert volume(truth.astype(float), truth, 0) == 1.0
    late = volume(np.roll(truth, 10).astype(float), truth, 40)
    assert volume(np.roll(truth, 100).astype(float), truth, 40) < late < 1.0


def test_quantiles_never_cross_whatever_the_network_says() -> None:
    raw = torch.randn(1000, 7) * 50
    assert (rising(raw).diff(dim=-1) >= 0).all()
    levels = np.array([0.1, 0.9])
    assert pinball(np.array([[0.0, 1.0]]), levels, np.array([2.0])) == pytest.approx((0.2 + 0.9) / 2)


def test_a_margin_from_held_out_devices_holds_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(0), []
    for _ in range(2000):
        out = rng.standard_cauchy(21)
        low, high = np.full(21, -1.0), np.full(21, 1.0)
        wide = margin(excess(low[:20], high[:20], out[:20]), 0.9)
        held.append(-1 - wide <= out[20] <= 1 + wide)
    assert np.mean(held) == pytest.approx(0.9, abs=0.015)
    assert margin(np.zeros(5), 0.9) == np.inf


def test_intervals_widen_until_what_comes_is_held_as_often_as_promised_and_narrow_again() -> None:
    rng, adaption, wider, held = np.random.default_rng(1), Adaption(0.9), np.zeros(3), []
    for k in range(6000):
        size = np.abs(rng.normal(size=3)) * (3.0 if 1000 <= k < 4000 else 1.0)  # the noise trebles, and calms down
        held.append(size <= 1.645 * (1 + 2 * wider))
        wider = adaption.after(wider, np.where(k % 2, held[-1], np.nan))  # every other truth is never known
    for late in (slice(500, 1000), slice(2000, 4000), slice(5000, 6000)):
        assert np.mean(held[late]) == pytest.approx(0.9, abs=0.02)
    assert adaption.after(np.array([adaption.most, adaption.least]), np.array([0.0, 1.0])).tolist() == [4.0, -0.4]


def test_a_margin_between_two_ranks_promises_neither_more_nor_less() -> None:
    ranks = np.arange(1.0, 31.0)
    assert margin(ranks, 0.9) == pytest.approx(27.9)
    assert margin(ranks[:9], 0.9) == 9.0 and np.isinf(margin(ranks[:8], 0.9))
    assert margin(ranks, 0.01) == 1.0
    assert margin(np.stack([ranks, 2 * ranks], axis=1), 0.9) == pytest.approx([27.9, 55.8])


def test_a_challenger_must_win_on_devices_not_on_luck() -> None:
    rng = np.random.default_rng(5)
    champion = rng.gamma(4.0, 1.0, 40)
    assert judge(champion, champion * 0.8).better
    wins = [judge(champion, champion + rng.normal(0, 1, 40)).better for _ in range(1000)]
    assert np.mean(wins) == pytest.approx(0.05, abs=0.02)
    assert not judge(champion, champion).better
    with pytest.raises(BadRequest, match="4 held-out"):
        judge(champion[:4], champion[:4])
    assert blocks(np.arange(10.0), 4).tolist() == [1.5, 5.5]
