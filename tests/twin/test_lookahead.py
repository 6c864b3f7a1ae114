"""[lookahead] of plant.toml: what a plant may ask, and every mistake in it at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from control.plants import read_plant
from twin.errors import BadPlant
from twin.lookahead import Lookahead

WATER = Path(__file__).parents[2] / "scenarios" / "water"


def changed(folder: Path, table: str, cut: str = "") -> Path:
    """The water plant with another [lookahead], without the alarm that follows it, and without one more table."""
    made = folder / "plant"
    shutil.copytree(WATER, made)
    text = (made / "plant.toml").read_text()
    start = text.index("[lookahead]")
    text = text[:start] + table + "\n" + text[text.index("# What the simulation knows") :]
    start = text.index('[[alarm]]\nid = "ahead"')
    text = text[:start] + text[text.index("# What was ordered") :]
    if cut:
        start = text.index(cut)
        text = text[:start] + text[text.index("[[twin]]") :]
    (made / "plant.toml").write_text(text)
    return made


def test_the_water_plant_looks_four_hours_ahead() -> None:
    asked = read_plant(WATER, {}).lookahead
    assert asked == Lookahead(
        20.0, 4 * 3600.0, 100, 0.4, 0.15, 300.0, ("tank_1.level<1", "tank_2.level<2.5", "tank_3.level<2")
    )


def test_a_plant_without_the_table_looks_at_nothing(tmp_path: Path) -> None:
    assert read_plant(changed(tmp_path, ""), {}).lookahead is None


def test_limits_left_out_are_those_of_the_policies(tmp_path: Path) -> None:
    asked = read_plant(changed(tmp_path, "[lookahead]\n"), {}).lookahead
    assert asked == Lookahead(limits=("tank_1.level<1", "tank_2.level<2.5", "tank_3.level<2"))
    assert asked.every_s == 60.0 and asked.horizon_s == 14_400.0


def test_an_empty_list_of_limits_forecasts_and_predicts_no_alarm(tmp_path: Path) -> None:
    asked = read_plant(changed(tmp_path, "[lookahead]\nlimits = []\n"), {}).lookahead
    assert asked is not None and asked.limits == ()


def test_every_mistake_is_listed_with_its_line_and_the_fix(tmp_path: Path) -> None:
    table = """[lookahead]
every = "1s"
horizon = "soon"
replications = 3
p_min = 0.2
p_clear = 0.5
off_delay = "2d"
limits = ["tank_1.levle<1", "tank_1.level=3", "plc.state<1", "tank_1.level<1", "tank_1.level <= 1.0", "tank_1.level<1"]
often = true"""
    folder = changed(tmp_path, table)
    with pytest.raises(BadPlant) as caught:
        read_plant(folder, {})
    first = (folder / "plant.toml").read_text().splitlines().index("[lookahead]") + 1
    found = [(m.line - first, m.message, m.fix) for m in caught.value.mistakes]
    assert [line for line, _, _ in found] == sorted(line for line, _, _ in found)
    said = "\n".join(f"{message}; {fix}" for _, message, fix in found)
    for words in (
        "every = '1s'; take 2s … 1d",
        "'soon' is no duration",
        "replications = 3 is outside 20 … 2000",
        "p_clear = 0.5 is not below p_min = 0.2",
        "'tank_1.levle' is no point",
        "limit 'tank_1.level=3' is not understood",
        "'plc.state' is no point",
        "off_delay = '2d'; take 0s … 1d",
        "limit 'tank_1.level <= 1.0' is 'tank_1.level<1' again; name each limit once",
        "limit 'tank_1.level<1' is 'tank_1.level<1' again; name each limit once",
        "the look-ahead has no setting 'often'",
    ):
        assert words in said, said


def test_a_limit_of_a_point_that_the_model_does_not_tell_is_said_when_the_plant_is_read(tmp_path: Path) -> None:
    table = '[lookahead]\nlimits = ["tank_1.level<1", "network.clock>9", "station.flow<1"]'
    with pytest.raises(BadPlant) as caught:
        read_plant(changed(tmp_path, table), {})
    assert [m.message for m in caught.value.mistakes] == [
        "limit 'network.clock>9': the model does not tell network.clock"
    ]


def test_a_plant_without_a_model_cannot_look_ahead(tmp_path: Path) -> None:
    with pytest.raises(BadPlant, match=r"no \[model\] to look ahead with"):
        read_plant(changed(tmp_path, "[lookahead]\n", cut="[model]"), {})


def test_a_list_of_look_aheads_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(BadPlant, match=r"write it as \[lookahead\]"):
        read_plant(changed(tmp_path, "[[lookahead]]\n"), {})
