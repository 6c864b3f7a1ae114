"""What the command line says of a look-ahead: never that nothing is coming when nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from control import show_lookahead

LIMITS = ["table_1.crates>9", "table_2.crates<1"]
TURNS = {"made": 1, "yielded": 0, "late": 0, "refused": 2, "failed": 1}
AGAIN = {"foreseen": 15, "unforeseen": 3, "unsaid": 2}


def state(**more: Any) -> dict[str, Any]:
    found = {
        "state": "waiting", "why": "", "since": 0.0, "limits": LIMITS, "forecast": None, "alarms": [], "passed": [],
        "quiet": [], "shelves": [], "turns": TURNS,
    }  # fmt: skip
    return {**found, **more}


def forecast(*probabilities: float) -> dict[str, Any]:
    expected = [
        {"limit": x, "probability": p, "low": p, "high": p, "early_s": 60.0, "at_s": 120.0, "late_s": 180.0}
        for x, p in zip(LIMITS, probabilities, strict=True)
    ]
    return {
        "made_at": 0.0, "clock_s": 0.0, "horizon_s": 3600.0, "replications": 100, "took_s": 0.1, "limits": expected
    }  # fmt: skip


def printed(capsys: pytest.CaptureFixture[str], found: dict[str, Any]) -> str:
    show_lookahead.state(found)
    read = capsys.readouterr()
    return read.out + read.err


def test_before_the_first_forecast_the_limits_stand_there_without_a_probability(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = printed(capsys, state())
    assert "no limits" not in said and said.count("no forecast yet") == 2
    assert all(limit in said for limit in LIMITS)
    assert "names no limits to look for" in printed(capsys, state(limits=[]))


def test_a_limit_that_is_quiet_is_called_that_beside_its_probability(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = [{"limit": LIMITS[1], "status": "came", "came_s": 36_120.0, "armed_s": None, "again": AGAIN}]
    said = printed(capsys, state(state="current", forecast=forecast(0.1, 0.9), quiet=quiet))
    line = next(x for x in said.splitlines() if x.startswith(LIMITS[1]))
    assert "0.90" in line and "quiet, came day 0, 10:02" in line


def test_turns_that_failed_are_told_apart_from_those_of_an_unknown_state(capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 of an unknown state, 1 of a fault" in printed(capsys, state())


def test_what_became_of_an_alarm_says_how_often_its_limit_was_passed_again(capsys: pytest.CaptureFixture[str]) -> None:
    said = {"clock_s": 0.0, "probability": 0.9, "at_s": 60.0}
    alarm = {
        "limit": LIMITS[1], "status": "came", "first": said, "ended_clock_s": 60.0, "lead_s": 60.0, "error_s": 0.0,
        "detail": "read 0", "again": AGAIN,
    }  # fmt: skip
    show_lookahead.alarms([alarm])
    words = "".join(capsys.readouterr().out.split())
    assert "passed20timesmore" in words and "15foreseen,3unforeseen" in words
