"""Conditions over the twin: what they say, in which unit, what cannot be told, and what is no condition at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from twin import quality
from twin.columns import Columns
from twin.errors import BadRequest
from twin.expression import Answer, Expression, parse
from twin.expression_syntax import DEPTH_MAX, LENGTH_MAX, NODES_MAX, WORDS, read
from twin.points import Point
from twin.schema import Enum, EnumValue, Primitive
from twin.units import UNITS

NOW = 1_800_000_000 * 10**9
MODE = Enum("integer", (EnumValue("off", 0), EnumValue("auto", 4)))
OTHER_MODE = Enum("integer", (EnumValue("off", 0), EnumValue("manual", 1)))
_ROWS = (
    ("tank.level", "double", "m", "plc"),
    ("tank.depth", "double", "cm", "plc"),
    ("tank.full", "boolean", "", "plc"),
    ("pump.speed", "double", "%", "plc"),
    ("pump.flow", "double", "m3/h", "plc"),
    ("pump.starts", "integer", "", "plc"),
    ("pump.fault", "boolean", "", "plc"),
    ("pump.mode", "enum", "", "plc"),
    ("pump.drive.speed", "double", "rpm", "plc"),
    ("pump.serial", "string", "", "plc"),
    ("room.air", "double", "degC", "plc"),
    ("room.wall", "double", "degF", "plc"),
    ("room.gas", "double", "K", "plc"),
    ("room.note", "string", "", ""),
    ("room.wish", "double", "m", ""),
    ("pump.run", "boolean", "", "plc"),
    ("room.mode", "enum", "", "plc"),
    ("pump.map", "object", "", "plc"),
)
SCHEMAS = {"pump.mode": MODE, "room.mode": OTHER_MODE}
POINTS = {
    name: Point(
        i, name, name.split(".")[0], name.split(".", 1)[1], kind, unit, device, "a",
        schema=SCHEMAS.get(name, Primitive("string")),
    )
    for i, (name, kind, unit, device) in enumerate(_ROWS)
}  # fmt: skip
GOOD: Mapping[str, float | str] = {
    "tank.level": 2.0, "tank.depth": 150.0, "tank.full": 0.0, "pump.speed": 50.0, "pump.flow": 36.0,
    "pump.starts": 7.0, "pump.fault": 0.0, "pump.mode": 4.0, "pump.drive.speed": 1200.0, "pump.serial": "A-1",
    "room.air": 20.0, "room.wall": 50.0, "room.gas": 300.0, "room.note": "kept", "room.wish": 3.0, "pump.run": 1.0,
    "room.mode": 1.0, "pump.map": "{}",
}  # fmt: skip


def columns(changed: Mapping[str, float | str] | None = None, age_s: float = 1.0) -> Columns:
    """Every point good and one second old."""
    made = Columns.empty(len(POINTS))
    made.quality[:] = quality.GOOD
    made.source_time[:] = made.received_time[:] = NOW - int(age_s * 1e9)
    for name, value in {**GOOD, **(changed or {})}.items():
        row = POINTS[name].id
        if isinstance(value, str):
            made.text[row] = value
        else:
            made.value[row] = value
    made.text[POINTS["pump.mode"].id] = "auto"
    return made


def asked(text: str, of: Columns | None = None, value: float | None = None, target: str | None = None) -> Answer:
    expression = parse(text, POINTS, target=POINTS[target] if target else None)
    return expression.holds(columns() if of is None else of, NOW, value, 10.0)


TOLD = [
    ("tank.level > 1.2 m", True),
    ("tank.level > 120 cm and tank.level < 7 ft", True),
    ("tank.level == tank.depth", False),
    ("tank.depth == 1.5 m", True),
    ("1.5 m == tank.depth", True),
    ("1 m < tank.level < 3 m", True),
    ("3 m > tank.level >= 2 m > tank.depth", True),
    ("1 m < tank.level < 2 m", False),
    ("tank.level - tank.depth == 50 cm", True),
    ("tank.level + -1 m * 2 < 1 mm", True),
    ("-tank.level < 0", True),
    ("-(tank.level) == -2 m", True),
    ("abs(tank.depth - tank.level) <= 0.5 m", True),
    ("min(tank.level, tank.depth, 9 m) == 150 cm", True),
    ("max(1 m, tank.level) == 2 m", True),
    ("max(0, tank.level - 3 m) == 0", True),
    ("tank.level / tank.depth > 1.3", True),
    ("tank.level / 2 == 1 m", True),
    ("50 % * tank.level == 1 m", True),
    ("tank.level * pump.speed == 1 m", True),
    ("2 * 3 == 6", True),
    ("pump.speed == 50 %", True),
    ("pump.speed / 2 == 25 %", True),
    ("pump.flow == 10 L/s", True),
    ("pump.flow > 9 L/s and pump.flow < 11 L/s", True),
    ("pump.starts == 7", True),
    ("pump.starts + 1 > 7 and pump.starts <= 7", True),
    ("pump.starts + 1 > 700 %", True),
    ("not tank.full", True),
    ("not tank.full == on", True),
    ("tank.full == off", True),
    ("tank.full != pump.run", True),
    ("(tank.level > 3 m) == tank.full", True),
    ("tank.full or not pump.fault and tank.level > 1 m", True),
    ("(tank.full or not pump.fault) and tank.level > 3 m", False),
    ("true and not false", True),
    ("pump.mode == 'auto'", True),
    ("pump.mode != \"off\" and 'auto' == pump.mode", True),
    ("pump.serial == 'A-1' and pump.serial != room.note", True),
    ("room.note == 'kept'", True),
    ("room.air == 68 degF", True),
    ("room.air == 293.15 K", True),
    ("room.wall == 10 degC", True),
    ("room.air > room.wall", True),
    ("9.999 K < room.air - room.wall < 10.001 K", True),
    ("room.wall - room.air < -9 K", True),
    ("room.air - room.wall > room.gas - 26.85 degC - 1 K", True),
    ("room.air + 5 K == 25 degC", True),
    ("5 K + room.air == 25 degC", True),
    ("room.wall + 5 K == 59 degF", True),
    ("room.air - 5 K > -5 degC", True),
    ("min(room.air, 25 degC) == 20 degC", True),
    ("4.999 K < abs(room.wall - room.air) / 2 < 5.001 K", True),
    ("age(tank.level) < 2 s and age(tank.level) < 0.1 min", True),
    ("good(tank.level) and good(room.note)", True),
    ("tank.level>1.2m", True),
    ("  tank.level\n > 1e0 m ", True),
]


@pytest.mark.parametrize(("text", "truth"), TOLD)
def test_what_is_seen_decides(text: str, truth: bool) -> None:
    assert asked(text).truth is truth, asked(text).detail


def test_what_is_commanded_has_the_targets_unit_and_this_is_its_twin() -> None:
    assert asked("value <= 60 % and value > this.speed", value=55.0, target="pump.speed").truth is True
    assert asked("this.drive.speed > 20 rps", value=55.0, target="pump.speed").truth is False
    assert asked("value == on", value=1.0, target="pump.run").truth is True
    assert asked("value == 'auto'", value=0.0, target="pump.mode").truth is False
    assert asked("abs(value - this.speed) <= 5 %", value=56.0, target="pump.speed").truth is False


MISTAKES = [
    ("tank.levle > 1 m", 1, "'tank.levle' is no point", "did you mean tank.level"),
    ("tank.level > 1.2", 14, "1.2 has no unit, tank.level is in m", "write 1.2 m"),
    ("pump.speed > 50", 14, "50 has no unit, pump.speed is in %", "write 50 %"),
    ("tank.level > 3 bar", 1, "tank.level (length) and 3 bar (pressure) do not go together", "one kind"),
    ("tank.level > 3 mtr", 16, "'mtr' is no unit", "m"),
    ("tank.level * tank.depth > 1 m2", 1, "tank.level (length) * tank.depth (length) has no unit here", "multiply"),
    ("2 / tank.level > 1", 1, "2 (a number) / tank.level (length) has no unit", "divide by"),
    ("tank.level", 1, "tank.level is a number, neither true nor false", "compare it"),
    ("tank.level > 1 m and pump.speed", 22, "pump.speed is a number", "compare it"),
    ("not tank.level > 1 m > 2", 24, "2 has no unit", "write 2 m"),
    ("tank.full == 1", 1, "tank.full (on or off) == 1 (a number)", "compare with on or off"),
    ("tank.full == 'on'", 1, "(on or off) == 'on' (a text)", "without quotes"),
    ("tank.full > off", 1, "(on or off) > off", "only numbers have an order"),
    ("tank.full + 1 > 2", 1, "tank.full is on or off, not a number", "use a number"),
    ("pump.mode == 'atuo'", 14, "'atuo' is no value of pump.mode", "0 off, 4 auto"),
    ("pump.mode == '4'", 14, "'4' is no value of pump.mode", "0 off, 4 auto"),
    ("pump.mode == 4", 1, "(a name of an enum) == 4", "0 off, 4 auto"),
    ("pump.mode == room.mode", 1, "(a name of an enum) == room.mode (a name of an enum)", "one in quotes"),
    ("pump.serial > 'a'", 1, "(a text) > 'a'", "write == or !="),
    ("pump.map == 'a'", 1, "pump.map is of type object", "numbers, on or off"),
    ("tank.level = 1 m", 12, "'=' means nothing here", "write == to compare"),
    ("tank.full && pump.run", 11, "'&' means nothing here", "write and"),
    ("tank.level ≥ 1 m", 12, "'≥' means nothing here", "write >="),
    ("tank.full and", 14, "the expression ends too early", "write a point"),
    ("", 1, "the expression ends too early", "write a point"),
    ("(tank.full", 1, "this bracket is not closed", "add )"),
    ("tank.full)", 10, "there is no bracket to close", "remove it"),
    ("tank.full pump.run", 11, "'pump.run' does not go on", "join them"),
    ("tank.full and or pump.run", 15, "'or' where a value is wanted", "write a point"),
    ("'auto == pump.mode", 1, '"\'" means nothing here', "close the text"),
    ("tank.full == onn", 14, "'onn' is no word", "did you mean on"),
    ("tank.full AND pump.run", 11, "'AND' does not go on", "join them"),
    ("tank.full or AND", 14, "'AND' is no word", "twin.property"),
    ("value == on", 1, "nothing is commanded here", "name a point"),
    ("this.fault", 1, "nothing is commanded here", "name the twin"),
    ("1 m < tank.level > 2 m", 18, "< and > in one chain", "else write and"),
    ("1 m == tank.level == 2 m", 19, "== and == in one chain", "else write and"),
    ("abs(tank.level, 1 m) > 1 m", 1, "abs has 2 arguments", "give 1"),
    ("min(tank.level) > 1 m", 1, "min has 1 arguments", "give 2 or more"),
    ("abs > 1 m", 1, "abs needs its arguments in brackets", "write abs("),
    ("age(1 m) > 1 s", 5, "age(1 m)", "name one point"),
    ("age(room.wish) > 1 s", 5, "room.wish has no age", "leave it out"),
    ("good(tank.level > 1 m)", 6, "good(tank.level > 1 m)", "name one point"),
    ("1 / 0 > 1", 1, "divided by zero", "divide by something else"),
    ("tank.level > 1e999 m", 14, "too large a number", "below 1e308"),
    ("tank.depth > 1e307 km", 14, "1e307 km is too large in cm", "stay below"),
    ("room.air + room.wall > 1 K", 1, "has no meaning as a temperature", "such as 5 K"),
    ("room.air - room.wall > 10 degC", 1, "is a difference of temperatures, 10 degC is none", "differences in K"),
    ("2 * room.air > 40 degC", 5, "room.air counts from its scale's zero", "use a difference"),
    ("abs(room.air) > 1 K", 5, "abs of a temperature", "use a difference"),
    ("room.air > 0", 12, "0 has no unit", "write 0 degC"),
]


@pytest.mark.parametrize(("text", "column", "what", "fix"), MISTAKES)
def test_a_mistake_says_where_it_is_and_how_to_mend_it(text: str, column: int, what: str, fix: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(text, POINTS)
    assert caught.value.message.startswith(f"column {column}: ")
    assert what in caught.value.message
    assert fix in caught.value.hint


def test_this_offers_what_the_twin_has() -> None:
    with pytest.raises(BadRequest) as caught:
        parse("this.falt", POINTS, target=POINTS["pump.run"])
    assert "'pump.falt' is no point" in caught.value.message
    assert "pump.fault" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("tank.full" + " or tank.full" * 90, str(LENGTH_MAX)),
        ("(" * (DEPTH_MAX + 1) + "tank.full" + ")" * (DEPTH_MAX + 1), str(DEPTH_MAX)),
        ("not " * (DEPTH_MAX + 1) + "tank.full", str(DEPTH_MAX)),
        ("-" * (DEPTH_MAX + 1) + "1 > 2", str(DEPTH_MAX)),
        ("+".join(["1"] * (NODES_MAX // 2 + 2)) + " > 1", str(NODES_MAX)),
    ],
)
def test_what_nobody_can_check_by_reading_is_no_expression(text: str, limit: str) -> None:
    with pytest.raises(BadRequest, match=limit):
        parse(text, POINTS)


# --- what cannot be told ---------------------------------------------------------------------------------------------


def spoiled(name: str, how: str) -> Columns:
    made = columns()
    row = POINTS[name].id
    if how == "never":
        made.take_over(Columns.empty(len(made)), np.array([row], np.int32))
        made.text.pop(row, None)
    elif how == "bad":
        made.quality[row] = quality.BAD_SENSOR_FAILURE
    elif how == "uncertain":
        made.quality[row] = quality.UNCERTAIN_LAST_USABLE
    elif how == "stale":
        made.received_time[row] = NOW - 31 * 10**9
    else:
        made.value[row] = float("nan")
        made.text.pop(row, None)
    return made


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("never", "was never read"),
        ("bad", "is BadSensorFailure"),
        ("uncertain", "is UncertainLastUsableValue"),
        ("stale", "is stale (31 s old)"),
        ("empty", "has no value"),
    ],
)
def test_nobody_goes_by_a_value_that_is_not_known(how: str, said: str) -> None:
    answer = asked("tank.level > 1.2 m", spoiled("tank.level", how))
    assert answer.truth is None
    assert answer.detail == f"tank.level > 1.2 m cannot be told: tank.level {said}"


def test_a_broken_instrument_is_said_even_where_the_other_half_would_decide() -> None:
    broken = spoiled("tank.level", "bad")
    assert asked("pump.run or tank.level > 1 m", broken).truth is None
    assert asked("tank.full and tank.level > 1 m", broken).truth is None
    assert "tank.level is BadSensorFailure" in asked("pump.run or tank.level > 1 m", broken).detail


def test_whoever_asks_whether_a_point_is_good_may_go_on_with_another() -> None:
    text = "good(tank.level) and tank.level > 1 m or good(tank.depth) and tank.depth > 1 m"
    assert asked(text).truth is True
    assert asked(text, spoiled("tank.level", "bad")).truth is True
    both = spoiled("tank.level", "bad")
    both.quality[POINTS["tank.depth"].id] = quality.BAD
    assert asked(text, both).truth is False
    careless = asked("good(tank.depth) or tank.level > 1 m", spoiled("tank.level", "bad"))
    assert careless.truth is None
    unguarded = asked("good(tank.level) or tank.level > 1 m", spoiled("tank.level", "stale"))
    assert (unguarded.truth, "is stale" in unguarded.detail) == (None, True)


def test_the_least_of_something_unknown_is_unknown() -> None:
    broken = spoiled("tank.level", "bad")
    for text in ("min(9 m, tank.level) > 1 m", "min(tank.level, 9 m) > 1 m", "max(9 m, tank.level) > 1 m"):
        assert asked(f"good(tank.level) or {text}", broken).truth is None


def test_a_share_stays_a_share_beside_a_plain_number() -> None:
    seven = columns({"pump.speed": 7.0})
    assert asked("pump.speed * 3 == 21 % and 3 * pump.speed == 21 %", seven).truth is True


def test_what_people_keep_does_not_grow_old() -> None:
    assert asked("room.wish > 1 m and room.note == 'kept'", columns(age_s=1e6)).truth is True


def test_the_age_of_a_point_may_be_asked_without_its_value() -> None:
    assert asked("age(tank.level) > 30 s", spoiled("tank.level", "stale")).truth is True
    assert asked("age(tank.level) < 30 s", spoiled("tank.level", "never")).truth is None


def test_nothing_is_told_of_a_division_by_zero() -> None:
    still = columns({"tank.depth": 0.0})
    answer = asked("tank.level / tank.depth > 1", still)
    assert (answer.truth, "cannot be told: tank.level is 2 m" in answer.detail) == (None, True)
    assert asked("tank.depth > 0 and tank.level / tank.depth > 1", still).truth is False
    assert asked("tank.depth == 0 or tank.level / tank.depth > 1", still).truth is True


def test_a_clock_that_runs_ahead_makes_nothing_older() -> None:
    assert asked("age(tank.level) == 0 s", columns(age_s=-5)).truth is True


# --- what is said ----------------------------------------------------------------------------------------------------


def test_a_refusal_names_the_part_that_refuses_and_what_was_seen() -> None:
    answer = asked("tank.level > 1.2 m and not pump.fault", columns({"tank.level": 0.9}))
    assert answer.detail == "tank.level > 1.2 m does not hold: tank.level is 0.9 m"
    assert [(s.point, s.value, s.quality, s.age_s) for s in answer.seen] == [
        ("tank.level", 0.9, quality.GOOD, 1.0),
        ("pump.fault", 0.0, quality.GOOD, 1.0),
    ]


def test_every_part_that_refuses_is_said() -> None:
    answer = asked("tank.full and (pump.fault or tank.level > 3 m) and pump.mode == 'off' and pump.serial == 'B'")
    assert answer.detail == (
        "tank.full does not hold: tank.full is off; "
        "(pump.fault or tank.level > 3 m) does not hold: pump.fault is off, tank.level is 2 m; "
        "pump.mode == 'off' does not hold: pump.mode is auto; "
        "pump.serial == 'B' does not hold: pump.serial is 'A-1'"
    )


def test_what_is_commanded_is_said() -> None:
    answer = asked("value <= this.speed", value=80.0, target="pump.speed")
    assert answer.detail == "value <= this.speed does not hold: pump.speed is 50 %, value is 80 %"


def test_a_condition_that_holds_says_nothing_and_shows_what_it_saw() -> None:
    answer = asked("tank.level > 1 m or pump.fault")
    assert (answer.truth, answer.detail) == (True, "")
    assert [s.point for s in answer.seen] == ["tank.level", "pump.fault"]
    assert parse("tank.level > 1 m or pump.fault", POINTS).points == (POINTS["tank.level"].id, POINTS["pump.fault"].id)


# --- any expression against plain Python -----------------------------------------------------------------------------

Env = Mapping[str, float | None]


class Undecided(Exception):
    """Two numbers are so close that rounding decides."""


@dataclass(frozen=True)
class Case:
    """A text, what plain Python makes of it, and whose values it uses; `bound`: 0 atom … 3 loosest."""

    text: str
    value: Callable[[Env], Fraction | bool | None]
    names: frozenset[str]
    asked: frozenset[str]
    bound: int = 0

    def inside(self, bound: int) -> str:
        return f"({self.text})" if self.bound > bound else self.text


LENGTHS = {"m": Fraction(1), "cm": Fraction(1, 100), "mm": Fraction(1, 1000)}
NOBODY: frozenset[str] = frozenset()


def _length(name: str) -> Case:
    factor = LENGTHS[POINTS[name].unit]

    def whole(env: Env) -> Fraction | None:
        value = env[name]
        return None if value is None else Fraction(value) * factor

    return Case(name, whole, frozenset([name]), NOBODY)


def _written(number: int, unit: str) -> Case:
    return Case(f"{number} {unit}", lambda _: number * LENGTHS[unit], NOBODY, NOBODY)


def _joined(parts: list[Case], text: str, value: Callable[[list[Fraction]], Fraction], bound: int) -> Case:
    def whole(env: Env) -> Fraction | None:
        numbers = [p.value(env) for p in parts]
        return None if None in numbers else value(numbers)  # type: ignore[arg-type]

    return Case(
        text, whole, frozenset().union(*(p.names for p in parts)), frozenset().union(*(p.asked for p in parts)), bound
    )


def _numbers(inner: st.SearchStrategy[Case]) -> st.SearchStrategy[Case]:
    pair = st.tuples(inner, inner)
    return st.one_of(
        pair.map(lambda p: _joined([*p], f"{p[0].inside(1)} + {p[1].inside(0)}", sum, 1)),  # type: ignore[arg-type]
        pair.map(lambda p: _joined([*p], f"{p[0].inside(1)} - {p[1].inside(0)}", lambda n: n[0] - n[1], 1)),
        pair.map(lambda p: _joined([*p], f"min({p[0].text}, {p[1].text})", min, 0)),
        pair.map(lambda p: _joined([*p], f"max({p[0].text}, {p[1].text})", max, 0)),
        st.tuples(inner, st.integers(1, 9)).map(
            lambda p: _joined([p[0]], f"{p[0].inside(0)} / {p[1]}", lambda n: n[0] / p[1], 1)
        ),
        inner.map(lambda p: _joined([p], f"abs({p.text})", lambda n: abs(n[0]), 0)),
        inner.map(lambda p: _joined([p], f"-({p.text})", lambda n: -n[0], 0)),
    )


NUMBERS = st.recursive(
    st.one_of(
        st.sampled_from(["tank.level", "tank.depth", "room.wish"]).map(_length),
        st.builds(_written, st.integers(0, 300), st.sampled_from(sorted(LENGTHS))),
    ),
    _numbers,
    max_leaves=6,
)
SIGNS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def _compared(left: Case, sign: str, right: Case) -> Case:
    def whole(env: Env) -> bool | None:
        a, b = left.value(env), right.value(env)
        if a is None or b is None:
            return None
        if a is not b and abs(Fraction(a) - Fraction(b)) < Fraction(1, 10**6):
            raise Undecided
        return SIGNS[sign](a, b)  # type: ignore[arg-type]

    text = f"{left.inside(1)} {sign} {right.inside(1)}"
    return Case(text, whole, left.names | right.names, left.asked | right.asked, 2)


def _logic(parts: list[Case], word: str) -> Case:
    deciding = word == "or"

    def whole(env: Env) -> bool | None:
        truths = [p.value(env) for p in parts]
        return deciding if deciding in truths else None if None in truths else not deciding

    text = f" {word} ".join(p.inside(2) for p in parts)
    return Case(
        text, whole, frozenset().union(*(p.names for p in parts)), frozenset().union(*(p.asked for p in parts)), 3
    )


def _not(inner: Case) -> Case:
    def whole(env: Env) -> bool | None:
        value = inner.value(env)
        return None if value is None else not value

    return Case(f"not {inner.inside(2)}", whole, inner.names, inner.asked, 2)


def _switch(name: str) -> Case:
    return Case(name, lambda env: None if env[name] is None else env[name] != 0, frozenset([name]), NOBODY)


def _good(name: str) -> Case:
    return Case(f"good({name})", lambda env: env[name] is not None, NOBODY, frozenset([name]))


TRUTHS = st.recursive(
    st.one_of(
        st.builds(_compared, NUMBERS, st.sampled_from(sorted(SIGNS)), NUMBERS),
        st.sampled_from(["tank.full", "pump.fault"]).map(_switch),
        st.sampled_from(["tank.full", "tank.level", "tank.depth"]).map(_good),
    ),
    lambda inner: st.one_of(
        st.builds(_logic, st.lists(inner, min_size=2, max_size=3), st.sampled_from(["and", "or"])), inner.map(_not)
    ),
    max_leaves=6,
)
USED = ("tank.level", "tank.depth", "room.wish", "tank.full", "pump.fault")
ENVS = st.fixed_dictionaries(
    {n: st.one_of(st.none(), st.sampled_from([0.0, 1.0] if POINTS[n].type == "boolean" else [0.0, 1.0, 2.5, 150.0]))
     for n in USED}
)  # fmt: skip


def of_env(env: Env) -> Columns:
    made = columns({n: v for n, v in env.items() if v is not None})
    for name, value in env.items():
        if value is None:
            made.quality[POINTS[name].id] = quality.BAD
    return made


@settings(max_examples=400, deadline=None)
@given(TRUTHS, ENVS)
def test_every_expression_says_what_plain_python_says(case: Case, env: Env) -> None:
    assume(len(case.text) <= LENGTH_MAX)
    broken = any(env[name] is None for name in case.names - case.asked)
    try:
        truth = case.value(env)
    except Undecided:
        assume(False)
    answer = parse(case.text, POINTS).holds(of_env(env), NOW)
    assert answer.truth is (None if broken else truth), case.text
    assert (answer.detail == "") is (answer.truth is True)
    assert {s.point for s in answer.seen} == case.names | case.asked


@settings(max_examples=200, deadline=None)
@given(TRUTHS, st.integers(0, 2**32))
def test_spaces_and_brackets_that_are_not_needed_change_nothing(case: Case, seed: int) -> None:
    chance = random.Random(seed)
    airy = "".join(chance.choice([c, c + " "]) if c in " ()," else c for c in case.text)
    assume(len(airy) <= LENGTH_MAX - 4)
    assert read(airy) == read(case.text) == read(f"({case.text} )")


@settings(max_examples=200, deadline=None)
@given(TRUTHS)
def test_an_expression_is_what_its_text_says_again(case: Case) -> None:
    assume(len(case.text) <= LENGTH_MAX)
    once = parse(case.text, POINTS)
    again = parse(once.text, POINTS)
    assert (again.used, again.needed, [t.text for t in again.terms]) == (
        once.used,
        once.needed,
        [t.text for t in once.terms],
    )
    assert " and ".join(t.text for t in once.terms) == case.text or len(once.terms) == 1


PARTS = st.sampled_from(
    [*WORDS, *POINTS, *filter(None, UNITS), "this.fault", "1", "2.5", "'auto'", '"', "(", ")", ",", "==", "<", "+",
     "-", "*", "/", " ", "é", "\n", "1e400", "=", "."]
)  # fmt: skip


def parsed_or_refused(text: str) -> Expression | None:
    try:
        return parse(text, POINTS, target=POINTS["pump.speed"])
    except BadRequest as error:
        assert error.message
        assert error.hint
        return None


@settings(max_examples=600, deadline=None)
@given(st.lists(PARTS, max_size=12).map("".join) | st.lists(PARTS, max_size=12).map(" ".join) | st.text(max_size=60))
def test_garbage_is_refused_with_a_reason_and_never_breaks_anything(text: str) -> None:
    made = parsed_or_refused(text)
    if made is not None:
        made.holds(columns(), NOW, 50.0)


@settings(max_examples=300, deadline=None)
@given(TRUTHS, st.data())
def test_a_slip_of_the_pen_is_refused_or_still_an_expression(case: Case, data: st.DataObject) -> None:
    assume(len(case.text) < LENGTH_MAX)
    at = data.draw(st.integers(0, len(case.text)))
    slip = data.draw(st.sampled_from(["", "(", ")", "m", ".", "=", "not ", "'", "0", "\x00"]))
    made = parsed_or_refused(case.text[:at] + slip + case.text[at + data.draw(st.integers(0, 1)) :])
    if made is not None:
        made.holds(columns(), NOW, 50.0)


def test_a_division_by_nothing_is_told_when_it_is_read() -> None:
    with pytest.raises(BadRequest, match="divided by zero"):
        parse("2 / (1 - 1) > 1", {})
