"""How long history is kept, as a plant file says it: what is understood, and what is named with its fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.twin.plants import PLANT, RULES, write
from twin.errors import BadPlant
from twin.plantfile import load_plant
from twin.retention import HOUR_NS, KEEP_EVERYTHING, Retention, duration

DAY_NS = 24 * HOUR_NS


def test_a_plant_that_does_not_say_keeps_everything(tmp_path: Path) -> None:
    assert load_plant(write(tmp_path), RULES).retention == KEEP_EVERYTHING == Retention(None, None, None, None)


def test_every_tier_has_its_own_age(tmp_path: Path) -> None:
    table = '\n[history]\nraw = "36h"\nsecond = "90d"\nminute = "2y"\nhour = "forever"\n'
    made = load_plant(write(tmp_path, PLANT + table), RULES)
    assert made.retention == Retention(36 * HOUR_NS, 90 * DAY_NS, 730 * DAY_NS, None)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "-1d", "1.5d", "30 d", "30D", "5m", "always", "201y", "1" * 30 + "d"]
)
def test_a_duration_that_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|at most"):
        duration(text)


def test_mistakes_are_named_with_line_and_fix(tmp_path: Path) -> None:
    table = '\n[history]\nraw = "soon"\nminute = 5\nday = "1d"\n'
    with pytest.raises(BadPlant) as caught:
        load_plant(write(tmp_path, PLANT + table), RULES)
    first = len(PLANT.splitlines()) + 3
    assert [(m.file, m.line, m.message) for m in caught.value.mistakes] == [
        ("plant.toml", first, "raw = 'soon' is no duration"),
        ("plant.toml", first + 1, "minute = 5 is not text"),
        ("plant.toml", first + 2, "history has an unknown key 'day'"),
    ]
    assert "30d" in caught.value.mistakes[0].fix
