"""What people write for a what-if, and what they are told when it cannot be meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.scenario import Intervention, Limit, Scenario, Verb, parse_limit, parse_scenario
from twin.errors import BadRequest
from twin.when import parse_duration_s

PUMP = "pump_335.status"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("pump_335.status=off", [(0.0, PUMP, 0.0)]),
        ("pump_335.status=off for 4h", [(0.0, PUMP, 0.0), (14_400.0, PUMP, None)]),
        ("pump_335.status=off at 30m for 2h", [(1800.0, PUMP, 0.0), (9000.0, PUMP, None)]),
        ("pump_335.status = OFF for 2h at 30m", [(1800.0, PUMP, 0.0), (9000.0, PUMP, None)]),
        ("pump_335.speed=80", [(0.0, "pump_335.speed", 80.0)]),
        ("pump_335.speed=8.5e1 at 1h30m", [(5400.0, "pump_335.speed", 85.0)]),
        ("a.b=true at 1d; ;c.d=false;", [(0.0, "c.d", 0.0), (86_400.0, "a.b", 1.0)]),
    ],
)
def test_a_scenario_says_what_happens_when(text: str, steps: list[tuple[float, str, float | None]]) -> None:
    assert list(parse_scenario(text).interventions) == [Intervention(*step, ends=step[2] is None) for step in steps]


def test_a_scenario_sets_states_adds_units_and_runs_commands() -> None:
    text = "M5.health=down at 1h; crew.capacity+=1; run P1.switch_off at 2h; demand=3 for 1h; crew.capacity-=1 for 3h"
    assert parse_scenario(text, "all").interventions == (
        Intervention(0.0, "crew.capacity", 1.0, Verb.ADD),
        Intervention(0.0, "demand", 3.0),
        Intervention(0.0, "crew.capacity", -1.0, Verb.ADD),
        Intervention(3600.0, "M5.health", "down"),
        Intervention(3600.0, "demand", None, ends=True),
        Intervention(7200.0, "P1.switch_off", 0.0, Verb.RUN),
        Intervention(10_800.0, "crew.capacity", 1.0, Verb.ADD, ends=True),
    )


def test_a_scenario_written_in_python_is_the_one_written_as_text() -> None:
    made = Scenario("x").add("crew.capacity", 1).at("1h", "M5.health", "down").run("P1.stop", when="2h")
    made = made.at("1h", "demand", 3, lasting="30m")
    text = "crew.capacity+=1; M5.health=down at 1h; run P1.stop at 2h; demand=3 at 1h for 30m"
    assert made == parse_scenario(text, "x")


def test_a_scenario_is_called_like_its_text_unless_named() -> None:
    assert parse_scenario(" a.b=1 ").name == "a.b=1"
    assert parse_scenario("a.b=1", "trip").name == "trip"


@pytest.mark.parametrize(
    ("text", "place", "fix"),
    [
        ("", "empty", "point=value"),
        (" ; ", "empty", "point=value"),
        ("pump_335.status", "intervention 1", "point=value"),
        ("a.b=1; c.d", "intervention 2 ('c.d')", "point=value"),
        ("a.b=-maybe", "'-maybe' is no value", "on, off"),
        ("a.b+=more", "cannot be added", "a number"),
        ("run a.b for 2h", "does not last", "leave `for` out"),
        ("a.b=nan", "'nan' is no value", "a number"),
        ("a.b=off for 4", "'4' is no duration", "4s, 4m or 4h"),
        ("a.b=off for ever", "'ever' is no duration", "90s"),
        ("a.b=off for -2h", "'-2h' is no duration", "90s"),
        ("a.b=off for 0h", "lasts no time", "leave `for` out"),
        ("a.b=off at 1h at 2h", "says 'at' twice", "keep one"),
        ("a.b=off in 1h", "not understood", "point=value"),
        ("a.b=off for", "not understood", "point=value"),
        (";".join(["a.b=1"] * 101), "101 interventions", "split"),
    ],
)
def test_a_scenario_that_cannot_be_meant_names_the_place_and_the_fix(text: str, place: str, fix: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_scenario(text)
    assert place in caught.value.message
    assert fix in caught.value.hint


@given(st.text(max_size=60))
def test_any_text_gives_a_scenario_or_a_bad_request(text: str) -> None:
    for parse in (parse_scenario, parse_limit, parse_duration_s):
        try:
            parse(text)
        except BadRequest as refusal:
            assert refusal.hint


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("tank_1.level<3", Limit("tank_1.level", "<", 3.0)),
        (" tank_1.level > 9.5 ", Limit("tank_1.level", ">", 9.5)),
        ("tank_1.level<=3", Limit("tank_1.level", "<=", 3.0)),
        ("tank_1.inflow<-20", Limit("tank_1.inflow", "<", -20.0)),
    ],
)
def test_a_limit_is_a_point_a_side_and_a_value(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize("text", ["tank_1.level", "tank_1.level=3", "tank_1.level<", "tank_1.level<low"])
def test_a_limit_that_cannot_be_meant_is_refused_with_its_form(text: str) -> None:
    with pytest.raises(BadRequest, match="limit"):
        parse_limit(text)


def test_a_scenario_may_carry_its_name() -> None:
    named = parse_scenario(" more crew : crew.size=2 at 10m")
    assert (named.name, named.interventions) == ("more crew", parse_scenario("crew.size=2 at 10m").interventions)
    assert parse_scenario("b: crew.size=2", "a").name == "a"
    assert parse_scenario("run filler.maintain").name == "run filler.maintain"
    with pytest.raises(BadRequest, match="empty"):
        parse_scenario("b:")


def test_no_time_is_told_a_time_that_is_taken() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_duration_s("0", "--horizon")
    assert caught.value.hint == "write 90s, 30m, 1h30m or 2d"
