"""Every kind of condition at its edges: limits, dead bands, delays, rates, deviations, states, age, quality, and doubt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from twin import quality
from twin.alarm import Condition, Definition, Kind, Priority
from twin.alarm_conditions import Conditions
from twin.alarm_kernel import ACTIVATED, CLEARED, SURE, UNSURE
from twin.columns import Columns

S = 1_000_000_000
NAMES = {0: "nothing", ACTIVATED: "active", CLEARED: "cleared", UNSURE: "unsure", SURE: "sure"}


class Bench:
    """One alarm on point `a` of the points a and b; time in seconds."""

    def __init__(self, condition: Condition, on_delay_s: float = 0.0, off_delay_s: float = 0.0) -> None:
        alarm = Definition(
            "a:x", "x", "a", "t", Priority.LOW, condition, on_delay_s=on_delay_s, off_delay_s=off_delay_s
        )
        self.columns = Columns.empty(2)
        self.at = Conditions([alarm], {"a": 0, "b": 1}, 2, 0)

    def say(
        self, at_s: float, a: float | None = None, b: float | None = None, code: int = 0, text: str = ""
    ) -> list[str]:
        ids = [n for n, v in enumerate((a, b)) if v is not None or (n == 0 and (code or text))]
        now = int(at_s * S)
        for n, v in ((0, a), (1, b)):
            if n in ids:
                if v is not None:
                    self.columns.value[n] = v
                self.columns.quality[n] = code
                self.columns.received_time[n] = self.columns.source_time[n] = now
        if text:
            self.columns.text[0] = text
        return self._words(self.at.changed(np.array(ids, np.int32), self.columns, now).what)

    def wait(self, at_s: float) -> list[str]:
        return self._words(self.at.due(self.columns, int(at_s * S)).what)

    @property
    def active(self) -> bool:
        return bool(self.at.active[0])

    def _words(self, what: NDArray[np.uint8]) -> list[str]:
        return [NAMES[int(w)] for w in what]


def limit(sign: int, at: float, deadband: float = 0.0) -> Condition:
    return Condition(Kind.LIMIT, "hi" if sign > 0 else "lo", sign, at, deadband)


def test_a_limit_is_passed_beyond_it_and_left_behind_its_dead_band() -> None:
    bench = Bench(limit(1, 10.0, 1.0))
    assert bench.say(1, 10.0) == []
    assert bench.say(2, 10.01) == ["active"]
    assert bench.say(3, 9.5) == [] and bench.say(4, 9.01) == []
    assert bench.say(5, 9.0) == ["cleared"]
    assert bench.say(6, 9.5) == [] and bench.say(7, 10.0) == []


def test_a_low_limit_is_the_same_upside_down() -> None:
    bench = Bench(limit(-1, 2.0, 0.5))
    assert bench.say(1, 2.0) == [] and bench.say(2, 1.99) == ["active"]
    assert bench.say(3, 2.4) == [] and bench.say(4, 2.5) == ["cleared"]


def test_an_on_delay_lets_it_come_when_it_ends_and_not_a_moment_before() -> None:
    bench = Bench(limit(1, 10.0), on_delay_s=5.0)
    assert bench.say(1, 11.0) == [] and bench.wait(5.999) == []
    assert bench.wait(6.0) == ["active"]


def test_what_is_over_within_the_on_delay_never_came() -> None:
    bench = Bench(limit(1, 10.0), on_delay_s=5.0)
    assert bench.say(1, 11.0) == [] and bench.say(5, 9.0) == [] and bench.wait(60) == []
    assert bench.say(61, 11.0) == [] and bench.wait(65.9) == [] and bench.wait(66) == ["active"]


def test_an_off_delay_holds_it_until_it_has_been_over_so_long_without_a_break() -> None:
    bench = Bench(limit(1, 10.0), off_delay_s=10.0)
    assert bench.say(1, 11.0) == ["active"]
    assert bench.say(2, 9.0) == [] and bench.say(8, 11.0) == [] and bench.say(9, 9.0) == []
    assert bench.wait(18.9) == [] and bench.wait(19.0) == ["cleared"]


@pytest.mark.parametrize("code", [quality.BAD_NO_COMMUNICATION, quality.UNCERTAIN_LAST_USABLE])
def test_a_reading_that_is_not_good_never_clears_an_alarm(code: int) -> None:
    bench = Bench(limit(1, 10.0))
    assert bench.say(1, 11.0) == ["active"]
    assert bench.say(2, 5.0, code=code) == ["unsure"] and bench.active
    assert bench.say(3, 5.0, code=code) == [] and bench.wait(600) == [] and bench.active
    assert bench.say(601, 11.0) == ["sure"] and bench.say(602, 9.0) == ["cleared"]


def test_a_reading_that_is_not_good_raises_no_limit_but_is_seen_to_be_blind() -> None:
    bench = Bench(limit(1, 10.0))
    assert bench.at.blind[0]
    bench.say(1, 5.0)
    assert not bench.at.blind[0]
    assert bench.say(2, 50.0, code=quality.BAD) == [] and bench.at.blind[0] and not bench.active


def test_doubt_starts_the_off_delay_again_and_lets_the_on_delay_run() -> None:
    bench = Bench(limit(1, 10.0), on_delay_s=5.0, off_delay_s=5.0)
    bench.say(1, 11.0)
    assert bench.say(2, 11.0, code=quality.BAD) == []
    assert bench.wait(6) == ["active", "unsure"]
    assert bench.say(10, 5.0) == ["sure"]
    assert bench.say(14, 5.0, code=quality.BAD) == ["unsure"]
    assert bench.say(16, 5.0) == ["sure"] and bench.wait(20.9) == [] and bench.wait(21) == ["cleared"]


def test_a_rate_is_taken_over_its_window_and_a_value_that_rests_clears_it() -> None:
    bench = Bench(Condition(Kind.RATE, "rise", 1, 1.0, 0.0, window_s=2.0))
    assert bench.say(0, 0.0) == [] and bench.say(1, 5.0) == []
    assert bench.say(2, 5.0) == ["active"]
    assert bench.wait(3.9) == [] and bench.wait(4.0) == ["cleared"]
    assert bench.say(5, -50.0) == [] and bench.wait(6) == []


def test_a_fall_and_a_rate_to_both_sides() -> None:
    fall, both = (Bench(Condition(Kind.RATE, "x", sign, 1.0, window_s=1.0)) for sign in (-1, 0))
    for bench in (fall, both):
        bench.say(0, 10.0)
        assert bench.say(1, 8.0) == ["active"]
    assert fall.say(2, 20.0) == ["cleared"] and both.say(2, 20.0) == []


def test_a_deviation_follows_both_points_and_doubts_with_either() -> None:
    bench = Bench(Condition(Kind.DEVIATION, "deviation", 0, 2.0, 0.5, other="b"))
    assert bench.say(1, 10.0) == [] and bench.at.blind[0]
    assert bench.say(2, b=10.0) == [] and not bench.at.blind[0]
    assert bench.say(3, b=12.1) == ["active"] and bench.say(4, b=11.6) == [] and bench.say(5, b=11.5) == ["cleared"]
    above = Bench(Condition(Kind.DEVIATION, "deviation", 1, 2.0, reference=5.0))
    assert above.say(1, 2.0) == [] and above.say(2, 7.1) == ["active"]


def test_a_state_is_one_of_its_values_or_none_of_them() -> None:
    one, none = (Bench(Condition(Kind.STATE, "is", codes=(2.0, 4.0), negated=n)) for n in (False, True))
    assert one.say(1, 2.0) == ["active"] and one.say(2, 4.0) == [] and one.say(3, 3.0) == ["cleared"]
    assert none.say(1, 2.0) == [] and none.say(2, 3.0) == ["active"]


def test_a_text_is_one_of_its_texts() -> None:
    bench = Bench(Condition(Kind.GIVEN, "is", texts=("fault", "trip")))
    assert bench.say(1, text="ok") == [] and bench.say(2, text="trip") == ["active"]
    assert bench.say(3, text="ok", code=quality.BAD) == ["unsure"]
    assert bench.say(4, text="ok") == ["sure", "cleared"]


def test_what_nobody_says_grows_old_also_before_it_was_ever_said_and_is_young_when_heard_again() -> None:
    bench = Bench(Condition(Kind.STALE, "stale", limit=10.0))
    assert bench.wait(10.0) == [] and bench.wait(10.1) == ["active"]
    assert bench.say(12, 1.0) == ["cleared"] and bench.wait(22) == [] and bench.wait(22.1) == ["active"]
    bench.columns.received_time[0] = 23 * S  # a heartbeat: nothing changed
    assert bench.wait(23.2) == ["cleared"]


def test_quality_is_an_alarm_of_its_own_and_never_in_doubt() -> None:
    bad, doubtful = (Bench(Condition(Kind.QUALITY, "quality", limit=n)) for n in (2.0, 1.0))
    for bench in (bad, doubtful):
        assert bench.wait(0) == ["active"]  # never read is bad
        assert bench.say(1, 1.0) == ["cleared"]
    assert bad.say(2, 1.0, code=quality.UNCERTAIN) == [] and doubtful.say(2, 1.0, code=quality.UNCERTAIN) == ["active"]
    assert bad.say(3, 1.0, code=quality.BAD) == ["active"]


def test_after_a_restart_an_active_alarm_is_active_until_a_good_reading_says_otherwise() -> None:
    bench = Bench(limit(1, 10.0))
    bench.at.restore([0])
    assert bench.wait(1) == [] and bench.active
    assert bench.say(2, 5.0, code=quality.UNCERTAIN_LAST_USABLE) == [] and bench.active
    assert bench.say(3, 5.0) == ["sure", "cleared"]


READINGS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 20), st.sampled_from([0, 0, 0, quality.BAD])), max_size=50
)


@settings(max_examples=200, deadline=None)
@given(READINGS, st.integers(0, 3), st.integers(0, 6), st.integers(0, 6))
def test_a_limit_with_delays_does_what_a_slow_and_plain_loop_does(
    readings: list[tuple[int, int, int]], deadband: int, on_s: int, off_s: int
) -> None:
    """Second by second; the plain loop keeps how long it was beyond, and how long it was seen to be back."""
    bench = Bench(limit(1, 10.0, deadband), on_s, off_s)
    now, beyond, beyond_for, back_for, active, known_back = 0, False, 0, 0, False, False
    for pause, value, code in readings:
        for _ in range(pause - 1):
            now += 1
            bench.wait(now)
            beyond_for, back_for = beyond_for + 1, back_for + 1
            active = (active or (beyond and beyond_for >= on_s)) and not (known_back and back_for >= off_s)
            assert bench.active == active, now
        now += 1
        beyond_for, back_for = beyond_for + 1, back_for + 1
        bench.say(now, float(value), code=code)
        good = code == 0
        was = beyond
        if good:
            beyond = value > (10 - deadband if beyond or (active and not known_back) else 10)
            if beyond != was:
                beyond_for = 0
            if not beyond and (was or not known_back):
                back_for = 0
        elif active:
            beyond = True
        known_back = good and not beyond
        active = (active or (beyond and beyond_for >= on_s)) and not (known_back and back_for >= off_s)
        assert bench.active == active, now
