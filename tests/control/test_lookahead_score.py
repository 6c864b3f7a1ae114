"""What a score of a look-ahead says, against closed forms and against numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from control.lookahead import SCORED, SCORED_LEVELS, packed, unpacked
from control.lookahead_alarms import Again, Alarm, Said, Status
from control.lookahead_rival import Paces
from control.lookahead_score import (
    LimitScore,
    Score,
    crps,
    score,
    summary,
    transform,
    unscored,
    within,
)
from control.score import Outcome
from tests.control.foreseen import forecast
from tests.control.predicted import CLOCK_S, LEVEL, PUMP, at, clock_to, track

NOW = at(1000)
Z = special.ndtri(SCORED_LEVELS)


def normal(mean: float | np.ndarray, sd: float | np.ndarray) -> np.ndarray:
    """The quantiles of normals: (M, K)."""
    return np.asarray(np.atleast_1d(mean) + np.multiply.outer(Z, np.atleast_1d(sd)))


def counted(futures: np.ndarray) -> np.ndarray:
    """The quantiles that are kept of futures (R, K): (M, K)."""
    return unpacked(packed(futures))


def tenths(drawn: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many values lie in each tenth of their forecast."""
    places = transform(drawn, values)
    return np.array([within(places, k / 10, (k + 1) / 10).sum() for k in range(10)])


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
    assert found == pytest.approx(exact, rel=0.015)


def test_the_crps_of_one_number_is_the_absolute_error() -> None:
    drawn = np.full((SCORED, 2), 3.0)
    assert crps(drawn, np.array([5.0, 2.5])).tolist() == pytest.approx([2.0, 0.5])


@pytest.mark.parametrize("p", [0.1, 0.5, 0.85])
def test_the_crps_of_yes_or_no_is_the_brier_score(p: float) -> None:
    futures = np.repeat((np.arange(200) < 200 * p)[:, None], 2, axis=1).astype(np.float64)
    assert crps(counted(futures), np.array([1.0, 0.0])) == pytest.approx([(1 - p) ** 2, p**2], abs=0.01)


@pytest.mark.parametrize("kind", ["counts", "empty or full", "waiting times"])
def test_the_crps_of_two_hundred_futures_is_kept_by_their_quantiles(kind: str) -> None:
    """Against the formula of the empirical distribution: mean |X - y| - mean |X - X'| / 2."""
    chance, found, exact = np.random.default_rng(3), 0.0, 0.0
    draw = {
        "counts": lambda n: chance.poisson(3, n).astype(float),
        "empty or full": lambda n: 10.0 * (chance.random(n) < 0.7),
        "waiting times": lambda n: chance.gamma(2, 1, n),
    }[kind]
    for _ in range(300):
        x, y = draw(200), draw(1)
        found += float(crps(np.quantile(x, SCORED_LEVELS, method="inverted_cdf")[:, None], y)[0])
        exact += float(np.abs(x - y).mean() - np.abs(x[:, None] - x).mean() / 2)
    assert found == pytest.approx(exact, rel=0.01)


def test_an_honest_forecast_has_the_smallest_crps() -> None:
    values = np.random.default_rng(1).normal(0, 1, 4_000)
    mean_of = {sd: float(crps(normal(np.zeros(4_000), np.full(4_000, sd)), values).mean()) for sd in (0.4, 1.0, 2.5)}
    assert mean_of[1.0] == pytest.approx(1 / math.sqrt(math.pi), rel=0.03), "of its own distribution"
    assert min(mean_of, key=lambda sd: mean_of[sd]) == 1.0


def test_honest_forecasts_give_an_even_transform_and_too_narrow_ones_a_trough() -> None:
    chance = np.random.default_rng(2)
    mean, sd = chance.normal(0, 5, 5_000), chance.uniform(0.5, 2, 5_000)
    values = chance.normal(mean, sd)
    assert stats.chisquare(tenths(normal(mean, sd), values)).pvalue > 0.01
    narrow = tenths(normal(mean, sd / 2), values)
    assert stats.chisquare(narrow).pvalue < 1e-9
    assert narrow[0] + narrow[-1] > 1_500


def test_honest_forecasts_of_counts_lie_in_their_bands_as_often_as_said() -> None:
    chance = np.random.default_rng(4)
    mean = chance.uniform(0.05, 3, 5_000)
    drawn, values = counted(chance.poisson(mean, (200, 5_000))), chance.poisson(mean).astype(np.float64)
    assert tenths(drawn, values) / 5_000 == pytest.approx(np.full(10, 0.1), abs=0.02)
    places = transform(drawn, values)
    assert within(places, 0.05, 0.95).mean() == pytest.approx(0.9, abs=0.01)
    assert within(places, 0.25, 0.75).mean() == pytest.approx(0.5, abs=0.02)
    closed = (drawn[1] <= values) & (values <= drawn[-2])
    assert closed.mean() > 0.94, "a closed band of counts holds more than it says"


# --- one forecast --------------------------------------------------------------------------------------------------------


def test_readings_are_counted_in_both_bands_by_how_far_ahead_they_were() -> None:
    found = scored(track((50, 3.5), (150, 4.5), (250, 5.5), (350, 3.0)))
    assert found.outcome is Outcome.SCORED and found.until_s == 400.0
    (tank,) = found.points
    assert [(x.readings, x.inside_50, x.inside_90) for x in tank.leads] == [(1, 1, 1), (1, 0, 1), (1, 0, 0), (1, 1, 1)]
    assert [x.persistence for x in tank.leads] == [2.5, 1.5, 0.5, 3.0]  # from the 6 m at the start
    assert sum(tank.pit) == pytest.approx(4) and tank.pit[-1] == 1, "5.5 m lay above its band"


@pytest.mark.parametrize("after_ns", [-1_000_000, 0, 1_000_000])
def test_a_reading_is_held_against_the_forecast_of_the_time_at_which_it_was_read(after_ns: int) -> None:
    """A counter of a fast plant that tells it every 47 s of its own: a bottle count, scored every 60 s.

    Args:
        after_ns: the counter is stamped so much later than the clock of the same moment.
    """
    chance, places = np.random.default_rng(5), np.zeros(10)
    times_s, told_s = np.arange(0.0, 901.0, 60.0), np.arange(47.0, 960.0, 47.0)
    rate = 1 / 15
    clock = track(*((t, CLOCK_S + t) for t in told_s.tolist()))
    for _ in range(200):
        futures = np.cumsum(chance.poisson(rate * 60, (200, len(times_s))), axis=1) - 0.0
        futures -= futures[:, :1]
        made = np.cumsum(chance.poisson(rate * np.diff(told_s, prepend=0.0)))
        counter = track(*zip(told_s.tolist(), made.tolist(), strict=True))
        counter = replace(counter, time=counter.time + after_ns)
        made_of = forecast(
            horizon_s=900.0,
            times_s=tuple(times_s.tolist()),
            drawn={LEVEL: packed(futures)},
            started={LEVEL: 0.0},
            limits=(),
        )
        (point,) = score(made_of, clock, {LEVEL: counter}, NOW).points
        places += point.pit
    assert places / places.sum() == pytest.approx(np.full(10, 0.1), abs=0.025)
    assert places[:5].sum() / places.sum() == pytest.approx(0.5, abs=0.06), "neither too low nor too high"


def test_what_stays_as_it_is_was_read_whenever_the_plant_was_heard() -> None:
    """History keeps changes only: that nothing came is known up to when the clock was last told."""
    rising = np.tile(np.arange(5) * 2.0 + 0.5, (200, 1))  # 0.5, 2.5, 4.5 … at every 100 s
    quiet = scored(track((20, 0.5)), drawn={LEVEL: packed(rising)}, started={LEVEL: 0.5}).points[0]
    assert [x.crps for x in quiet.leads] == pytest.approx([2.0, 4.0, 6.0, 8.0]), "it did not rise; the clock went on"


def test_bad_readings_and_times_in_which_nobody_listened_never_score() -> None:
    found = scored(track((50, 3.0), (150, 3.0, False), (350, 3.0)))
    assert sum(x.readings for x in found.points[0].leads) == 2  # at 100 s and 400 s
    gap = track((50, CLOCK_S + 50), (100, CLOCK_S + 100), (150, CLOCK_S + 150), (450, CLOCK_S + 450))
    found = scored(track((50, 3.0)), clock=gap)
    assert sum(x.readings for x in found.points[0].leads) == 1, "200, 300 and 400 s lie in the gap"


def test_an_output_that_was_not_good_at_the_start_is_not_scored() -> None:
    assert scored(track((50, 3.0)), started={LEVEL: None}).points == ()


def test_a_counter_must_be_foreseen_better_than_that_it_goes_on_as_before() -> None:
    risen = track((50, 6.5), (150, 7.5), (250, 8.5), (350, 9.5))
    (stays,) = scored(risen).points
    (goes_on,) = scored(risen, paces={LEVEL: 0.01}).points
    assert [x.persistence for x in stays.leads] == [0.5, 1.5, 2.5, 3.5]
    assert [x.persistence for x in goes_on.leads] == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert [x.crps for x in stays.leads] == [x.crps for x in goes_on.leads]
    assert scored(risen, paces={LEVEL: None}).points == (), "its pace before was not known"


def test_the_pace_of_a_counter_is_told_over_the_last_horizon() -> None:
    paces = Paces(["line.packed"], 400.0)
    told = [paces.look(100.0 * k, {"line.packed": float(k * k)})["line.packed"] for k in range(8)]
    assert told[0] is None
    assert told[1:] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.10])
    assert paces.look(800.0, {"line.packed": 3.0})["line.packed"] is None, "it began anew"
    assert paces.look(810.0, {"line.packed": None})["line.packed"] is None
    assert paces.look(890.0, {"line.packed": 4.0})["line.packed"] is None, "less than a quarter of a horizon was seen"
    assert paces.look(900.0, {"line.packed": 4.0})["line.packed"] == pytest.approx(0.01)


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


def test_a_limit_passed_and_kept_again_between_two_sample_times_was_passed() -> None:
    found = scored(track((50, 3.0), (210, 1.5), (220, 3.0)), probability=0.8)
    assert [x.passed for x in found.limits] == [False, False, True, True]


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
    assert found.base == pytest.approx(0.25)
    assert found.skill == pytest.approx(1 - 0.09 / 0.25)
    assert found.reliability == pytest.approx(0.0) and found.uncertainty == pytest.approx(0.25)
    assert found.resolution == pytest.approx(0.16)
    assert [b.count for b in found.bins] == [10, 10]
    assert [b.predicted for b in found.bins] == pytest.approx([0.1, 0.9])
    assert [b.violated for b in found.bins] == pytest.approx([0.1, 0.9])


def test_that_one_limit_is_passed_and_another_is_not_is_no_skill() -> None:
    often, never = (
        Score("f", 0, Outcome.SCORED, "", 0, limits=tuple(LimitScore(name, 1.0, p, came) for came in came_s))
        for name, p, came_s in (("a<1", 0.5, (True, False)), ("b<1", 0.0, (False, False)))
    )
    found = summary(0, [often, never], []).limits
    assert found.resolution == pytest.approx(0.0625), "which limit it is tells something"
    assert found.brier == found.base == 0.125 and found.skill == 0.0, "nothing more was known of each"


def test_a_forecast_that_is_sure_and_wrong_is_worse_than_the_base_rate() -> None:
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
    more = [Alarm(s.value, "x<1", s, said, said, 1, 220.0, again=Again(2, 1, 3)) for s in (Status.CAME, Status.MISSED)]
    found = summary(0, [], more).alarms
    assert (found.came, found.missed, found.again) == (1, 1, Again(4, 2, 6)), "no passing is left out"
