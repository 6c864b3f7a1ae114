"""Which predicted alarms stand, and when a limit is passed, against numbers worked out by hand."""

from __future__ import annotations

import random

import pytest

from control.lookahead import crossing_s, expected, join, split
from control.lookahead_alarms import TRANSITIONS, Again, Alarm, Alarms, Status, sentence
from tests.control.foreseen import ASKED, LOW, alarms, forecast, risk
from tests.control.predicted import CLOCK_S, LEVEL, MADE_AT, TIMES_S


def statuses(found: list[Alarm]) -> list[Status]:
    return [a.status for a in found]


def read(made: Alarms, level: float, at_s: float) -> list[Alarm]:
    return made.read({LEVEL: level}, CLOCK_S + at_s, MADE_AT + int(at_s / 10 * 1e9))


def look(made: Alarms, probability: float, at_s: float = 0.0) -> list[Alarm]:
    found = forecast(probability, at_s)
    return made.look(found, found.made_at)


# --- when a limit is passed ----------------------------------------------------------------------------------------------


def test_the_time_of_a_crossing_lies_between_samples_at_an_even_rate() -> None:
    by = (0.0, 0.2, 0.4, 0.8, 0.8)
    assert crossing_s(by, TIMES_S, 0.5) == pytest.approx(200.0)
    assert crossing_s(by, TIMES_S, 0.75) == pytest.approx(250.0)
    assert crossing_s(by, TIMES_S, 0.05) == pytest.approx(20.0)
    assert crossing_s(by, TIMES_S, 1.0) == pytest.approx(300.0)


def test_a_limit_that_is_never_passed_has_no_time_and_one_passed_at_the_start_has_the_start() -> None:
    assert crossing_s((0.0,) * 5, TIMES_S, 0.5) is None
    assert crossing_s((1.0,) * 5, TIMES_S, 0.95) == 0.0
    found = expected(risk(0.0, 0.0, 0.0, 0.0, 0.0), TIMES_S, CLOCK_S)
    assert (found.probability, found.early_s, found.at_s, found.late_s) == (0.0, None, None, None)


def test_the_time_is_told_given_that_it_comes() -> None:
    rare = expected(risk(0.0, 0.0, 0.01, 0.02, 0.02), TIMES_S, CLOCK_S)
    sure = expected(risk(0.0, 0.0, 0.5, 1.0, 1.0), TIMES_S, CLOCK_S)
    assert rare.at_s == sure.at_s == CLOCK_S + 200.0
    assert sure.early_s == pytest.approx(CLOCK_S + 110.0) and sure.late_s == pytest.approx(CLOCK_S + 290.0)


# --- predicted alarms ----------------------------------------------------------------------------------------------------


def test_an_alarm_is_predicted_when_it_is_likely_and_said_with_time_and_probability() -> None:
    made = alarms()
    assert look(made, 0.49) == []
    (alarm,) = look(made, 0.5, 10)
    assert (alarm.status, alarm.limit, alarm.id) == (Status.PREDICTED, str(LOW), "a1")
    assert alarm.first == alarm.last and alarm.first.probability == 0.5
    assert sentence(alarm) == "tank.level<2: P = 0.50 (0.25 … 1.00), in 3 min ± 90 s"
    assert made.standing == [alarm]


def test_between_clear_and_raise_nothing_changes() -> None:
    made = alarms()
    for at_s, p in enumerate((0.3, 0.49, 0.6, 0.3, 0.21, 0.45)):
        look(made, p, at_s)
    (alarm,) = made.standing
    assert alarm.first.probability == 0.6 and alarm.last.probability == 0.45, "one alarm, with the newest words"
    (cleared,) = look(made, 0.19, 10)
    assert (cleared.status, cleared.id, cleared.detail) == (Status.CLEARED, alarm.id, "P = 0.19")
    assert made.standing == [] and look(made, 0.3, 20) == []


def test_an_alarm_that_comes_says_how_long_before_it_was_known_and_how_far_off_the_time_was() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.8)
    look(made, 0.9, 100)
    assert read(made, 2.0, 150) == [], "at the limit is not past it"
    assert read(made, 2.1, 220) == []
    (came,) = read(made, 1.9, 230)
    assert (came.status, came.ended_clock_s) == (Status.CAME, CLOCK_S + 230)
    assert came.lead_s == 230.0 and came.error_s == pytest.approx(30.0), "200 s was said at first"
    assert came.inside is True
    assert made.standing == [] and made.passed_now == [str(LOW)]


def test_a_level_that_plays_around_its_limit_makes_one_predicted_alarm_and_every_passing_is_counted() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    found = []
    for k in range(40):
        found += read(made, 1.9 if k % 2 else 2.1, 10.0 * k)
        found += look(made, 0.95, 10.0 * k)
    assert [a.status for a in found if a.is_news] == [Status.CAME]
    assert made.standing == []
    (quiet,) = made.quiet
    assert quiet.armed_s is None, "it is passed now"
    assert quiet.alarm.again == Again(foreseen=19), "a forecast was made each time that it was kept"


def test_a_limit_is_predicted_again_once_it_was_kept_for_the_off_delay_however_likely_it_stayed() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    read(made, 1.9, 10)
    read(made, 2.1, 20)
    assert [q.armed_s for q in made.quiet] == [CLOCK_S + 80.0]
    for at_s in (30, 40, 50, 60, 70, 79):
        read(made, 2.1, at_s)
    assert look(made, 0.95, 79) == [] and made.quiet, "79 s: kept for 59 s"
    read(made, 2.1, 80)
    (again,) = look(made, 0.95, 80)
    assert (again.status, again.id, made.quiet) == (Status.PREDICTED, "a2", [])
    (came,) = read(made, 1.9, 90)
    assert (came.id, came.status, came.lead_s) == ("a2", Status.CAME, 10.0)


def test_time_in_which_nobody_read_is_no_time_in_which_a_limit_was_kept() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    read(made, 1.9, 10)
    read(made, 2.1, 20)
    read(made, 2.1, 120)  # ten seconds of ours, and a quarter of the horizon
    assert [q.armed_s for q in made.quiet] == [CLOCK_S + 180.0]


def test_a_passing_while_quiet_is_foreseen_only_by_a_forecast_made_since_the_limit_was_kept_again() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    read(made, 1.9, 10)
    look(made, 1.0, 12)  # it is passed: what is already so is no forecast
    read(made, 2.1, 20)
    (came,) = read(made, 1.9, 22)
    assert came.again == Again(unsaid=1) and not came.is_news
    read(made, 2.1, 30)
    look(made, 0.95, 25)  # from before it was kept again
    (came,) = read(made, 1.9, 32)
    assert came.again == Again(unsaid=2)
    read(made, 2.1, 40)
    look(made, 0.1, 42)
    (came,) = read(made, 1.9, 44)
    assert came.again == Again(unforeseen=1, unsaid=2)
    assert came.lead_s == 10.0 and came.ended_clock_s == CLOCK_S + 10, "what became of the alarm stays what it was"


def test_a_limit_that_is_passed_at_the_start_is_no_forecast() -> None:
    made = alarms()
    assert read(made, 1.0, 0) == []
    assert look(made, 1.0) == [] and made.standing == [] and made.passed_now == [str(LOW)]
    assert made.quiet == [], "nobody was told of it"


def test_a_limit_that_was_passed_at_the_start_is_predicted_as_soon_as_it_is_kept() -> None:
    made = alarms()
    read(made, 1.0, 0)
    look(made, 1.0)
    read(made, 2.1, 10)
    (alarm,) = look(made, 0.9, 20)
    assert alarm.status is Status.PREDICTED
    (came,) = read(made, 1.9, 30)
    assert came.status is Status.CAME and came.lead_s == 10.0


def test_an_alarm_that_nobody_foresaw_is_written_down_as_missed() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.1)
    (missed,) = read(made, 1.0, 120)
    assert missed.status is Status.MISSED and missed.detail == "read 1; P = 0.10 was said 2 min before"
    assert missed.lead_s is None and missed.inside is None
    assert read(made, 1.0, 130) == [], "once"


def test_without_a_forecast_that_reaches_so_far_nothing_was_missed() -> None:
    made = alarms()
    read(made, 6.0, 0)
    assert read(made, 1.0, 50) == [], "never looked"
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.1)
    assert read(made, 1.0, 401) == [], "the horizon was over"


def test_a_reading_that_is_not_good_says_nothing() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    assert made.read({}, CLOCK_S + 100, MADE_AT) == []
    assert len(made.standing) == 1


def test_an_alarm_lapses_when_nobody_could_look_for_a_horizon() -> None:
    made = alarms()
    read(made, 6.0, 0)
    look(made, 0.9)
    assert read(made, 6.0, 400) == []
    (lapsed,) = read(made, 6.0, 401)
    assert lapsed.status is Status.LAPSED and lapsed.detail == "no forecast for 7 min"


def test_what_stood_before_a_restart_stands_after_it_and_may_have_come_meanwhile() -> None:
    made = alarms()
    look(made, 0.9)
    again = Alarms(ASKED, (LOW,), made.standing, lambda: "new")
    assert again.standing == made.standing
    (came,) = read(again, 1.0, 300)
    assert came.status is Status.CAME and came.id == "a1"
    assert came.detail == "read 1; nobody saw it come" and came.lead_s is None and came.inside is None
    gone = Alarms(ASKED, (), made.standing, lambda: "new")
    assert gone.standing == [], "the plant no longer has that limit"


def test_a_high_limit_is_passed_upwards() -> None:
    made = alarms()
    low_only = look(made, 0.9)
    assert statuses(low_only) == [Status.PREDICTED]
    assert read(made, 9.0, 10) == []


@pytest.mark.parametrize("seed", range(50))
def test_every_life_of_an_alarm_follows_the_table(seed: int) -> None:
    """Whatever is said and read in whatever order: one alarm a limit, every end once, nothing after the end."""
    chance = random.Random(seed)
    made, lives = alarms(), dict[str, list[Status]]()
    for step in range(200):
        at_s = step * chance.choice((1.0, 5.0, 20.0))
        found = look(made, chance.random(), at_s) if chance.random() < 0.5 else read(made, chance.uniform(1, 6), at_s)
        for alarm in found:
            life = lives.setdefault(alarm.id, [])
            if not life or life[-1] is not alarm.status:
                assert alarm.status in TRANSITIONS[life[-1] if life else None]
                life.append(alarm.status)
            assert (alarm.ended_at is None) == (alarm.status is Status.PREDICTED)
        assert len(made.standing) <= 1
        assert not (made.standing and made.passed_now), "what is there is not predicted"
    assert lives


def test_a_forecast_is_the_same_after_it_was_stored() -> None:
    made = forecast(0.4)
    body, fans = split(made)
    assert join(body, fans) == made
    assert join(body, None).fans == {} and join(body, None).limits == made.limits
