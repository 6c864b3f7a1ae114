"""What a score says, against numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from control.observed import widened
from control.score import Outcome, Score, quantile_loss, score, summary, unscored
from tests.control.predicted import CLOCK_S, LAKE, LEVEL, MADE_AT, PUMP, at, clock_to, prediction, risk, track

NOW = at(1000)
SENT = at(2)
OFF = track((3, 0.0))


def scored(level: object, clock: object = None, pump: object = OFF, lake: object = None, **more: object) -> Score:
    tracks = {LEVEL: level, PUMP: pump, **({} if lake is None else {LAKE: lake})}
    sent = more.pop("sent", SENT)
    return score(prediction(**more), sent, clock or clock_to(450), tracks, NOW)  # type: ignore[arg-type]


def test_readings_inside_the_band_are_counted_at_the_sample_times() -> None:
    found = scored(track((50, 4.0), (150, 2.5), (250, 5.5), (350, 1.5)))
    assert found.outcome is Outcome.SCORED and found.detail == "" and found.until_s == 400.0
    (tank,) = found.points
    assert (tank.readings, tank.inside) == (4, 3)  # 4.0, 2.5 and 1.5 lie in 1 … 5, 5.5 does not
    assert found.coverage == 0.75
    assert tank.persistence == pytest.approx((2.0 + 3.5 + 0.5 + 4.5) / 4)  # from the 6 m at the start
    assert tank.expected == -3.0
    assert tank.observed == pytest.approx(1.5 - 6.0)
    assert found.delay_s == pytest.approx(2.0)


def test_the_loss_is_twice_the_pinball_loss_over_the_five_quantiles() -> None:
    fan = np.array([[1.0], [2.0], [3.0], [4.0], [5.0]])
    # 4.0: 2 * (0.05*3 + 0.25*2 + 0.5*1 + 0 + 0.05*1) / 5
    assert quantile_loss(fan, np.array([4.0])) == pytest.approx(2 * (0.15 + 0.5 + 0.5 + 0.0 + 0.05) / 5)
    assert quantile_loss(fan, np.empty(0)) is None
    number = np.full((5, 1), 3.0)
    assert quantile_loss(number, np.array([5.0])) == pytest.approx(2.0), "of one number: the absolute error"


def test_the_forecast_with_the_command_is_compared_with_the_one_without_it() -> None:
    (tank,) = scored(track((50, 3.0))).points
    assert tank.loss is not None and tank.without is not None
    assert tank.loss == pytest.approx(2 * (0.05 * 2 + 0.25 * 1 + 0 + 0.25 * 1 + 0.05 * 2) / 5)
    assert tank.without == pytest.approx(2 * (0.95 * 1 + 0.75 * 2 + 0.5 * 3 + 0.25 * 4 + 0.05 * 5) / 5)


def test_a_level_that_never_moved_has_its_reading_of_the_start() -> None:
    (tank,) = scored(track()).points
    assert (tank.readings, tank.inside, tank.persistence) == (4, 0, 0.0)


def test_bad_readings_are_not_compared() -> None:
    found = scored(track((50, 3.0), (150, 3.0, False), (350, 3.0)))
    assert found.readings == 2  # at 100 s and 400 s; at 200 and 300 s it was bad
    assert found.limits[0].violated is None and found.limits[0].brier is None, "half the truth shows no limit kept"


def test_a_limit_scores_the_square_of_its_error() -> None:
    kept = scored(track((50, 3.0))).limits[0]
    assert (kept.probability, kept.violated) == (0.2, False)
    assert kept.brier == pytest.approx(0.04)
    broken = scored(track((50, 3.0), (150, 1.9), (250, 3.0))).limits[0]
    assert broken.violated is True
    assert broken.brier == pytest.approx(0.64)


def test_a_limit_that_was_violated_at_the_start_counts_as_violated() -> None:
    found = scored(track((50, 3.0)), started={LEVEL: 1.0})
    assert found.limits[0].violated is True


def test_another_command_ends_the_comparison_at_its_moment() -> None:
    found = scored(track((50, 3.0)), lake=track((230, 1.0)))
    assert found.outcome is Outcome.CENSORED
    assert found.detail == f"{LAKE} was set to 1"
    assert found.until_s == pytest.approx(230)
    assert found.readings == 2
    assert found.limits[0].probability == pytest.approx(0.05), "the probability by 200 s"


def test_the_command_itself_ends_nothing_but_putting_it_back_does() -> None:
    again = track((3, 1.0), (4, 0.0), (120, 0.0), (310, 1.0))
    found = scored(track((50, 3.0)), pump=again)
    assert found.outcome is Outcome.CENSORED and found.detail == f"{PUMP} was set to 1"
    assert found.readings == 3


def test_nothing_compares_after_a_change_before_the_first_sample() -> None:
    found = scored(track((50, 3.0)), lake=track((60, 1.0)))
    assert found.outcome is Outcome.UNSCORED
    assert f"{LAKE} was set to 1" in found.detail


def test_a_bad_reading_of_a_setting_changes_nothing() -> None:
    assert scored(track((50, 3.0)), lake=track((60, 1.0, False))).outcome is Outcome.SCORED


def test_a_command_sent_much_later_than_predicted_has_no_score() -> None:
    found = scored(track((50, 3.0)), sent=at(100))
    assert found.outcome is Outcome.UNSCORED and "100 s of plant time later" in found.detail
    assert found.delay_s == pytest.approx(100)
    assert scored(track((50, 3.0)), sent=at(100), at_s=90.0).outcome is Outcome.SCORED, "it was to act at 90 s"


def test_a_clock_that_is_set_back_or_stops_ends_the_comparison() -> None:
    back = track(*((t, CLOCK_S + t) for t in (50.0, 150.0, 250.0)), (300.0, CLOCK_S))
    found = scored(track((50, 3.0)), clock=back)
    assert found.outcome is Outcome.CENSORED and found.detail == "the plant's clock was set back"
    assert found.readings == 2
    stopped = scored(track((50, 3.0)), clock=clock_to(350))
    assert stopped.outcome is Outcome.CENSORED and stopped.detail == "the plant's clock stopped"
    assert stopped.readings == 3


def test_nothing_is_compared_where_nobody_listened() -> None:
    away = track(*((t, CLOCK_S + t) for t in (50.0, 100.0, 150.0, 390.0, 440.0)))
    found = scored(track((50, 3.0), (391, 3.0)), clock=away)
    assert found.outcome is Outcome.SCORED
    assert found.readings == 2, "at 100 and 400 s; at 200 and 300 s the server was away"
    rare = track(*((t, CLOCK_S + t) for t in (140.0, 280.0, 420.0)))
    assert scored(track((50, 3.0)), clock=rare).readings == 4, "a clock that is told rarely is no gap"


def test_an_instrument_s_noise_widens_the_band_of_the_true_level() -> None:
    fan = np.array([[2.0], [2.8], [3.0], [3.2], [4.0]])
    wide = widened(fan, 0.5)
    assert wide[2, 0] == 3.0
    assert wide[4, 0] == pytest.approx(3 + np.hypot(1.0, 1.6448536 * 0.5))
    assert wide[0, 0] == pytest.approx(3 - np.hypot(1.0, 1.6448536 * 0.5))
    assert np.array_equal(widened(fan, 0.0), fan)
    point = widened(np.full((5, 1), 3.0), 0.5)
    assert point[4, 0] == pytest.approx(3 + 1.6448536 * 0.5)


def test_the_track_record_weighs_every_reading_and_every_limit() -> None:
    good = scored(track((50, 3.0)))  # 4 of 4 inside, limit kept at 0.2
    other = scored(track((50, 7.0)), risks=(risk(0.9),))  # 0 of 4 inside, limit kept at 0.9
    found = summary(5, 2, [good, other, unscored(prediction(), "not sent", NOW)])
    assert (found.made, found.waiting, found.scored, found.censored, found.unscored) == (5, 2, 2, 0, 1)
    assert found.coverage == 0.5 and found.readings == 8
    assert found.brier == pytest.approx((0.04 + 0.81) / 2) and found.brier_base == 0.0
    assert found.beats_persistence == 0.5
    assert [(b.low, b.count, b.violated) for b in found.bins] == [(0.2, 1, 0.0), (0.8, 1, 0.0)]
    empty = summary(0, 0, [])
    assert empty.coverage is None and empty.brier is None and empty.bins == ()


def test_probabilities_of_one_have_a_bin() -> None:
    found = scored(track((50, 1.0)), risks=(risk(1.0),))
    (only,) = summary(1, 0, [found]).bins
    assert (only.low, only.high, only.predicted, only.violated) == (0.95, 1.0, 1.0, 1.0)


def test_a_forecast_never_read_since_has_nothing_to_show() -> None:
    found = scored(track(), started={LEVEL: None})
    assert found.readings == 0 and found.coverage is None
    assert found.points[0].loss is None and found.points[0].observed is None
    assert replace(found).scored_at == NOW > MADE_AT
