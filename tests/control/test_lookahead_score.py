"""What a score of a look-ahead says, against closed forms and against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats

from control.lookahead import Alarm, Said, Status
from control.lookahead_score import (
    PIT_BINS,
    LimitScore,
    Score,
    crps,
    quantiles,
    score,
    summary,
    transform,
    unscored,
)
from control.score import Outcome
from sim.statistics import QUANTILES
from tests.control.foreseen import forecast
from tests.control.predicted import CLOCK_S, LEVEL, PUMP, at, clock_to, track

NOW = at(1000)
Z = special.ndtri(np.array(QUANTILES))


def normal(mean: float | np.ndarray, sd: float | np.ndarray) -> np.ndarray:
    """The fan of normals: (5, K)."""
    return np.asarray(np.atleast_1d(mean) + np.multiply.outer(Z, np.atleast_1d(sd)))


def scored(level: object, clock: object = None, pump: object = None, **more: object) -> Score:
    tracks = {LEVEL: level, **({} if pump is None else {PUMP: pump})}
    return score(forecast(**more), clock or clock_to(450), tracks, NOW)  # type: ignore[arg-type]


# --- closed forms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("away", [-3.0, -1.0, 0.0, 0.5, 2.0])
def test_the_crps_of_a_normal_is_its_closed_form(away: float) -> None:
    """Gneiting and Raftery (2007), equation 21."""
    sd, mean = 0.7, 4.0
    exact = sd * (away * (2 * stats.norm.cdf(away) - 1) + 2 * stats.norm.pdf(away) - 1 / math.sqrt(math.pi))
    (found,) = crps(normal(mean, sd), np.array([mean + sd * away]))
    assert found == pytest.approx(exact, rel=2e-3)


def test_the_crps_of_one_number_is_the_absolute_error() -> None:
    fan = np.full((5, 2), 3.0)
    assert crps(fan, np.array([5.0, 2.5])).tolist() == pytest.approx([2.0, 0.5])


def test_an_honest_forecast_has_the_smallest_crps() -> None:
    values = np.random.default_rng(1).normal(0, 1, 4_000)
    mean_of = {sd: float(crps(normal(np.zeros(4_000), np.full(4_000, sd)), values).mean()) for sd in (0.4, 1.0, 2.5)}
    assert mean_of[1.0] == pytest.approx(1 / math.sqrt(math.pi), rel=0.03), "of its own distribution"
    assert min(mean_of, key=lambda sd: mean_of[sd]) == 1.0


def test_quantiles_of_a_normal_are_all_found_from_five() -> None:
    tau = (np.arange(200) + 0.5) / 200
    assert quantiles(normal(2.0, 3.0))[:, 0] == pytest.approx(2.0 + 3.0 * special.ndtri(tau), abs=1e-9)


def test_honest_forecasts_give_an_even_transform_and_too_narrow_ones_a_trough() -> None:
    chance = np.random.default_rng(2)
    mean, sd = chance.normal(0, 5, 5_000), chance.uniform(0.5, 2, 5_000)
    values = chance.normal(mean, sd)
    honest = np.histogram(transform(normal(mean, sd), values), PIT_BINS, (0, 1))[0]
    assert stats.chisquare(honest).pvalue > 0.01
    narrow = np.histogram(transform(normal(mean, sd / 2), values), PIT_BINS, (0, 1))[0]
    assert stats.chisquare(narrow).pvalue < 1e-9
    assert narrow[0] + narrow[-1] > 2 * honest[0] + 2 * honest[-1] - 500


# --- one forecast --------------------------------------------------------------------------------------------------------


def test_readings_are_counted_in_both_bands_by_how_far_ahead_they_were() -> None:
    found = scored(track((50, 3.5), (150, 4.5), (250, 5.5), (350, 3.0)))
    assert found.outcome is Outcome.SCORED and found.until_s == 400.0
    (tank,) = found.points
    assert [(x.readings, x.inside_50, x.inside_90) for x in tank.leads] == [(1, 1, 1), (1, 0, 1), (1, 0, 0), (1, 1, 1)]
    assert [x.persistence for x in tank.leads] == [2.5, 1.5, 0.5, 3.0]  # from the 6 m at the start
    assert sum(tank.pit) == 4 and tank.pit[-1] == 1, "5.5 m lay above its band"


def test_bad_readings_and_times_in_which_nobody_listened_never_score() -> None:
    found = scored(track((50, 3.0), (150, 3.0, False), (350, 3.0)))
    assert sum(x.readings for x in found.points[0].leads) == 2  # at 100 s and 400 s
    gap = track((50, CLOCK_S + 50), (100, CLOCK_S + 100), (150, CLOCK_S + 150), (450, CLOCK_S + 450))
    found = scored(track((50, 3.0)), clock=gap)
    assert sum(x.readings for x in found.points[0].leads) == 1, "200, 300 and 400 s lie in the gap"


def test_an_output_that_was_not_good_at_the_start_is_not_scored() -> None:
    assert scored(track((50, 3.0)), started={LEVEL: None}).points == ()


def test_a_command_ends_the_comparison_for_the_forecast_knew_of_none() -> None:
    found = scored(track((50, 3.0)), pump=track((230, 0.0)))
    assert found.outcome is Outcome.CENSORED and found.detail == f"{PUMP} was set to 0"
    assert found.until_s == pytest.approx(230)
    assert sum(x.readings for x in found.points[0].leads) == 2
    assert [x.lead for x in found.limits] == [0.25, 0.5]


def test_nothing_is_compared_before_the_first_sample() -> None:
    found = scored(track((50, 3.0)), pump=track((60, 0.0)))
    assert found.outcome is Outcome.UNSCORED and "before anything could be compared" in found.detail


def test_a_clock_that_is_set_back_or_stops_ends_the_comparison() -> None:
    back = track(*((t, CLOCK_S + t) for t in (50.0, 150.0, 250.0)), (300.0, CLOCK_S))
    assert scored(track((50, 3.0)), clock=back).detail == "the plant's clock was set back"
    assert scored(track((50, 3.0)), clock=clock_to(350)).detail == "the plant's clock stopped"


def test_a_limit_is_scored_by_each_quarter_of_the_horizon() -> None:
    found = scored(track((50, 3.0), (250, 1.5), (350, 3.0)), probability=0.8)
    assert [(x.lead, x.probability, x.passed) for x in found.limits] == [
        (0.25, 0.0, False), (0.5, 0.4, False), (0.75, 0.8, True), (1.0, 0.8, True)
    ]  # fmt: skip


def test_a_limit_that_was_passed_at_the_start_is_not_scored() -> None:
    assert scored(track((50, 1.0)), started={LEVEL: 1.5}, probability=1.0).limits == ()


def test_a_limit_is_not_called_kept_by_half_the_truth() -> None:
    found = scored(track((50, 3.0), (150, 3.0, False), (350, 3.0)), probability=0.5)
    assert [x.lead for x in found.limits] == [0.25]


# --- the track record ----------------------------------------------------------------------------------------------------


def limits_of(*pairs: tuple[float, bool]) -> Score:
    found = tuple(LimitScore("tank.level<2", 1.0, p, came) for p, came in pairs)
    return Score("f", 0, Outcome.SCORED, "", 0, limits=found)


def test_the_brier_score_falls_into_reliability_resolution_and_uncertainty() -> None:
    found = summary(0, [limits_of(*[(0.1, False)] * 9, (0.1, True), *[(0.9, True)] * 9, (0.9, False))], []).limits
    assert (found.count, found.passed) == (20, 10)
    assert found.brier == pytest.approx(0.09)
    assert found.persistence == pytest.approx(0.5), "'it is kept' is wrong every second time"
    assert found.skill == pytest.approx(1 - 0.09 / 0.5)
    assert found.reliability == pytest.approx(0.0) and found.uncertainty == pytest.approx(0.25)
    assert found.resolution == pytest.approx(0.16)
    assert [b.count for b in found.bins] == [10, 10]
    assert [b.predicted for b in found.bins] == pytest.approx([0.1, 0.9])
    assert [b.violated for b in found.bins] == pytest.approx([0.1, 0.9])


def test_a_forecast_that_is_sure_and_wrong_is_worse_than_persistence() -> None:
    found = summary(0, [limits_of((1.0, False), (1.0, False), (0.0, True))], []).limits
    assert found.brier == 1.0 and found.skill is not None and found.skill < 0
    assert found.reliability == pytest.approx(1.0)


def test_skill_compares_with_saying_that_nothing_changes() -> None:
    good, bad = (scored(track((50, level))) for level in (3.0, 6.0))
    (tank,) = summary(0, [good], []).points
    assert tank.whole.readings == 4 and tank.whole.coverage_90 == 1.0 and tank.whole.persistence == 3.0
    assert tank.whole.skill is not None and tank.whole.skill > 0.8
    (tank,) = summary(0, [bad], []).points
    assert tank.whole.coverage_90 == 0.0 and tank.whole.skill is None, "it did stay: nothing can beat that"
    both = summary(3, [good, bad, unscored(forecast(), "nobody", NOW)], [])
    assert (both.waiting, both.scored, both.unscored) == (3, 2, 1)
    assert both.points[0].whole.coverage_90 == 0.5 and len(both.points[0].leads) == 4


def test_nothing_scored_says_nothing() -> None:
    found = summary(0, [], [])
    assert found.points == () and found.limits.brier is None and found.alarms.lead_s is None


def test_alarms_that_came_tell_how_early_they_were_known() -> None:
    said = Said(0.8, 0.7, 0.9, 100.0, 200.0, 300.0, 0, 0.0)
    ends = [(Status.CAME, 220.0), (Status.CAME, 350.0), (Status.CLEARED, 50.0), (Status.MISSED, 60.0)]
    found = summary(0, [], [Alarm("a", "x<1", s, said, said, 1, t) for s, t in ends]).alarms
    assert (found.came, found.cleared, found.missed, found.inside) == (2, 1, 1, 1)
    assert found.lead_s == 285.0 and found.error_s == pytest.approx(85.0)
