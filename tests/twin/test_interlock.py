"""Interlocks judge a command by what is seen now; whatever cannot be told refuses."""

from __future__ import annotations

import pytest

from tests.twin.test_expression import NOW, POINTS, columns, spoiled
from twin import quality
from twin.columns import NEVER, Columns
from twin.expression import parse
from twin.guard import Guard, judged
from twin.interlock import ALLOWED, Interlock, Judgement, Ruling, see

RUN = POINTS["pump.run"]


def guard(
    require: str,
    when: str = "",
    identity: str = "suction",
    message: str = "",
    emergency: bool = True,
    age_s: float = 10.0,
) -> Guard:
    row = Interlock(identity, require, when, age_s, message, emergency, (RUN.name,))
    needed = parse(require, POINTS, target=RUN)
    return Guard(row, needed, parse(when, POINTS, target=RUN) if when else None)


def judge(*guards: Guard, value: float = 1.0, of: Columns | None = None, emergency: bool = False) -> Judgement:
    return judged(guards, value, columns() if of is None else of, NOW, emergency)


def test_a_refusal_names_the_interlock_what_was_seen_and_its_message() -> None:
    dry = guard("tank.level > 1.2 m and not this.fault", message="the pump would run dry")
    found = judge(dry, of=columns({"tank.level": 0.9}))
    assert not found.allowed
    assert found.detail == (
        "interlock suction: tank.level > 1.2 m does not hold: tank.level is 0.9 m (the pump would run dry)"
    )


def test_a_stale_value_refuses() -> None:
    found = judge(guard("tank.level > 1.2 m"), of=spoiled("tank.level", "stale"))
    assert found.detail == "interlock suction: tank.level > 1.2 m cannot be told: tank.level is stale (31 s old)"


@pytest.mark.parametrize(("age_s", "allowed"), [(0.5, False), (2.0, True)])
def test_each_interlock_has_its_own_idea_of_old(age_s: float, allowed: bool) -> None:
    assert judge(guard("tank.level > 1.2 m", age_s=age_s)).allowed is allowed


def test_all_refusals_are_said_and_all_points_seen_once() -> None:
    found = judge(
        guard("tank.full", identity="one"),
        guard("tank.level > 1 m", identity="two"),
        guard("pump.fault or tank.full", identity="three"),
    )
    assert found.detail == (
        "interlock one: tank.full does not hold: tank.full is off; "
        "interlock three: pump.fault or tank.full does not hold: pump.fault is off, tank.full is off"
    )
    assert [s.point for s in found.seen] == ["tank.full", "tank.level", "pump.fault"]


def test_an_allowed_command_keeps_what_was_seen() -> None:
    found = judge(guard("tank.level > 1 m"))
    assert (found.allowed, found.detail) == (True, "")
    assert [(s.point, s.value, s.age_s) for s in found.seen] == [("tank.level", 2.0, 1.0)]


def test_an_interlock_of_a_case_does_not_ask_in_others() -> None:
    dry = guard("tank.level > 3 m", when="value == on")
    assert not judge(dry, value=1.0).allowed
    assert judge(dry, value=0.0) == Judgement(True, verdicts=(Ruling("interlocks", True),))
    assert judge(dry, value=0.0, of=spoiled("tank.level", "bad")).allowed


def test_where_it_cannot_be_told_whether_an_interlock_applies_it_refuses() -> None:
    found = judge(guard("tank.level > 1 m", when="pump.fault"), of=spoiled("pump.fault", "never"))
    assert found.detail == "interlock suction: whether it applies, pump.fault cannot be told: pump.fault was never read"


def test_an_emergency_passes_over_only_the_interlocks_that_say_so() -> None:
    kind, strict = guard("tank.full", identity="kind", emergency=False), guard("tank.full", identity="strict")
    assert judge(kind, emergency=True).allowed
    assert not judge(kind).allowed
    found = judge(kind, strict, emergency=True)
    assert found.detail == "interlock strict: tank.full does not hold: tank.full is off"


def test_a_point_without_interlocks_is_free() -> None:
    assert judge() is ALLOWED


def test_only_what_a_device_reports_has_an_age() -> None:
    table = columns(age_s=4.0)
    assert see(table, POINTS["tank.level"], NOW).age_s == pytest.approx(4.0)
    assert see(table, POINTS["room.wish"], NOW).age_s is None
    table.received_time[POINTS["tank.level"].id] = NEVER
    table.quality[POINTS["tank.level"].id] = quality.UNCERTAIN_LAST_USABLE
    seen = see(table, POINTS["tank.level"], NOW)
    assert (seen.age_s, seen.value, seen.quality) == (None, 2.0, quality.UNCERTAIN_LAST_USABLE)


def test_a_number_that_is_none_and_a_text_are_seen_as_such() -> None:
    seen = see(spoiled("tank.level", "empty"), POINTS["tank.level"], NOW)
    assert (seen.value, seen.text) == (None, None)
    assert see(columns(), POINTS["pump.serial"], NOW).text == "A-1"
