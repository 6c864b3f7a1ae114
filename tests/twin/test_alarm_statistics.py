"""Figures of EEMUA 191 and ISA-18.2 from steps that anybody can count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.alarm import Priority
from twin.alarm_statistics import NS, WINDOW_NS, Flood, Happening, floods, level, priority_check, statistics
from twin.alarms import Step

HOUR = 3600 * NS


def rang(
    *times_s: float, alarm: str = "a", priority: Priority = Priority.LOW, step: Step = Step.ACTIVE
) -> list[Happening]:
    return [Happening(int(t * NS), alarm, priority, step, rings=step is Step.ACTIVE) for t in times_s]


def test_rates_are_per_operator_and_of_the_whole_span() -> None:
    found = statistics(rang(*range(0, 3600, 300)), 0, HOUR, 1, (), [(0, HOUR)])
    assert (found.count, found.mean_10min, found.per_hour, found.per_day, found.most_10min) == (
        12,
        2.0,
        12.0,
        288.0,
        2.0,
    )
    assert found.per_window == (2, 2, 2, 2, 2, 2) and found.level == "robust"
    shared = statistics(rang(*range(0, 3600, 300)), 0, HOUR, 2, (), [(0, HOUR)])
    assert (shared.mean_10min, shared.level) == (1.0, "predictive")


def test_rates_are_of_the_time_that_somebody_watched() -> None:
    watches = [(HOUR, 2 * HOUR), (HOUR + 600 * NS, 2 * HOUR), (4 * HOUR, 9 * HOUR)]  # 1 h, again, and half an hour
    found = statistics(rang(*range(3600, 7200, 300)), 0, 4 * HOUR + 1800 * NS, 1, (), watches)
    assert (found.watched_s, found.mean_10min) == (5400, 12 / 9)
    assert found.per_window == (*[None] * 6, *[2] * 6, *[None] * 12, 0, 0, 0)


def test_an_alarm_in_the_first_seconds_is_not_hundreds_an_hour() -> None:
    found = statistics(rang(3599), 0, HOUR, 1, (), [(3595 * NS, HOUR)])
    assert (found.mean_10min, found.per_hour) == (1.0, 6.0)
    assert statistics([], 0, HOUR, 1, (), ()).mean_10min == 0.0  # nobody watched at all
    flood = statistics(rang(*range(3540, 3560)), 0, HOUR, 1, (), [(3500 * NS, HOUR)])
    assert flood.in_flood == 0.5  # it began with the eleventh, at 3,550 s


@given(st.lists(st.integers(0, 3599), min_size=1, max_size=60))
def test_the_most_in_ten_minutes_is_of_any_ten_minutes(seconds: list[int]) -> None:
    found = statistics(rang(*sorted(seconds)), 0, HOUR, 1, (), [(0, HOUR)])
    assert found.most_10min == max(sum(t - 600 < other <= t for other in seconds) for t in seconds)


def test_a_flood_begins_with_the_eleventh_and_ends_when_fewer_than_five_are_left() -> None:
    times = np.array([n * NS for n in range(11)], np.int64)
    assert floods(times[:10], 1, HOUR) == []
    # Of eleven within ten seconds the seventh leaves the window at 606 s: four are left.
    assert floods(times, 1, HOUR) == [Flood(10 * NS, 6 * NS + WINDOW_NS, 11)]
    assert floods(times, 1, 300 * NS) == [Flood(10 * NS, None, 11)]
    assert floods(times, 2, HOUR) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 7200), max_size=80), st.integers(1, 2))
def test_floods_are_those_that_a_look_at_every_second_finds(seconds: list[int], operators: int) -> None:
    times, end_s = sorted(seconds), 7300
    on, start = False, 0
    spans: list[tuple[int, int | None]] = []
    for now in range(end_s + 1):
        inside = sum(now - 600 < t <= now for t in times)
        if not on and inside > 10 * operators:
            on, start = True, now
        elif on and inside < 5 * operators:
            on = False
            spans.append((start, now))
    if on:
        spans.append((start, None))
    found = floods(np.array(times, np.int64) * NS, operators, end_s * NS)
    assert [(f.start // NS, None if f.end is None else f.end // NS) for f in found] == spans


def test_bad_actors_chattering_fleeting_and_standing_alarms_are_named() -> None:
    steps = [
        *rang(0, 20, 40, alarm="chatters"),
        *rang(0, 50, 100, alarm="often"),
        *rang(200, alarm="short"),
        *rang(205, alarm="short", step=Step.CLEARED),
        *rang(300, alarm="long"),
        *rang(311, alarm="long", step=Step.CLEARED),
    ]
    steps.sort(key=lambda s: s.time)
    day = 86_400 * NS
    found = statistics(steps, 0, 2 * day, 1, [("old", 0), ("young", 2 * day - HOUR)], [(0, 2 * day)])
    assert [(a.alarm, a.count) for a in found.top] == [("chatters", 3), ("often", 3), ("short", 1), ("long", 1)]
    assert found.top_share == pytest.approx(1.0)
    assert [a.alarm for a in found.chattering] == ["chatters"]
    assert [a.alarm for a in found.fleeting] == ["short"]
    assert [s.alarm for s in found.standing] == ["old"]


def test_the_time_to_acknowledge_is_the_median_of_those_that_were() -> None:
    steps = [*rang(0, alarm="a"), *rang(0, alarm="b"), *rang(0, alarm="c")]
    steps += [*rang(10, alarm="a", step=Step.ACKNOWLEDGED), *rang(30, alarm="b", step=Step.ACKNOWLEDGED)]
    assert statistics(steps, 0, HOUR, 1, (), [(0, HOUR)]).to_ack_s == 20.0
    assert statistics(rang(1), 0, HOUR, 1, (), [(0, HOUR)]).to_ack_s is None


def test_what_rang_for_nobody_counts_nowhere() -> None:
    silent = [Happening(1, "a", Priority.LOW, Step.ACTIVE, rings=False)]
    assert statistics([*silent, *rang(2, priority=Priority.JOURNAL)], 0, HOUR, 1, (), [(0, HOUR)]).count == 0


@pytest.mark.parametrize(
    ("figures", "name"),
    [((1, 10, 0.01), "predictive"), ((1.1, 10, 0), "robust"), ((0, 11, 0), "robust"), ((0, 0, 0.06), "stable"),
     ((11, 0, 0), "reactive"), ((0, 101, 0), "reactive"), ((101, 0, 0), "overloaded"), ((0, 0, 0.6), "overloaded")],
)  # fmt: skip
def test_the_level_is_the_best_whose_every_bound_is_kept(figures: tuple[float, float, float], name: str) -> None:
    assert level(*figures) == name


def test_priorities_are_held_against_five_fifteen_eighty() -> None:
    found = priority_check([Priority.HIGH, *[Priority.LOW] * 3, Priority.JOURNAL])
    assert found == {Priority.HIGH: (1, 0.25, 0.05), Priority.MEDIUM: (0, 0.0, 0.15), Priority.LOW: (3, 0.75, 0.8)}
