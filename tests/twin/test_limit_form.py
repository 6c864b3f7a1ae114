"""What is no limit is refused with how it is written: a unit, a turn, two in one."""

from __future__ import annotations

import pytest

from sim.scenario import parse_limit
from twin.errors import BadRequest
from twin.limit_form import CONDITIONS, FORM

FIXES = [
    ("tank_1.level < 1 m", "write tank_1.level<1: the number"),
    ("tank_1.level<1m", "write tank_1.level<1: the number"),
    ("1 m > tank_1.level", "write tank_1.level<1: the number"),
    ("3<=tank_1.level", "write tank_1.level>=3: the number"),
    ("tank_1.level < 1 or tank_2.level > 9 m", 'write "tank_1.level<1" and "tank_2.level>9"'),
    (
        "tank.level > 5 and tank.level < 6",
        'write "tank.level>5" and "tank.level<6"; that both hold at once only a condition',
    ),
    ("tank_1.level == 3", f"{FORM}; {CONDITIONS}"),
    ("not tank_1.level < 3", f"{FORM}; {CONDITIONS}"),
    ("tank_1.level - tank_2.level < 3", f"{FORM}; {CONDITIONS}"),
    ("", FORM),
]


@pytest.mark.parametrize(("text", "fix"), FIXES)
def test_what_is_no_limit_says_how_it_is_written(text: str, fix: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_limit(text)
    assert fix in caught.value.hint


@pytest.mark.parametrize("text", ["tank_1.level<1", " tank_1.level >= 3e2 ", "filler.status.Down>0", "pump.status<on"])
def test_a_limit_is_one_comparison(text: str) -> None:
    parse_limit(text)


def test_a_number_that_is_none_is_named() -> None:
    with pytest.raises(BadRequest, match="'high' is no value") as caught:
        parse_limit("tank_1.level<high")
    assert caught.value.hint.startswith("write a number")
